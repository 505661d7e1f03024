"""Filters that turn a service's record into what a container gets: `container_arguments`, `beyond_host`, and what the engine
gets: `options_file`, `flagscale_options`, `command_line`.

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

from planning import options
from planning.names import RIGHTS, check_address

Record = Mapping[str, Any]

LOG_SIZE, LOG_FILES = "20m", "3"


def fail(message: str) -> None:
    raise AnsibleFilterError(message)


def device_arguments(service: Record) -> list[str]:
    """Exactly the service's devices: by CDI name, or node by node with {index} standing for each."""
    found: list[str] = []
    devices = service["devices"] or []
    if service["device_access"] == "cdi":
        found += [f"--device=nvidia.com/gpu={index}" for index in devices]
    elif service["device_access"] == "nodes":
        for node in service["device_nodes"]:
            names = [node.replace("{index}", str(index)) for index in devices] if "{index}" in node else [node]
            found += [f"--device={name}" for name in names]
    if service["rdma"]:
        found += ["--device=/dev/infiniband", "--cap-add=IPC_LOCK", "--ulimit=memlock=-1:-1"]
    return found


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
    cache = service["engine_args"].get("kv_cache_memory_bytes")
    if service["kind"] != "cpu" or not cache or not service["overhead_bytes"]:
        return None
    parallel = int(service["engine_args"].get("tensor_parallel_size") or 1)
    return int(service["model"]["bytes"]) + int(cache) * parallel + int(service["overhead_bytes"])


def published(service: Record) -> str:
    """Where a container's port is published: docker takes addresses, IPv6 in brackets, and no names."""
    address = check_address(f"service '{service['service']}'", service["address"], True)
    return f"{'127.0.0.1' if address == 'localhost' else address}:{service['port']}:{service['port']}"


def container_arguments(service: Record, name: str, model_path: str, key_file: str, secret_file: str = "") -> list[str]:
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
    if "writable-root" not in service["rights"]:
        found.append("--read-only")
    if "host-network" in service["rights"]:
        found.append("--network=host")
    else:
        found.append(f"--publish={published(service)}")
    if service["shm_bytes"]:
        found.append(f"--shm-size={service['shm_bytes']}b")
    if (limit := memory_limit(service)) is not None:
        found += [f"--memory={limit}b", f"--memory-swap={limit}b"]
    found += device_arguments(service) + right_arguments(service)
    found += [
        bind("$here:/config:ro"),
        bind("$cache:/cache"),
        bind(f"{model_path}:/models/{service['model']['name']}:ro"),
    ]
    if service["api_key"]:
        found.append(bind(f"{key_file}:/run/api_key:ro"))
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
        if service["address"] not in ("localhost", "::1", "[::1]")
        and not str(service["address"]).startswith("127.")
        and (service["runtime"] == "native" or "host-network" in service["rights"])
    ]


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "beyond_host": beyond_host,
            "container_arguments": container_arguments,
            "options_file": options.options_file,
            "flagscale_options": options.flagscale_options,
            "command_line": options.command_line,
        }
