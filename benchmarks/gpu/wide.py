#!/usr/bin/env python3
"""The vendor documents' own rows over all GPUs of one host, what fit ranks for them, and two services side by side.

    python benchmarks/gpu/wide.py FOLDER STAGE...      stages: bare plan documents ranked deepseek vision beside
Needs what run.py needs and two, four or eight GPUs; the documents have eight. FOLDER gets wide.json, plan.json and the services' logs.
"""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from devices import ask, asked_during, fault, holders, processes
from run import PORT, ROOT, Bench, gpus, override, prepare

sys.path.append(str(ROOT / "module_utils/serving/service"))
from picture import red_image

QWQ, DEEPSEEK, VISION = "qwq-32b", "deepseek-r1-distill-qwen-32b", "qwen2.5-vl-32b-instruct"
WIDTHS = ("tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size")
# What the three documents have; {service: (shape, FlagGems, options)}.
FLAGOS = {
    "max_model_len": 32768, "max_num_seqs": 256, "gpu_memory_utilization": 0.9, "enforce_eager": True, "enable_chunked_prefill": True,
}  # fmt: skip
DOCUMENTS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    QWQ: ("32b", False, FLAGOS),
    DEEPSEEK: ("32b", True, FLAGOS),
    VISION: ("vl", False, {"max_model_len": 32768, "gpu_memory_utilization": 0.9, "limit_mm_per_prompt": '{"image": 18}',
                           "enforce_eager": False, "enable_chunked_prefill": True}),
}  # fmt: skip


def document(service: str, count: int, port: int = PORT, **changes: Any) -> dict[str, Any]:
    """{service: overrides}: the document's row with random weights, natively, on so many GPUs."""
    model, gems, args = DOCUMENTS[service]
    args = {**args, "tensor_parallel_size": count, "load_format": "dummy", **changes.pop("engine_args", {})}
    row = override(model, engine_args=args, flaggems=gems)[QWQ]
    return {
        service: {
            **row,
            "port": port,
            "served_name": service,
            "check": {"prompt": "Say hello.", "expect": ""},
            **changes,
        }
    }


class Wide(Bench):
    count = 0

    def bare(self) -> None:
        """From bare to a checked answer of a small model over all GPUs."""
        args = {"max_model_len": 512, "gpu_memory_utilization": 0.1, "max_num_seqs": 32, "enforce_eager": True, "tensor_parallel_size": self.count}  # fmt: skip
        rows = override("demo", engine_args=args)
        began = time.monotonic()
        self.play("deploy.yml", overrides=rows)
        seconds = round(time.monotonic() - began, 1)
        self.note("bare", {"seconds": seconds, "answer": self.report()["answer"], "holders": holders()})
        self.stop(QWQ, rows)

    def stop(self, service: str, rows: dict[str, Any]) -> None:
        """Stop it; what is left on the GPUs and of its processes."""
        began = time.monotonic()
        self.play("playbooks/stop.yml", overrides=rows, runs=list(rows), service=service)
        left = {"seconds": round(time.monotonic() - began, 1), "holders": holders(), "processes": processes(service)}
        self.note(f"stopped_{service}", left)

    def clear(self) -> None:
        """Stop what a stage that failed has left: it would hold the next one's GPUs."""
        for service in filter(processes, DOCUMENTS):
            self.play("playbooks/stop.yml", ok=None, service=service, runs=[service], overrides={})

    def plan(self) -> None:
        """What fit would choose for QwQ-32B's shape on this host, best first."""
        path = self.out / "plan.json"
        self.play("playbooks/plan.yml", overrides=self.auto(), plan_json=str(path))
        ranked = self.candidates()
        self.note("ranked_by_fit", [{key: row.get(key) for key in ("args", "replicas", "speed", "tokens", "requests")} for row in ranked])  # fmt: skip

    def auto(self, **changes: Any) -> dict[str, Any]:
        rows = override(
            "32b",
            served_name=QWQ,
            check={"prompt": "Say hello.", "expect": ""},
            wishes={"context": 16384, "concurrency": 256},
        )
        rows[QWQ]["engine_args"] = {
            **dict.fromkeys(rows[QWQ]["engine_args"]),
            "load_format": "dummy",
            **dict.fromkeys(FLAGOS),
            **changes,
        }
        if not changes:
            chosen = ("tensor_parallel_size", "data_parallel_size", "max_model_len", "max_num_seqs", "max_num_batched_tokens", "gpu_memory_utilization",
                      "enforce_eager")  # fmt: skip
            rows[QWQ]["engine_args"].update(dict.fromkeys(chosen, "auto"))
        return rows

    def candidates(self) -> list[dict[str, Any]]:
        """Rows of the plan's best candidates that take the whole host, in its order."""
        found = json.loads((self.out / "plan.json").read_text())["h200"]["services"][0]["sized"]["candidates"]
        return [row for row in found if math.prod(row["args"].get(key, 1) for key in WIDTHS) == self.count]

    def loads(self, service: str, short: str, long: str = "", port: int = PORT) -> dict[str, Any]:
        """Short prompts and long ones, each by how many are asked at once."""
        found = {"load_512": self.load(service, short, service=service, port=port)["load"]}
        return {**found, "load_4096": self.load(service, long, 4096, service, port)["load"]} if long else found

    def shown(self, port: int = PORT) -> dict[str, str]:
        """What the service that sees says of a picture, and without one."""
        content = [
            {"type": "image_url", "image_url": {"url": red_image()}},
            {"type": "text", "text": "What is 1 + 2?"},
        ]
        messages = [{"role": "user", "content": content}]
        return {
            "shown": ask(port, VISION, seconds=60, max_tokens=16, messages=messages)[:120],
            "answered": ask(port, VISION, seconds=60, max_tokens=16)[:80],
        }

    def documents(self) -> None:
        rows = document(QWQ, self.count)
        found = self.start("document", rows)
        answer = ask(PORT, QWQ, seconds=90, max_tokens=32)
        self.note(
            "document",
            {**found, "answered": answer[:80], "holders": holders(), **self.loads(QWQ, "1,16,64,256", "1,16,64")},
        )
        self.stop(QWQ, rows)

    def ranked(self) -> None:
        """Each choice of fit's as it would be deployed, in its order, and measured."""
        for number, row in enumerate(self.candidates()):
            args = row["args"]
            name = f"TP {args.get('tensor_parallel_size', 1)} x DP {args.get('data_parallel_size', 1)}"
            rows = self.auto(**args)
            try:
                found = self.start(f"ranked-{number}", rows)
            except SystemExit as error:
                found = {"failed": str(error)}
            else:
                found |= {"holders": holders(), **self.loads(QWQ, "1,16,64,256", "1,16")}
            self.note(f"ranked_{number}", {"name": name, "rank": number + 1, "args": args, **found})
            self.stop(QWQ, rows)

    def deepseek(self) -> None:
        """The document's row with FlagGems; kill -9 of one worker of all; a stop under load."""
        rows = document(DEEPSEEK, self.count)
        found = self.start("deepseek", rows)
        self.note(
            "deepseek",
            {**found, "answered": ask(PORT, DEEPSEEK, seconds=200, max_tokens=32)[:80], "holders": holders()},
        )
        killed = fault(
            DEEPSEEK, PORT, f"Worker_TP{self.count - 1}", signal.SIGKILL, lambda text: not text.startswith("[")
        )
        self.note("kill_worker", killed)
        _, ends = asked_during(DEEPSEEK, PORT, lambda: self.stop(DEEPSEEK, rows), 3, seconds=90, max_tokens=2000)
        self.note("stop_under_load", ends)

    def vision(self) -> None:
        """The document's row with its vision tower, shown an image; a second setting where the bundle lacks what the first needs."""
        for name, more in (("vision", {}), ("vision_sdpa", {"mm_encoder_attn_backend": "TORCH_SDPA"})):
            rows = document(VISION, self.count, engine_args=more)
            try:
                found = {**self.start(name, rows), **self.shown()}
            except SystemExit as error:
                found = {"failed": str(error)}
            self.note(name, {**found, "holders": holders()})
            self.stop(VISION, rows)
            if not str(found.get("shown", "[")).startswith("["):
                return

    def beside(self) -> None:
        """Two of the documents' services side by side, each on half of the GPUs, one of them shown an image; each asked alone, then both at once."""
        half = self.count // 2
        ports = {QWQ: PORT, VISION: PORT + 1}
        rows = {
            **document(QWQ, half, devices=list(range(half))),
            **document(VISION, half, PORT + 1, devices=list(range(half, self.count))),
        }
        found = self.start("beside", rows)
        self.note("beside", {**found, "holders": holders(), **self.shown(PORT + 1)})
        for service, port in ports.items():
            self.note(f"beside_alone_{service}", self.loads(service, "1,64", port=port))

        def one(service: str) -> None:
            self.note(f"beside_both_{service}", self.loads(service, "1,64", port=ports[service]))

        threads = [threading.Thread(target=one, args=(service,)) for service in ports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for service in rows:
            self.stop(service, rows)


def main() -> None:
    out, *stages = sys.argv[1:]
    prepare()
    bench = Wide(Path(out), "wide.json")
    bench.count, memory = gpus()
    bench.note("gpus", {"count": bench.count, "memory_bytes": memory})
    bench.clear()
    for stage in stages:
        began = time.monotonic()
        try:
            {"bare": bench.bare, "plan": bench.plan, "documents": bench.documents, "ranked": bench.ranked, "deepseek": bench.deepseek,
             "vision": bench.vision, "beside": bench.beside}[stage]()  # fmt: skip
        except (SystemExit, OSError, KeyError, ValueError) as error:
            bench.note(f"{stage}_failed", f"{type(error).__name__}: {error}"[:600])
            bench.clear()
        bench.note(f"{stage}_stage_s", round(time.monotonic() - began, 1))


if __name__ == "__main__":
    main()
