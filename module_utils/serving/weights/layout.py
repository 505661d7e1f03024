"""Where the tensors of a safetensors file lie, before and after its conversion."""

from __future__ import annotations

import json
import re
import struct
from typing import Any, NamedTuple

import numpy as np
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.float16 import NUMPY
from ansible.module_utils.serving.weights.headers import parse_header

SCALE = re.compile(r"scale|absmax|zero_?point|(^|[._])zeros$", re.IGNORECASE)
# Tensors of quantised models: packed values, types that only such models have, and weights of 8 bits.
PACKED = re.compile(
    r"(^|[._])(qweight|qzeros|weight_packed|weight_scale_inv|deq_scale|quant_bias|SCB|quant_map|quant_state\..*)$"
)
QUANTISED = re.compile(r"(F8|F6|F4|I4|U4|NF4)(_.*)?")
BYTES = ("I8", "U8")


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
            if PACKED.search(name) or QUANTISED.fullmatch(dtype) or (dtype in BYTES and name.endswith(".weight")):
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
