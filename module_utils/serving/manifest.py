"""A model on disk: its manifest, its checks, its publication by one rename.

A published model is a folder `<name>@<revision>` below models_root with `.manifest.json`. Its identity is
the digest of {file: {bytes, sha256}}, whichever source it came from. Nothing is visible under its final
name before every byte has been verified.
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import re
import struct
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

MANIFEST = ".manifest.json"
SUMS = "SHA256SUMS"
INDEX = "model.safetensors.index.json"
# Hub clients and editors leave these beside a model; they are no part of it.
DONE = ".done"
LISTING = ".listing.json"
IGNORED = (".git", ".cache", "__pycache__", ".DS_Store", MANIFEST, DONE, LISTING)
HEADER_LIMIT = 100 << 20  # as the safetensors library has it
DTYPE_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
              "I32": 32, "U32": 32, "F32": 32, "F64": 64, "I64": 64, "U64": 64}  # fmt: skip


def list_files(folder: str) -> dict[str, str]:
    """Relative name -> path of every regular file of a model's folder. Links to files count as files (hub caches)."""
    if not os.path.isdir(folder):
        raise Refusal(
            "the model's folder %s does not exist on this host; check sources.directory.path in models.yml" % folder
        )
    found: dict[str, str] = {}
    for base, folders, names in os.walk(folder):
        folders[:] = sorted(f for f in folders if f not in IGNORED)
        for name in sorted(n for n in names if n not in IGNORED):
            path = os.path.join(base, name)
            if not os.path.isfile(path):
                raise Refusal("%s is neither a file nor a link to one; a model's folder must not hold it" % path)
            found[os.path.relpath(path, folder)] = path
    if not found:
        raise Refusal("the model's folder %s is empty" % folder)
    return found


def read_sums(path: str) -> dict[str, str]:
    """A `sha256sum` listing -> {name: sha256}. Malformed lines are refused."""
    sums: dict[str, str] = {}
    with open(path, encoding="utf-8") as source:
        for number, line in enumerate(source, 1):
            match = re.fullmatch(r"([0-9a-f]{64}) [ *](\S.*)", line.rstrip("\n"))
            if not match:
                raise Refusal("%s line %d is not '<sha256>  <name>': %r" % (path, number, line.rstrip("\n")[:80]))
            sums[os.path.normpath(match.group(2))] = match.group(1)
    return sums


def read_header(path: str) -> dict[str, Any]:
    """The header of a safetensors file, checked against the file's size. Refusal if it is cut or nonsense."""
    size = os.path.getsize(path)
    with open(path, "rb") as source:
        head = source.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        return parse_header(head + source.read(min(length, HEADER_LIMIT)), size, path)


def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are all different; a doubled tensor would hide the first one's bytes."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError("'%s' is there twice" % next(n for n in names if names.count(n) > 1))
    return found


def parse_header(head: bytes, size: int, path: str) -> dict[str, Any]:
    """The header in the first bytes of a safetensors file of `size` bytes, called `path` in a Refusal."""
    if len(head) < 8:
        raise Refusal("%s is %d bytes: too short for a safetensors file; fetch it again" % (path, size))
    length = struct.unpack("<Q", head[:8])[0]
    if length > HEADER_LIMIT or 8 + length > size or len(head) != 8 + length:
        raise Refusal("%s: header of %d bytes in a file of %d; it is cut or no safetensors file" % (path, length, size))
    try:
        header = json.loads(head[8:].decode("utf-8"), object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as error:
        raise Refusal("%s: header is not JSON (%s); the file is damaged, fetch it again" % (path, error)) from None
    if not isinstance(header, dict):
        raise Refusal("%s: header is not a table of tensors" % path)
    spans = []
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        try:
            begin, end = tensor["data_offsets"]
            count = 1
            for number in [begin, end, *tensor["shape"]]:
                if type(number) is not int or number < 0:  # no bool, no float, no list that multiplies itself
                    raise TypeError(number)
            for dim in tensor["shape"]:
                count *= dim
            bits = DTYPE_BITS[tensor["dtype"]]
            good = 0 <= begin <= end and (end - begin) * 8 == count * bits
        except (KeyError, TypeError, ValueError):
            good = False
        if not good:
            raise Refusal(
                "%s: tensor '%s' has type, shape and offsets that don't agree; the file is damaged" % (path, name)
            )
        spans.append((begin, end, name))
    place = 0
    for begin, end, name in sorted(spans):
        if begin != place:
            raise Refusal(
                "%s: tensor '%s' starts at byte %d, expected %d; the file is damaged" % (path, name, begin, place)
            )
        place = end
    if 8 + length + place != size:
        raise Refusal(
            "%s is %d bytes, its header describes %d; it is cut or damaged, fetch it again"
            % (path, size, 8 + length + place)
        )
    return header


def check_shards(files: dict[str, str]) -> None:
    """Every safetensors file is whole, and the index names each tensor in the shard that has it."""
    tensors: dict[str, str] = {}
    for name, path in files.items():
        if name.endswith(".safetensors"):
            for tensor in read_header(path):
                if tensor == "__metadata__":
                    continue
                if tensor in tensors:
                    raise Refusal("tensor '%s' is in both %s and %s" % (tensor, tensors[tensor], name))
                tensors[tensor] = name
    if INDEX not in files:
        return
    try:
        with open(files[INDEX], encoding="utf-8") as source:
            weight_map = json.load(source)["weight_map"]
            wanted = dict(weight_map)
    except (ValueError, KeyError, TypeError) as error:
        raise Refusal("%s is not an index of shards (%s)" % (files[INDEX], error)) from None
    for tensor, shard in wanted.items():
        if tensors.get(tensor) != shard:
            where = tensors.get(tensor, "no shard that is there")
            raise Refusal("%s says tensor '%s' is in %s, but it is in %s" % (INDEX, tensor, shard, where))
    extra = sorted(set(tensors) - set(wanted))
    if extra:
        raise Refusal("%s does not name tensor '%s' of %s" % (INDEX, extra[0], tensors[extra[0]]))


def identity(files: dict[str, dict]) -> str:
    """Digest of a model: of names, sizes and sha256 of its files, and of nothing else."""
    return str(digest({name: {"bytes": f["bytes"], "sha256": f["sha256"]} for name, f in files.items()}))


def fingerprint(files: dict[str, str]) -> dict[str, list[int]]:
    """Size and mtime (ns) of each file: equal means not worth reading again."""
    return {name: [os.stat(path).st_size, os.stat(path).st_mtime_ns] for name, path in files.items()}


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
    """Make a verified staging folder visible under its final name; a damaged one there steps aside first."""
    write_json(os.path.join(staging, MANIFEST), dict(manifest, published=int(time.time())), 0o444)
    for base, _folders, _names in os.walk(staging, topdown=False):
        fsync_dir(base)
    old = folder + ".damaged"
    remove_tree(old)
    if os.path.isdir(folder):
        os.rename(folder, old)
    os.rename(staging, folder)
    fsync_dir(os.path.dirname(folder))
    remove_tree(old)
