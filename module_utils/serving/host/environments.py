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
from ansible.module_utils.serving.host.installers import advice, decisive
from ansible.module_utils.serving.processes import runs_from

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


def publish(path: str, folder: str) -> None:
    """Give the name `path` to the environment in `folder`, in one rename. Earlier versions had a plain folder there: it moves aside."""
    if os.path.isdir(path) and not os.path.islink(path):
        os.rename(path, new_folder(path))
    swap_link(path, os.path.basename(folder))


def clean(path: str) -> None:
    """Remove what no name leads to and nobody runs from."""
    current = os.path.realpath(path)
    for folder in folders(path):
        if os.path.realpath(folder) != current and not runs_from(folder):
            remove_tree(folder)
    remove_tree(path + ".installing")  # of earlier versions


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
        advice(output, folder, human(free_bytes(folder)), python),
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
