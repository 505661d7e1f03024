"""A shard that is converted while it is fetched: only the fp16 result touches the disk."""

from __future__ import annotations

import bisect
import hashlib
import os
import struct
import threading
from typing import Any, Iterator

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import naming, remove_tree, write_atomic
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.convert import Converter, write_all
from ansible.module_utils.serving.weights.float16 import Counts, to_f16_from
from ansible.module_utils.serving.weights.headers import HEADER_LIMIT
from ansible.module_utils.serving.weights.layout import Layout, Span
from ansible.module_utils.serving.weights.listing import Entry, SourceFailed
from ansible.module_utils.serving.weights.part import Part


class ConvertedPart(Part):
    """Offsets are the source's. Each journal record is of one tensor and keeps the codes that can't be shifted back."""

    inline = False

    def __init__(self, path: str, entry: Entry, client: Client, saturate: bool) -> None:
        super().__init__(path, entry)
        self.client, self.saturate = client, saturate
        self.identity = "%s float16 2%s" % (entry.content, " saturated" if saturate else "")
        self.mine = threading.local()

    def prepare(self) -> None:
        """The header comes first: it says what each byte is."""
        if hasattr(self, "layout"):
            return
        path, size = self.final + ".head", self.entry.size
        mark = self.identity.encode() + b"\n"
        try:
            with open(path, "rb") as source:
                head = source.read()
        except OSError:
            head = b""
        try:
            if not head.startswith(mark):
                raise Refusal("it is of another file")
            head = head[len(mark) :]
            self.layout = Layout(head, size, self.entry.name)
        except Refusal:  # there is none, or it is damaged
            url = self.entry.url or ""
            head = self.client.read(url, 8, 0, min(8, size), size) if size else b""
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if 0 < length <= min(HEADER_LIMIT, size - 8):
                head += self.client.read(url, length, 8, 8 + length, size)
            try:
                self.layout = Layout(head, size, self.entry.name)
            except Refusal as refusal:
                remove_tree(path)
                raise SourceFailed(str(refusal)) from None
            os.makedirs(os.path.dirname(path), exist_ok=True)
            write_atomic(path, mark + head)
        self.begins = [span.begin for span in self.layout.spans]
        self.begin, self.size = len(head), self.layout.size

    def open(self) -> None:
        super().open()
        with naming(self.path):
            write_all(self.out, self.layout.head, 0)

    def converter(self) -> Converter:
        """Scratch of this thread."""
        if not hasattr(self.mine, "converter"):
            self.mine.converter = Converter(self.entry.name, self.saturate)
        found: Converter = self.mine.converter
        return found

    def span_at(self, offset: int) -> Span:
        return self.layout.spans[bisect.bisect_right(self.begins, offset) - 1]

    def floor(self, offset: int) -> int:
        span = self.span_at(offset)
        return int(offset - (offset - span.begin) % span.width)

    def write(self, offset: int, data: memoryview) -> tuple[int, bytes]:
        span = self.span_at(offset)
        count = min(len(data), span.end - offset)
        count -= count % span.width
        if not count:
            return 0, b""
        result, residue = self.converter().piece(span, data[:count], Counts())
        write_all(self.out, result, span.target(offset))
        return count, residue

    def restart_digest(self) -> None:
        self.after = hashlib.sha256(self.layout.head)
        self.counts = {span.name: Counts() for span in self.layout.spans if span.change}
        self.counts.update({name: Counts() for name in self.layout.empty})

    def source_blocks(self, at: int) -> Iterator[tuple[int, Any]]:
        if at < self.begin:
            at = self.begin
            yield at, self.layout.source_head
        while True:
            with self.lock:
                index = bisect.bisect_right(self.spans, (at, 1 << 62, 0, 0)) - 1
                start, end, place, length = self.spans[index] if index >= 0 else (0, 0, 0, 0)
            if end <= at or start != at:
                return
            span = self.span_at(at)
            result = os.pread(self.out, span.target(end) - span.target(at), span.target(at))
            residue = os.pread(self.journal, length, place)
            try:
                self.count(span, end - at, residue)
                source = self.converter().back(span, result, residue)
            except ValueError as error:  # what follows is fetched anew, as any file whose digest is wrong
                self.anew = "the unfinished %s of an earlier run was damaged (%s) and is fetched anew" % (
                    self.entry.name,
                    error,
                )
                return
            self.after.update(result)
            at = end
            yield at, source

    def sound(self, start: int, end: int, length: int) -> bool:
        """Is a span of the journal inside of one tensor, of whole values, and with as many kept codes as it may have?"""
        if not super().sound(start, end, length) or start < self.begin:
            return False
        span = self.span_at(start)
        if not span.begin <= start < end <= span.end or (start - span.begin) % span.width or (end - start) % span.width:
            return False
        if not span.change:
            return length == 0
        return length <= end - start and length % 2 == 0 if span.dtype == "BF16" else length == end - start

    def count(self, span: Span, size: int, residue: bytes) -> None:
        if not span.change:
            return
        counts = self.counts[span.name]
        counts.values += size // span.width
        if span.dtype == "BF16":
            if residue:
                import numpy as np

                counts.add_odd(np.frombuffer(residue, "<u2"))
        else:
            to_f16_from(residue, span.dtype, counts, self.saturate)

    def drop(self) -> None:
        """Forget what was fetched, the header too: it may be what is wrong."""
        super().drop()
        if hasattr(self, "layout"):
            del self.layout
        remove_tree(self.final + ".head")

    def publish(self) -> None:
        super().publish()
        remove_tree(self.final + ".head")

    def about(self, source_sha256: str) -> dict[str, Any]:
        return {
            "sha256": self.after.hexdigest(),
            "bytes": self.size,
            "source_sha256": source_sha256,
            "tensors": {name: counts.as_dict() for name, counts in self.counts.items()},
        }
