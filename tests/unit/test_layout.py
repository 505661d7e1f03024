"""Headers of safetensors files: those that lie are refused, and none costs more than its length."""

from __future__ import annotations

import contextlib
import json
import struct
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal, as_shown
from ansible.module_utils.serving.weights import headers
from ansible.module_utils.serving.weights.convert import convert_shard
from ansible.module_utils.serving.weights.manifests import read_header
from hypothesis import given
from hypothesis import strategies as st

BF16_OF_4 = {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"a": BF16_OF_4, "b": {**BF16_OF_4, "data_offsets": [2, 6]}}, "starts at byte 2, expected 4"),
        ({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 9]}}, "don't agree"),
        ({"a": {"dtype": "BF16", "shape": [[]], "data_offsets": [0, 4]}}, "don't agree"),
        ({"a": {"dtype": "BF16", "shape": [True, 2], "data_offsets": [0, 4]}}, "don't agree"),
        ({"a": {"dtype": 17, "shape": [2], "data_offsets": [0, 4]}}, "don't agree"),
        ({"a": {"dtype": "U8", "shape": [1] * 65, "data_offsets": [0, 1]}}, "has 65 dimensions, the limit is 64"),
        ({"\ud800": BF16_OF_4}, "a tensor's name has half a character"),
        ([1], "not a table"),
    ],
)  # fmt: skip
def test_headers_that_lie_are_refused(tmp_path: Path, header: Any, words: str) -> None:
    text = json.dumps(header).encode()
    (tmp_path / "s").write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 6)
    with pytest.raises(Refusal, match=words):
        convert_shard(str(tmp_path / "s"), str(tmp_path / "d"))


@pytest.mark.parametrize("length", [8, 1 << 40, (1 << 64) - 1, 101 << 20])
def test_header_lengths_that_lie_are_refused_without_reading_them(tmp_path: Path, length: int) -> None:
    (tmp_path / "s").write_bytes(struct.pack("<Q", length) + b"{}     ")
    with pytest.raises(Refusal):
        convert_shard(str(tmp_path / "s"), str(tmp_path / "d"))


def test_a_tensor_named_twice_is_refused(tmp_path: Path) -> None:
    text = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    (tmp_path / "s").write_bytes(struct.pack("<Q", len(text)) + text + b"x")
    with pytest.raises(Refusal, match="'a' is there twice"):
        read_header(str(tmp_path / "s"))


@given(data=st.binary(max_size=400), length=st.none() | st.integers(0, 400))
def test_no_bytes_make_the_converter_fail_otherwise(tmp_path_factory: Any, data: bytes, length: int | None) -> None:
    """A fuzz target: whatever the file, it is converted or refused."""
    folder = tmp_path_factory.mktemp("f")
    (folder / "s").write_bytes((struct.pack("<Q", length) if length is not None else b"") + data)
    with contextlib.suppress(Refusal):
        convert_shard(str(folder / "s"), str(folder / "d"))


def shape_of(dims: list[str]) -> str:
    return '"a":{"dtype":"U8","shape":[' + ",".join(dims) + '],"data_offsets":[0,1]}'


def header(entries: str) -> bytes:
    text = ("{" + entries + "}").encode()
    return struct.pack("<Q", len(text)) + text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (shape_of(["9" * 4299] * 2000), "number of 4299 digits, the limit is 20"),
        (shape_of(["1"] * 100_000), "has 100000 dimensions, the limit is 64"),
        (shape_of(["9" * 20] * 60), "don't agree"),
        (shape_of(["1e400"]), "where only whole ones belong"),
        (shape_of(["NaN"]), "where only whole ones belong"),
        (",".join(f'"k{number}":0' for number in range(200_000)) + ',"k7":0', "'k7' is there twice"),
        ('"a":' + "[" * 50_000 + "]" * 50_000, "header is not JSON"),
        ('"a":' + "[]," * 2_100_000 + "0", "one of more than 300000 tensors, the limit"),
        ('"__metadata__":{"format":{"a":1}}', "no table of texts"),
        ('"__metadata__":5', "no table of texts"),
    ],
    ids=["digits", "dimensions", "a product", "a fraction", "no number", "a doubled key", "depth", "count", "nested words", "no words"],
)  # fmt: skip
def test_headers_cost_no_more_than_their_length(tmp_path: Path, text: str, words: str) -> None:
    """Each of these took minutes, or would. The bound is generous; a quadratic reader exceeds it by far."""
    data = header(text)
    began = time.monotonic()
    with pytest.raises(Refusal, match=words):
        headers.parse_header(data, len(data) + 1, "x")
    assert time.monotonic() - began < 10


def test_no_name_makes_a_message_without_end() -> None:
    said = as_shown(f"tensor {'a' * 100_000} is odd")
    assert said == f"tensor {'a' * 100}... (100000 characters) is odd"
