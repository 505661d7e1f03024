"""bf16 (and fp32, where it is the weights' type) -> fp16, streaming: bounded memory whatever the shard's size.

bf16 has 8 significant bits, fp16 has 11: every value from 2**-14 to 65280 converts exactly, by a shift. Below
that fp16 has subnormals (rounded to nearest even), beyond it has infinity. What becomes fp16:

- bf16 tensors.
- fp32 and fp64 tensors whose name holds `norm`, as in the Atlas vendor document's script, and all of them in a file that has
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
import mmap
import os
import struct
from typing import Any, Callable, Iterator

import numpy as np
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import naming
from ansible.module_utils.serving.weights.float16 import CHUNK, MAX_F16, Counts, Kernel, to_f16_from
from ansible.module_utils.serving.weights.headers import HEADER_LIMIT
from ansible.module_utils.serving.weights.layout import SCALE, Layout, Span

AHEAD = 2  # chunks that are read before the first of them is written


def overflow(where: str, name: str, counts: Counts) -> Refusal:
    return Refusal(
        "%s: tensor '%s' has %d values beyond fp16's %g (seen so far), the largest %g; serve it on an accelerator with "
        "bf16, or set overflow: saturate" % (where, name, counts.overflowed, MAX_F16, counts.largest)
    )


def underflow(where: str, name: str, counts: Counts) -> Refusal:
    return Refusal(
        "%s: tensor '%s' is a scale, and %d of its values would become 0 in fp16 (seen so far), the largest %g; serve it on an accelerator "
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
            result, residue = to_f16_from(source, span.dtype, counts, self.saturate), source
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
    with naming(dest), open(source, "rb", buffering=0) as src, InOrder(dest) as out:
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
    """A file that is written in order, past the page cache where the file system can; the disk works while the next block is filled.

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
        self.filling, self.written = (mmap.mmap(-1, CHUNK) for _ in range(2))  # aligned, as O_DIRECT needs it
        self.used = 0
        self.disk = concurrent.futures.ThreadPoolExecutor(1)
        self.under_way: concurrent.futures.Future[None] | None = None

    def __enter__(self) -> InOrder:
        return self

    def __exit__(self, *_: object) -> None:
        self.disk.shutdown()
        os.close(self.fd)

    def write(self, data: Any) -> None:
        view = memoryview(data)
        while view:
            count = min(len(view), CHUNK - self.used)
            self.filling[self.used : self.used + count] = view[:count]
            self.used += count
            view = view[count:]
            if self.used == CHUNK:
                self.wait()
                self.filling, self.written = self.written, self.filling
                self.under_way, self.used = self.disk.submit(self.flush, self.written, CHUNK), 0

    def wait(self) -> None:
        """Until the block before is with the disk; what went wrong there is raised here."""
        if self.under_way:
            self.under_way.result()

    def flush(self, block: mmap.mmap, used: int) -> None:
        with memoryview(block) as view:
            done = 0
            while done < used:
                try:
                    done += os.write(self.fd, view[done:used])
                except OSError as error:
                    if error.errno != errno.EINVAL or not self.direct():
                        raise
                    self.indirect()

    def direct(self) -> bool:
        return bool(fcntl.fcntl(self.fd, fcntl.F_GETFL) & os.O_DIRECT)

    def indirect(self) -> None:
        fcntl.fcntl(self.fd, fcntl.F_SETFL, fcntl.fcntl(self.fd, fcntl.F_GETFL) & ~os.O_DIRECT)

    def finish(self) -> None:
        """The rest, which is no whole block, and all of it durable."""
        self.wait()
        self.indirect()
        self.flush(self.filling, self.used)
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
