#!/usr/bin/python
"""Module fit: does what is planned fit this host?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: fit
short_description: Check that the planned services fit a host before anything is downloaded, and choose what their rows leave open
description:
  - Compares memory, disk, ports, architecture and Python with what the plan needs, and says everything that is missing at once.
  - What already runs or lies there counts as there, so that a second run asks for nothing twice. Changes nothing.
  - Disk is counted for each file system, and each form of a model once. Where a model is published in another revision, the fetch itself
    measures what is new before its first byte. The size of an image is known where it comes from an archive on this host.
  - A value that can't work is contradicted with what was calculated and what would help. What starts on this host have taught corrects it.
  - With O(choose) it checks nothing, and chooses what rows leave to C(auto). The choice is for M(pins) to record; it changes nothing by itself.
  - Reads the accelerators itself, as M(accelerator_info) does, unless O(record) says what they are; the record is the fact RV(ansible_facts.accelerators) then.
options:
  plan: {description: The host's services (filter C(plan))., type: list, elements: dict, required: true}
  kind: {description: Which accelerators to look for., type: str, choices: [cpu, gpu, npu], default: cpu}
  record: {description: What M(accelerator_info) returned., type: dict}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  models_root: {description: Folder of published models., type: path, required: true}
  host_python: {description: "Interpreter for environments that we make, empty: the first that fits.", type: str, default: ""}
  count: {description: Devices that the host should have., type: int, default: 0}
  names: {description: Regular expressions of which one must match each device's name., type: list, elements: str, default: []}
  supported_os: {description: "Systems that the group supports, such as debian-12; empty: any.", type: list, elements: str, default: []}
  arch: {description: "Machine architecture of the group, empty: any.", type: str, default: ''}
  mendable: {description: "May preparing the host mend what is pending (drivers, a reboot)?", type: bool, default: false}
  known_versions: {description: "Rows of versions.yml; what a row with verdict bad matches is refused.", type: list, elements: dict, default: []}
  keep_source: {description: "Is a model that is converted kept as it is published, too?", type: bool, default: false}
  images_root: {description: Folder where M(container_image) records tags., type: path}
  archives:
    description: "Archives of images on this host, as M(container_image) takes them: {image: {path, id}}."
    type: dict
    default: {}
  memory_bytes: {description: "With O(choose), memory of a device where its driver is not there yet.", type: int, default: 0}
  choose: {description: "Choose what rows leave open, instead of checking.", type: bool, default: false}
  replan: {description: With O(choose), choose anew where a choice is recorded., type: bool, default: false}
  dtypes: {description: Types that the accelerators compute in., type: list, elements: str, default: [bfloat16, float16, float32]}
  graphs: {description: "Graphs of batch sizes that the board's memory has room for, 0: all.", type: int, default: 0}
  square_mask: {description: "Does the attention mask take memory by the square of max_model_len?", type: bool, default: false}
  placed: {description: "With O(explain), what M(service_devices) gave the services: {service: {kv_cache_memory_bytes}}.", type: dict, default: {}}
  explain: {description: "Return the arithmetic, and what else there would be (RV(sized)).", type: bool, default: false}
  required: {description: Fail where something does not fit., type: bool, default: true}
  env_bytes: {description: Disk that a native environment takes, type: int, default: 3_400_000_000}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Does it fit?
  fit:
    plan: "{{ plan }}"
    kind: gpu
    serving_root: "{{ serving_root }}"
    models_root: "{{ models_root }}"
"""
RETURN = r"""
problems: {description: What does not fit, returned: always, type: list, elements: str}
warnings: {description: What an operator should know about the accelerators and what stops nothing., returned: when there is any, type: list, elements: str}
choices:
  description: "By service, {asked, args}: what was chosen for what its row leaves open."
  returned: with choose
  type: dict
  sample: {qwq-32b: {asked: 0a1b2c3d4e5f6071, args: {tensor_parallel_size: 2, max_model_len: 32768}}}
sized:
  description: By service, the table of one device's memory, tokens of the KV cache, speed as an interval, candidates, and rejected ones with their rule.
  returned: with explain
  type: dict
needs:
  description: Bytes of memory and disk that are still needed.
  returned: always
  type: dict
  sample: {memory_bytes: 2779302128, disk_bytes: 3402911000}
record: {description: "The accelerators, as M(accelerator_info) returns them.", returned: without choose, type: dict}
disks:
  description: What is still to be written and what is free, by place; places of one file system share what is free.
  returned: always
  type: list
  elements: dict
  sample: [{path: /srv/vllm/models, needed_bytes: 2911000, free_bytes: 52428800000}]
"""

import os
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import free_bytes, human
from ansible.module_utils.serving.host.accelerators import accelerator_record
from ansible.module_utils.serving.host.cores import named_problems
from ansible.module_utils.serving.host.cpu import allowed
from ansible.module_utils.serving.host.device_use import Use, use_of
from ansible.module_utils.serving.host.devices import doubled, mig_slices
from ansible.module_utils.serving.host.known_versions import bad
from ansible.module_utils.serving.host.ports import port_problem
from ansible.module_utils.serving.host.pythons import find_python
from ansible.module_utils.serving.host.system import os_release, run_tool
from ansible.module_utils.serving.images import images
from ansible.module_utils.serving.service.claims import assign, claims, left_over, own_port, taken
from ansible.module_utils.serving.service.releases import beside, deployed
from ansible.module_utils.serving.sizing.choose import choices_of, explained
from ansible.module_utils.serving.sizing.fits import cpu_problems, device_problems
from ansible.module_utils.serving.sizing.learned import starts
from ansible.module_utils.serving.sizing.rates import known as known_rates
from ansible.module_utils.serving.weights.model_state import look

SHM_BYTES = 192 << 20  # vLLM 0.32.0 asks for 160 MiB with one worker


def leftover_problems(plan: list, running: dict, places: dict) -> list:
    """Services of this host that `runs` no longer names, and that hold what the plan needs."""
    found = []
    for claim in left_over(plan, running):
        held = {str(name) for name in claim.devices or []}
        replicas = [service["service"] for service in plan if service.get("replica_of") == claim.name]
        why = "whose replicas %s take its place" % ", ".join(replicas) if replicas else "which `runs` does not name"
        for service in plan:
            place = places.get(service["service"])
            given = sorted(held & {str(name) for name in place.names}) if place else []
            what = (
                "device %s" % ", ".join(given)
                if given
                else "port %d" % service["port"]
                if claim.port and claim.port == own_port(service)
                else ""
            )
            if what:
                found.append("service '%s': %s is held by service '%s', %s; stop that one first: playbooks/stop.yml -e service=%s"
                             % (service["service"], what, claim.name, why, claim.name))  # fmt: skip
    return found


def shm_problems(services: list) -> list:
    """Shared memory through which an engine's processes talk; Docker gives a container 64 MiB."""
    need = SHM_BYTES * len(services)
    free = free_bytes("/dev/shm") if os.path.isdir("/dev/shm") else 0
    if need <= free:
        return []
    text = "shared memory: %s are needed in /dev/shm, %s are free; in a container start it with --shm-size=1g, on a host remount it larger"
    return [text % (human(need), human(free))]


def arch_problems(service: dict, record: dict) -> list:
    """An image for another machine than this one."""
    arch, built = record["arch"], service.get("image_arch")
    if service["runtime"] != "container" or not built or not arch or built == arch:
        return []
    return [
        "service '%s': its image is built for %s, this host is %s; use an image for %s or another host"
        % (service["service"], built, arch, arch)
    ]


def images_to_come(plan: list, images_root: str, archives: dict) -> int:
    """Bytes that the container engine still takes for images from archives of this host."""
    total = 0
    for name in sorted({str(s["image"]) for s in plan if s["runtime"] == "container" and s.get("image") in archives}):
        archive = archives[name]
        try:
            if images.on_host(name, images_root, archive)[0] is None:
                total += os.path.getsize(archive["path"])
        except (OSError, Refusal):  # the archive comes with the fetch, or there is no engine yet: it says so itself
            continue
    return total


def env_to_come(plan: list, root: str, env_bytes: int) -> int:
    """Bytes of a native environment that is still to be made."""
    if not any(s["runtime"] == "native" and not s["native_env"] for s in plan):
        return 0
    envs = os.path.join(root, "envs")
    names = os.listdir(envs) if os.path.isdir(envs) else []
    return 0 if any(os.path.exists(os.path.join(envs, e, ".complete.json")) for e in names) else env_bytes


def models_to_come(plan: list, models_root: str, keep_source: bool) -> int:
    """Bytes of models that are still to be written, each form once, whoever shares it."""
    forms = {}
    for service in plan:
        model, convert = service["model"], service.get("convert") or None
        # fp32 shrinks to half as fp16; bf16 keeps its size.
        size = int(model["bytes"]) // (2 if convert and model.get("dtype") == "float32" else 1)
        forms[model["name"], convert] = size
        if keep_source:
            forms[model["name"], None] = int(model["bytes"])
        for adapter in service.get("adapters") or []:
            forms[adapter["name"], None] = int(adapter["bytes"])
    return sum(look(models_root, name, convert).to_come(size) for (name, convert), size in forms.items())


def device_of(path: str) -> int:
    """The file system where `path` is or will be."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    return os.stat(path).st_dev


def disk_problems(needs: list) -> tuple:
    """(rows, problems) of [(path, bytes still to be written below it, how to set it)], counted by file system."""
    rows = [{"path": path, "needed_bytes": count, "free_bytes": free_bytes(path)} for path, count, _ in needs]
    groups: dict = {}
    for (path, count, remedy), row in zip(needs, rows):  # noqa: B905 (Python 3.9)
        if count:
            groups.setdefault(device_of(path), []).append((path, count, remedy, row["free_bytes"]))
    problems = []
    for group in groups.values():
        needed, free = sum(one[1] for one in group), min(one[3] for one in group)
        if needed > free:
            places, remedies = (list(dict.fromkeys(one[n] for one in group)) for n in (0, 2))
            text = "disk: %s are needed, %s are free below %s; free some, or set %s"
            problems.append(text % (human(needed), human(free), " and ".join(places), " or ".join(remedies)))
    return rows, problems


def with_cache(service: dict[str, Any], placed: dict[str, Any]) -> dict[str, Any]:
    """The service with the size of KV cache that its host's memory gives it, where its row gives none."""
    size = (placed.get(service["service"]) or {}).get("kv_cache_memory_bytes")
    return {**service, "engine_args": {**service["engine_args"], "kv_cache_memory_bytes": size}} if size else service


def host_problems(given: dict[str, Any], record: dict[str, Any]) -> list[str]:
    """Why this host is not what its board and its group say."""
    problems: list[str] = list(record["problems"])
    if given["count"] and record["count"] < given["count"]:
        problems.append("this host has %d devices, the board's count says %d; look for the lost one (dmesg, lspci), or correct the inventory"
                        % (record["count"], given["count"]))  # fmt: skip
    strangers = sorted({str(d["name"]) for d in record.get("devices", []) if d["name"] and given["names"]
                        and not any(re.search(name, d["name"]) for name in given["names"])})  # fmt: skip
    if strangers:
        problems.append("this host has %s, its board is for %s; give it another board, or extend the board's names"
                        % (", ".join(strangers), " or ".join(given["names"])))  # fmt: skip
    system = os_release()["key"]
    if given["supported_os"] and system not in given["supported_os"]:
        problems.append("this host runs %s, supported are %s; use one of these, or extend the board's supported_os after a trial"
                        % (system or "an unknown system", ", ".join(given["supported_os"])))  # fmt: skip
    if given["arch"] and record["arch"] != given["arch"]:
        problems.append("this host is %s, the group is for %s" % (record["arch"], given["arch"]))
    if not given["mendable"]:
        remedy = "%s; do that by hand, or set manage_driver and allow_reboot"
        problems += [remedy % text for text in record.get("pending", [])]
    return problems


def as_told(given: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    """The record for a choice. Where a host's driver comes with prepare, what its group says of its devices counts until then."""
    if not given["memory_bytes"] or any(one.get("memory_total_bytes") for one in record.get("devices") or []):
        return record
    one = {"name": (given["names"] or [""])[0], "memory_total_bytes": given["memory_bytes"], "memory_used_bytes": 0}
    count = given["count"] or 1
    return dict(record, devices=[dict(one, index=n) for n in range(count)], count=count)


def native_problems(plan: list[dict[str, Any]], host_python: str) -> list[str]:
    """Environments that are named and not there; no Python for those that are to be made."""
    problems = []
    for service in plan:
        env = service["native_env"]
        if env and not os.access(os.path.join(os.path.expanduser(env), "bin/vllm"), os.X_OK):
            text = "service '%s': native_env %s has no bin/vllm; correct the path, or set it to null, and one is made"
            problems.append(text % (service["service"], env))
    if any(service["runtime"] == "native" and not service["native_env"] for service in plan):
        try:
            find_python(host_python)
        except Refusal as refusal:
            problems.append(str(refusal))
    return problems


def memory_problems(memory: dict[str, Any], total: int, more: int) -> list[str]:
    """Why a host's own memory is too small for the services of a CPU: `total` bytes of all, `more` of those that don't run yet."""
    limits = [size for size in (memory["total_bytes"], memory["limit_bytes"]) if size]
    if limits and total > min(limits):
        text = "memory: the services need %s, this host has %s; run fewer or set a smaller kv_cache_memory_bytes"
        return [text % (human(total), human(min(limits)))]
    if memory["available_bytes"] and more > memory["available_bytes"]:
        text = "memory: %s are needed, %s are available now; end something else or set a smaller kv_cache_memory_bytes"
        return [text % (human(more), human(memory["available_bytes"]))]
    return []


def disk_needs(given: dict[str, Any]) -> list[tuple[str, int, str]]:
    """[(path, bytes still to be written below it, how to set it)]."""
    root, models_root, plan = given["serving_root"], given["models_root"], given["plan"]
    needs = [
        (root, env_to_come(plan, root, given["env_bytes"]), "serving_root"),
        (models_root, models_to_come(plan, models_root, given["keep_source"]), "models_root"),
    ]
    size = images_to_come(plan, given["images_root"] or os.path.join(root, "images"), given["archives"])
    if size:
        _, docker_root, _ = run_tool(["docker", "info", "--format", "{{.DockerRootDir}}"])
        needs.append((docker_root.strip() or "/var/lib/docker", size, "data-root of the container engine"))
    return needs


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    root, plan, record = given["serving_root"], given["plan"], given["record"] or accelerator_record(given["kind"])
    for note in record.get("notes", []):
        module.warn(note)
    problems = host_problems(given, record)
    known = starts(root)
    record = as_told(given, record) if given["choose"] else record
    record = dict(record, rates=known_rates(root, record) if "devices" in record else {})
    board = dict(record, graphs=given["graphs"], square_mask=given["square_mask"])
    facts = {"ansible_facts": {"accelerators": record}}
    if given["choose"]:
        made = choices_of(plan, board, given["dtypes"], given["count"], given["replan"], known)
        return {"changed": False, "choices": made, "problems": [], "needs": {}, "disks": [], **facts}

    running = claims(root)
    mine = {s["service"]: running[s["service"]] for s in plan if s["service"] in running}
    problems += shm_problems([s for s in plan if s["runtime"] == "native" and s["service"] not in mine])
    places: dict = {}
    used: dict = {}
    if record["kind"] in ("gpu", "npu") and not record.get("pending"):
        places = assign(plan, record, mig_slices(record), root)
        used = taken(record, use_of(record["kind"]) if mine else Use(), list(mine.values()), places)
        problems += doubled(places)
    problems += leftover_problems(plan, running, places)
    if record["kind"] == "cpu":
        problems += named_problems(plan, allowed())
    for service in plan:
        problems += arch_problems(service, record) + bad(given["known_versions"], record, service)
        if service["service"] in places:
            problems += device_problems(service, record, places[service["service"]], used, known)
        problems += cpu_problems(service, record) if record["kind"] == "cpu" else []
        problem = port_problem(service, mine)
        problems += [problem] if problem else []
    problems += native_problems(plan, given["host_python"])
    sizes = {s["service"]: s["memory_bytes"] for s in plan} if record["kind"] == "cpu" else {}
    memory = sum(size for name, size in sizes.items() if name not in mine)
    problems += memory_problems(record["memory"], sum(sizes.values()), memory)
    disks, short = disk_problems(disk_needs(given))
    problems += short
    result = {
        "changed": False,
        "problems": problems,
        "needs": {"memory_bytes": memory, "disk_bytes": sum(row["needed_bytes"] for row in disks)},
        "disks": disks,
    }
    if given["explain"]:
        told = {"plan": plan, "record": board, "dtypes": given["dtypes"], "count": given["count"], "starts": known}
        result["sized"] = {
            s["service"]: explained(service=with_cache(s, given["placed"]), place=places.get(s["service"]), **told)
            for s in plan
        }
    if problems and not given["required"]:
        return dict(result, record=record)
    if problems:
        still = [
            one for one in deployed(root, [s["service"] for s in plan]) if one["running"]
        ]  # it may hold what is missing
        host = str(next((s["host"] for s in plan if s.get("host")), "HOST"))
        replicas: dict[str, list[str]] = {}
        for s in plan:
            replicas.setdefault(s.get("replica_of") or s["service"], []).append(s["service"])
        problems += beside(still, host, replicas)
        raise Refusal("this host does not fit the plan:\n- " + "\n- ".join(problems), **result)
    return dict(result, record=record, **facts)


def main() -> None:
    spec = {
        "plan": {"type": "list", "elements": "dict", "required": True},
        "kind": {"type": "str", "choices": ["cpu", "gpu", "npu"], "default": "cpu"},
        "record": {"type": "dict"},
        "serving_root": {"type": "path", "required": True},
        "models_root": {"type": "path", "required": True},
        "host_python": {"type": "str", "default": ""},
        "count": {"type": "int", "default": 0},
        "names": {"type": "list", "elements": "str", "default": []},
        "supported_os": {"type": "list", "elements": "str", "default": []},
        "arch": {"type": "str", "default": ""},
        "mendable": {"type": "bool", "default": False},
        "known_versions": {"type": "list", "elements": "dict", "default": []},
        "keep_source": {"type": "bool", "default": False},
        "images_root": {"type": "path"},
        "archives": {"type": "dict", "default": {}},
        "memory_bytes": {"type": "int", "default": 0},
        "choose": {"type": "bool", "default": False},
        "replan": {"type": "bool", "default": False},
        "dtypes": {"type": "list", "elements": "str", "default": ["bfloat16", "float16", "float32"]},
        "graphs": {"type": "int", "default": 0},
        "square_mask": {"type": "bool", "default": False},
        "placed": {"type": "dict", "default": {}},
        "explain": {"type": "bool", "default": False},
        "required": {"type": "bool", "default": True},
        "env_bytes": {"type": "int", "default": 3_400_000_000},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
