#!/usr/bin/env python3
"""Pickled weights (*.bin) as safetensors: to_safetensors.py FOLDER NEW_FOLDER, with a Python that has torch, such as a service's environment.

A pickle can run code when it is loaded. So this reads tensors alone (torch's weights_only), in a process that has no network, and refuses everything
else. Names of shards and their index follow; other files of the model are copied. The new folder appears by one rename, whole.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

LEAST_TORCH = (2, 6)  # before, weights_only could be led to run code (CVE-2025-32434)
NEW_USER, NEW_NET = 0x10000000, 0x40000000  # linux/sched.h
TRAINING = re.compile(r"(optimizer|scheduler|scaler|training_args|rng_state.*)\.bin")
LEFT_OUT = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".onnx", ".ot", ".bin.index.json")
PICKLE_LIMIT = 256 << 20  # bytes of a file's own structure, without its tensors


class Refused(Exception):
    """What stands in the way, in one sentence."""


def cut_off() -> None:
    """Leave the network, before anything foreign is read."""
    if set(os.listdir("/sys/class/net")) <= {"lo"}:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NET) and libc.unshare(NEW_USER | NEW_NET):
        why = os.strerror(ctypes.get_errno())
        raise Refused(
            f"this process can't leave the network ({why}); run it as root, or in a container with --network none"
        )


def check_zip(path: Path) -> None:
    """Refuse a file that unpacks to more than it is. Files of torch before 1.6 are no archives, and are read as they are."""
    if not zipfile.is_zipfile(path):
        return
    try:
        rows = zipfile.ZipFile(path).infolist()
    except (zipfile.BadZipFile, ValueError) as error:
        raise Refused(f"{path} is a damaged archive ({error}); fetch it again") from None
    if any(row.compress_type for row in rows) or sum(row.file_size for row in rows) > path.stat().st_size:
        raise Refused(f"{path} is packed, which torch never does: it may unpack to any size; take another source")
    if any(row.filename.endswith("data.pkl") and row.file_size > PICKLE_LIMIT for row in rows):
        raise Refused(f"{path} has a structure of more than {PICKLE_LIMIT >> 20} MiB; it holds more than tensors")


def tensors_of(path: Path, torch: Any) -> dict[str, Any]:
    """{name: tensor} of a file, each with memory of its own: shared ones are written once for each name."""
    check_zip(path)
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if type(error).__name__ == "UnpicklingError":  # torch's own words say how to load it all the same
            raise Refused(
                f"{path} holds more than tensors, and loading that can run code; take another source"
            ) from None
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise Refused(
            f"{path} can't be read as tensors alone ({type(error).__name__}: {first}); it is not loaded"
        ) from None
    if not isinstance(found, dict) or not found:
        raise Refused(f"{path} holds a {type(found).__name__}, and not tensors by name")
    size, out = path.stat().st_size, {}
    for name, tensor in found.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise Refused(
                f"{path} holds {str(name)[:80]!r}, a {type(tensor).__name__} and no tensor; export the model's weights alone"
            )
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise Refused(f"{path} holds {name[:80]!r}, which is sparse or quantised; safetensors can't hold it")
        if tensor.numel() * tensor.element_size() > size:
            raise Refused(f"{path} holds {name[:80]!r}, which would be larger than the file itself")
        out[name] = tensor.detach().clone(memory_format=torch.contiguous_format)
    return out


def new_name(name: str) -> str:
    """pytorch_model-00001-of-00002.bin -> model-00001-of-00002.safetensors."""
    return re.sub(r"^pytorch_model", "model", name)[: -len(".bin")] + ".safetensors"


def check_index(path: Path, weight_map: Any, held: dict[str, set[str]]) -> dict[str, str]:
    """The index's map with new names. Refused where a shard doesn't hold what the index says."""
    if not isinstance(weight_map, dict) or not weight_map:
        raise Refused(f"{path} has no weight_map; restore it")
    for name, shard in weight_map.items():
        if name not in held.get(str(shard), ()):
            raise Refused(
                f"{path} says that {str(shard)[:80]} holds {name[:80]!r}, which it doesn't; they are of different revisions"
            )
    return {name: new_name(shard) for name, shard in weight_map.items()}


def convert(source: Path, part: Path) -> int:
    """Write the new folder; how many files were converted."""
    import torch
    from safetensors.torch import save_file

    version = tuple(int(one) for one in re.findall(r"\d+", torch.__version__)[:2])
    if version < LEAST_TORCH:
        raise Refused(f"torch {torch.__version__} is too old to read pickles safely; take one of 2.6 or later")
    files = [path for path in sorted(source.rglob("*")) if path.is_file()]
    pickled = [path for path in files if path.suffix == ".bin" and not TRAINING.fullmatch(path.name)]
    if not pickled:
        raise Refused(f"{source} has no *.bin; there is nothing to convert")
    held: dict[Path, dict[str, set[str]]] = {}
    for path in pickled:
        target = part / path.relative_to(source).with_name(new_name(path.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.with_name(new_name(path.name)).exists():
            raise Refused(f"{path} has {new_name(path.name)} beside it already; take that")
        tensors = tensors_of(path, torch)
        save_file(tensors, target, metadata={"format": "pt"})
        held.setdefault(path.parent, {})[path.name] = set(tensors)
    for path in files:
        target = part / path.relative_to(source)
        if path.name.endswith(".bin.index.json"):
            index = json.loads(path.read_text(encoding="utf-8"))
            index["weight_map"] = check_index(path, index.get("weight_map"), held.get(path.parent, {}))
            name = re.sub(r"^pytorch_model", "model", path.name).replace(".bin.index.json", ".safetensors.index.json")
            target.with_name(name).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
        elif not path.name.endswith(LEFT_OUT) and ".git" not in path.relative_to(source).parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return len(pickled)


def main() -> int:
    if len(sys.argv) != 3:
        print("say from where to where: to_safetensors.py FOLDER NEW_FOLDER", file=sys.stderr)
        return 2
    source, target = (Path(word).expanduser().absolute() for word in sys.argv[1:])
    part = target.with_name(f".{target.name}.partial")
    try:
        if not source.is_dir() or target.exists():
            raise Refused(f"{source} must be a model's folder, and {target} a new one")
        shutil.rmtree(part, ignore_errors=True)
        cut_off()
        count = convert(source, part)
        part.rename(target)
    except Refused as problem:
        shutil.rmtree(part, ignore_errors=True)
        print(f"to_safetensors: {problem}", file=sys.stderr)
        return 1
    except Exception as error:  # torch and safetensors have errors of their own for a full disk or an odd type
        shutil.rmtree(part, ignore_errors=True)
        print(f"to_safetensors: {source} can't be converted ({error}); nothing was written", file=sys.stderr)
        return 1
    print(f"{target}: {count} files as safetensors; next: ansible-playbook playbooks/add_model.yml -e model={target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
