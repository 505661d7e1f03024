"""Conversion to fp16: exact, streaming, resumable, and never half there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import time
from pathlib import Path
from typing import Any

import numpy
import pytest
import shards
from ansible.module_utils.serving.weights import convert as conversion
from ansible.module_utils.serving.weights import float16, publishing
from ansible.module_utils.serving.weights.convert import convert_shard
from ansible.module_utils.serving.weights.manifests import INDEX, MANIFEST, SUMS, damage
from conftest import DEMO, start_module
from conversion import Run, bf16, convert, model, published
from hub import Hub

# sha256 of torch 2.13.0's `.to(torch.float16)` of all 65,536 bf16 codes in order, as little-endian bytes.
TORCH = "77a6185483423cf9e70d8767f91c87e2f3abad239057a84b09afaaef7ae0c2a7"
CODES = numpy.arange(65536, dtype=numpy.uint16)


def test_every_bf16_code_becomes_what_torch_makes_of_it() -> None:
    out = numpy.empty(65536, numpy.uint16)
    float16.Kernel().to_f16(CODES, out, False)
    assert hashlib.sha256(out.tobytes()).hexdigest() == TORCH


@pytest.mark.parametrize("saturate", [False, True])
def test_every_code_comes_back_from_its_result_and_residue(saturate: bool) -> None:
    kernel, out, back = float16.Kernel(), numpy.empty(65536, numpy.uint16), numpy.empty(65536, numpy.uint16)
    kept = kernel.to_f16(CODES, out, saturate)
    kernel.to_bf16(out, back, kept)
    assert (back == CODES).all()
    values = out.view(numpy.float16)
    assert (
        not numpy.isinf(values[numpy.isfinite((CODES.astype(numpy.uint32) << 16).view(numpy.float32))]).any()
        or not saturate
    )


def test_the_result_is_what_the_documents_script_makes(run_module: Run, tmp_path: Path) -> None:
    """bf16 and floating point named norm become fp16, all else stays; index, types and sizes are right."""
    norm = numpy.array([1.0001, -2.5, 3e-6, 0.1], numpy.float32)
    shard: shards.Tensors = {
        "w": ("BF16", [2, 3], bf16([[0.02, -1.5, 0], [1e-5, 3e38 / 1e34, -0.0]])),
        "norm.weight": ("F32", [4], norm.tobytes()),
        "norm.steps": ("I64", [], numpy.int64(7).tobytes()),
        "bias": ("F32", [2], numpy.float32([1.1, 2.2]).tobytes()),
        "scale": ("I8", [3], b"\x01\x02\x03"),
        "input_norm": ("F16", [1], numpy.float16([1.5]).tobytes()),
        "none": ("BF16", [0], b""),
    }
    plain = published(run_module, tmp_path / "models", model(tmp_path / "source", shard))
    result = convert(run_module, tmp_path / "models")
    assert result["changed"] and result["revision"] == plain["revision"] + "+float16"
    folder = Path(result["path"])
    found = shards.read(folder / "a.safetensors")
    assert {n: t[0] for n, t in found.items()} == {
        "w": "F16", "norm.weight": "F16", "norm.steps": "I64", "bias": "F32", "scale": "I8", "input_norm": "F16", "none": "F16",
    }  # fmt: skip
    w = numpy.frombuffer(shard["w"][2], numpy.uint16).astype(numpy.uint32) << 16
    assert found["w"][2] == w.view(numpy.float32).astype(numpy.float16).tobytes() and found["w"][1] == [2, 3]
    assert found["norm.weight"][2] == norm.astype(numpy.float16).tobytes()
    for same in ("norm.steps", "bias", "scale", "input_norm"):
        assert found[same] == shard[same]
    index = json.loads((folder / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(len(t[2]) for t in found.values())
    config = json.loads((folder / "config.json").read_text())
    assert config["dtype"] == config["text_config"]["torch_dtype"] == "float16" and "torch_dtype" not in config
    manifest = json.loads((folder / MANIFEST).read_text())
    assert manifest["source"]["identity"] == plain["identity"]
    assert manifest["tensors"]["w"] == {
        "values": 6, "overflowed": 0, "subnormal": 1, "zeroed": 0, "nan": 0, "inf": 0, "largest": 0.0,
    }  # fmt: skip
    assert manifest["tensors"]["norm.weight"]["subnormal"] == 1
    head = (folder / "a.safetensors").read_bytes()
    assert (8 + struct.unpack("<Q", head[:8])[0]) % 8 == 0
    assert Path(plain["path"]).exists()  # both stay


def test_offsets_stay_where_every_converted_tensor_is_two_bytes_wide(tmp_path: Path) -> None:
    shards.write(tmp_path / "s", {"a": ("BF16", [5], bf16([1] * 5)), "b": ("U8", [3], b"abc")})
    convert_shard(str(tmp_path / "s"), str(tmp_path / "d"))
    before, after = (tmp_path / "s").read_bytes(), (tmp_path / "d").read_bytes()
    assert len(before) == len(after) and before[:8] == after[:8] and after.endswith(b"abc")


def test_an_unchanged_source_is_not_read_again_and_a_changed_one_is(
    run_module: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = model(tmp_path / "source", {"w": ("BF16", [4], bf16([1, 2, 3, 4]))})
    root = tmp_path / "models"
    published(run_module, root, source)
    first = convert(run_module, root)
    monkeypatch.setattr(conversion, "convert_shard", lambda *_: pytest.fail("it was converted again"))
    second = convert(run_module, root)
    assert not second["changed"] and second["identity"] == first["identity"]
    monkeypatch.undo()
    model(source, {"w": ("BF16", [4], bf16([1, 2, 3, 5]))})


def test_a_changed_source_is_converted_anew(run_module: Run, tmp_path: Path) -> None:
    source = model(tmp_path / "source", {"w": ("BF16", [4], bf16([1, 2, 3, 4]))})
    root = tmp_path / "models"
    published(run_module, root, source)
    first = convert(run_module, root)
    model(source, {"w": ("BF16", [4], bf16([1, 2, 3, 5]))})
    published(run_module, root, source)
    check = convert(run_module, root, check=True)
    assert check["changed"] and check["reasons"] == ["the source has changed"]
    second = convert(run_module, root)
    assert second["changed"] and second["path"] != first["path"]


def test_overflow_is_an_error_that_names_it_or_is_saturated(run_module: Run, tmp_path: Path) -> None:
    root = tmp_path / "models"
    values = [65280.0, 65536.0, -1e5, 3e38, float("inf"), float("nan")]
    published(run_module, root, model(tmp_path / "source", {"mlp.up": ("BF16", [6], bf16(values))}))
    result = convert(run_module, root)
    assert result["failed"] and "tensor 'mlp.up' has 3 values beyond fp16's 65504" in result["msg"]
    assert "the largest 2.9" in result["msg"] and "overflow: saturate" in result["msg"]
    assert not list(root.glob("m@*float16"))
    result = convert(run_module, root, overflow="saturate")
    assert result["changed"] and result["saturated"] == 3
    found = numpy.frombuffer(shards.read(Path(result["path"]) / "a.safetensors")["mlp.up"][2], numpy.float16)
    assert found[:4].tolist() == [65280, 65504, -65504, 65504] and numpy.isinf(found[4]) and numpy.isnan(found[5])


def test_a_norm_that_overflows_is_an_error_too(run_module: Run, tmp_path: Path) -> None:
    root = tmp_path / "models"
    published(run_module, root, model(tmp_path / "source", {"norm": ("F32", [2], numpy.float32([1, 7e4]).tobytes())}))
    result = convert(run_module, root)
    assert result["failed"] and "tensor 'norm' has 1 values beyond fp16's 65504" in result["msg"]


def test_a_damaged_published_source_is_refused(run_module: Run, tmp_path: Path) -> None:
    root = tmp_path / "models"
    shard = (
        Path(published(run_module, root, model(tmp_path / "s", {"w": ("BF16", [4], bf16([1] * 4))}))["path"])
        / "a.safetensors"
    )
    stamp, data = shard.stat().st_mtime_ns, bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.chmod(0o644)
    shard.write_bytes(data)
    os.utime(shard, ns=(stamp, stamp))
    result = convert(run_module, root)
    assert result["failed"] and "is damaged: sha256 is" in result["msg"] and "--tags fetch" in result["msg"]


def test_a_published_model_is_converted_without_the_hub(run_module: Run, tmp_path: Path) -> None:
    source = model(tmp_path / "source", {"w": ("BF16", [4], bf16([1, 2, 3, 4]))})
    hub = Hub(source)
    args = {"name": "m", "models_root": str(tmp_path / "models"), "modelscope_endpoint": hub.url}
    args |= {"sources": {"modelscope": {"repo": "org/m", "revision": None}}}
    assert run_module("weights_fetch", args)["changed"]
    hub.close()
    result = run_module("weights_fetch", {**args, "convert": "float16"})
    assert result["changed"] and result["source"] == "published", result
    assert not run_module("weights_fetch", {**args, "convert": "float16"})["changed"]


def test_killed_at_any_moment_the_next_run_heals(run_module: Run, tmp_path: Path, request: Any) -> None:
    dice, numbers = random.Random(5), numpy.random.default_rng(2)
    source = tmp_path / "source"
    many = {f"w{i}": ("BF16", [4_000_000], bf16(numbers.normal(0, 0.02, 4_000_000))) for i in range(2)}
    model(source, many, {f"v{i}": row for i, row in enumerate(many.values())})  # type: ignore[arg-type]
    root = tmp_path / "models"
    published(run_module, root, source)
    wanted = convert(run_module, root)["identity"]
    args = {"name": "m", "models_root": str(root)}
    landed = 0
    for _ in range(request.config.getoption("--rounds")):
        for path in root.glob("*float16"):
            shutil.rmtree(path)
        process = start_module("weights_convert", args)
        time.sleep(dice.uniform(0.3, 1.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in root.glob("m@*+float16"):
            landed += 1
            assert not damage(str(path), json.loads((path / MANIFEST).read_text()), full=True)
    result = convert(run_module, root)
    assert not result["failed"] and result["identity"] == wanted, landed
    assert not list(root.glob(".*.partial"))


@pytest.mark.parametrize("written", range(4))
def test_a_disk_that_fills_up_behind_the_conversion_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    """The disk writes a block while the next one is converted: its error must not be lost, also that of the last whole block."""
    size = 4 * float16.CHUNK
    shards.write(tmp_path / "a.safetensors", {"w": ("BF16", [size // 2], bytes(size))})
    real, seen = os.write, []

    def full(fd: int, data: Any) -> int:
        seen.append(len(data))
        if len(seen) > written:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(fd, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left") as raised:
        convert_shard(str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"))
    assert raised.value.filename == str(tmp_path / "b.safetensors")


def test_a_shard_that_was_finished_is_not_converted_again(
    run_module: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "models"
    good: shards.Tensors = {"w": ("BF16", [4], bf16([1, 2, 3, 4]))}
    bad: shards.Tensors = {"v": ("BF16", [4], bf16([1, 2, 3, 1e6]))}
    published(run_module, root, model(tmp_path / "source", good, bad))
    assert convert(run_module, root)["failed"]
    seen = []
    real = convert_shard
    monkeypatch.setattr(conversion, "convert_shard", lambda *args: (seen.append(Path(args[0]).name), real(*args))[1])
    assert convert(run_module, root, overflow="saturate")["changed"]
    assert seen == ["b.safetensors"]


def test_the_demo_model_converts_exactly(run_module: Run, tmp_path: Path) -> None:
    published(run_module, tmp_path, DEMO)
    result = convert(run_module, tmp_path)
    assert result["changed"]
    assert not (Path(result["path"]) / SUMS).exists()  # they are the source's
    assert json.loads((Path(result["path"]) / "config.json").read_text())["torch_dtype"] == "float16"


F32_MODEL: shards.Tensors = {
    "w": ("F32", [3], numpy.float32([0.5, -1.25, 3e-6]).tobytes()),
    "wide": ("F64", [1], numpy.float64([2.5]).tobytes()),
    "steps": ("I64", [1], numpy.int64([7]).tobytes()),
    "mask_norm": ("BOOL", [2], b"\0\1"),
}


def test_fp32_becomes_fp16_where_it_is_the_weights_type(run_module: Run, tmp_path: Path) -> None:
    """In a file without bf16 and fp16; beside those its publisher keeps it exact, and it stays. Integers always stay."""
    mixed: shards.Tensors = {
        "half": ("F16", [1], numpy.float16([1.5]).tobytes()),
        "w": ("BF16", [1], bf16([2.0])),
        "router.bias": ("F32", [1], numpy.float32([1.1]).tobytes()),
        "norm": ("F32", [1], numpy.float32([1.5]).tobytes()),
    }
    source = model(tmp_path / "source", F32_MODEL, {f"b.{name}": row for name, row in mixed.items()})
    published(run_module, tmp_path / "models", source)
    folder = Path(convert(run_module, tmp_path / "models")["path"])
    found = {**shards.read(folder / "a.safetensors"), **shards.read(folder / "b.safetensors")}
    assert {name: row[0] for name, row in found.items()} == {
        "w": "F16", "wide": "F16", "steps": "I64", "mask_norm": "BOOL",
        "b.half": "F16", "b.w": "F16", "b.router.bias": "F32", "b.norm": "F16",
    }  # fmt: skip
    assert found["w"][2] == numpy.float16([0.5, -1.25, 3e-6]).tobytes()
    for name in ("steps", "mask_norm"):
        assert found[name] == F32_MODEL[name]
    index = json.loads((folder / INDEX).read_text())
    assert index["metadata"]["total_size"] == sum(len(row[2]) for row in found.values())


@pytest.mark.parametrize("hub", [False, True], ids=["folder", "hub"])
@pytest.mark.parametrize(
    ("dtype", "data"), [("BF16", bf16([1.0, 1e-9, 2e-9])), ("F32", numpy.float32([1, 1e-9, 2e-9]).tobytes())]
)
def test_a_scale_that_would_become_0_is_refused_and_a_weight_is_not(
    run_module: Run, tmp_path: Path, hub: bool, dtype: str, data: bytes
) -> None:
    largest = 2e-9 if dtype == "F32" else float((numpy.frombuffer(data, "<u2")[2:].astype("<u4") << 16).view("<f4")[0])
    for name, words in (("attn.k_scale", "tensor 'attn.k_scale' is a scale, and 2 of its values"), ("attn.k", "")):
        source = model(tmp_path / name, {name: (dtype, [3], data)})
        args: dict[str, Any] = {"name": "m", "models_root": str(tmp_path / "models" / name), "convert": "float16"}
        server = Hub(source) if hub else None
        args["sources"] = {"huggingface": {"repo": "o/m"}} if server else {"directory": {"path": str(source)}}
        result = run_module("weights_fetch", {**args, "huggingface_endpoint": server.url if server else ""})
        if server:
            server.close()
        if words:
            assert result["failed"] and words in result["msg"] and f"the largest {largest:g}" in result["msg"], result
        else:
            assert result["changed"], result


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        ({"dtype": {"": "bfloat16", "vision": "int8"}}, {"dtype": {"": "float16", "vision": "int8"}}),
        ({"torch_dtype": "torch.bfloat16"}, {"torch_dtype": "float16"}),
        ({"dtype": "float64", "parts": [{"torch_dtype": "bfloat16"}]}, {"dtype": "float16", "parts": [{"torch_dtype": "float16"}]}),
        ({"torch_dtype": None, "mamba_ssm_dtype": "float32"}, {"torch_dtype": "float16", "mamba_ssm_dtype": "float32"}),
        ({"dtype": "auto", "sign": "\ud800", "é": [[1]]}, {"dtype": "auto", "sign": "\ud800", "é": [[1]]}),
        ({}, {"torch_dtype": "float16"}),
    ],
    ids=["a type for each part", "torch's word", "a list of parts", "none", "half a character", "nothing"],
)  # fmt: skip
def test_the_type_in_config_json_is_set_however_it_is_written(config: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert json.loads(publishing.as_float16(json.dumps(config).encode(), "config.json")) == wanted
