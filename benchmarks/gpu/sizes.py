#!/usr/bin/env python3
"""What fit predicts against what the engine logs, and `engine_args: auto` against the vendor documents' settings, on one real GPU.

    python benchmarks/gpu/sizes.py FOLDER STAGE...      stages: auto fit; fit_pairs, on two GPUs
Needs what run.py needs. FOLDER gets sizes.json and the services' logs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from run import Bench, override, prepare

AUTO = ("tensor_parallel_size", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization", "enforce_eager")
# name: (shape, options). Predictions are the constants' alone, without what a start before has taught.
SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "7b_eager_50": ("7b", {"gpu_memory_utilization": 0.5, "enforce_eager": True}),
    "7b_eager_70_32k": ("7b", {"gpu_memory_utilization": 0.7, "enforce_eager": True, "max_model_len": 32768}),
    "7b_eager_95_64seqs": ("7b", {"gpu_memory_utilization": 0.95, "enforce_eager": True, "max_num_seqs": 64}),
    "7b_eager_90_fp8": ("7b", {"gpu_memory_utilization": 0.9, "enforce_eager": True, "kv_cache_dtype": "fp8"}),
    "7b_eager_90_16k_batch": ("7b", {"gpu_memory_utilization": 0.9, "enforce_eager": True, "max_num_batched_tokens": 16384}),
    "7b_graphs_70": ("7b", {"gpu_memory_utilization": 0.7, "enforce_eager": False}),
    "7b_graphs_90_1024seqs": ("7b", {"gpu_memory_utilization": 0.9, "enforce_eager": False, "max_num_seqs": 1024}),
    "32b_eager_90": ("32b", {"gpu_memory_utilization": 0.9, "enforce_eager": True}),
    "32b_eager_95_fp8": ("32b", {"gpu_memory_utilization": 0.95, "enforce_eager": True, "kv_cache_dtype": "fp8"}),
    "32b_eager_95_32k": ("32b", {"gpu_memory_utilization": 0.95, "enforce_eager": True, "max_model_len": 32768}),
}  # fmt: skip


# The same over two GPUs.
PAIRS: dict[str, tuple[str, dict[str, Any]]] = {
    "32b_tp2_eager_95_fp8_32k": ("32b", {"gpu_memory_utilization": 0.95, "enforce_eager": True, "kv_cache_dtype": "fp8", "max_model_len": 32768}),
    "7b_tp2_eager_70_fp8": ("7b", {"gpu_memory_utilization": 0.7, "enforce_eager": True, "kv_cache_dtype": "fp8"}),
    "7b_tp2_graphs_90_32k": ("7b", {"gpu_memory_utilization": 0.9, "enforce_eager": False, "max_model_len": 32768}),
}  # fmt: skip


class Sizes(Bench):
    def rows(self, model: str, args: dict[str, Any]) -> dict[str, Any]:
        return override(
            model,
            engine_args={"load_format": "dummy", "max_num_seqs": 256, **args},
            check={"prompt": "Say hello.", "expect": ""},
        )

    def auto(self) -> None:
        """The choice, and both at the same loads; 512 and 4,096 tokens a prompt."""
        document = self.rows("7b", {"enforce_eager": True, "gpu_memory_utilization": 0.9})
        chosen = self.rows("7b", dict.fromkeys(AUTO, "auto"))
        chosen["qwq-32b"]["wishes"] = {"concurrency": 256, "context": 8192}
        tuned = self.rows(
            "7b", {"enforce_eager": False, "gpu_memory_utilization": 0.9, "compilation_config": {"compile_sizes": [1]}}
        )
        for name, rows in (("7b_document", document), ("7b_auto", chosen), ("7b_tuned_for_one", tuned)):
            self.measure(name, "7b", rows)
            self.note(f"{name}_4096", self.load("7b", "1,16", 4096))
        pins = json.loads((self.inventory.parent / "pins.json").read_text())
        self.note("7b_auto_choice", pins["pins"].get("choices"))

    def fit(self, settings: dict[str, tuple[str, dict[str, Any]]], width: int = 1) -> None:
        for name, (model, given) in settings.items():
            args = {**given, "tensor_parallel_size": width}
            try:
                found = self.start(name, self.rows(model, args))
            except SystemExit as error:
                found = {"failed": str(error)}
            self.note(f"fit_{name}", {"args": args, **found})
        errors = [abs(row["error"]) for key, row in self.results.items() if key.startswith("fit_") and "error" in row]
        self.note("gpu_fit_error_max", max(errors) if errors else None)


def main() -> None:
    out, *stages = sys.argv[1:]
    prepare()
    bench = Sizes(Path(out), "sizes.json")
    for stage in stages:
        {"auto": bench.auto, "fit": lambda: bench.fit(SETTINGS), "fit_pairs": lambda: bench.fit(PAIRS, 2)}[stage]()


if __name__ == "__main__":
    main()
