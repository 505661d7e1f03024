"""What is worth a trial on a host: fit's own candidates, and one step to each side of the settings that decide how many requests run at once.

Nothing here changes answers: the type of the cache, the length of the context and the mode (graphs or eager) are tried only where the row leaves
them open to fit, or where `free` names them. What the row gives stays as it is, unless `free` names it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping, NamedTuple, Sequence

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.sizing.asked import FIELDS, choose, device_of, known_of, settings_of
from ansible.module_utils.serving.sizing.candidates import Candidate
from ansible.module_utils.serving.sizing.choose import room
from ansible.module_utils.serving.sizing.cpu import BATCHED, SEQS
from ansible.module_utils.serving.sizing.memory import Settings
from ansible.module_utils.serving.sizing.speed import as_row

NOW = "as it runs"
STEPPED = (
    "max_num_batched_tokens",
    "max_num_seqs",
)  # both trade the first token against all of them; callers see no other difference
LEAST = {"max_num_batched_tokens": 512, "max_num_seqs": 4}
OPTIONS = {field: option for option, field in FIELDS.items()}
COMPARED = (
    "tensor",
    "pipeline",
    "data",
    "max_num_seqs",
    "max_num_batched_tokens",
    "utilization",
    "kv_bytes",
    "kv_dtype",
    "eager",
)


class Choice(NamedTuple):
    """One candidate of a sweep. `args`: engine_args to lay over the row's, None removes one; `words`: fit's estimate of its speed; `tokens` of its cache."""

    name: str
    args: dict[str, Any]
    words: str = ""
    tokens: int | None = None

    def row(self) -> dict[str, Any]:
        return dict(self._asdict())


def name_of(args: Mapping[str, Any]) -> str:
    """`max_num_seqs 64, tensor_parallel_size 2`; what is removed is left out, unless nothing else is there."""
    given = ["%s %s" % (key, value) for key, value in sorted(args.items()) if value is not None]
    return ", ".join(given) or ", ".join("without %s" % key for key in sorted(args)) or NOW


def runs_with(service: Mapping[str, Any], record: dict[str, Any]) -> Settings | None:
    """What the service's engine starts with, its defaults included; None where the host doesn't tell its memory."""
    device = device_of(record)
    if device is None:
        return None
    found = settings_of(dict(service), device, known_of(dict(service)))
    if record["kind"] != "cpu":
        return found
    defaults = {"max_num_batched_tokens": BATCHED, "max_num_seqs": SEQS}
    return replace(found, **{field: size for field, size in defaults.items() if field not in service["engine_args"]})


def differing(candidate: Candidate, now: Settings, kind: str) -> dict[str, Any]:
    """engine_args that make the service that candidate: those in which it differs from what runs."""
    chosen, found = candidate.settings, {}
    for field in COMPARED:
        value = getattr(chosen, field)
        if value != getattr(now, field) and value is not None:
            found[OPTIONS[field]] = value
    if kind == "cpu":  # the host's memory gives the cache its size, and compiling wants a compiler there
        for option in ("gpu_memory_utilization", "kv_cache_memory_bytes", "enforce_eager"):
            found.pop(option, None)
    return found


def whole_row(service: Mapping[str, Any], args: Mapping[str, Any]) -> dict[str, Any]:
    """The options with those that were chosen for what the row leaves to `auto`, so that nothing is left open beside them."""
    return {**((service.get("choice") or {}).get("chosen") or {}), **args}


def freed(service: dict[str, Any], free: Sequence[str]) -> dict[str, Any]:
    """The service as its row, without what was chosen for it and without what `free` names."""
    gone = {*((service.get("choice") or {}).get("chosen") or {}), *free}
    return {**service, "engine_args": {key: value for key, value in service["engine_args"].items() if key not in gone}}


def neighbours(best: Mapping[str, Any], now: Settings, given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One step to each side of the best candidate, in options that the row leaves open."""
    found = []
    for option in STEPPED:
        if option in given:
            continue
        value = int(best.get(option) or getattr(now, FIELDS[option]))
        found += [{**best, option: size} for size in (value * 2, value // 2) if size >= LEAST[option]]
    return found


def sweep(
    plan: list[dict[str, Any]],
    service: dict[str, Any],
    record: dict[str, Any],
    given: Mapping[str, Any],
    starts: list[dict[str, Any]],
) -> list[Choice]:
    """Candidates of a sweep: what runs now, which costs no restart, then the best guess first. `given`: {dtypes, count, free, most}.

    Refusal where the model's sizes are not known, since then nothing says what would start.
    """
    now = runs_with(service, record)
    row = freed(service, given["free"])
    count = room(plan, service, [service["service"]], given["count"] or int(record["count"]))
    wishes = service.get("wishes") or {}

    def fits(args: Mapping[str, Any]) -> Candidate | None:
        """The same with these options given, where it would start."""
        tried = {**row, "engine_args": {**row["engine_args"], **args}}
        made = choose(tried, record, list(given["dtypes"]), count, starts, wishes)
        return made.candidates[0] if made and made.candidates else None

    found = choose(row, record, list(given["dtypes"]), count, starts, wishes)
    if found is None or now is None:
        raise Refusal(
            "service '%s': nothing says what else would start, as the sizes of model '%s' or the memory of this host are not known; "
            'say what to try: -e \'{"candidates": [{"max_num_seqs": 64}]}\''
            % (service["service"], service["model"]["name"])
        )
    exact = "kv_cache_dtype" in given["free"]
    chosen: list[Choice] = [Choice(NOW, {})]

    def add(args: dict[str, Any], candidate: Candidate) -> None:
        name = name_of(args)
        if args and all(name != one.name for one in chosen):
            speed = as_row(candidate.speed)
            chosen.append(
                Choice(name, whole_row(service, args), speed["words"] if speed else "", candidate.budget.tokens)
            )

    kinds = [one for one in found.candidates if exact or one.settings.kv_dtype == now.kv_dtype]
    best = differing(kinds[0], now, record["kind"]) if kinds else {}
    for one in kinds[:3]:
        add(differing(one, now, record["kind"]), one)
    for args in neighbours(best, now, row["engine_args"]):
        candidate = fits(args)
        if candidate is not None:
            add({key: value for key, value in args.items() if value != getattr(now, FIELDS[key])}, candidate)
    return chosen[: max(2, int(given["most"]))]


def own(candidates: Sequence[Any], service: Mapping[str, Any]) -> list[Choice]:
    """Candidates that a person gives, and what runs now. Refusal where one is no mapping of options."""
    found = [Choice(NOW, {})]
    for number, args in enumerate(candidates):
        if not isinstance(args, dict) or not all(isinstance(key, str) for key in args):
            raise Refusal(
                "service '%s': candidate %d is %r, but must be engine_args such as {max_num_seqs: 64}"
                % (service["service"], number + 1, args)
            )
        changes = {key: value for key, value in args.items() if service["engine_args"].get(key) != value}
        name = name_of(changes)
        if changes and all(name != one.name for one in found):
            found.append(Choice(name, whole_row(service, changes)))
    return found
