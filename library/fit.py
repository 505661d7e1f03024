#!/usr/bin/python
"""Module fit: does what is planned fit this host?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: fit
short_description: Check that the planned services fit a host, before anything is downloaded
description:
  - Compares memory, disk, ports, architecture and Python with what the plan needs, and says everything that is missing at once.
  - What already runs or lies there counts as there, so that a second run asks for nothing twice. Changes nothing.
  - Reads the chips itself, as M(accelerator_info) does, unless O(record) says what they are; the record is the fact RV(ansible_facts.chips) then.
options:
  plan: {description: The host's services (filter C(plan))., type: list, elements: dict, required: true}
  kind: {description: Which chips to look for., type: str, choices: [cpu, gpu, npu], default: cpu}
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
  env_bytes: {description: Disk that a native environment of ours takes, type: int, default: 3_000_000_000}
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
needs:
  description: Bytes of memory and disk that are still needed.
  returned: always
  type: dict
  sample: {memory_bytes: 2779302128, disk_bytes: 3002911000}
"""

import errno
import os
import pwd
import re
import socket
import struct
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.chips import chips
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import free_bytes, human, read_json
from ansible.module_utils.serving.guard import bad
from ansible.module_utils.serving.hosts import os_release
from ansible.module_utils.serving.pythons import find_python
from ansible.module_utils.serving.releases import running_release
from ansible.module_utils.serving.sizing import device_problems

SHM_BYTES = 192 << 20  # vLLM 0.32.0 asks for 160 MiB with one worker


def listener_inodes(port: int) -> set:
    """Socket inodes that listen on a TCP port, from /proc/net/tcp and tcp6."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            with open("/proc/net/%s" % name, encoding="ascii") as source:
                rows = [line.split() for line in source.readlines()[1:]]
        except OSError:
            continue
        for row in rows:
            if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port:
                found.add(row[9])
    return found


def owners(inodes: set) -> list:
    """(pid, user, command) of the processes that hold these sockets, as far as we may look."""
    wanted = {"socket:[%s]" % inode for inode in inodes}
    found = []
    for pid in sorted((int(p) for p in os.listdir("/proc") if p.isdigit())):
        base = "/proc/%d" % pid
        try:
            if not any(os.readlink(os.path.join(base, "fd", fd)) in wanted for fd in os.listdir(base + "/fd")):
                continue
            with open(base + "/cmdline", "rb") as source:
                command = source.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
            uid = os.stat(base).st_uid
        except OSError:
            continue
        try:
            user = pwd.getpwuid(uid).pw_name
        except KeyError:
            user = "uid %d" % uid
        found.append((pid, user, command))
    return found


def can_bind(address: str, port: int) -> int:
    """0 if the port can be bound, else the errno."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        try:
            probe.bind((address, port))
            probe.listen(1)
        except OSError as error:
            return error.errno or errno.EIO
    return 0


def port_problem(service: dict, ours: bool) -> str | None:
    """Who sits on the service's port, unless it is the service itself."""
    if ours:
        return None
    name, address, port = service["service"], service["address"], service["port"]
    code = can_bind(address, port)
    if code == 0:
        return None
    if code == errno.EADDRNOTAVAIL or code < 0:  # negative: the name has no address
        return "service '%s': this host has no address %s; set address to one of its own" % (name, address)
    if code == errno.EACCES:
        return "service '%s': port %d may not be bound by this user; use one from 1024 up" % (name, port)
    who = owners(listener_inodes(port))
    by = (
        "process %d of user %s: %s" % (who[0][0], who[0][1], who[0][2][:120])
        if who
        else "a process that this user may not see"
    )
    if who and "docker-proxy" in who[0][2]:
        by += " (docker ps shows its container; if there is none, `systemctl restart docker` frees it)"
    return "service '%s': port %d is taken by %s; end it, or give the service another port" % (name, port, by)


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


def memory_bytes(service: dict) -> int:
    """Memory that one service takes on a CPU host: weights, KV cache and what the engine's processes take."""
    args = service["engine_args"]
    parallel = int(args.get("tensor_parallel_size") or 1)  # each rank has a cache of that size
    return (
        int(service["model"]["bytes"])
        + int(args.get("kv_cache_memory_bytes") or 0) * parallel
        + int(service["overhead_bytes"] or 0)
    )


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    root, models_root, record = given["serving_root"], given["models_root"], given["record"] or chips(given["kind"])
    problems: list[str] = list(record["problems"])
    if given["count"] and record["count"] < given["count"]:
        problems.append("this host has %d devices, accelerator.count says %d; look for the lost one (dmesg, lspci), or correct the inventory"
                        % (record["count"], given["count"]))  # fmt: skip
    strangers = sorted({str(d["name"]) for d in record.get("devices", []) if d["name"] and given["names"]
                        and not any(re.search(name, d["name"]) for name in given["names"])})  # fmt: skip
    if strangers:
        problems.append("this host has %s, the group is for %s; put it into another group, or extend accelerator.names"
                        % (", ".join(strangers), " or ".join(given["names"])))  # fmt: skip
    system = os_release()["key"]
    if given["supported_os"] and system not in given["supported_os"]:
        problems.append("this host runs %s, supported are %s; use one of these, or extend accelerator.supported_os after a trial"
                        % (system or "an unknown system", ", ".join(given["supported_os"])))  # fmt: skip
    if given["arch"] and record["arch"] != given["arch"]:
        problems.append("this host is %s, the group is for %s" % (record["arch"], given["arch"]))
    if not given["mendable"]:
        problems += [
            "%s; do that by hand, or set manage_driver and allow_reboot" % text for text in record.get("pending", [])
        ]
    memory = total = disk = 0
    env_counted = False
    starting = [s for s in given["plan"] if s["runtime"] == "native" and running_release(root, s["service"]) is None]
    problems += shm_problems(starting)
    for service in given["plan"]:
        problems += arch_problems(service, record) + bad(given["known_versions"], record, service)
        running = running_release(root, service["service"]) is not None
        if record["kind"] in ("gpu", "npu") and not record.get("pending"):
            problems += device_problems(service, record, running)
        if record["kind"] == "cpu":
            total += memory_bytes(service)
            memory += 0 if running else memory_bytes(service)
        ref = read_json(os.path.join(models_root, ".refs", service["model"]["name"] + ".json"))
        if not ref:
            disk += int(service["model"]["bytes"])
        if service["native_env"] and not os.access(
            os.path.join(os.path.expanduser(service["native_env"]), "bin/vllm"), os.X_OK
        ):
            text = "service '%s': native_env %s has no bin/vllm; correct the path, or set it to null for an environment of ours"
            problems.append(text % (service["service"], service["native_env"]))
        if service["runtime"] == "native" and not service["native_env"] and not env_counted:
            env_counted = True
            envs = os.path.join(root, "envs")
            if not (
                os.path.isdir(envs)
                and any(os.path.exists(os.path.join(envs, e, ".complete.json")) for e in os.listdir(envs))
            ):
                disk += given["env_bytes"]
            try:
                find_python(given["host_python"])
            except Refusal as refusal:
                problems.append(str(refusal))
        problem = port_problem(service, running)
        if problem:
            problems.append(problem)

    limits = [b for b in (record["memory"]["total_bytes"], record["memory"]["limit_bytes"]) if b]
    if limits and total > min(limits):
        problems.append(
            "memory: the services need %s, this host has %s; run fewer or set a smaller kv_cache_memory_bytes"
            % (human(total), human(min(limits)))
        )
    elif record["memory"]["available_bytes"] and memory > record["memory"]["available_bytes"]:
        problems.append(
            "memory: %s are needed, %s are available now; end something else or set a smaller kv_cache_memory_bytes"
            % (human(memory), human(record["memory"]["available_bytes"]))
        )
    free = free_bytes(root)
    if disk > free:
        problems.append(
            "disk: %s are needed, %s are free below %s; free some, or set serving_root or models_root"
            % (human(disk), human(free), root)
        )
    result = {"changed": False, "problems": problems, "needs": {"memory_bytes": memory, "disk_bytes": disk}}
    if problems:
        raise Refusal("this host does not fit the plan:\n- " + "\n- ".join(problems), **result)
    return dict(result, ansible_facts={"chips": record})


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
        "env_bytes": {"type": "int", "default": 3_000_000_000},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
