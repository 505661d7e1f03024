"""Seconds in which a service over two hosts heals (tests/two.py): root, Docker and mmdebstrap needed."""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "molecule/shared"), str(ROOT)]
RUNS = int(os.environ.get("BENCH_RUNS", "3"))
FAULTS = {
    "multihost_heal_follower_s": "kill -9 of the second host's engine",
    "multihost_heal_leader_s": "kill -9 of the first host's engine",
    "multihost_heal_link_s": "the link is back after 40 s and a question that got an error",
}


def measure() -> list[dict[str, Any]]:
    import two

    figures = []
    with tempfile.TemporaryDirectory() as folder, two.bare(Path(folder)) as hosts:
        hosts.run("deploy.yml")
        for name, fault in FAULTS.items():
            seconds = [two.heals(hosts, name) for _ in range(RUNS)]
            figures.append(
                {
                    "name": name,
                    "value": round(statistics.median(seconds), 1),
                    "unit": "s",
                    "peer": "",
                    "ratio": None,
                    "runs": RUNS,
                    "command": "tests/two.py",
                    "includes": f"from {fault} to a right answer, with the engines' start on both hosts",
                }
            )
    return figures


if __name__ == "__main__":
    print(json.dumps(measure(), indent=1))
