"""Conversion while a model is fetched: one pass, in any order, killed at any moment."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import shards
from ansible.module_utils.serving.weights.convert import convert_shard
from ansible.module_utils.serving.weights.manifests import MANIFEST
from conversion import Run, bf16, convert, model, published
from hub import COMMIT, Hub
from hypothesis import given
from hypothesis import strategies as st


@given(
    tensors=st.dictionaries(
        st.sampled_from(["w", "x_norm", "y", "norm.z"]),
        st.tuples(st.sampled_from(["BF16", "F32", "U8", "F16"]), st.integers(0, 9)),
    ),
    seed=st.integers(0, 9),
)
def test_fetching_in_any_order_gives_what_converting_at_once_gives(
    tmp_path_factory: Any, tensors: dict[str, tuple[str, int]], seed: int
) -> None:
    """ConvertedPart fed with pieces in random order, of odd lengths, against convert_shard."""
    from ansible.module_utils.serving.weights.client import Client
    from ansible.module_utils.serving.weights.converted import ConvertedPart
    from ansible.module_utils.serving.weights.listing import Entry

    folder = tmp_path_factory.mktemp("o")
    dice = random.Random(seed)
    width = {"BF16": 2, "F32": 4, "U8": 1, "F16": 2}
    made: shards.Tensors = {}
    for name, (dtype, count) in tensors.items():
        values = numpy.array([dice.choice([0.5, -3.0, 1e-6, 1e-9, 100.0]) for _ in range(count)], numpy.float32)
        made[name] = (dtype, [count], bf16(values) if dtype == "BF16" else values.tobytes()[: count * width[dtype]])
    shards.write(folder / "s", made)
    data = (folder / "s").read_bytes()
    wanted = convert_shard(str(folder / "s"), str(folder / "d"))
    client = Client({}, "http://127.0.0.1")
    client.read = lambda url, limit, start, end, size: data[start:end]  # type: ignore[method-assign]
    entry = Entry("x", len(data), sha256=hashlib.sha256(data).hexdigest(), url="http://x")
    part = ConvertedPart(str(folder / "x"), entry, client, False)
    part.open()
    while gaps := part.missing():
        start, end = dice.choice(gaps)
        start = part.floor(dice.randrange(start, end))
        end = min(end, start + dice.randrange(1, 12))
        part.add(start, memoryview(bytearray(data[start:end])))
        if dice.random() < 0.2:  # as after kill -9
            part.close()
            part = ConvertedPart(str(folder / "x"), entry, client, False)
            part.open()
    part.restart_digest()
    source = hashlib.sha256()
    for _, block in part.source_blocks(0):
        source.update(block)
    row = part.about(source.hexdigest())
    assert row["source_sha256"] == wanted["source_sha256"] == entry.sha256
    assert row["sha256"] == wanted["sha256"] and row["tensors"] == wanted["tensors"]
    assert (folder / "x.part").read_bytes() == (folder / "d").read_bytes()
    part.close()


def test_in_one_pass_the_source_never_touches_the_disk(run_module: Run, tmp_path: Path) -> None:
    """The same model, fetched and converted at once, or one after the other: the same identity, half the disk."""
    dice = numpy.random.default_rng(1)
    shard: shards.Tensors = {
        "w": ("BF16", [3_000_000], bf16(dice.normal(0, 0.02, 3_000_000))),
        "norm": ("F32", [100], dice.normal(size=100).astype(numpy.float32).tobytes()),
    }
    source = model(tmp_path / "source", shard)
    hub = Hub(source)
    args = {"name": "m", "models_root": str(tmp_path / "one"), "huggingface_endpoint": hub.url, "connections": 4}
    args |= {"sources": {"huggingface": {"repo": "org/m", "revision": None}}, "convert": "float16"}
    try:
        one = run_module("weights_fetch", args)
    finally:
        hub.close()
    assert one["changed"] and one["revision"] == COMMIT[:12] + "+float16", one
    assert [p.name for p in (tmp_path / "one").iterdir() if "@" in p.name] == [f"m@{COMMIT[:12]}+float16"]
    plain = published(run_module, tmp_path / "two", source)
    two = convert(run_module, tmp_path / "two")
    assert one["identity"] == two["identity"]
    manifests = [json.loads((Path(r["path"]) / MANIFEST).read_text()) for r in (one, two)]
    assert manifests[0]["tensors"] == manifests[1]["tensors"]
    assert manifests[0]["source"]["identity"] == manifests[1]["source"]["identity"] == plain["identity"]
    info = {"name": "m", "models_root": str(tmp_path / "one"), "convert": "float16", "full": True}
    assert run_module("weights_info", info)["path"] == one["path"]


def bin_only(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text('{"torch_dtype": "bfloat16"}')
    (folder / "pytorch_model.bin").write_bytes(b"x" * 5000)


def gguf_only(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "m-Q4_K_M.gguf").write_bytes(b"GGUF" * 2000)


def half_already(folder: Path) -> None:
    model(folder, {"w": ("F16", [2], b"\0" * 4), "router": ("F32", [1], b"\0" * 4), "steps": ("I64", [1], b"\0" * 8)})


def quantised(config: dict[str, Any], tensors: shards.Tensors) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        model(folder, {"norm": ("BF16", [1], bf16([1.0])), **tensors})
        (folder / "config.json").write_text(json.dumps({"torch_dtype": "bfloat16", **config}))

    return make


AWQ = {"quantization_config": {"quant_method": "awq", "bits": 4}}
PACKED: shards.Tensors = {
    "q.qweight": ("I32", [2], b"\1" * 8), "q.qzeros": ("I32", [1], b"\1" * 4), "q.scales": ("BF16", [2], bf16([1e-9, 1])),
}  # fmt: skip
INT8: shards.Tensors = {"k.weight": ("I8", [4], b"\1" * 4), "k.weight_scale": ("F32", [1], b"\0" * 4)}
SLIM: shards.Tensors = {"k.deq_scale": ("F32", [1], b"\0" * 4), "k.input_offset": ("I8", [1], b"\1")}
FP8: shards.Tensors = {"k": ("F8_E4M3", [4], b"\1" * 4), "k.weight_scale_inv": ("F32", [1], b"\0" * 4)}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (bin_only, "no safetensors but pytorch_model.bin"),
        (gguf_only, "no safetensors but m-Q4_K_M.gguf"),
        (half_already, "is bfloat16 or float32"),
        (quantised(AWQ, PACKED), "quantization_config (awq)"),
        (quantised({}, PACKED), "tensor 'q.qweight' (I32) is of a quantised model"),
        (quantised({}, FP8), "tensor 'k' (F8_E4M3) is of a quantised model"),
        (quantised({}, INT8), "tensor 'k.weight' (I8) is of a quantised model"),
        (quantised({}, SLIM), "tensor 'k.deq_scale' (F32) is of a quantised model"),
    ],
    ids=["bin", "gguf", "fp16", "awq", "gptq without a word", "fp8 without a word", "int8 without a word", "ModelSlim"],
)
def test_where_nothing_can_be_converted_it_is_said_before_the_weights_come(
    run_module: Run, tmp_path: Path, make: Callable[[Path], None], words: str
) -> None:
    source, root = tmp_path / "source", tmp_path / "models"
    make(source)
    hub = Hub(source)
    try:
        args = {"name": "m", "models_root": str(root), "convert": "float16", "huggingface_endpoint": hub.url}
        result = run_module("weights_fetch", {**args, "sources": {"huggingface": {"repo": "org/m", "revision": None}}})
        assert result["failed"] and words in result["msg"] and "set convert: false" in result["msg"]
        large = [name for name in hub.names() if (source / name).stat().st_size > 1000]
        assert not any(hub.sent[name] >= (source / name).stat().st_size for name in large)
    finally:
        hub.close()
    published(run_module, root, source)
    before = sorted(path.name for path in root.iterdir())
    result = convert(run_module, root)
    assert result["failed"] and words in result["msg"]
    assert [
        name for name in sorted(path.name for path in root.iterdir()) if "float16" in name and "partial" not in name
    ] == []
    assert set(before) <= {path.name for path in root.iterdir()}
