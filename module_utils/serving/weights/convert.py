"""bf16 (and fp32, where it is the weights' type) -> fp16, streaming: bounded memory whatever the shard's size.

bf16 has 8 significant bits, fp16 has 11: every value from 2**-14 to 65280 converts exactly, by a shift. Below
that fp16 has subnormals (rounded to nearest even), beyond it has infinity. What becomes fp16:

- bf16 tensors.
- fp32 and fp64 tensors whose name holds `norm`, as in the Atlas document's script, and all of them in a file that has
  no bf16 or fp16 tensor: there fp32 is the weights' type. Elsewhere their publisher keeps them exact, and so do we.
- Nothing else: integers, booleans, 8-bit floats stay. A quantised tensor is refused, since its scales belong to it.

A scale that would become 0 is refused; an ordinary weight below 3e-8 may.

Both directions are here. Exact codes can be shifted back; the few others (0.2 % of a usual model) are kept aside
as a `residue` while a shard is fetched and converted in one pass. So the source's sha256 can be computed from
the result, in order, however disorderly or interrupted the fetch was, and the source never touches the disk.
"""

from __future__ import annotations

import collections
import concurrent.futures
import errno
import fcntl
import hashlib
import json
import mmap
import os
import re
import struct
from typing import Any, Callable, Iterator, NamedTuple

import numpy as np
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.headers import HEADER_LIMIT, parse_header

CHUNK = 1 << 20  # bytes at a time: what two threads need of it stays in the cache
AHEAD = 2  # chunks that are read before the first of them is written
MAX_F16 = 65504.0
LARGEST = 0x7BFF  # fp16 code of MAX_F16; no exact conversion gives it, since bf16 has too few digits for it
NUMPY = {"F64": "<f8", "F32": "<f4"}  # types beside bf16 that may become fp16, as numpy calls them
SCALE = re.compile(r"scale|absmax|zero_?point|(^|[._])zeros$", re.IGNORECASE)
# Tensors of quantised models: packed values, and types that only such models have.
PACKED = re.compile(r"(^|[._])(qweight|qzeros|weight_packed|weight_scale_inv|SCB|quant_map|quant_state\..*)$")
QUANTISED = re.compile(r"(F8|F6|F4|I4|U4|NF4)(_.*)?")


def table_of_codes() -> Any:
    """fp16 code of each of the 65,536 bf16 codes, equal to torch's `.to(float16)`, NaN payloads included."""
    codes = np.arange(65536, dtype=np.uint32)
    with np.errstate(over="ignore"):
        table = (codes << 16).view(np.float32).astype(np.float16).view(np.uint16)
    table[(codes & 0x7FFF) > 0x7F80] |= 0x200  # a NaN stays a quiet one
    return table


TABLE = table_of_codes()


class Counts:
    """What happened to the values of one tensor; `largest` is the largest finite magnitude that overflowed, `lost` that became 0."""

    def __init__(self) -> None:
        self.values = self.overflowed = self.subnormal = self.zeroed = self.nan = self.inf = 0
        self.largest = self.lost = 0.0

    def as_dict(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "lost"}

    def add_odd(self, codes: Any) -> None:
        """Count bf16 codes (uint16, shape (n,)) that did not convert exactly by a shift."""
        size = codes & np.uint16(0x7FFF)
        over = (size >= 0x4780) & (size < 0x7F80)
        small = (size > 0) & (size < 0x3880)
        zeroed = small & ((TABLE[codes] & np.uint16(0x7FFF)) == 0)
        self.overflowed += int(over.sum())
        self.inf += int((size == 0x7F80).sum())
        self.nan += int((size > 0x7F80).sum())
        self.zeroed += int(zeroed.sum())
        self.subnormal += int(small.sum()) - int(zeroed.sum())
        if over.any():
            self.largest = max(self.largest, value_of(int(size[over].max())))
        if zeroed.any():
            self.lost = max(self.lost, value_of(int(size[zeroed].max())))


def value_of(code: int) -> float:
    """The value of one bf16 code."""
    return float(np.array([code << 16], dtype=np.uint32).view(np.float32)[0])


class Kernel:
    """Scratch for one thread; converts up to CHUNK bytes at a time."""

    def __init__(self) -> None:
        self.a = np.empty(CHUNK // 2, np.uint16)
        self.b = np.empty(CHUNK // 2, np.uint16)
        self.m = np.empty(CHUNK // 2, np.bool_)

    def to_f16(self, codes: Any, out: Any, saturate: bool) -> Any:
        """bf16 codes -> fp16 codes in `out`, both uint16 of shape (n,). Returns the odd ones' source codes, in order."""
        n = codes.size
        a, b, m = self.a[:n], self.b[:n], self.m[:n]
        # Without its sign, a code from 0x3880 (2**-14) up to below 0x4780 (65536) is exact.
        np.add(codes, codes, out=a)
        np.subtract(a, 0x7100, out=a)
        np.greater_equal(a, 0x1E00, out=m)
        # Re-bias the exponent by 112 and move 7 digits to the place of 10. Products that overflow lose the sign alone.
        np.multiply(codes, 8, out=b)
        np.add(b, 0x4000, out=b)
        np.bitwise_and(codes, 0x8000, out=a)
        np.bitwise_or(a, b, out=out)
        odd = np.flatnonzero(m)
        if not odd.size:
            return codes[:0]
        kept = codes[odd]
        out[odd] = TABLE[kept]
        if saturate:
            size = kept & np.uint16(0x7FFF)
            over = (size >= 0x4780) & (size < 0x7F80)
            out[odd[over]] = (kept[over] & np.uint16(0x8000)) | np.uint16(LARGEST)
        return kept

    def to_bf16(self, halves: Any, out: Any, residue: Any) -> None:
        """fp16 codes that `to_f16` made -> their bf16 codes in `out`; `residue` is what it returned for them."""
        n = halves.size
        a, b, m = self.a[:n], self.b[:n], self.m[:n]
        np.bitwise_and(halves, 0x7FFF, out=a)
        # Odd are subnormals and zero, infinity and NaN (exponent 0 and 31), and the saturated.
        np.subtract(a, 0x400, out=b)
        np.greater_equal(b, LARGEST - 0x400, out=m)
        np.right_shift(a, 3, out=b)
        np.add(b, 0x3800, out=b)
        np.bitwise_and(halves, 0x8000, out=a)
        np.bitwise_or(a, b, out=out)
        odd = np.flatnonzero(m)
        if odd.size != residue.size:
            raise ValueError("%d codes kept for %d odd values" % (residue.size, odd.size))
        out[odd] = residue


def to_f16_from(data: bytes, dtype: str, counts: Counts, saturate: bool) -> bytes:
    """Little-endian values of a type of NUMPY -> fp16, rounded to nearest even."""
    values = np.frombuffer(data, NUMPY[dtype])
    with np.errstate(over="ignore"):
        half = values.astype(np.float16)
    size = np.abs(values.astype(np.float64))
    over = np.isfinite(size) & np.isinf(half)
    small = (size > 0) & (size < 2.0**-14)
    counts.overflowed += int(over.sum())
    counts.inf += int(np.isinf(size).sum())
    counts.nan += int(np.isnan(size).sum())
    zeroed = small & (half == 0)
    counts.zeroed += int(zeroed.sum())
    counts.subnormal += int((small & (half != 0)).sum())
    if zeroed.any():
        counts.lost = max(counts.lost, float(size[zeroed].max()))
    if over.any():
        counts.largest = max(counts.largest, float(size[over].max()))
    if saturate:
        half = np.where(over, np.copysign(np.float16(MAX_F16), half), half)
    return half.astype("<f2").tobytes()


class Span(NamedTuple):
    """One tensor: its bytes [begin, end) in the source file, where it begins in the result, its source type."""

    begin: int
    end: int
    to: int
    dtype: str
    change: bool
    name: str

    @property
    def width(self) -> int:
        """Bytes of an element, 1 where the tensor is only copied."""
        if not self.change:
            return 1
        return 2 if self.dtype == "BF16" else np.dtype(NUMPY[self.dtype]).itemsize

    def target(self, offset: int) -> int:
        """Place in the result of a source offset of this tensor."""
        return self.to + (offset - self.begin) // self.width * (2 if self.change else 1)


class Layout:
    """Where each byte of a shard goes. `head` is the result's header, `size` the result's size, both in bytes.

    Where every converted tensor stays 2 bytes wide the header keeps its length too, and with it every offset.
    """

    def __init__(self, head: bytes, size: int, where: str) -> None:
        header = parse_header(head, size, where)
        self.source_head = head
        rows = sorted((t["data_offsets"], n) for n, t in header.items() if n != "__metadata__")
        types = {name: header[name]["dtype"] for _, name in rows}
        for name, dtype in types.items():
            if PACKED.search(name) or QUANTISED.fullmatch(dtype):
                raise Refusal(
                    "%s: tensor '%s' (%s) is of a quantised model, whose tensors stay as their publisher made them; "
                    "set convert: false, or take the model that isn't quantised" % (where, name, dtype)
                )
        half = any(dtype in ("BF16", "F16") for dtype in types.values())
        tensors: dict[str, Any] = {}
        place = 0
        for (begin, end), name in rows:
            dtype = types[name]
            change = dtype == "BF16" or (dtype in NUMPY and ("norm" in name or not half))
            count = (end - begin) if not change else (end - begin) * 2 // self.width_of(dtype)
            tensors[name] = {"dtype": "F16" if change else dtype, "shape": header[name]["shape"]}
            tensors[name]["data_offsets"] = [place, place + count]
            place += count
        whole = {"__metadata__": header["__metadata__"]} if "__metadata__" in header else {}
        text = json.dumps({**whole, **tensors}, separators=(",", ":"), ensure_ascii=False).encode()
        length = len(head) - 8
        if place != size - len(head) or len(text) > length:
            length = len(text) + -len(text) % 8
        self.head = struct.pack("<Q", length) + text.ljust(length)
        self.size = len(self.head) + place
        self.tensor_bytes = place
        self.spans = [
            Span(
                len(head) + begin,
                len(head) + end,
                len(self.head) + tensors[name]["data_offsets"][0],
                header[name]["dtype"],
                tensors[name]["dtype"] != header[name]["dtype"],
                name,
            )
            for (begin, end), name in rows
            if end > begin
        ]
        self.changes = any(tensors[name]["dtype"] != dtype for name, dtype in types.items())
        self.empty = [n for (b, e), n in rows if b == e and tensors[n]["dtype"] != header[n]["dtype"]]

    @staticmethod
    def width_of(dtype: str) -> int:
        return 2 if dtype == "BF16" else np.dtype(NUMPY[dtype]).itemsize


def overflow(where: str, name: str, counts: Counts) -> Refusal:
    return Refusal(
        "%s: tensor '%s' has %d values beyond fp16's %g (seen so far), the largest %g; serve it on a chip with "
        "bf16, or set overflow: saturate" % (where, name, counts.overflowed, MAX_F16, counts.largest)
    )


def underflow(where: str, name: str, counts: Counts) -> Refusal:
    return Refusal(
        "%s: tensor '%s' is a scale, and %d of its values would become 0 in fp16 (seen so far), the largest %g; serve it on a chip "
        "with bf16, or set convert: false" % (where, name, counts.zeroed, counts.lost)
    )


class Converter:
    """Converts pieces of one tensor after another; one for each thread."""

    def __init__(self, where: str, saturate: bool) -> None:
        self.where, self.saturate = where, saturate
        self.kernel = Kernel()
        self.out = np.empty(CHUNK // 2, np.uint16)

    def piece(self, span: Span, data: Any, counts: Counts) -> tuple[Any, bytes]:
        """(result bytes, residue) of up to CHUNK source bytes, whole elements. Refusal where a value overflows."""
        if not span.change:
            return data, b""
        before, zeroed = counts.overflowed, counts.zeroed
        if span.dtype == "BF16":
            codes = np.frombuffer(data, "<u2")
            counts.values += codes.size
            out = self.out[: codes.size]
            kept = self.kernel.to_f16(codes, out, self.saturate)
            if kept.size:
                counts.add_odd(kept)
            result, residue = out.data.cast("B"), kept.tobytes()
        else:
            source = bytes(data)
            counts.values += len(source) // span.width
            result, residue = to_f16_from(source, span.dtype, counts, self.saturate), source  # type: ignore[assignment]
        if counts.overflowed > before and not self.saturate:
            raise overflow(self.where, span.name, counts)
        if counts.zeroed > zeroed and SCALE.search(span.name):
            raise underflow(self.where, span.name, counts)
        return result, residue

    def back(self, span: Span, result: bytes, residue: bytes) -> Any:
        """The source bytes of a piece."""
        if not span.change:
            return result
        if span.dtype != "BF16":
            return residue
        halves = np.frombuffer(result, "<u2")
        out = self.out[: halves.size]
        self.kernel.to_bf16(halves, out, np.frombuffer(residue, "<u2"))
        return out.data.cast("B")


def convert_shard(
    source: str, dest: str, saturate: bool = False, told: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Convert one safetensors file. Returns {source_sha256, sha256, bytes, tensors: {name: counts}}. Durable.

    Raises Refusal where a finite value would become infinite, unless `saturate`, and for a file that is cut or
    lies about itself. Nothing is renamed: the caller publishes. Memory: a few MiB, whatever the size of the file.
    `told(n)` hears of every n bytes read.
    """
    before, after = hashlib.sha256(), hashlib.sha256()
    converter = Converter(source, saturate)
    with open(source, "rb", buffering=0) as src, InOrder(dest) as out:
        size = os.fstat(src.fileno()).st_size
        start = src.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        layout = Layout(start + src.read(min(length, HEADER_LIMIT)), size, source)
        before.update(layout.source_head)
        after.update(layout.head)
        out.write(layout.head)
        src.seek(len(layout.source_head))
        counts = {span.name: Counts() for span in layout.spans if span.change}
        counts.update({name: Counts() for name in layout.empty})

        def second(span: Span, data: memoryview) -> None:
            """Convert, digest and write one chunk, while the next one is read and digested."""
            result, _ = converter.piece(span, data, counts.get(span.name) or Counts())
            after.update(result)
            out.write(result)

        buffers = [memoryview(bytearray(CHUNK)) for _ in range(AHEAD)]
        under_way: collections.deque[concurrent.futures.Future[None]] = collections.deque()
        with concurrent.futures.ThreadPoolExecutor(1) as writer:
            for number, (span, count) in enumerate(chunks(layout.spans)):
                if len(under_way) == AHEAD:
                    under_way.popleft().result()
                data = buffers[number % AHEAD][:count]
                if fill(src, data) < count:
                    raise Refusal("%s ended early at tensor '%s'; fetch it again" % (source, span.name))
                before.update(data)
                under_way.append(writer.submit(second, span, data))
                if told:
                    told(count)
            while under_way:
                under_way.popleft().result()
        out.finish()
    return {
        "source_sha256": before.hexdigest(),
        "sha256": after.hexdigest(),
        "bytes": layout.size,
        "tensors": {name: row.as_dict() for name, row in counts.items()},
    }


def chunks(spans: list[Span]) -> Iterator[tuple[Span, int]]:
    """Each tensor in chunks of at most CHUNK bytes, which is a whole number of elements of any type."""
    for span in spans:
        left = span.end - span.begin
        while left:
            yield span, min(CHUNK, left)
            left -= min(CHUNK, left)


class InOrder:
    """A file that is written in order, past the page cache where the file system can.

    The kernel's copy and its pages cost more time than a conversion and both digests: 2.1 GB took 0.3 s of CPU this way
    and 2.4 s the other (median of benchmarks on a virtual machine). Any file system may refuse; then it is an ordinary file.
    """

    def __init__(self, path: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        try:
            self.fd = os.open(path, flags | os.O_DIRECT, 0o644)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self.fd = os.open(path, flags, 0o644)
        self.block = mmap.mmap(-1, CHUNK)  # aligned, as O_DIRECT needs it
        self.used = 0

    def __enter__(self) -> InOrder:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def write(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            count = min(len(view), CHUNK - self.used)
            self.block[self.used : self.used + count] = view[:count]
            self.used += count
            view = view[count:]
            if self.used == CHUNK:
                self.flush()

    def flush(self) -> None:
        with memoryview(self.block) as block:
            done = 0
            while done < self.used:
                try:
                    done += os.write(self.fd, block[done : self.used])
                except OSError as error:
                    if error.errno != errno.EINVAL or not self.direct():
                        raise
                    self.indirect()
        self.used = 0

    def direct(self) -> bool:
        return bool(fcntl.fcntl(self.fd, fcntl.F_GETFL) & os.O_DIRECT)

    def indirect(self) -> None:
        fcntl.fcntl(self.fd, fcntl.F_SETFL, fcntl.fcntl(self.fd, fcntl.F_GETFL) & ~os.O_DIRECT)

    def finish(self) -> None:
        """The rest, which is no whole block, and all of it durable."""
        self.indirect()
        self.flush()
        os.fsync(self.fd)


def fill(source: Any, view: memoryview) -> int:
    """Read until the view is full or the file ends; a read may give less at any time."""
    got = 0
    while got < len(view):
        count = source.readinto(view[got:])
        if not count:
            break
        got += count
    return got


def write_all(fd: int, data: Any, offset: int | None = None) -> None:
    """Write every byte; the kernel may take fewer at a time (a disk that fills up raises on the next)."""
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.write(fd, view[done:]) if offset is None else os.pwrite(fd, view[done:], offset + done)
