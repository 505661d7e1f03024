"""Filter `project_problem`: may somebody else write what this controller is about to run as its user, and as root on the hosts?"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterable, Iterator
from typing import Any

# What Ansible loads code, data and templates from. Its own caches, models and reports are none of these.
LOADED = (
    "action_plugins", "callback_plugins", "catalogue", "fetching", "filter_plugins", "inventory", "judging", "library", "lookup_plugins", "module_utils",
    "planning", "playbooks", "references", "reporting", "roles", "templates", "vars_plugins",
)  # fmt: skip


def owner_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user id {number}"


def loaded(root: str) -> Iterator[str]:
    """The project's folder, its files, and everything below the folders that Ansible loads."""
    yield root
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if entry.is_file(follow_symlinks=False):
            yield entry.path
        elif entry.is_dir(follow_symlinks=False) and entry.name in LOADED:
            for folder, _, files in os.walk(entry.path):
                yield folder
                yield from (os.path.join(folder, name) for name in files)


def project_problem(root: str, owners: Iterable[Any] = ()) -> str:
    """A sentence, or nothing. `owners`: names or numbers of users who may own it beside this one, root, and who called sudo."""
    root = os.path.realpath(root)
    trusted = {0, os.geteuid(), *({int(os.environ["SUDO_UID"])} if os.environ.get("SUDO_UID", "").isdigit() else ())}
    for owner in owners:
        try:
            trusted.add(int(owner) if str(owner).isdigit() else pwd.getpwnam(str(owner)).pw_uid)
        except KeyError:
            return f"project_owners names '{owner}', who is no user of this controller"
    above = os.path.dirname(root)
    while True:
        mode = os.stat(above).st_mode
        if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
            return f"everybody may replace this project: the folder {above} above it is writable for all; run: chmod o-w {above}"
        if above == "/":
            break
        above = os.path.dirname(above)
    for path in loaded(root):
        about = os.lstat(path)
        if stat.S_ISLNK(about.st_mode):
            continue
        if about.st_mode & stat.S_IWOTH:
            return f"everybody may change what is run here: {path} is writable for all ({stat.S_IMODE(about.st_mode):04o}); run: chmod -R o-w {root}"
        if about.st_uid not in trusted:
            name = owner_name(about.st_uid)
            return (
                f"{path} belongs to {name}, who could change what runs here as {owner_name(os.geteuid())} and on the hosts; "
                f'run: chown -R {owner_name(os.geteuid())} {root}, or trust {name}: -e \'{{"project_owners": ["{about.st_uid}"]}}\''
            )
    return ""


def folder_problems(folders: dict[str, str]) -> list[str]:
    """A sentence for each folder {variable: path} that this user can't write, or could not make."""
    found = []
    for name, path in sorted(folders.items()):
        there = os.path.realpath(os.path.expanduser(path))
        while not os.path.exists(there):
            there = os.path.dirname(there)
        if not os.path.isdir(there) or not os.access(there, os.W_OK | os.X_OK):
            who = owner_name(os.geteuid())
            found.append(f"{name} is {path}, which {who} can't write ({there}); set {name} to a folder of {who}")
    return found


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"folder_problems": folder_problems, "project_problem": project_problem}
