"""A model on disk: its manifest, its checks, its publication by one rename.

A published model is a folder `<name>@<revision>` below models_root with `.manifest.json`. Its identity is
the digest of {file: {bytes, sha256}}, whichever source it came from. Nothing is visible under its final
name before every byte has been verified.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import errno
import os
import re
import time
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import (
    digest,
    fsync_dir,
    read_json,
    remove_tree,
    sha256_file,
    write_json,
)
from ansible.module_utils.serving.weights.choice import variants
from ansible.module_utils.serving.weights.headers import DTYPE_BITS, read_header, weight_map

MANIFEST = ".manifest.json"
SUMS = "SHA256SUMS"
INDEX = "model.safetensors.index.json"
DONE = ".done"
LISTING = ".listing.json"


INDEX_END = ".safetensors.index.json"
# What an index may name although no shard has it: tied weights are stored once, and buffers are made anew.
TIED_LIMIT = 16
BUFFER = re.compile(r"inv_freq$|position_ids$|rotary_emb|masked_bias$|attn\.bias$")


def check_shards(files: dict[str, str]) -> list[str]:
    """Every safetensors file is whole, and each folder's index and shards agree. Returns what is odd, in sentences.

    Folders are parts of a model with names of their own: the same tensor in two of them is no clash.
    """
    notes: list[str] = []
    tensors: dict[str, dict[str, str]] = {}  # folder -> tensor -> its file
    unknown: dict[str, list[str]] = {}
    indexes = [name for name in sorted(files) if name.endswith(INDEX_END)]
    indexed = {os.path.dirname(name) for name in indexes}
    for name, path in sorted(files.items()):
        if not name.endswith(".safetensors"):
            continue
        here = tensors.setdefault(os.path.dirname(name), {})
        for tensor, about in read_header(path).items():
            if tensor == "__metadata__":
                continue
            if about["dtype"] not in DTYPE_BITS:
                unknown.setdefault(str(about["dtype"])[:40], []).append("%s in %s" % (tensor, name))
            if tensor in here and os.path.dirname(name) not in indexed and not variants(name, here[tensor]):
                raise Refusal(
                    "tensor '%s' is in both %s and %s, and no index says which one is loaded; leave one of the files out "
                    "by `exclude` in models.yml" % (tensor, here[tensor], name)
                )
            here[tensor] = name
    for dtype, places in sorted(unknown.items()):
        notes.append(
            "%d tensors have the type %s, which we don't know and pass on as it is (%s)"
            % (len(places), dtype, places[0])
        )
    for name in indexes:
        notes += check_index(name, files, tensors)
    return notes


def check_index(name: str, files: dict[str, str], tensors: dict[str, dict[str, str]]) -> list[str]:
    """Does this index agree with the shards? Returns what is odd; Refusal where shards are missing or of another revision."""
    with open(files[name], "rb") as source:
        wanted = weight_map(source.read(), files[name])
    folder = os.path.dirname(name)
    absent = []
    for tensor, shard in wanted.items():
        place = os.path.normpath(os.path.join(folder, shard))
        if place not in files:
            raise Refusal(
                "%s says tensor '%s' is in %s, which is no shard that is there; restore it" % (name, tensor, shard)
            )
        found = tensors.get(os.path.dirname(place), {}).get(tensor)
        if found is None:
            absent.append(tensor)
        elif found != place and tensor not in read_header(files[place]):
            raise Refusal(
                "%s says tensor '%s' is in %s, but it is in %s; they are of different revisions"
                % (name, tensor, shard, found)
            )
    lost = [tensor for tensor in absent if not BUFFER.search(tensor)]
    if len(lost) > TIED_LIMIT or len(lost) == len(wanted):
        raise Refusal(
            "%s names %d tensors that no shard has, '%s' the first; they are of different revisions"
            % (name, len(lost), lost[0])
        )
    notes = []
    odd = next((shard for shard in wanted.values() if shard != os.path.normpath(shard)), None)
    if odd is not None:
        notes.append("%s names %s: vLLM takes names as they are written, and does not find this one" % (name, odd))
    if absent:
        notes.append(
            "%s names '%s'%s, which no shard has (tied weights are stored once)"
            % (name, absent[0], " and %d more" % (len(absent) - 1) if len(absent) > 1 else "")
        )
    shards = {os.path.normpath(os.path.join(folder, shard)) for shard in wanted.values()}
    extra = sorted(t for t, place in tensors.get(folder, {}).items() if place in shards and t not in wanted)
    if extra:
        notes.append(
            "%s does not name '%s'%s, which its shards have"
            % (name, extra[0], " and %d more" % (len(extra) - 1) if len(extra) > 1 else "")
        )
    return notes


def identity(files: dict[str, dict]) -> str:
    """Digest of a model: of names, sizes and sha256 of its files, and of nothing else."""
    return str(digest({name: {"bytes": f["bytes"], "sha256": f["sha256"]} for name, f in files.items()}))


def published(models_root: str, name: str, revision: str) -> str:
    return os.path.join(models_root, "%s@%s" % (name, revision))


def ref_path(models_root: str, name: str) -> str:
    """Where the revision that a model without a pin was resolved to is recorded."""
    return os.path.join(models_root, ".refs", name + ".json")


def read_manifest(folder: str) -> dict[str, Any] | None:
    """The manifest of a published folder; None if there is none. Refusal if it is damaged."""
    try:
        manifest = read_json(os.path.join(folder, MANIFEST))
        if manifest is not None:
            identity(manifest["files"])
    except (ValueError, KeyError, TypeError):
        raise Refusal(
            "%s is damaged; remove the folder %s and fetch again" % (os.path.join(folder, MANIFEST), folder)
        ) from None
    return manifest  # type: ignore[no-any-return]


def damage(folder: str, manifest: dict[str, Any], full: bool) -> list[str]:
    """What differs from the manifest. Cheap: sizes, and content where mtime changed. Full: every byte."""
    problems: dict[str, str] = {}
    read = []
    for name, want in sorted(manifest["files"].items()):
        path = os.path.join(folder, name)
        try:
            stat = os.stat(path)
        except FileNotFoundError:
            problems[name] = "%s is missing" % name
            continue
        if stat.st_size != want["bytes"]:
            problems[name] = "%s is %d bytes, the manifest says %d" % (name, stat.st_size, want["bytes"])
        elif full or stat.st_mtime_ns != want.get("mtime_ns"):
            read.append((name, path, want["sha256"]))
    read.sort(key=lambda row: -os.path.getsize(row[1]))
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for (name, _path, want), found in zip(read, pool.map(sha256_file, [row[1] for row in read])):  # noqa: B905 (Python 3.9)
            if found != want:
                problems[name] = "%s has other content than its sha256 in the manifest" % name
    return [problems[name] for name in sorted(problems)]


def publish(staging: str, folder: str, manifest: dict[str, Any]) -> None:
    """Make a verified staging folder visible under its final name; what was there before is gone afterwards.

    Where the file system can, both names are exchanged at once, so that the final name is never without a model. Else
    the old one steps aside as `.damaged`, and `recover` puts it back after a kill between the two renames.
    """
    write_json(os.path.join(staging, MANIFEST), dict(manifest, published=int(time.time())), 0o444)
    for base, _folders, _names in os.walk(staging, topdown=False):
        fsync_dir(base)
    old = folder + ".damaged"
    if not os.path.lexists(folder):
        os.rename(staging, folder)
    elif exchange(staging, folder):
        old = staging
    else:
        remove_tree(old)
        os.rename(folder, old)
        os.rename(staging, folder)
    fsync_dir(os.path.dirname(folder))
    remove_tree(old)


def exchange(one: str, other: str) -> bool:
    """Swap two names in one step. False where the kernel, the C library or the file system can't."""
    try:
        swap = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here, both = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    if swap(here, os.fsencode(one), here, os.fsencode(other), both) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM):
        return False
    raise OSError(number, os.strerror(number), other)
