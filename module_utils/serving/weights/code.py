"""Python of a model's repository: what somebody has read is what may be published, and nothing else.

A row's `code` has {file: digest} of what add_model found, as the hub stated it: sha256 (64 digits), or git's sha1 of the blob (40).
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import Iterable, Mapping

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.listing import Entry

AT_THE_TOP = re.compile(r"[\w-]+\.py")  # where a repository's own modules look for each other
REMEDY = "read it, and pin it: ansible-playbook playbooks/add_model.yml with -e trust_remote_code=true -e update=true"


def wrong(code: Mapping[str, str], file: str, found: str) -> str:
    return (
        "its code %s has the digest %s, and the row in models.yml has %s: it was changed since somebody read it; %s"
        % (
            file,
            found,
            code[file],
            REMEDY,
        )
    )


def unlike(code: Mapping[str, str], names: Iterable[str]) -> str:
    """What is wrong with the names of a model's files; empty where nothing is, or where no code is pinned."""
    there = set(names)
    for file in sorted(code):
        if file not in there:
            return "its code %s is gone, which the row in models.yml has as %s; %s" % (file, code[file], REMEDY)
    for file in sorted(there if code else ()):
        if AT_THE_TOP.fullmatch(file) and file not in code:
            return "its code %s is new: the row in models.yml does not have it; %s" % (file, REMEDY)
    return ""


def of_listing(code: Mapping[str, str], files: Iterable[Entry]) -> str:
    """What is wrong, as far as a source's own digests tell before a byte has moved."""
    entries = {entry.name: entry for entry in files}
    fault = unlike(code, entries)
    for file in sorted(code if not fault else ()):
        stated = {len(one): one for one in (entries[file].sha256, entries[file].git_sha1) if one}
        found = stated.get(len(code[file]))
        if found and found != code[file]:
            return wrong(code, file, found)
    return fault


def of_folder(code: Mapping[str, str], folder: str, names: Iterable[str]) -> str:
    """What is wrong by the bytes that lie in a folder."""
    fault = unlike(code, names)
    for file in sorted(code if not fault else ()):
        with open(os.path.join(folder, file), "rb") as source:
            data = source.read()
        found = digest(data, len(code[file]))
        if found != code[file]:
            return wrong(code, file, found)
    return fault


def digest(data: bytes, length: int = 64) -> str:
    """A file's digest of the kind that has so many digits."""
    if length == 40:
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
    return hashlib.sha256(data).hexdigest()


def check_published(name: str, code: Mapping[str, str], folder: str, names: Iterable[str]) -> None:
    """Refusal where a model that is published already has other code than its row."""
    fault = of_folder(code, folder, names)
    if fault:
        raise Refusal("model '%s' in %s: %s" % (name, folder, fault))
