"""Weights that lie on this host already: a folder, or a published model that is to be converted."""

from __future__ import annotations

import os

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights import folders, manifests
from ansible.module_utils.serving.weights.choice import Wanted, is_junk
from ansible.module_utils.serving.weights.listing import Entry, Listing, SourceFailed, checked
from ansible.module_utils.serving.weights.selection import content_of, taken


class Directory:
    """A folder on the host: a disk, NFS, a hub client's cache. Its content is read once, while it is copied.

    `known` is the sha256 of what was read from files that have not changed since: {name: (state, sha256)}. A list of sums in the
    folder is only a claim: bytes that don't agree with it are an error, and it never stands for bytes that weren't read.
    """

    kind = "directory"

    def __init__(self, path: str, wanted: Wanted, known: dict[str, tuple[list[int], str]] | None = None) -> None:
        self.repo, self.requested, self.wanted = os.path.expanduser(path), None, wanted
        self.known = known or {}

    def listing(self) -> Listing:
        try:
            found = folders.list_files(self.repo)
            seen = folders.fingerprint(found)
            sums = folders.read_sums(found[manifests.SUMS]) if manifests.SUMS in found else {}
        except Refusal as refusal:
            raise SourceFailed(str(refusal)) from None
        entries = []
        for name, path in found.items():
            state, digest = self.known.get(name, ([], None))
            entry = Entry(
                name, seen[name][0], digest if state == seen[name] else None, path=path, stated=sums.get(name)
            )
            if entry.sha256 and entry.stated and entry.sha256 != entry.stated:
                raise SourceFailed(disagreement(path, entry.sha256, entry.stated))
            entries.append(entry)
        try:
            rows_taken = taken(entries, self.wanted, lambda entry: content_of(entry, {}), local=True)
            notes = manifests.check_shards({entry.name: entry.path or "" for entry in rows_taken["files"]})
        except (Refusal, SourceFailed) as refusal:
            raise SourceFailed(str(refusal)) from None
        for name in sums:
            if name not in found and not is_junk(name) and not os.path.isfile(os.path.join(self.repo, name)):
                raise SourceFailed("%s lists %s, which is not in %s" % (manifests.SUMS, name, self.repo))
        rows_taken["notes"] += tuple(notes)
        return Listing(self.kind, self.repo, None, "", fingerprint=seen, **rows_taken)


def disagreement(path: str, found: str, stated: str) -> str:
    return "%s is damaged: sha256 is %s, %s says %s; restore the file at the source, or correct or remove %s there" % (
        path,
        found,
        manifests.SUMS,
        stated,
        manifests.SUMS,
    )


class Published:
    """A published model of this host, to be converted; its manifest states every digest."""

    kind = "published"

    def __init__(self, path: str) -> None:
        self.repo, self.requested = path, None

    def listing(self) -> Listing:
        manifest = manifests.read_manifest(self.repo)
        if manifest is None:
            raise SourceFailed("%s has no manifest" % self.repo)
        entries = (
            Entry(name=name, size=row["bytes"], sha256=row["sha256"], path=os.path.join(self.repo, name))
            for name, row in manifest["files"].items()
        )
        return Listing(self.kind, self.repo, None, manifest.get("commit") or manifest["revision"], checked(entries))
