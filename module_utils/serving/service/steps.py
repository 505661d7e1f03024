"""What a deploy would do on a host, service by service, and what it would cost: read, never changed. Standard library only, Python 3.8."""

from __future__ import annotations

import glob
import os
from statistics import median
from typing import Any

from ansible.module_utils.serving.files import read_json
from ansible.module_utils.serving.images import images
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.live import LOADS
from ansible.module_utils.serving.weights.manifests import MANIFEST
from ansible.module_utils.serving.weights.model_state import look

LEAST_BYTES = 64 << 20  # a smaller fetch measures the hub's latency, and no rate


def rates(models_root: str) -> dict[str, float]:
    """Bytes a second at which models came here, by kind of source: the median of what their manifests say."""
    seen: dict[str, list[float]] = {}
    for path in glob.glob(os.path.join(glob.escape(models_root), "*@*", MANIFEST)):
        try:
            row = read_json(path) or {}
            size = sum(int(file["bytes"]) for file in row["files"].values())
            if size >= LEAST_BYTES and row["seconds"] > 0:
                seen.setdefault(str(row["source"]["kind"]), []).append(size / float(row["seconds"]))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
    return {kind: median(found) for kind, found in seen.items()}


def source_of(model: dict[str, Any], order: list[str], mirror: str) -> str | None:
    """The first source that would be asked; peers are only known while a play runs."""
    given = dict(model.get("sources") or {}, **({"mirror": {"url": mirror}} if mirror else {}))
    return next((kind for kind in order if kind != "peers" and kind in given), None)


def fetch(
    service: dict[str, Any], models_root: str, order: list[str], mirror: str, known: dict[str, float]
) -> dict[str, Any] | None:
    """What is still to come of a service's weights; None where they are there."""
    return form_to_come(service["model"], service["convert"] or None, models_root, order, mirror, known)


def form_to_come(
    model: dict[str, Any], convert: str | None, models_root: str, order: list[str], mirror: str, known: dict[str, float]
) -> dict[str, Any] | None:
    """What is still to come of one form of a model, or of an adapter; None where it is there."""
    total = int(model["bytes"]) // (2 if convert and model["dtype"] == "float32" else 1)
    form = look(models_root, model["name"], convert)
    size = form.to_come(total)
    if form.path and not size:
        return None
    kind = source_of(model, order, mirror)
    place = ((model.get("sources") or {}).get(kind) or {}) if kind else {}
    rate = known.get(str(kind))
    return {
        "model": model["name"], "bytes": size, "total_bytes": total, "from": kind, "place": place.get("repo") or place.get("url") or place.get("path"),
        "seconds": round(size / rate) if rate else None, "rate": round(rate) if rate else None, "convert": convert,
    }  # fmt: skip


def pull(service: dict[str, Any], images_root: str, archives: dict[str, Any]) -> dict[str, Any] | None:
    """The image that is still to come; `bytes` is known of an archive alone."""
    if service["runtime"] != "container":
        return None
    name, archive = str(service["image"]), archives.get(service["image"])
    try:
        if images.on_host(name, images_root, archive)[0] is not None:
            return None
    except OSError:  # no container engine yet
        pass
    size = os.path.getsize(archive["path"]) if archive and os.path.exists(archive["path"]) else None
    return {"image": name, "bytes": size, "from": "archive" if archive else "registry"}


def gap(root: str, name: str, doing: str) -> dict[str, Any]:
    """What callers of a service see: {seconds, how}. The last start's seconds to a first answer, where nothing better is known."""
    if doing in ("nothing", "load"):
        return {"seconds": 0, "how": "none: it runs on"}
    folder = releases.service_dir(root, name)
    if doing == "start":
        return {"seconds": None, "how": "none: nobody serves it now"}
    try:
        last = (read_json(os.path.join(folder, "ready.json")) or {}).get("seconds")
    except (OSError, ValueError):
        last = None
    drain = (releases.current_spec(root, name) or {}).get("drain_timeout") or 0
    if last is None:
        return {
            "seconds": None,
            "how": "not known: no start of it was measured here; requests in flight get %d s to finish" % drain,
        }
    how = "about %d s from stop to first answer, as its last start took; requests in flight get %d s to finish before"
    return {"seconds": round(float(last)), "how": how % (float(last), drain)}


def settings_diff(root: str, name: str, files: dict[str, str]) -> list[str]:
    """Lines of the engine's options that differ from the running release, `- old` and `+ new`."""
    place = os.path.join(releases.service_dir(root, name), "current", "serve.yaml")
    try:
        with open(place, encoding="utf-8") as source:
            before = source.read().splitlines()
    except OSError:
        return []
    after = str(files.get("serve.yaml") or "").splitlines()
    return ["- " + line for line in before if line not in after] + ["+ " + line for line in after if line not in before]


def action(run: dict[str, Any] | None, reasons: list[str]) -> str:
    """nothing, start, restart, or load: its engine takes and gives up adapters while it runs."""
    if not reasons:
        return "nothing"
    if LOADS in reasons:
        return "load"
    return "restart" if run else "start"


def row(service: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """Everything about one service of the plan. `given`: the options of module deploy_plan."""
    root, name, reasons = given["serving_root"], service["service"], given["reasons"]
    run = releases.running_release(root, name)
    doing = action(run, reasons)
    asked = (given["models_root"], given["order"], given["mirror"], rates(given["models_root"]))
    coming = fetch(service, *asked)
    added = [form_to_come(one, None, *asked) for one in service.get("adapters") or []]
    return {
        "service": name, "model": service["model"]["name"], "endpoint": service["endpoint"], "devices": service["devices"], "action": doing, "why": reasons,
        "running": {"release": run["release"], "started": run["started"]} if run else None, "fetch": coming,
        "adapters": [one for one in added if one],
        "pull": pull(service, given["images_root"], given["archives"]),
        "convert": "%s to %s while it is fetched" % (service["model"]["dtype"], service["convert"]) if coming and service["convert"] else None,
        "gap": gap(root, name, doing), "rights": service["rights"], "chosen": (service.get("choice") or {}).get("chosen") or {},
        "differences": settings_diff(root, name, given["files"]) if run else [],
    }  # fmt: skip
