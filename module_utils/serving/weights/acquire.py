"""Bring a model onto this host: what is already there is reused, the rest fetched or copied, converted where asked.

Everything gathers in `.<name>@<revision>.partial` below models_root. A row of its `.done` file is written when a
file's bytes are verified and durable, before the file gets its final name: a file under its final name is always
a verified one, and a killed run goes on where it was.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import os

from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import (
    copy_file,
    remove_tree,
    sha256_file,
    write_atomic,
)
from ansible.module_utils.serving.progress import Progress
from ansible.module_utils.serving.weights import folders, manifests
from ansible.module_utils.serving.weights.choice import words
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.convertible import check_convertible
from ansible.module_utils.serving.weights.headers import read_head
from ansible.module_utils.serving.weights.listing import Entry, Listing, SourceFailed
from ansible.module_utils.serving.weights.local import disagreement
from ansible.module_utils.serving.weights.part import Part
from ansible.module_utils.serving.weights.selection import content_of
from ansible.module_utils.serving.weights.staging import Staging, is_shard, room
from ansible.module_utils.serving.weights.transfer import download


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
    for path in (staging.path(entry.name) for entry in need):
        if os.path.islink(path) or os.path.isdir(path):  # in the way of the file
            remove_tree(path)
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
            download(parts, client, progress.add, staging.record)
        finally:
            staging.notes += [part.anew for part in parts if part.anew]


def foresee(listing: Listing, staging: Staging, convert: str | None) -> None:
    """Raise what a run would raise before it moves a byte: what check mode can tell. Writes nothing."""
    if convert:
        check_conversion(listing)
    staging.rows = staging.read(staging.folder)
    unfinished, there = staging.contents()

    def here(entry: Entry) -> bool:
        mark = "of %s" % entry.content if convert and is_shard(entry.name) else "sha256 %s" % entry.sha256
        return staging.has(entry) or bool(entry.content and (entry.content in unfinished or mark in there))

    need = [entry for entry in listing.files if not here(entry)]
    room(listing, need, staging)
    if convert:
        check_changes(listing, staging, need)


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
    from ansible.module_utils.serving.weights.layout import Layout

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


def copy_in(entry: Entry, staging: Staging, convert: str | None, saturate: bool, progress: Progress) -> None:
    """Copy or convert one file of this host into the staging folder. What is recorded is what was read."""
    assert entry.path
    dest, origin = staging.path(entry.name), folders.state_of(entry.path)
    part = dest + ".part"
    os.makedirs(os.path.dirname(dest), exist_ok=True)
    for end in (".part", ".journal", ".head"):
        remove_tree(dest + end)  # of a killed run, or of a fetch from elsewhere; a link would be written through
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
    for stated, who in ((entry.stated, manifests.SUMS), (entry.sha256, "what was read before")):
        if stated not in (None, found):
            os.unlink(part)
            raise SourceFailed(
                disagreement(entry.path, found, stated or "")
                if who == manifests.SUMS
                else "%s is damaged: sha256 is %s, but it was %s when it was read last; restore it at the source"
                % (entry.path, found, stated)
            )
    os.chmod(part, 0o444)
    row.update(mtime_ns=os.stat(part).st_mtime_ns, origin=origin)
    staging.record(entry, row)
    os.rename(part, dest)
