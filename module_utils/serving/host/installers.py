"""What the output of pip and uv means. No Ansible here: scripts/setup_venv.py reads it before there is any."""

from __future__ import annotations

import re

# What an installer's first error means: (words of pip or uv, what to do), asked in this order. `advice` fills the braces.
HINTS = (
    (r"No space left on device|os error 28|Errno 28", "the disk is full: {free} are free below {folder}; make room and run again"),
    (r"Disk quota exceeded|os error 122", "this user's disk quota is used up; make room and run again"),
    (r"Read-only file system|os error 30", "{folder} is read-only; {place} that can be written"),
    (r"Permission denied|os error 13", "this user may not write or run files there; {place} of this user{become}"),
    (r"(?i)hash mismatch|do not match the hashes", "the index serves another file than the lock names; take it from another index"),
    (
        r"invalid peer certificate|CERTIFICATE_VERIFY_FAILED|UnknownIssuer",
        "set SSL_CERT_FILE and PIP_CERT{inside} to the CA of the index or the proxy",
    ),
    (r"407 Proxy|Proxy Authentication Required", "the proxy asks for a password; set HTTPS_PROXY{inside} with it"),
    (r"(?i)\b40[13] (client error|unauthorized|forbidden)|status code 40[13]", "the index asks for credentials; put them into pip's configuration"),
    (
        r"(?i)dns error|failed to lookup|name or service not known|temporary failure in name|connection refused|timed out|connect error"
        r"|network is unreachable|NewConnectionError|error sending request",
        "the index can't be reached; it comes from pip's configuration (pip config list); behind a proxy set HTTPS_PROXY{inside}{bundle}",
    ),
    (
        r"no wheels with a matching|no version of torch==|distribution found for torch|[Rr]equires[- ]Python",
        "no index that was asked has a build for this Python ({python}); {other}",
    ),
    (r"No matching distribution|no version of|not found in the package registry", "the index of pip's configuration (pip config list) lacks it"),
)  # fmt: skip
# Where a remedy is applied: to a service's host, or in the shell that makes the controller's own .venv.
HOST = {
    "place": "set serving_root to a folder",
    "become": ", or use become",
    "inside": " in fetch_environment",
    "bundle": ", for a host without a route make a bundle (playbooks/bundle_env.yml)",
    "other": "set host_python to another one, or torch_index to an index that has it",
}
SHELL = {
    "place": "put the checkout into a folder",
    "become": "",
    "inside": " in this shell",
    "bundle": "",
    "other": "take another one: make PYTHON=python3.12 ...",
}
FIRST = re.compile(
    "\\s*(?:(?:error|ERROR|Traceback|Caused by)\\b|\u00d7)"
)  # older uv begins with a multiplication sign


def masked(text: str) -> str:
    """Text without passwords of URLs."""
    return re.sub(r"(://)\S*@", r"\1***@", text)


def decisive(output: str) -> str:
    """The lines of an installer's output that say why: its first error with what belongs to it, without a traceback behind it, at most eight lines."""
    lines = [line.rstrip() for line in output.strip().splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if FIRST.match(line)), None)
    kept = lines[-8:] if first is None else lines[first : first + 8]
    trace = next((number for number, line in enumerate(kept) if number and line.startswith("Traceback")), None)
    kept = kept[:trace]  # where whoever called pip was
    return masked("\n".join(kept))


def advice(output: str, folder: str, free: str, python: str = "", controller: bool = False) -> str:
    """What an operator does about an installer's error; `folder` is where it writes, `free` the room there, `python` what it runs with.

    `controller`: it makes the controller's own environment, to which no setting of the inventory applies.
    """
    for pattern, remedy in HINTS:
        if re.search(pattern, output):
            where = SHELL if controller else HOST
            return remedy.format(free=free, folder=folder, python=python or "see host_python", **where)
    return "the package index comes from pip's configuration (pip config list)"
