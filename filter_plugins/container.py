"""Filters that turn a service's record into what a container gets: `container_arguments`, `beyond_host`, and what the engine
gets: `options_file`, `options_mapping`, `command_line`, `knows_option`.

Least privilege is the rule: exact devices, no capability, no new privileges, a read-only root, private IPC, a published
port and nothing else. Whatever a row asks for beyond stands in its `rights`, one word each, and the report lists it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning import option_forms
from planning.addresses import loopback
from planning.names import RIGHTS, check_address

Record = Mapping[str, Any]

LOG_SIZE, LOG_FILES = "20m", "3"
QUEUE_BYTES = 256 << 20  # a queue of vLLM's to or from its workers takes 160 MiB


def shared_memory(service: Record) -> int | None:
    """Bytes of /dev/shm: the row's or the board's; else, where ranks talk through it, room for their queues. None: Docker's 64 MiB."""
    if service["shm_bytes"]:
        return int(service["shm_bytes"])
    widths = service["widths"]
    return QUEUE_BYTES * (int(widths["devices"]) + 1) if widths["ranks"] > 1 else None


def fail(message: str) -> None:
    raise AnsibleFilterError(message)


def device_arguments(service: Record, found: Record | None = None) -> list[str]:
    """Exactly the service's devices: by CDI name, or node by node with {index} standing for each.

    `found` is what module service_devices says of them on their host; without it the plan's names are used.
    """
    out: list[str] = []
    place = found or {}
    devices = place.get("names") or service["devices"] or []
    if service["device_access"] == "cdi":
        out += [f"--device=nvidia.com/gpu={name}" for name in place.get("cdi") or devices]
    elif service["device_access"] == "nodes":
        for node in service["device_nodes"]:
            names = [one_node(node, name) for name in devices] if "{index}" in node else [node]
            out += [f"--device={name}" for name in names]
    if service["rdma"]:
        out += ["--device=/dev/infiniband", "--cap-add=IPC_LOCK", "--ulimit=memlock=-1:-1"]
    cores = place.get("cores")
    if cores:
        out.append(f"--cpuset-cpus={cores['cpus']}")
        if cores["mems"]:
            out.append(f"--cpuset-mems={cores['mems']}")
    return out


def one_node(node: str, name: Any) -> str:
    """The device node of one NPU. A vNPU is vdavinciN on its host and davinciN inside."""
    if isinstance(name, str) and name.startswith("vdavinci"):
        return f"/dev/{name}:/dev/{name[1:]}"
    return node.replace("{index}", str(name))


def right_arguments(service: Record) -> list[str]:
    found: list[str] = []
    for right in service["rights"]:
        if match := re.fullmatch(r"cap:([A-Z_]+)", str(right)):
            found.append(f"--cap-add={match[1]}")
        elif right == "seccomp:unconfined":
            found.append("--security-opt=seccomp=unconfined")
        elif right not in ("writable-root", "host-network") and not str(right).startswith("mount:"):
            fail(f"service '{service['service']}': right '{right}' is unknown; there are {', '.join(RIGHTS)}")
    return found


def memory_limit(service: Record) -> int | None:
    """Bytes that the container may take, where weights, KV cache and overhead are all known: a CPU's case."""
    if not service["engine_args"].get("kv_cache_memory_bytes") or not service["overhead_bytes"]:
        return None
    limit: int | None = service["memory_bytes"]
    return limit


def published(service: Record) -> str:
    """Where a container's port is published: docker takes addresses, IPv6 in brackets, and no names."""
    address = check_address(f"service '{service['service']}'", service["address"], True)
    return f"{'127.0.0.1' if address == 'localhost' else address}:{service['port']}:{service['port']}"


def container_arguments(
    service: Record,
    name: str,
    model_path: str,
    key_file: str,
    devices: Record | None = None,
    secret_file: str = "",
    adapters: Mapping[str, str] | None = None,
    live: Mapping[str, str] | None = None,
) -> list[str]:
    """Options of `docker run` for one service, in a fixed order. `$here` is the release's folder, `$cache` the caches'."""
    found = [
        f"--name={name}",
        f"--label=vllm-ansible.service={service['service']}",
        "--init",
        "--pull=never",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges",
        "--ipc=private",
        "--tmpfs=/tmp:rw,nosuid,nodev,exec,mode=1777",
        "--log-driver=local",
        f"--log-opt=max-size={LOG_SIZE}",
        f"--log-opt=max-file={LOG_FILES}",
        f"--stop-timeout={int(service['drain_timeout']) + 15}",
    ]
    if not service["engine_facts"]["keep_entrypoint"]:
        found.append("--entrypoint=")  # the image's own is a server, and would take the command for its arguments
    if signal := service["engine_facts"]["stop_signal"]:
        found.append(f"--stop-signal={signal}")
    if "writable-root" not in service["rights"]:
        found.append("--read-only")
    if "host-network" in service["rights"]:
        found.append("--network=host")
        if service["group"]:
            found.append("--env=GROUP_INTERFACE")  # group.py's own
    else:
        found.append(f"--publish={published(service)}")
    if size := shared_memory(service):
        found.append(f"--shm-size={size}b")
    if (limit := memory_limit(service)) is not None:
        found += [f"--memory={limit}b", f"--memory-swap={limit}b"]
    found += device_arguments(service, devices) + right_arguments(service)
    found += [
        bind("$here:/config:ro"),
        bind("$cache:/cache"),
        bind(f"{model_path}:/models/{service['model']['name']}:ro"),
        *(bind(f"{path}:/models/{name}:ro") for name, path in sorted((adapters or {}).items())),
    ]
    if service["api_key"]:
        found.append(bind(f"{key_file}:/run/api_key:ro"))
    if live:
        found += [bind(f"{live['key_seen']}:/run/owner_key:ro"), bind(f"{live['adapters']}:/adapters:ro")]
    if service["secret_env"]:
        found.append(bind(f"{secret_file}:/run/secret_env:ro"))
    found += [bind(mount) for mount in service["mounts"]]
    return found


def bind(mount: str) -> str:
    """`source:target[:options]` as an option that fails where the source is missing; --volume would make an empty folder of it.

    Labels of SELinux (z, Z) are known to --volume alone.
    """
    if {"z", "Z"} & set(mount.partition(":")[2].partition(":")[2].split(",")):
        return f"--volume={mount}"
    source, target, *rest = mount.split(":")
    options = rest[0].split(",") if rest else []
    found = [f"--mount=type=bind,source={source},target={target}"]
    for option in options:
        if option == "ro":
            found.append("readonly")
        elif option != "rw":
            found.append(f"bind-propagation={option}")
    return ",".join(found)


def beyond_host(plan: list[Record]) -> list[Record]:
    """Services that callers from outside reach through the host's firewall: Docker's rules come before it for published ports."""
    return [
        service
        for service in plan
        if not loopback(service["address"]) and (service["runtime"] == "native" or "host-network" in service["rights"])
    ]


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "beyond_host": beyond_host,
            "container_arguments": container_arguments,
            "options_file": option_forms.options_file,
            "options_mapping": option_forms.options_mapping,
            "command_line": option_forms.command_line,
            "knows_option": option_forms.knows,
        }
