"""The usual way: torch load, `.to(float16)`, save, one shard after the other. INPUT OUTPUT"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

began = time.monotonic()
for path in sorted(Path(sys.argv[1]).glob("*.safetensors")):
    tensors = load_file(path)
    changed = {n: t.to(torch.float16) if t.dtype == torch.bfloat16 or "norm" in n else t for n, t in tensors.items()}
    save_file(changed, Path(sys.argv[2]) / path.name, metadata={"format": "pt"})
print("SECONDS", time.monotonic() - began)
