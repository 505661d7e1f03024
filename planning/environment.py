"""Variables of a service's process: names, values as the engine reads them, and secrets, which no record holds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .rows import Collected, Row, fail, type_name

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SHORTEST = 8  # characters of a secret; Ansible hides it wherever it stands, so that a short one would garble results
# Variables that belong to keys of the row or to us: what to do instead.
RESERVED = {
    "VLLM_API_KEY": "use the row's key 'api_key'",
    "CUDA_VISIBLE_DEVICES": "use the row's key 'devices'",
    "CUDA_DEVICE_ORDER": "devices are numbered by bus, and the row's key 'devices' takes them",
    "NVIDIA_VISIBLE_DEVICES": "use the row's key 'devices'",
    "ASCEND_VISIBLE_DEVICES": "use the row's key 'devices'",
    "GUARD_PATHS": "use the row's key 'paths'",
    "GUARD_KEYS": "use the row's key 'api_key'",
    "USE_FLAGGEMS": "use the row's key 'flaggems'",
    "VLLM_FL_FLAGOS_WHITELIST": "use the row's key 'flaggems': {allow: [...]}",
    "VLLM_FL_FLAGOS_BLACKLIST": "use the row's key 'flaggems': {deny: [...]}",
    "VLLM_SERVER_DEV_MODE": "it opens paths by which callers change the server",
    "PATH": "use 'native_env', or 'activate: export PATH=...' in an image",
    "PYTHONPATH": "use 'native_env', or 'activate: export PYTHONPATH=...' in an image",
    "PYTHONHOME": "use 'native_env', or 'activate' in an image",
    "HOME": "it is /tmp in a container; use the variable that the program has for its folder",
    "TMPDIR": "the service has a folder of its own",
    "BASH_ENV": "use the row's key 'activate'",
    "ENV": "use the row's key 'activate'",
    **dict.fromkeys(
        ("IFS", "UID", "EUID", "PPID", "SHELLOPTS", "BASHOPTS", "BASH_VERSINFO", "BASHPID", "GROUPS", "FUNCNAME", "DIRSTACK", "_"),
        "it is the shell's own",
    ),
    "here": "`start` finds its own folder by it",
    **dict.fromkeys(("GUARD_OWNER_KEYS", "GUARD_OWNER_PATHS"), "use the row's key 'adapters_at_runtime'"),
    "GROUP_INTERFACE": "it follows from the addresses of the service's hosts",
}  # fmt: skip
# What templates set besides: a row's env may say otherwise, which `validate` and reports show; as a secret nobody would see it.
SHOWN = frozenset((
    "ASCEND_RT_VISIBLE_DEVICES", "DO_NOT_TRACK", "FLAGGEMS_CACHE_DIR", "FLAGGEMS_ENABLE_OPLIST_PATH", "FLASHINFER_WORKSPACE_BASE", "GLOO_SOCKET_IFNAME",
    "HCCL_IF_IP", "HCCL_SOCKET_IFNAME", "HF_HOME", "HF_HUB_OFFLINE", "LD_LIBRARY_PATH", "NCCL_SOCKET_IFNAME", "SGLANG_CACHE_DIR", "SGLANG_DG_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR", "TP_SOCKET_IFNAME", "TRANSFORMERS_OFFLINE", "TRITON_CACHE_DIR", "VLLM_CACHE_ROOT", "VLLM_CONFIG_ROOT",
    "VLLM_CPU_OMP_THREADS_BIND", "VLLM_HOST_IP", "VLLM_MEDIA_URL_ALLOW_REDIRECTS", "VLLM_NO_USAGE_STATS", "VLLM_RPC_BASE_PATH", "XDG_CACHE_HOME",
))  # fmt: skip
SECRET_WORDS = {"TOKEN", "KEY", "APIKEY", "PASSWORD", "PASSWD", "PASS", "SECRET", "CREDENTIAL", "CREDENTIALS"}


def looks_secret(name: str, value: str) -> bool:
    """Would a person call this variable a secret? Numbers, switches and paths aren't."""
    if value.lower() in ("", "on", "off", "true", "false", "auto", "none") or value.startswith("/"):
        return False
    if re.search(r"://[^/\s:@]{1,200}:[^/\s@]{1,200}@|^(hf_|sk-|gh[opusr]_|glpat-|nvapi-)[\w-]{16,}$", value):
        return True  # a login in an address, a token by its beginning
    return bool(SECRET_WORDS & set(name.upper().split("_"))) and not re.fullmatch(r"[\d.]+", value)


def check_name(where: str, table: str, name: Any) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        shown = f"{table}.{name}"
        if table == "secret_env":  # somebody may have written NAME=value, or the value alone
            shown = "secret_env: a name " + (
                f"of {len(name)} characters" if isinstance(name, str) else f"of type {type_name(name)}"
            )
        fail(f"{where}: {shown} is no name of a variable; letters, digits and _ make one, a digit not first")
    if name in RESERVED:
        fail(f"{where}: {table}.{name} can't be set there; {RESERVED[name]}")


def can_be_held(value: str) -> bool:
    """Can a variable hold the text? No character 0, and nothing that UTF-8 has no bytes for."""
    return not re.search("[\0\ud800-\udfff]", value)


def value_text(where: str, name: str, value: Any) -> str:
    """A value as the process gets it: true is 1 and false 0, as vLLM's own variables are read (`int()`)."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    if not isinstance(value, str):
        fail(f"{where}: env.{name} is a {type_name(value)}, but must be text; quote it")
    if not can_be_held(value):
        fail(f"{where}: env.{name} has a character 0 or half a character, which no variable can hold")
    return str(value)


def check_env(where: str, env: Mapping[Any, Any]) -> tuple[dict[str, str], list[str]]:
    """({name: text}, warnings about booleans) of a row's env. Raises Faults."""
    found, out = Collected(), dict[str, str]()
    notes = []
    for name, value in env.items():
        before = len(found.faults)
        found.run(check_name, where, "env", name)
        text = found.run(value_text, where, name, value)
        if len(found.faults) > before:
            continue
        out[str(name)] = text
        if isinstance(value, bool) and not name.startswith(("VLLM_", "HF_", "TRANSFORMERS_")):
            notes.append(
                f"env.{name} is {str(value).lower()} in YAML, which also on, off, yes and no are; it becomes {text}"
            )
    found.end()
    return out, notes


def check_secrets(
    where: str, secrets: Mapping[Any, Any], env: Mapping[str, Any], follows: Mapping[str, Any] | None = None
) -> Row:
    """A row's secret_env. `env`: the row's; `follows`: the same with what follows from the row. Raises Faults, which say no value."""
    found = Collected()
    for name, value in secrets.items():
        before = len(found.faults)
        found.run(check_name, where, "secret_env", name)
        if len(found.faults) > before:
            continue
        if not isinstance(value, str):
            found.run(fail, f"{where}: secret_env.{name} is a {type_name(value)}, but must be text; quote it")
        elif len(value.strip()) < SHORTEST or not can_be_held(value):
            found.run(
                fail,
                f"{where}: secret_env.{name} must have at least {SHORTEST} characters beside white space, as secrets do; what is no secret belongs into env",
            )
        if name in env:
            found.run(fail, f"{where}: {name} stands in env and in secret_env; keep it in secret_env alone")
        elif name in SHOWN or name in (follows or ()):
            found.run(
                fail,
                f"{where}: secret_env.{name} can't be set there; the service has it without being told, and it is no secret; leave it out, or set it in env",
            )
    found.end()
    return {str(name): str(value) for name, value in secrets.items()}
