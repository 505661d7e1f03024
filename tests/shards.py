"""Safetensors files of any type, bf16 too, which numpy (and so the library's numpy side) does not know."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

Tensors = dict[str, tuple[str, list[int], bytes]]


def write(path: Path, tensors: Tensors, metadata: dict[str, str] | None = None) -> None:
    """{name: (type, shape, bytes)} as a file, laid out in the given order."""
    header: dict[str, Any] = {"__metadata__": metadata or {"format": "pt"}}
    place = 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + len(data)]}
        place += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def read(path: Path) -> Tensors:
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = memoryview(data)[8 + length :]
    return {n: (t["dtype"], t["shape"], bytes(body[slice(*t["data_offsets"])])) for n, t in header.items()}
