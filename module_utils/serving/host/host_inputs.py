"""What a service is made of that lies on its host: mounted files and folders, and files that its options name.

Their content is part of the release, so that an edit restarts the service and says why. What that costs is bounded: a large file or
folder is known by sizes and times alone, a very large one by being there.
"""

from __future__ import annotations

import os
import stat
from typing import Any

from ansible.module_utils.serving.files import digest, sha256_file

READ_LIMIT = 64 << 20  # bytes of a file that is read
COUNT_LIMIT = 2000  # entries of a folder that is listed
ROW = ("name", "size", "mtime", "target")  # of each entry; a link to a file has that file's size and mtime behind them


def content_of(path: str) -> str:
    """What is at a path, in one word that changes when it does: `sha256:...`, `list:...`, or the kind of thing. OSError: nothing is.

    A folder with links is `list2:...`, where earlier versions wrote `list:` of the links alone.
    """
    found = os.stat(path)
    if stat.S_ISREG(found.st_mode):
        if found.st_size > READ_LIMIT:
            return "list:" + str(digest([found.st_size, found.st_mtime_ns]))
        try:
            return "sha256:" + str(sha256_file(path))
        except PermissionError:  # the service may run as somebody else
            return "list:" + str(digest([found.st_size, found.st_mtime_ns]))
    if stat.S_ISDIR(found.st_mode):
        rows = listing(path)
        if rows is None:
            return "folder"
        return ("list2:" if any(row[ROW.index("target")] for row in rows) else "list:") + str(digest(rows))
    return "special"


def listing(folder: str) -> list[list[Any]] | None:
    """[name, size, mtime, target] of what lies below a folder, in order; None for more than COUNT_LIMIT entries.

    A link to a file has that file's size and time beside its own, for who reads it reads the file; one to a folder is not followed.
    """
    rows: list[list[Any]] = []
    for base, folders, names in os.walk(folder):
        folders.sort()
        if len(rows) + len(names) + len(folders) > COUNT_LIMIT:
            return None
        for name in sorted(names + [one for one in folders if os.path.islink(os.path.join(base, one))]):
            path = os.path.join(base, name)
            try:
                found = os.lstat(path)
            except OSError:
                continue
            where = os.readlink(path) if stat.S_ISLNK(found.st_mode) else ""
            row = [os.path.relpath(path, folder), found.st_size, found.st_mtime_ns, where]
            if where and os.path.isfile(path):
                behind = os.stat(path)
                row += [behind.st_size, behind.st_mtime_ns]
            rows.append(row)
    return rows


def host_inputs(rows: list[dict[str, Any]], model: str | None) -> tuple[dict[str, str], list[str]]:
    """({path: content} of what counts, what is not there) of [{where, path or in_model, content, may_lack}].

    `model` is the published folder; None where there is none yet, and its files can't be looked for.
    """
    found: dict[str, str] = {}
    problems: list[str] = []
    for row in rows:
        where, inner = row["where"], row.get("in_model")
        if inner is not None:
            if model and not row.get("may_lack") and not os.path.exists(os.path.join(model, inner)):
                problems.append(
                    "%s names %s, which is not in the model's folder %s; correct it, or add the file to files of the row"
                    % (where, inner, model)
                )
            continue
        path = row["path"]
        try:
            content = content_of(path)
        except OSError as error:
            if row.get("may_lack"):
                continue
            problems.append(
                "%s names %s, which is not on this host (%s); put it there, or correct the row"
                % (where, path, error.strerror)
            )
            continue
        counts = os.path.isfile(path) if row["content"] == "file" else row["content"]
        if counts and content not in ("folder", "special"):
            found[path] = content
    return found, problems


def edited(inputs: dict[str, str]) -> list[str]:
    """A sentence for each file or folder of this host that is not as a release noted it: no rollback brings it back."""
    found = []
    for path, noted in sorted(inputs.items()):
        try:
            same = not path.startswith("/") or content_of(path) == noted or without_links(path) == noted
        except OSError:
            same = True  # what is gone is said elsewhere
        if not same:
            found.append(
                "%s has %s than that release had; put the old one back if that is meant" % (path, other(noted))
            )
    return found


def without_links(path: str) -> str | None:
    """A folder's content as earlier versions noted it: of a link only the link counts. None: it is no folder that is listed."""
    rows = listing(path) if os.path.isdir(path) else None
    return None if rows is None else "list:" + str(digest([row[: len(ROW)] for row in rows]))


def differs(old: str, new: str) -> str:
    """What can be said of an input whose notes differ: that of a folder holds sizes and times, not bytes."""
    if old.startswith("list:") and new.startswith("list2:"):
        return "now also covers the files that its links point to, or has other sizes or times"
    return "has " + other(old if old.startswith("list") else new)


def other(noted: str) -> str:
    """What is another one where a note of an input differs."""
    return "other sizes or times" if noted.startswith("list") else "other content"
