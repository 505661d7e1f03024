"""Bring a model onto this host: what is already there is reused, the rest fetched or copied, converted where asked.

Everything gathers in `.<name>@<revision>.partial` below models_root. A row of its `.done` file is written when a
file's bytes are verified and durable, before the file gets its final name: a file under its final name is always
a verified one, and a killed run goes on where it was.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import glob
import hashlib
import json
import os
import threading
from typing import Any

from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import (
    copy_file,
    free_bytes,
    fsync_dir,
    human,
    locked,
    remove_tree,
    sha256_file,
    write_atomic,
    write_json,
)
from ansible.module_utils.serving.progress import Progress, read_progress
from ansible.module_utils.serving.weights import folders
from ansible.module_utils.serving.weights import manifest as m
from ansible.module_utils.serving.weights.choice import LFS, SMALL, Wanted, check_convertible, pointer, words
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.headers import read_head, read_header, weight_map
from ansible.module_utils.serving.weights.hubs import Entry, Listing, SourceFailed, content_of, disagreement
from ansible.module_utils.serving.weights.model_state import SUFFIX, lock_path, look, on_disk, published, record_of
from ansible.module_utils.serving.weights.model_state import key_of as key_of
from ansible.module_utils.serving.weights.transfer import Part, download

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
        os.makedirs(self.folder, exist_ok=True)
        self.rows = self.read(self.folder)

    @staticmethod
    def read(folder: str) -> dict[str, dict[str, Any]]:
        """Rows of `.done` whose files still are as they were; a torn last line is no row."""
        rows: dict[str, dict[str, Any]] = {}
        try:
            with open(os.path.join(folder, m.DONE), encoding="utf-8", errors="replace") as source:
                for line in source:
                    try:
                        row = json.loads(line)
                        stat = os.stat(os.path.join(folder, row["name"]))
                        if (stat.st_size, stat.st_mtime_ns) == (row["bytes"], row["mtime_ns"]):
                            rows[row["name"]] = row
                    except (ValueError, KeyError, TypeError, OSError):
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
        write_json(self.path(m.LISTING), {**about, "commit": listing.revision, "files": files})

    def record(self, entry: Entry, row: dict[str, Any]) -> None:
        of = entry.content or row.get("source_sha256") or row["sha256"]
        about = {"name": entry.name, "of": of, "source_bytes": entry.size, **row}
        with self.lock:
            with open(os.path.join(self.folder, m.DONE), "ab") as out:
                out.write(b"\n" if out.tell() else b"")  # ends a torn line
                out.write(json.dumps(about).encode())
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
        for path, row in published.get("of " + entry.content if convert else "sha256 %s" % entry.sha256, ()):
            if self.link(path, dest, row):
                self.record(entry, dict(row, mtime_ns=os.stat(dest).st_mtime_ns))
                self.reused.append(entry.name)
                return True
        return False

    def contents(self) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        """What this host has by its content, read once: (folder, row) of unfinished revisions, (path, row) of published ones."""
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
                    manifest = m.read_manifest(folder) or {}
                except Refusal:
                    continue
                for name, row in manifest.get("files", {}).items():
                    if row.get("of") and manifest.get("tool") != TOOL:
                        continue  # converted by other rules
                    for content in {("of", row.get("of")), ("sha256", row.get("sha256"))}:
                        if content[1]:
                            self.known[1].setdefault("%s %s" % content, []).append((os.path.join(folder, name), row))
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


def bring(
    listing: Listing, staging: Staging, convert: str | None, saturate: bool, limits: Limits, progress: Progress
) -> None:
    """Gather every file of the listing in the staging folder, verified. SourceFailed or Refusal where that can't be done."""
    staging.open()
    staging.notes = [*listing.notes, *staging.notes]
    if convert:
        check_conversion(listing)
    take_read(listing, staging, bool(convert))
    need = [e for e in listing.files if not staging.has(e) and not staging.adopt(e, bool(convert) and is_shard(e.name))]
    progress.state["left_out"] = "; ".join(words(listing.left_out, listing.sizes))[:2000]
    progress.begin("fetching" if any(e.url for e in need) else "copying", sum(e.size for e in need), listing.kind)
    room(listing, need, staging)
    local = [entry for entry in need if entry.path]
    if convert:
        check_changes(listing, staging, need)
    if local:
        workers = len(os.sched_getaffinity(0)) + 1  # one more than can compute: one of them waits for the disk
        local.sort(key=lambda entry: -entry.size)
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            jobs = [pool.submit(copy_in, entry, staging, convert, saturate, progress) for entry in local]
        for job in jobs:
            job.result()
    remote = [entry for entry in need if entry.url]
    if remote:
        client = Client(listing.headers, remote[0].url or "", listing.expect, limits)
        progress.note = lambda: client.waiting
        parts: list[Part] = []
        for entry in remote:
            if convert and is_shard(entry.name):
                from ansible.module_utils.serving.weights.converted import ConvertedPart

                parts.append(ConvertedPart(staging.path(entry.name), entry, client, saturate))
            else:
                parts.append(Part(staging.path(entry.name), entry))
        if convert:
            check_remote_changes(parts, staging, limits)
        try:
            download(listing, parts, client, progress.add, staging.record)
        finally:
            staging.notes += [part.anew for part in parts if part.anew]


def check_conversion(listing: Listing) -> None:
    """Refuse a conversion that would change nothing or break a quantised model, as far as small files tell."""
    entries = {entry.name: entry for entry in listing.files}
    check_convertible(entries, lambda name: read_small(listing, entries[name]))


def read_small(listing: Listing, entry: Entry) -> bytes:
    """A small file of the source, verified."""
    if entry.name not in listing.contents:
        listing.contents[entry.name] = content_of(entry, listing.headers, listing.expect)
    found: bytes = listing.contents[entry.name]
    return found


def take_read(listing: Listing, staging: Staging, convert: bool) -> None:
    """Small files that were read to decide what is taken need not be fetched again."""
    for entry in listing.files:
        data = listing.contents.get(entry.name)
        if data is None or entry.path or staging.has(entry) or (convert and is_shard(entry.name)):
            continue
        path = staging.path(entry.name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        remove_tree(path)
        write_atomic(path, data, 0o444)
        row = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "mtime_ns": os.stat(path).st_mtime_ns}
        staging.record(entry, row)


def check_changes(listing: Listing, staging: Staging, need: list[Entry]) -> None:
    """Refuse to convert shards of this host of which no tensor would change, before any is read."""
    from ansible.module_utils.serving.weights.convert import Layout

    shards = [entry for entry in listing.files if is_shard(entry.name)]
    if any(staging.rows.get(entry.name, {}).get("tensors") for entry in shards):
        return
    layouts = [
        Layout(read_head(entry.path), entry.size, entry.path) for entry in need if entry.path and is_shard(entry.name)
    ]
    if len(layouts) == len(shards) and not any(layout.changes for layout in layouts):
        raise nothing_changes(shards[0].name)


def check_remote_changes(parts: list[Part], staging: Staging, limits: Limits) -> None:
    """The same of a hub's shards: their headers come first."""
    from ansible.module_utils.serving.weights.converted import ConvertedPart

    shards = [part for part in parts if isinstance(part, ConvertedPart)]
    done = [row for name, row in staging.rows.items() if is_shard(name)]
    if not shards or any(row.get("tensors") for row in done):
        return
    with concurrent.futures.ThreadPoolExecutor(min(8, limits.connections)) as pool:
        list(pool.map(lambda part: part.prepare(), shards))
    if not any(part.layout.changes for part in shards):
        raise nothing_changes(shards[0].entry.name)


def nothing_changes(name: str) -> Refusal:
    return Refusal(
        "nothing to convert; no tensor of %s, or of the other shards, is bfloat16 or float32: set convert: false" % name
    )


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


def copy_in(entry: Entry, staging: Staging, convert: str | None, saturate: bool, progress: Progress) -> None:
    """Copy or convert one file of this host into the staging folder. What is recorded is what was read."""
    assert entry.path
    dest, origin = staging.path(entry.name), folders.state_of(entry.path)
    part = dest + ".part"
    os.makedirs(os.path.dirname(dest), exist_ok=True)
    for end in (".journal", ".head"):  # of a fetch from elsewhere
        remove_tree(dest + end)
    if convert and is_shard(entry.name):
        from ansible.module_utils.serving.weights.convert import convert_shard

        done = convert_shard(entry.path, part, saturate, progress.add)
        found, row = done["source_sha256"], {k: done[k] for k in ("sha256", "bytes", "tensors", "source_sha256")}
    else:
        how = copy_file(entry.path, part)
        found = sha256_file(part)
        row = {"sha256": found, "bytes": os.path.getsize(part), "how": how}
        progress.add(entry.size)
    if folders.state_of(entry.path) != origin:
        os.unlink(part)
        raise SourceFailed("%s was changed while it was read; run again when nobody writes there" % entry.path)
    for stated, who in ((entry.stated, m.SUMS), (entry.sha256, "what was read before")):
        if stated not in (None, found):
            os.unlink(part)
            raise SourceFailed(
                disagreement(entry.path, found, stated or "")
                if who == m.SUMS
                else "%s is damaged: sha256 is %s, but it was %s when it was read last; restore it at the source"
                % (entry.path, found, stated)
            )
    os.chmod(part, 0o444)
    row.update(mtime_ns=os.stat(part).st_mtime_ns, origin=origin)
    staging.record(entry, row)
    os.rename(part, dest)


def edit(staging: Staging, listing: Listing, convert: str | None) -> dict[str, dict[str, Any]]:
    """The rows of the result; where it was converted, with type and sizes in its JSON files corrected."""
    rows = {entry.name: dict(staging.rows[entry.name]) for entry in listing.files}
    check_sums(staging, rows)
    if not convert:
        return rows
    rows.pop(m.SUMS, None)  # sums of the source; the manifest has the result's
    for name in sorted(rows):
        if name != "config.json" and not name.endswith(m.INDEX_END):
            continue
        path = staging.path(name)
        with open(path, "rb") as source:
            text = source.read()
        text = as_float16(text, path) if name == "config.json" else with_size(text, name, staging)
        os.unlink(path)  # it may be a hard link of a published one
        write_atomic(path, text, 0o444)
        was = rows[name].get("source_sha256") or rows[name]["sha256"]
        rows[name] |= {"bytes": len(text), "sha256": sha256_file(path), "mtime_ns": os.stat(path).st_mtime_ns}
        rows[name]["source_sha256"] = was
    return rows


def check_sums(staging: Staging, rows: dict[str, dict[str, Any]]) -> None:
    """A model that brings sums of its own must agree with them."""
    if m.SUMS not in rows:
        return
    for name, want in folders.read_sums(staging.path(m.SUMS)).items():
        row = rows.get(name)
        found = row and (row.get("source_sha256") or row["sha256"])
        if found and want != found:
            raise SourceFailed(disagreement(name, found, want))


def load(text: bytes, path: str) -> dict[str, Any]:
    try:
        found = json.loads(text.decode())
    except ValueError as error:
        raise Refusal("%s is not JSON (%s); the model can't be converted" % (path, error)) from None
    if not isinstance(found, dict):
        raise Refusal("%s is no JSON object; the model can't be converted" % path)
    return found


def as_float16(text: bytes, path: str) -> bytes:
    """config.json with its type set, under whichever of the two names it has; parts of a model have their own."""
    config = load(text, path)

    def patch(node: Any) -> None:
        for key, value in list(node.items()):
            if key in ("dtype", "torch_dtype") and value in ("bfloat16", "float32"):
                node[key] = "float16"
            elif isinstance(value, dict):
                patch(value)

    patch(config)
    if not {"dtype", "torch_dtype"} & set(config):
        config["torch_dtype"] = "float16"
    return (json.dumps(config, indent=2, ensure_ascii=False) + "\n").encode()


def with_size(text: bytes, name: str, staging: Staging) -> bytes:
    """An index with total_size of its converted tensors (it shrinks where fp32 tensors do)."""
    index = load(text, name)
    shards = {os.path.normpath(os.path.join(os.path.dirname(name), s)) for s in weight_map(text, name).values()}
    headers = [read_header(staging.path(shard)) for shard in sorted(shards)]
    total = sum(
        t["data_offsets"][1] - t["data_offsets"][0] for h in headers for n, t in h.items() if n != "__metadata__"
    )
    if not isinstance(index.get("metadata"), dict):
        index["metadata"] = {}
    index["metadata"]["total_size"] = total
    return (json.dumps(index, indent=2, ensure_ascii=False) + "\n").encode()


def publish(
    staging: Staging, listing: Listing, name: str, convert: str | None, tool: dict[str, Any]
) -> tuple[str, dict[str, Any], bool]:
    """Check the whole, write its manifest, make it visible by one rename: (folder, manifest, is it new?)."""
    rows = edit(staging, listing, convert)
    if listing.kind != "registry":
        check_pointers(staging, rows)
        for note in m.check_shards({file: staging.path(file) for file in rows}):
            if note not in staging.notes:
                staging.notes.append(note)
    source = {
        entry.name: {"bytes": entry.size, "sha256": row.get("source_sha256") or row["sha256"]}
        for entry in listing.files
        for row in [staging.rows[entry.name]]
    }
    kept = ("bytes", "sha256", "mtime_ns", "of", "source_sha256", "source_bytes")
    files = {file: {key: row[key] for key in kept if row.get(key) is not None} for file, row in rows.items()}
    identity, origin = m.identity(files), m.identity(source)
    revision = (listing.short or origin[:12]) + (SUFFIX if convert else "")
    manifest = {
        "name": name,
        "revision": revision,
        "commit": listing.revision if len(listing.revision) > 12 else None,
        "identity": identity,
        "files": files,
        "source": {"kind": listing.kind, "repo": listing.repo, "identity": origin},
        **tool,
    }
    tensors = dict(tool.get("tensors") or {})
    tensors.update((tensor, counts) for row in rows.values() for tensor, counts in row.get("tensors", {}).items())
    if tensors:
        manifest["tensors"] = tensors
    if convert and not tensors:
        raise nothing_changes(next((file for file in rows if is_shard(file)), "the model"))
    folder = m.published(staging.root, name, revision)
    remove_others(staging.folder, {*rows, m.DONE})
    there = m.read_manifest(folder) if os.path.isdir(folder) else None
    if there is not None and there["identity"] == identity and not m.damage(folder, there, full=True):
        remove_others(folder, {*there["files"], m.MANIFEST})
        remove_tree(staging.folder)
        return folder, there, False
    m.publish(staging.folder, folder, manifest)
    remove_tree(os.path.join(folder, m.DONE))
    for other in staging.others():
        remove_tree(other)
    return folder, manifest, True


def check_pointers(staging: Staging, rows: dict[str, dict[str, Any]]) -> None:
    """Refuse Git LFS pointers among what has arrived, whatever kind of file they stand for."""
    for name, row in sorted(rows.items()):
        if 0 < row["bytes"] <= SMALL:
            with open(staging.path(name), "rb") as source:
                if source.read(len(LFS)) == LFS:
                    raise SourceFailed(pointer(name))


def remove_others(folder: str, kept: set[str]) -> None:
    """Leave nothing in a folder but these files: what is published is exactly the manifest."""
    for base, below, names in os.walk(folder, topdown=False):
        for name in names:
            path = os.path.join(base, name)
            if os.path.relpath(path, folder) not in kept:
                os.unlink(path)
        for name in below:
            path = os.path.join(base, name)
            if os.path.islink(path):
                os.unlink(path)
            elif not os.listdir(path):
                os.rmdir(path)


def tidy(root: str, key: str) -> list[str]:
    """Mend and remove what a killed run of this model has left. Only for the holder of its lock. Returns what was there."""
    name, found = key.removesuffix(SUFFIX), []
    for old in leftovers(root, key):
        folder = old.removesuffix(".damaged")
        if old != folder and not os.path.lexists(folder):
            os.rename(old, folder)  # killed between two renames: better this one than none
        else:
            remove_tree(old)
        found.append(old)
    revision = record_of(root, key).get("revision")
    if revision:
        folder = m.published(root, name, revision)
        staging = os.path.join(root, ".%s@%s.partial" % (key, revision.removesuffix(SUFFIX)))
        manifest = m.read_manifest(folder) if os.path.isdir(folder) else None
        if manifest and os.path.isfile(os.path.join(folder, m.DONE)):  # killed right after its rename
            remove_others(folder, {*manifest["files"], m.MANIFEST})
            found.append(os.path.join(folder, m.DONE))
        if manifest and stepped_aside(staging):
            remove_tree(staging)
            found.append(staging)
    return found


def leftovers(root: str, key: str) -> list[str]:
    """Folders that stepped aside, and files that were being written, of a run of this model that was killed."""
    name, converted = key.removesuffix(SUFFIX), key.endswith(SUFFIX)
    aside = glob.glob(os.path.join(glob.escape(root), glob.escape(name) + "@*.damaged"))
    found = [path for path in aside if path.removesuffix(".damaged").endswith(SUFFIX) == converted]
    for end in (".json.part.*", ".progress.part", ".progress.part.*"):
        found += glob.glob(os.path.join(glob.escape(root), ".refs", glob.escape(key) + end))
    return sorted(found)


def untidy(root: str, key: str, folder: str) -> bool:
    """Has a killed run of this published model left anything?"""
    staging = os.path.join(root, ".%s@%s.partial" % (key, folder.rpartition("@")[2].removesuffix(SUFFIX)))
    return bool(leftovers(root, key)) or os.path.isfile(os.path.join(folder, m.DONE)) or stepped_aside(staging)


def stepped_aside(staging: str) -> bool:
    """Does a staging folder hold what was published before, after the names were exchanged?"""
    return os.path.isfile(os.path.join(staging, m.MANIFEST)) and not os.path.isfile(os.path.join(staging, m.DONE))


def sweep(root: str, key: str, folder: str, check_mode: bool) -> None:
    """Remove what a killed run of a published model has left, unless another run works on it now."""
    if not check_mode and untidy(root, key, folder):
        with contextlib.suppress(Refusal), locked(lock_path(root, key), "model '%s'" % key, 0):
            tidy(root, key)


def known_digests(root: str, key: str, place: str) -> dict[str, tuple[list[int], str]]:
    """{name: (state, sha256)} of a folder's files as the last run read them."""
    record = record_of(root, key)
    seen = record.get("fingerprint")
    if record.get("kind") != "directory" or record.get("repo") != place or not isinstance(seen, dict):
        return {}
    try:
        manifest = m.read_manifest(m.published(root, key.removesuffix(SUFFIX), record["revision"])) or {}
    except Refusal:
        return {}
    rows = manifest.get("files", {})
    return {n: (seen[n], row.get("source_sha256") or row["sha256"]) for n, row in rows.items() if n in seen}


def find(root: str, name: str, convert: str | None, full: bool = False, required: bool = True) -> dict[str, Any]:
    """{path, revision, identity, problems} of a published model. Refusal where one that is required is not there, or damaged.

    `full` reads every byte; else sizes count, and the content of files whose mtime changed.
    """
    try:
        form = published(root, name, convert)
    except Refusal as refusal:
        if required:
            raise
        return {"path": None, "revision": None, "identity": None, "problems": [str(refusal)]}
    assert form.path
    problems = m.damage(form.path, form.manifest, full)
    if problems and required:
        raise Refusal(
            "%s is damaged: %s; run deploy.yml --tags fetch" % (form.path, "; ".join(problems)), problems=problems
        )
    return {"path": form.path, "revision": form.revision, "identity": form.identity, "problems": problems}


def dropped_peers(folder: str) -> list[str]:
    """Hosts whose bytes were wrong when the model in this published folder was fetched."""
    name, _, revision = os.path.basename(folder).partition("@")
    record = record_of(os.path.dirname(folder), name + SUFFIX * revision.endswith(SUFFIX))
    return list(record.get("dropped_peers") or []) if record.get("revision") == revision else []


def why_not_published(
    root: str, key: str, sources: dict[str, Any], wanted: Wanted | None = None
) -> tuple[str | None, list[str]]:
    """(folder, reasons): the published folder that the sources still ask for, by the last run's record; else why not."""
    name = key[: -len(SUFFIX)] if key.endswith(SUFFIX) else key
    form = look(root, name, SUFFIX if key.endswith(SUFFIX) else None)
    record, folder = form.record, form.path
    if not record:
        return None, ["'%s' is not published yet" % key]
    if folder is None:
        return None, ["%s is gone" % m.published(root, name, record["revision"])]
    problems = m.damage(folder, form.manifest, full=False)
    if problems:
        return None, problems
    kind = record.get("kind", "")
    row = sources.get(kind)
    if row is None:
        return None, ["its source %s is no longer in models.yml" % (kind or "(unknown)")]
    place = os.path.expanduser(row.get("path") or "") or row.get("repo") or (row.get("url") or "").rstrip("/")
    if place != record.get("repo"):
        return None, ["its source was %s, now it is %s" % (record.get("repo"), place)]
    if wanted is not None and (record.get("wanted") or {}) != wanted.record:
        return None, ["`include` or `exclude` of the model has changed"]
    if kind == "directory":
        try:
            same = record.get("fingerprint") == folders.fingerprint(folders.list_files(place))
        except (Refusal, OSError):  # an unmounted source is no reason to take a whole model away
            same = True
        return (folder, []) if same else (None, ["the source %s has changed" % place])
    wanted = row.get("revision") or None
    if wanted not in (None, record.get("commit"), record.get("requested")):
        return None, ["revision %s is wanted, %s is there" % (wanted, record.get("commit"))]
    return folder, []


def running(root: str, key: str) -> dict[str, Any] | None:
    """The progress of a fetch or conversion of this model that runs now, on this host or one that shares the folder."""
    found: dict[str, Any] | None = read_progress(progress_path(root, key))
    return found


def progress_path(root: str, key: str) -> str:
    return os.path.join(root, ".refs", key + ".progress")
