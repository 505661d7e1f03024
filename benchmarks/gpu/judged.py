#!/usr/bin/env python3
"""Does a GPU answer like its reference, with and without FlagGems; and which operator makes the difference? On one real GPU.

    python benchmarks/gpu/judged.py FOLDER STAGE...      stages: native localise gems gems_rest packs_demo packs_ties; tp2 packs_tp2, on two GPUs
Needs what run.py needs. Every question is a checked one: the small models of this repository and the packs of references/.
FOLDER gets judged.json, the packs, reports and logs.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from gems import DENY
from run import ROOT, SRV, WORK, Bench, override, prepare

SERVICE = "qwq-32b"
ITEMS = 240  # questions of a pack, asked twice
ARGS = {"max_model_len": 512, "gpu_memory_utilization": 0.1, "max_num_seqs": 64, "enforce_eager": True}
# How a small model is served: {name: (options of the engine, keys of the row)}.
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "eager": ({}, {}),
    "graphs": ({"enforce_eager": False}, {}),
    "fp16": ({"dtype": "float16"}, {}),
    "fp8-cache": ({"kv_cache_dtype": "fp8"}, {}),
    "gems": ({}, {"flaggems": True}),
    "gems-graphs": ({"enforce_eager": False, "compilation_config": {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"}}, {"flaggems": True}),
    "tp2": ({"tensor_parallel_size": 2}, {}),
    "tp2-graphs": ({"tensor_parallel_size": 2, "enforce_eager": False}, {}),
    "tp2-fp16": ({"tensor_parallel_size": 2, "dtype": "float16"}, {}),
    "tp2-fp8-cache": ({"tensor_parallel_size": 2, "kv_cache_dtype": "fp8"}, {}),
    "tp2-gems": ({"tensor_parallel_size": 2}, {"flaggems": True}),
    # Every operator but upstream's list and the one that localise found.
    "gems-rest": ({}, {"flaggems": {"deny": [*DENY.split(","), "mul"]}}),
}  # fmt: skip


def row(way: str = "eager", model: str = "demo", **changes: Any) -> dict[str, Any]:
    args, keys = WAYS[way]
    return override(model, engine_args={**ARGS, **args}, **{"reference": None, **keys, **changes})


class Judged(Bench):
    def verdict(self) -> Any:
        """What the deploy's report says of the service's answers."""
        whole = json.loads((WORK / "reports/h200/report.json").read_text())
        judged = (whole.get("verdicts") or {}).get(SERVICE) or whole["services"][0].get("judged") or {}
        return {key: judged.get(key) for key in ("verdict", "why", "metrics", "seconds") if key in judged}

    def native(self) -> None:
        """Everything that an operator does: from bare to a verdict against the reference that ships."""
        rows = row(reference="demo-h100")
        began = time.monotonic()
        self.play("deploy.yml", overrides=rows)
        self.note("native_from_bare_s", round(time.monotonic() - began, 1))
        found = self.report()
        self.note("native", {"answer": found["answer"], "timings": found["timings"], "judged": self.verdict()})
        began = time.monotonic()
        recap = re.findall(r"changed=\d+", self.play("deploy.yml", overrides=rows))[-1]
        self.note("native_again", {"recap": recap, "seconds": round(time.monotonic() - began, 1)})

    def localise(self) -> None:
        """All operators but upstream's deny list answer wrongly here: which one is it?"""
        rows = row(reference="demo-h100", flaggems={"deny": DENY.split(",")})
        began = time.monotonic()
        output = self.play("playbooks/localise.yml", overrides=rows, service=SERVICE)
        self.note("localise", {"seconds": round(time.monotonic() - began, 1), "said": output[-2500:]})
        for path in WORK.glob("reports/*/localise-*.json"):
            shutil.copy(path, self.out / "localise.json")
        for path in (SRV / "services" / SERVICE).rglob("gems_registered.txt"):
            shutil.copy(path, self.out / "gems_registered.txt")

    def gems(self, *ways: str) -> None:
        """The operators that the product takes, eager and with graphs: verdict, operators, the share of CUDA's right answers."""
        for way in ways:
            rows = row(way, reference="demo-h100")
            try:
                found = self.serve(way, rows, tags="prepare,fetch,serve,verify,judge,report")
            except SystemExit as error:
                self.note(way, {"failed": str(error)})
                continue
            self.note(way, {**found, "judged": self.verdict()})

    def packs(self, model: str, ways: list[str]) -> None:
        """A pack of the small model for each way that none ships of, and the matrix of all."""
        shipped = sorted((ROOT / "references").glob(f"{model}-h100*"))
        made = [str(path) for path in shipped]
        for way in ways:
            name = f"{model}-h100-{way}"
            if name in [path.name for path in shipped]:
                continue
            try:
                found = self.serve(name, row(way, model))
                self.play("playbooks/record_reference.yml", overrides=row(way, model), service=SERVICE, pack=str(self.out / name), texts=0,
                          items=str(self.items(model)), about={"on": f"on an NVIDIA H100 80GB HBM3, {way}"})  # fmt: skip
            except SystemExit as error:
                self.note(name, {"failed": str(error)})
                continue
            made.append(str(self.out / name))
            self.note(name, {key: found[key] for key in ("ready_s", "flaggems")})
        self.note(f"{model}_matrix", self.play("playbooks/compare.yml", ok=None, packs=made)[-6000:])

    def items(self, model: str) -> Path:
        """Questions with known answers: sums, or some that the model has never seen."""
        made, known = WORK / f"{model}.jsonl", ROOT / "models" / "ties-held-out.jsonl"
        if model == "demo-ties":
            lines = known.read_text().splitlines()[:ITEMS]
        else:
            pairs = [((7919 * i) % 1000, (104729 * i + 331) % 1000) for i in range(ITEMS)]
            asked = [({"role": "user", "content": f"What is {a} + {b}?"}, str(a + b)) for a, b in pairs]
            lines = [json.dumps({"messages": [message], "expect": expect}) for message, expect in asked]
        made.write_text("\n".join(lines) + "\n")
        return made


def main() -> None:
    out, *stages = sys.argv[1:]
    prepare()
    bench = Judged(Path(out), "judged.json")
    one, two = ([way for way in WAYS if way.startswith("tp2") is wide] for wide in (False, True))
    for stage in stages:
        {"native": bench.native, "localise": bench.localise, "gems": lambda: bench.gems("gems", "gems-graphs"), "gems_rest": lambda: bench.gems("gems-rest"),
         "packs_demo": lambda: bench.packs("demo", one), "packs_ties": lambda: bench.packs("demo-ties", one),
         "tp2": lambda: bench.gems("tp2", "tp2-graphs"), "packs_tp2": lambda: bench.packs("demo-ties", two)}[stage]()  # fmt: skip


if __name__ == "__main__":
    main()
