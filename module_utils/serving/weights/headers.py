"""Headers of safetensors files and the other JSON of a model, read in bounded time: every limit has a name."""

from __future__ import annotations

import json
import os
import struct
from typing import Any, NoReturn

from ansible.module_utils.serving.errors import Refusal

HEADER_LIMIT = 100 << 20  # bytes, as the safetensors library has it
TENSORS_LIMIT = 300_000  # tensors of one file; the largest models have 200,000 in all their files
# How often these stand in a header for each tensor, at most: it tells how much there is to read before it is read.
MARKS = ((b"{", 1), (b"[", 2), (b'"', 16), (b",", 16))
DIMENSIONS_LIMIT = 64  # of one tensor, as torch has it
DIGITS_LIMIT = 20  # of one number; 2**64 has 20
# Bits of one element. A type that is not here is passed on unread: its tensor can't be checked against its shape.
DTYPE_BITS = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
              "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32,
              "F32": 32, "F64": 64, "I64": 64, "U64": 64, "C64": 64}  # fmt: skip


def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object whose keys are all different; a doubled tensor would hide the first one's bytes."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError("'%s' is there twice" % name[:200])
            seen.add(name)
    return found


def whole_number(text: str) -> int:
    if len(text) > DIGITS_LIMIT:
        raise ValueError("it has a number of %d digits, the limit is %d" % (len(text), DIGITS_LIMIT))
    return int(text)


def no_fraction(text: str) -> NoReturn:
    raise ValueError("it has the number %s where only whole ones belong" % text[:40])


def parse_header(head: bytes, size: int, path: str) -> dict[str, Any]:
    """The header in the first bytes of a safetensors file of `size` bytes, called `path` in a Refusal."""
    if len(head) < 8:
        raise Refusal("%s is %d bytes: too short for a safetensors file; fetch it again" % (path, size))
    length = struct.unpack("<Q", head[:8])[0]
    if length > HEADER_LIMIT or 8 + length > size or len(head) != 8 + length:
        raise Refusal("%s: header of %d bytes in a file of %d; it is cut or no safetensors file" % (path, length, size))
    if any(head.count(mark, 8) > most * TENSORS_LIMIT for mark, most in MARKS):
        raise Refusal("%s: its header is as long as one of more than %d tensors, the limit" % (path, TENSORS_LIMIT))
    try:
        header = json.loads(
            head[8:].decode("utf-8"),
            object_pairs_hook=no_doubles,
            parse_int=whole_number,
            parse_float=no_fraction,
            parse_constant=no_fraction,
        )
    except (ValueError, RecursionError) as error:
        raise Refusal("%s: header is not JSON (%s); the file is damaged, fetch it again" % (path, error)) from None
    if not isinstance(header, dict):
        raise Refusal("%s: header is not a table of tensors" % path)
    try:
        "".join(header).encode()
    except UnicodeEncodeError:
        raise Refusal(
            "%s: a tensor's name has half a character, which no engine reads; fetch it again" % path
        ) from None
    about = header.get("__metadata__")
    if about is not None and not (isinstance(about, dict) and all(isinstance(text, str) for text in about.values())):
        raise Refusal("%s: its __metadata__ is no table of texts, so no engine can read it; fetch it again" % path)
    spans = [(*span_of(name, tensor, size, path), name) for name, tensor in header.items() if name != "__metadata__"]
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


def span_of(name: str, tensor: Any, size: int, path: str) -> tuple[int, int]:
    """Where a tensor's bytes begin and end. Refusal where type, shape and offsets can't all be true."""
    try:
        begin, end = tensor["data_offsets"]
        shape, dtype = tensor["shape"], tensor["dtype"]
        if not isinstance(shape, list) or not isinstance(dtype, str):
            raise TypeError(shape)
        if len(shape) > DIMENSIONS_LIMIT:
            raise Refusal(
                "%s: tensor '%s' has %d dimensions, the limit is %d" % (path, name, len(shape), DIMENSIONS_LIMIT)
            )
        for number in [begin, end, *shape]:
            if type(number) is not int or number < 0:  # no bool, no list that multiplies itself
                raise TypeError(number)
        count = 0 if 0 in shape else 1
        for dim in shape:
            count *= dim
            if count > size * 8:  # more elements than the file has bits
                break
        bits = DTYPE_BITS.get(dtype)
        good = begin <= end and (bits is None or (end - begin) * 8 == count * bits)
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise Refusal(
            "%s: tensor '%s' has type, shape and offsets that don't agree; the file is damaged" % (path, name)
        )
    return begin, end


def read_head(path: str) -> bytes:
    """The first bytes of a safetensors file: 8 of length, and as much of the header as it may have."""
    with open(path, "rb") as source:
        head = source.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
        return head + source.read(min(length, HEADER_LIMIT))


def read_header(path: str) -> dict[str, Any]:
    """The header of a safetensors file, checked against the file's size. Refusal if it is cut or nonsense."""
    return parse_header(read_head(path), os.path.getsize(path), path)


def weight_map(text: bytes, path: str) -> dict[str, str]:
    """{tensor: shard} of an index of shards, called `path` in a Refusal."""
    try:
        found = json.loads(text.decode("utf-8-sig"), parse_int=lambda number: int(number[:DIGITS_LIMIT]))
        found = found.get("weight_map") if isinstance(found, dict) else None
        if not isinstance(found, dict) or not all(isinstance(shard, str) for shard in found.values()):
            raise ValueError("it has no weight_map, a table of tensors and file names")
        if not found:
            raise ValueError("its weight_map is empty")
        odd = next((shard for shard in found.values() if not shard.isprintable()), None)
        if odd is not None:
            raise ValueError("it names a file %s" % ascii(odd[:100]))
    except RecursionError:
        raise Refusal(
            "%s is not an index of shards (it is nested too deep); restore it, or leave it out by `exclude` in models.yml"
            % path
        ) from None
    except ValueError as error:
        raise Refusal(
            "%s is not an index of shards (%s); restore it, or leave it out by `exclude` in models.yml" % (path, error)
        ) from None
    return found
