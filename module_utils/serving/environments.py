"""Python environments on a host: a name that always leads to a whole one, and words for what went wrong.

`path` is a link to a folder `path@<token>` beside it. A new environment is made in a folder of its own and takes the name by
one rename, so whatever fails on the way leaves the old one in use. Folders that processes still run from stay until these end.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import secrets
import subprocess
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import free_bytes, human, read_json, remove_tree, swap_link

MARKER = ".complete.json"


def whole(path: str, want: str) -> dict[str, Any] | None:
    """The marker of the environment at `path` if it is complete and made from the recipe with digest `want`."""
    try:
        found = read_json(os.path.join(path, MARKER))
    except (OSError, ValueError):
        return None
    good = (
        isinstance(found, dict)
        and found.get("digest") == want
        and isinstance(found.get("packages"), int)
        and os.access(os.path.join(path, "bin", "python"), os.X_OK)
    )
    return found if good else None


def folders(path: str) -> list[str]:
    """Every folder that has been made for the name `path`, also those that a killed run left."""
    return sorted(glob.glob(glob.escape(path) + "@*"))


def new_folder(path: str) -> str:
    return "%s@%s" % (path, secrets.token_hex(4))


def in_use(folder: str) -> bool:
    """Does a process run from this folder? Command lines name the interpreter; engines that rename themselves map its libraries."""
    inside = (os.path.realpath(folder) + "/").encode()
    for pid in (name for name in os.listdir("/proc") if name.isdigit()):
        for name in ("cmdline", "maps"):
            try:
                with open("/proc/%s/%s" % (pid, name), "rb") as source:
                    if inside in source.read():
                        return True
            except OSError:  # it ended, or belongs to somebody else
                continue
    return False


def publish(path: str, folder: str) -> None:
    """Give the name `path` to the environment in `folder`, in one rename. Earlier versions had a plain folder there: it moves aside."""
    if os.path.isdir(path) and not os.path.islink(path):
        os.rename(path, new_folder(path))
    swap_link(path, os.path.basename(folder))


def clean(path: str) -> None:
    """Remove what no name leads to and nobody runs from."""
    current = os.path.realpath(path)
    for folder in folders(path):
        if os.path.realpath(folder) != current and not in_use(folder):
            remove_tree(folder)
    remove_tree(path + ".installing")  # of earlier versions


# What an installer's first error means: (words of pip or uv, what to do), asked in this order. `advice` fills the braces.
HINTS = (
    (r"No space left on device|os error 28|Errno 28", "the disk is full: {free} are free below {folder}; make room and run again"),
    (r"Disk quota exceeded|os error 122", "this user's disk quota is used up; make room and run again"),
    (r"Read-only file system|os error 30", "{folder} is read-only; set serving_root to a folder that can be written"),
    (r"Permission denied|os error 13", "this user may not write or run files there; set serving_root to a folder of this user, or use become"),
    (r"(?i)hash mismatch|do not match the hashes", "the index serves another file than the lock names; take it from another index"),
    (
        r"invalid peer certificate|CERTIFICATE_VERIFY_FAILED|UnknownIssuer",
        "set SSL_CERT_FILE and PIP_CERT in fetch_environment to the CA of the index or the proxy",
    ),
    (r"407 Proxy|Proxy Authentication Required", "the proxy asks for a password; set HTTPS_PROXY in fetch_environment with it"),
    (r"(?i)\b40[13] (client error|unauthorized|forbidden)|status code 40[13]", "the index asks for credentials; put them into pip's configuration"),
    (
        r"no wheels with a matching|no version of torch==|distribution found for torch|[Rr]equires[- ]Python",
        "no index that was asked has a build for this Python ({python}); set host_python to another one, or torch_index to an index that has it",
    ),
    (
        r"(?i)dns error|failed to lookup|name or service not known|temporary failure in name|connection refused|timed out|connect error"
        r"|network is unreachable|NewConnectionError|error sending request",
        "the index can't be reached; it comes from pip's configuration (pip config list); behind a proxy set HTTPS_PROXY in fetch_environment, "
        "for a host without a route make a bundle (playbooks/bundle_env.yml)",
    ),
    (r"No matching distribution|no version of|not found in the package registry", "the index of pip's configuration (pip config list) lacks it"),
)  # fmt: skip
FIRST = re.compile(
    "\\s*(?:(?:error|ERROR|Traceback|Caused by)\\b|\u00d7)"
)  # older uv begins with a multiplication sign


def masked(text: str) -> str:
    """Text without passwords of URLs."""
    return re.sub(r"(://)\S*@", r"\1***@", text)


def decisive(output: str) -> str:
    """The lines of an installer's output that say why: its first error with what belongs to it, at most eight lines."""
    lines = [line.rstrip() for line in output.strip().splitlines() if line.strip()]
    first = next((number for number, line in enumerate(lines) if FIRST.match(line)), None)
    kept = lines[-8:] if first is None else lines[first : first + 8]
    return masked("\n".join(kept))


def advice(output: str, folder: str, python: str = "") -> str:
    """What an operator does about an installer's error."""
    for pattern, remedy in HINTS:
        if re.search(pattern, output):
            return remedy.format(free=human(free_bytes(folder)), folder=folder, python=python or "see host_python")
    return "the package index comes from pip's configuration (pip config list)"


def run(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end; one that can't be started is an exit code of 127 with the reason."""
    try:
        return subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", "error: %s: %s" % (command[0], error.strerror))


def must(command: list[str], env: dict[str, str], what: str, folder: str, python: str = "") -> str:
    """Run, or refuse with the tool's first error and what helps."""
    done = run(command, env)
    if done.returncode != 0:
        raise Refusal(failure(done, what, folder, python))
    return done.stdout


def failure(done: subprocess.CompletedProcess[str], what: str, folder: str, python: str = "") -> str:
    output = done.stderr.strip() or done.stdout.strip()
    return "%s failed (exit code %d); %s:\n%s" % (
        what,
        done.returncode,
        advice(output, folder, python),
        decisive(output),
    )


def unhashed(lock: str) -> list[str]:
    """Names of a lock's entries without a hash: they would be believed whatever the index serves."""
    text = re.sub(r"\\\n", " ", lock)
    entries = [line.split("#")[0].strip() if line.startswith("#") else line.strip() for line in text.splitlines()]
    return [
        entry.split("==")[0].split(" ")[0]
        for entry in entries
        if entry and not entry.startswith("-") and "--hash=sha256:" not in entry
    ]


@contextlib.contextmanager
def umask(mask: int) -> Any:
    """Whatever the caller's umask is: others must be able to read an environment, and nobody else to write it."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
