#!/usr/bin/env python3
"""Does a GPU answer like its reference, with and without FlagGems; and which operator makes the difference? On one real GPU.

    python benchmarks/gpu/judged.py FOLDER STAGE...      stages: native localise gems packs
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
ARGS = {"max_model_len": 512, "gpu_memory_utilization": 0.1, "max_num_seqs": 64, "enforce_eager": True}
# How a small model is served: {name: (options of the engine, keys of the row)}.
WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "eager": ({}, {}),
    "graphs": ({"enforce_eager": False}, {}),
    "fp16": ({"dtype": "float16"}, {}),
    "fp8-cache": ({"kv_cache_dtype": "fp8"}, {}),
    "gems": ({}, {"flaggems": True}),
    "gems-graphs": ({"enforce_eager": False, "compilation_config": {"mode": 0, "cudagraph_mode": "FULL_DECODE_ONLY"}}, {"flaggems": True}),
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

    def gems(self) -> None:
        """The operators that the product takes, eager and with graphs: verdict, operators, the share of CUDA's right answers."""
        for way in ("gems", "gems-graphs"):
            rows = row(way, reference="demo-h100")
            try:
                found = self.serve(way, rows, tags="fetch,serve,verify,judge,report")
            except SystemExit as error:
                self.note(way, {"failed": str(error)})
                continue
            self.note(way, {**found, "judged": self.verdict()})

    def packs(self) -> None:
        """A pack of each small model and way, and the matrix of each model's packs."""
        for model in (name for name in ("demo", "demo-near") if name in self.models()):
            made: list[str] = []
            for way in WAYS:
                name = f"{model}-h100-{way}"
                try:
                    found = self.serve(name, row(way, model))
                    self.play("playbooks/record_reference.yml", overrides=row(way, model), service=SERVICE, pack=str(self.out / name),
                              items=str(self.items(model)), about={"on": f"on an NVIDIA H100 80GB HBM3, {way}"})  # fmt: skip
                except SystemExit as error:
                    self.note(name, {"failed": str(error)})
                    continue
                made.append(str(self.out / name))
                self.note(name, {key: found[key] for key in ("ready_s", "flaggems")})
            output = self.play("playbooks/compare.yml", ok=None, packs=made)
            self.note(f"{model}_matrix", output[-4000:])

    def models(self) -> list[str]:
        return [path.name for path in (ROOT / "models").iterdir() if (path / "config.json").exists()]

    def items(self, model: str) -> Path:
        """Questions with known answers: sums, or those that the model came with."""
        path = ROOT / "models" / model / "questions.jsonl"
        if path.exists():
            return path
        made = WORK / "sums.jsonl"
        pairs = [((7919 * i) % 1000, (104729 * i + 331) % 1000) for i in range(400)]
        made.write_text(
            "".join(
                json.dumps({"messages": [{"role": "user", "content": f"What is {a} + {b}?"}], "expect": str(a + b)})
                + "\n"
                for a, b in pairs
            )
        )
        return made


def main() -> None:
    out, *stages = sys.argv[1:]
    prepare()
    bench = Judged(Path(out), "judged.json")
    for stage in stages:
        {"native": bench.native, "localise": bench.localise, "gems": bench.gems, "packs": bench.packs}[stage]()


if __name__ == "__main__":
    main()
