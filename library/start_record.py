#!/usr/bin/python
"""Module start_record: what a service's start measured, beside what was predicted for it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: start_record
short_description: Remember what a service's start measured, and compare it with the prediction
description:
  - Reads what the engine's log says of its last start (weights, KV cache, CUDA graphs, seconds), and puts it beside the prediction of M(fit).
  - Each start goes once into C(starts.json) of O(serving_root). The next prediction for this host is corrected by it. A choice that is pinned is not.
  - Services that don't run, and logs that say nothing of a start, are left out. A record is no state of the host, so this never counts as a change.
options:
  plan: {description: The host's services (filter C(plan))., type: list, elements: dict, required: true}
  kind: {description: Which accelerators to look for., type: str, choices: [cpu, gpu, npu], default: cpu}
  record: {description: What M(accelerator_info) returned., type: dict}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  supervisor: {description: Who owns the processes., type: str, choices: [auto, systemd, supervisord], default: auto}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: What did the starts measure?
  start_record:
    plan: "{{ plan }}"
    kind: gpu
    serving_root: "{{ serving_root }}"
"""
RETURN = r"""
starts:
  description: By service, what was predicted and what its log says.
  returned: always
  type: dict
  sample: {qwq-32b: {predicted: {tokens: 320240, cache_bytes: 41975000000}, measured: {tokens: 320288}, error: -0.0001, ready_seconds: 113.0}}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.files import read_json
from ansible.module_utils.serving.host.accelerators import accelerator_record
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.supervisors import supervisor
from ansible.module_utils.serving.sizing.asked import version_of
from ansible.module_utils.serving.sizing.cpu import cpu_budget, memory_of
from ansible.module_utils.serving.sizing.engines import version_key
from ansible.module_utils.serving.sizing.fits import Sized
from ansible.module_utils.serving.sizing.learned import remember, starts
from ansible.module_utils.serving.sizing.logs import measured

LOG = 4000  # lines of a log that are read


def predicted(
    service: dict[str, Any], record: dict[str, Any], known: list[dict[str, Any]]
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """(prediction without what was learned, under what the start is remembered)."""
    sized = Sized(service, record, None, known)
    if sized.model is None or sized.settings is None or sized.key is None:
        return None, None
    if record["kind"] == "cpu" and sized.settings.kv_bytes is None:
        return None, None  # the engine's own share of memory
    if record["kind"] == "cpu":
        table = cpu_budget(sized.model, sized.settings, memory_of(record), int(service.get("overhead_bytes") or 0))
    else:
        found = sized.budget(learned=False)
        assert found is not None
        table = found
    weights = next((-size for what, size, _ in table.rows if what == "weights"), 0)
    return {"tokens": table.tokens, "cache_bytes": table.cache_bytes, "weights_bytes": weights}, sized.key


def seconds_of(folder: str, run: dict[str, Any]) -> float | None:
    """Seconds from this start to its first answer, as M(endpoint_probe) has recorded them."""
    try:
        seen = read_json(os.path.join(folder, "ready.json")) or {}
    except (OSError, ValueError):
        return None
    return float(seen["seconds"]) if seen.get("pid") == run["pid"] and seen.get("ticks") == run["ticks"] else None


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    root, record = given["serving_root"], given["record"] or accelerator_record(given["kind"])
    owner = supervisor(root, given["supervisor"])
    found: dict[str, Any] = {}
    for service in given["plan"]:
        name = service["service"]
        run = releases.running_release(root, name)
        if run is None:
            continue
        said = measured(releases.last_run(owner.log_tail(name, LOG)))
        if "tokens" not in said:
            continue
        try:
            prediction, key = predicted(service, record, starts(root))
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError) as problem:
            # What a start teaches is worth a word, never a failed deploy.
            module.warn("nothing is learned from the start of '%s': %s: %s" % (name, type(problem).__name__, problem))
            continue
        if prediction is None:
            continue
        row = {
            "start": "%s-%s" % (run["pid"], run["ticks"]), "key": key, "predicted": prediction, "measured": said,
            "ready_seconds": seconds_of(releases.service_dir(root, name), run),
        }  # fmt: skip
        if not module.check_mode:
            remember(root, row)
        error = round(prediction["tokens"] / said["tokens"] - 1, 4) if said["tokens"] else None
        found[name] = {name: row[name] for name in ("predicted", "measured", "ready_seconds")}
        found[name].update(error=error, version=".".join(map(str, version_key(version_of(service)))) or None)
    return {"changed": False, "starts": found}


def main() -> None:
    spec = {
        "plan": {"type": "list", "elements": "dict", "required": True},
        "kind": {"type": "str", "choices": ["cpu", "gpu", "npu"], "default": "cpu"},
        "record": {"type": "dict"},
        "serving_root": {"type": "path", "required": True},
        "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
