"""What `auto` becomes on this host, and the explanation that a plan shows for each service."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.host.devices import Place
from ansible.module_utils.serving.sizing.asked import board_of, choose, host_of, known_of
from ansible.module_utils.serving.sizing.candidates import Found
from ansible.module_utils.serving.sizing.cpu import cpu_budget, memory_of
from ansible.module_utils.serving.sizing.fits import Sized
from ansible.module_utils.serving.sizing.memory import graphs
from ansible.module_utils.serving.sizing.models import model_of
from ansible.module_utils.serving.sizing.speed import as_row, predict

WIDTHS = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
SHOWN = 4  # candidates, and rejected ones of each rule


def plain(service: dict[str, Any]) -> dict[str, Any]:
    """The service without what was chosen for it: what its row gives."""
    chosen = (service.get("choice") or {}).get("chosen") or {}
    return {
        **service,
        "engine_args": {key: value for key, value in service["engine_args"].items() if key not in chosen},
    }


def settled(service: dict[str, Any], choosing: list[str]) -> int:
    """How many devices a service takes whatever is chosen for it; 0 where the choice decides."""
    if service.get("devices_given") and service.get("devices"):
        return len(service["devices"])
    open_ones = (service.get("choice") or {}).get("chosen") or {}
    decides = service["service"] in choosing and any(width in open_ones for width in WIDTHS)
    return 0 if decides else int(service["widths"]["devices"])


def room(plan: list[dict[str, Any]], service: dict[str, Any], choosing: list[str], total: int) -> int:
    """Devices that a service may take: its own where the row names them, else its part of those that no other one holds."""
    mine = settled(service, choosing)
    if service.get("devices_given") and service.get("devices"):
        return mine
    others = [settled(one, choosing) for one in plan if one["service"] != service["service"]]
    return max(1, mine, (total - sum(others)) // (1 + others.count(0)))


def found_for(
    plan: list[dict[str, Any]],
    service: dict[str, Any],
    record: dict[str, Any],
    given: dict[str, Any],
    starts: list[dict[str, Any]],
) -> Found | None:
    """Candidates for one service. `given`: {dtypes, count, choosing}."""
    count = room(plan, service, given["choosing"], given["count"] or int(record["count"]))
    return choose(plain(service), record, given["dtypes"], count, starts, service.get("wishes") or {})


def choices_of(
    plan: list[dict[str, Any]],
    record: dict[str, Any],
    dtypes: list[str],
    count: int,
    replan: bool,
    starts: list[dict[str, Any]],
) -> dict[str, Any]:
    """{service: {asked, args}} for each that leaves something open. Refusal where nothing fits, with what stands against each."""
    open_ones = [
        s for s in plan if (s.get("choice") or {}).get("open") or (replan and (s.get("choice") or {}).get("chosen"))
    ]
    names = [service["service"] for service in open_ones]
    made: dict[str, Any] = {}
    for service in open_ones:
        found = found_for(plan, service, record, {"dtypes": dtypes, "count": count, "choosing": names}, starts)
        if found is None:
            if model_of(service["model"]):
                text = "service '%s': nothing can be chosen, as this host doesn't tell its devices' memory; prepare it first, or give its board memory_bytes"
                raise Refusal(text % service["service"])
            text = "service '%s': nothing can be chosen, as the sizes of model '%s' are not known; give its `shape` in models.yml, or values in engine_args"
            raise Refusal(text % (service["service"], service["model"]["name"]))
        if not found.candidates:
            against = list(dict.fromkeys(text for _, _, text in found.rejected))[:SHOWN]
            raise Refusal(
                "service '%s': nothing that could be chosen fits this host: %s"
                % (service["service"], "; ".join(against))
            )
        args = found.candidates[0].args(host_of(board_of(service, record), dtypes), known_of(service))
        keys = service["choice"]["chosen"]
        made[service["service"]] = {
            "asked": service["choice"]["asked"],
            "args": {key: args[key] for key in sorted(keys) if key in args},
        }
    return made


def explained(
    plan: list[dict[str, Any]],
    service: dict[str, Any],
    record: dict[str, Any],
    place: Place | None,
    dtypes: list[str],
    count: int,
    starts: list[dict[str, Any]],
) -> dict[str, Any] | None:
    """For a plan: the table of what the row asks for, what it holds, how fast it may be, and what else there would be. None: sizes not known."""
    sized = Sized(service, record, place, starts)
    if sized.model is None or sized.settings is None or sized.device is None:
        return None
    settings, total = sized.settings, sized.device.usable
    table = sized.budget()
    if record["kind"] == "cpu":
        total = memory_of(record)
        table = cpu_budget(sized.model, settings, total, int(service.get("overhead_bytes") or 0))
    assert table is not None
    speed = predict(sized.model, settings, sized.device, max(1, min(settings.max_num_seqs, 64)))
    found = found_for(
        plan, service, record, {"dtypes": dtypes, "count": count, "choosing": [service["service"]]}, starts
    )
    host = host_of(board_of(service, record), dtypes)
    rejected: dict[str, list[dict[str, str]]] = {}
    for what, rule, text in found.rejected if found else []:
        rejected.setdefault(rule, []).append({"what": what, "rule": rule, "text": text})
    return {
        "device_bytes": total, "table": table.table(), "tokens": table.tokens, "token_bytes": int(table.token_bytes), "max_model_len": settings.max_model_len,
        "requests": round(table.tokens / settings.max_model_len * settings.data, 1) if settings.max_model_len else None,
        "graphs_bytes": graphs(sized.model, settings, sized.known) if record["kind"] == "gpu" else 0, "speed": as_row(speed), "learned_bytes": sized.learned,
        "constants": sized.known.source, "candidates": [one.row(host, sized.known) for one in found.candidates[:SHOWN]] if found else [],
        "rejected": [row for rows in rejected.values() for row in rows[:SHOWN]],
    }  # fmt: skip
