"""The folder where a revision gathers, and the files that are verified and durable in it."""

from __future__ import annotations

import glob
import json
import os
import threading
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import (
    digest,
    free_bytes,
    fsync_dir,
    human,
    naming,
    remove_tree,
    sha256_file,
    write_json,
)
from ansible.module_utils.serving.weights import folders, manifests
from ansible.module_utils.serving.weights.choice import Wanted
from ansible.module_utils.serving.weights.headers import read_header
from ansible.module_utils.serving.weights.listing import Entry, Listing, SourceFailed
from ansible.module_utils.serving.weights.model_state import SUFFIX, on_disk

TOOL = "3"  # of manifests; shards that an older one has converted are not reused


class Staging:
    """The folder where a revision gathers, and the rows of the files that are verified and durable in it."""

    def __init__(self, root: str, key: str, revision: str) -> None:
        self.root, self.key = root, key
        self.folder = os.path.join(root, ".%s@%s.partial" % (key, revision))
        self.lock = threading.Lock()
        self.rows: dict[str, dict[str, Any]] = {}
        self.reused: list[str] = []
        self.known: tuple[dict[str, list[Any]], dict[str, list[Any]]] | None = None
        self.notes: list[str] = []  # what is odd, in sentences
        self.wanted = Wanted()

    def open(self) -> None:
        if os.path.islink(self.folder) or not os.path.isdir(self.folder):  # what a link leads to is not ours to tidy
            remove_tree(self.folder)
        os.makedirs(self.folder, exist_ok=True)
        for own in (self.path(manifests.DONE), self.path(manifests.LISTING)):
            if os.path.islink(own) or (os.path.lexists(own) and not os.path.isfile(own)):  # a pipe would be waited for
                remove_tree(own)
        self.rows = self.read(self.folder)

    @staticmethod
    def read(folder: str) -> dict[str, dict[str, Any]]:
        """Rows of `.done` whose files still are as they were; a torn or damaged line is no row."""
        rows: dict[str, dict[str, Any]] = {}
        path = os.path.join(folder, manifests.DONE)
        if not os.path.isfile(path):  # a pipe would be waited for
            return rows
        try:
            with open(path, encoding="utf-8", errors="replace") as source:
                for line in source:
                    try:
                        row = json.loads(line)
                        said = row.pop("sum", None)  # versions before 0.2 wrote none
                        if not row["sha256"] or said not in (None, digest(row)):
                            continue
                        stat = os.stat(os.path.join(folder, row["name"]))
                        if (stat.st_size, stat.st_mtime_ns) == (row["bytes"], row["mtime_ns"]):
                            rows[row["name"]] = row
                    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
                        continue
        except FileNotFoundError:
            pass
        return rows

    def describe(self, listing: Listing, record: dict[str, Any]) -> None:
        """Say what gathers here, for hosts that take it from this one; `record` is where it comes from first of all."""
        if not all(e.content or e.stated for e in listing.files):
            return  # a folder without sums: what its files are is known when they have been read
        files = [{k: getattr(e, k) for k in ("name", "size", "sha256", "git_sha1")} for e in listing.files]
        for row, entry in zip(files, listing.files):  # noqa: B905 (Python 3.9)
            row["sha256"] = entry.sha256 or entry.stated
        about = {k: record.get(k) for k in ("kind", "repo", "requested", "wanted")}
        write_json(self.path(manifests.LISTING), {**about, "commit": listing.revision, "files": files})

    def record(self, entry: Entry, row: dict[str, Any]) -> None:
        of = entry.content or row.get("source_sha256") or row["sha256"]
        about = {"name": entry.name, "of": of, "source_bytes": entry.size, **row}
        with self.lock:
            done = os.path.join(self.folder, manifests.DONE)
            with naming(done), open(done, "ab") as out:
                out.write(b"\n" if out.tell() else b"")  # ends a torn line
                out.write(json.dumps(dict(about, sum=digest(about))).encode())
                out.flush()
                os.fsync(out.fileno())
            self.rows[entry.name] = about

    def has(self, entry: Entry) -> bool:
        row = self.rows.get(entry.name)
        return row is not None and same(row, entry)

    def path(self, name: str) -> str:
        return os.path.join(self.folder, name)

    def others(self) -> list[str]:
        """Unfinished revisions of the same model."""
        found = glob.glob(os.path.join(glob.escape(self.root), ".%s@*.partial" % glob.escape(self.key)))
        return sorted(path for path in found if path != self.folder)

    def adopt(self, entry: Entry, convert: bool) -> bool:
        """Reuse the same content from an unfinished or a published revision. True if the file is there now."""
        if not entry.content:
            return False
        dest = self.path(entry.name)
        os.makedirs(os.path.dirname(dest), exist_ok=True)
        unfinished, published = self.contents()
        while unfinished.get(entry.content):
            folder, found = unfinished[entry.content].pop()
            if os.path.exists(os.path.join(folder, found["name"])):
                os.rename(os.path.join(folder, found["name"]), dest)
                self.record(entry, {k: v for k, v in found.items() if k not in ("name", "of", "source_bytes")})
                self.reused.append(entry.name)
                return True
        for folder in self.others():
            for end in (".part", ".journal", ".head"):  # which content it is stands in the journal itself
                old = os.path.join(folder, entry.name) + end
                if os.path.exists(old) and not os.path.exists(dest + end):
                    os.rename(old, dest + end)
        for path, row, counts in published.get("of " + entry.content if convert else "sha256 %s" % entry.sha256, ()):
            if self.link(path, dest, row):
                more = (
                    {"tensors": {name: counts[name] for name in read_header(dest) if name in counts}} if convert else {}
                )
                self.record(entry, dict(row, mtime_ns=os.stat(dest).st_mtime_ns, **more))
                self.reused.append(entry.name)
                return True
        return False

    def contents(self) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """What this host has by its content, read once: (folder, row) of unfinished revisions, (path, row, counts of tensors) of published ones."""
        if self.known is None:
            unfinished: dict[str, list[Any]] = {}
            for folder in self.others():
                for row in self.read(folder).values():
                    unfinished.setdefault(str(row.get("of")), []).append((folder, row))
            self.known = unfinished, {}
            pattern = os.path.join(glob.escape(self.root), glob.escape(self.key.removesuffix(SUFFIX)) + "@*")
            for folder in sorted(glob.glob(pattern)):
                if folder.endswith(SUFFIX) != self.key.endswith(SUFFIX):
                    continue
                try:
                    manifest = manifests.read_manifest(folder) or {}
                except Refusal:
                    continue
                for name, row in manifest.get("files", {}).items():
                    if row.get("of") and manifest.get("tool") != TOOL:
                        continue  # converted by other rules
                    for content in {("of", row.get("of")), ("sha256", row.get("sha256"))}:
                        if content[1]:
                            counts = manifest.get("tensors") or {}
                            self.known[1].setdefault("%s %s" % content, []).append(
                                (os.path.join(folder, name), row, counts)
                            )
        return self.known

    @staticmethod
    def link(path: str, dest: str, row: dict[str, Any]) -> bool:
        """A published file of models_root under one more name, if every byte of it is what its manifest says."""
        try:
            if os.path.getsize(path) != row["bytes"] or sha256_file(path) != row["sha256"]:
                return False
            remove_tree(dest)
            os.link(path, dest)
            fsync_dir(os.path.dirname(dest))
        except OSError:
            return False
        return True


def same(row: dict[str, Any], entry: Entry) -> bool:
    """Is this row of the content that the entry states? A copy of a folder's file: made of its present state."""
    if entry.content:
        return bool(row.get("of") == entry.content)
    return entry.path is not None and row.get("origin") == folders.state_of(entry.path)


def is_shard(name: str) -> bool:
    return name.endswith(".safetensors")


def room(listing: Listing, need: list[Entry], staging: Staging) -> None:
    """SourceFailed before the first byte where the disk is too small. Bytes of unfinished files count as there."""
    there = sum(min(entry.size, on_disk(staging.path(entry.name) + ".part")) for entry in need)
    wanted = sum(entry.size for entry in need) - there
    free = free_bytes(staging.folder)
    if wanted * 1.02 > free:
        raise SourceFailed(  # of this listing; another source may state other sizes
            "not enough disk for the model: %s needed, %s free below %s; free some or set models_root"
            % (human(wanted * 1.02), human(free), staging.root)
        )
