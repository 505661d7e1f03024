#!/usr/bin/env python3
"""Record a pack from any endpoint that speaks vLLM's API, also of an engine that this product did not deploy.

    VLLM_API_KEY=... python scripts/record_pack.py OUT --endpoint http://127.0.0.1:8000 --served-name demo-ties --model models/demo-ties
        [--items models/ties-held-out.jsonl] [--texts 48] [--about '{"on": "on an NVIDIA H100 80GB HBM3"}']

Two runs, one request at a time and 32 at once. --model is the folder whose weights the endpoint serves: the pack names their identity, as the
manifest of a fetched model does. Of a service that was deployed, playbooks/record_reference.yml does the same. Needs ansible-core alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT))
import ansible.module_utils  # noqa: E402

ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

from ansible.module_utils.serving.files import sha256_file  # noqa: E402
from ansible.module_utils.serving.service import canary  # noqa: E402
from ansible.module_utils.serving.weights import manifests  # noqa: E402
from ansible.module_utils.serving.weights.choice import Wanted  # noqa: E402
from ansible.module_utils.serving.weights.local import Directory  # noqa: E402

from judging import recorded, texts  # noqa: E402

TOP, LOADS, SECONDS = 20, (1, 32), 3600.0


def identity(folder: Path) -> str:
    """The identity that the model has once it was fetched from this folder."""
    rows = {
        entry.name: Path(entry.path or folder / entry.name)
        for entry in Directory(str(folder), Wanted()).listing().files
    }
    return str(
        manifests.identity(
            {name: {"bytes": path.stat().st_size, "sha256": sha256_file(str(path))} for name, path in rows.items()}
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    for name in ("--endpoint", "--served-name"):
        parser.add_argument(name, required=True)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--items", type=Path)
    parser.add_argument("--texts", type=int, default=0)
    parser.add_argument("--about", type=json.loads, default={})
    given = parser.parse_args()
    key = os.environ.get("VLLM_API_KEY")
    items = [
        *(recorded.questions(given.items) if given.items else []),
        *(texts.texts(0, given.texts) if given.texts else []),
    ]
    if not items:
        sys.exit("there is nothing to ask: give --items, or --texts above 0")
    served: dict[str, Any] = {
        "model": given.model.name,
        "identity": identity(given.model),
        "source_identity": None,
        "engine": "vllm",
    }

    def asked(rows: list[dict[str, Any]], load: int) -> dict[str, Any]:
        service = canary.Service(given.endpoint, key, given.served_name, TOP, time.monotonic() + SECONDS)
        if load == LOADS[0]:
            served["max_model_len"] = canary.limit_of(given.endpoint, key, given.served_name)
            served["template"] = canary.template_of(service, recorded.template_messages())
        answers: dict[str, Any] = canary.ask_all(service, rows, load)
        served["fingerprint"] = service.fingerprint
        if len(answers) < len(rows):
            sys.exit(
                f"{len(rows) - len(answers)} of {len(rows)} items had no answer ({service.problem}); a reference must have all of them"
            )
        return answers

    first = asked(items, LOADS[0])
    second = asked(recorded.second_run(items, first), LOADS[1])
    about = {**given.about, "recorded": datetime.now(UTC).strftime("%Y-%m-%d"), "top": TOP, "loads": LOADS}
    print(recorded.write(given.out, about, items, {"served": served, "answers": first}, {"answers": second}))


if __name__ == "__main__":
    main()
