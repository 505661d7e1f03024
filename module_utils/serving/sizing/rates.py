"""Rates of a board, measured in seconds where somebody asks for it: memory copy and matrix product, by the torch of an environment that is there."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import read_json, write_json

NAME = "rates.json"
LIMIT = 180  # seconds: importing torch from a cold disk takes most of it
# Bytes read and written count for a copy. A device that has no room for it makes torch say so.
PROGRAM = """
import json, time, torch
device = "cuda" if torch.cuda.is_available() else "cpu"
wait = torch.cuda.synchronize if device == "cuda" else lambda: None
size, side = (1 << 30, 8192) if device == "cuda" else (1 << 28, 1024)

def rate(work, amount):
    work(); wait()
    count, began = 0, time.monotonic()
    while time.monotonic() - began < 1.0:
        work(); wait()
        count += 1
    return amount * count / (time.monotonic() - began)

one = torch.ones(size, dtype=torch.uint8, device=device)
two = torch.empty_like(one)
kind = torch.float16 if device == "cuda" and torch.cuda.get_device_capability()[0] < 8 else torch.bfloat16
left = torch.ones(side, side, dtype=kind, device=device)
print("RATES " + json.dumps({
    "copy_bytes": rate(lambda: two.copy_(one), 2 * size), "matrix_operations": rate(lambda: left @ left, 2 * side ** 3),
    "device": torch.cuda.get_device_name() if device == "cuda" else "cpu", "torch": torch.__version__,
}))
"""


def measure(python: str, kind: str) -> dict[str, Any]:
    """{copy_bytes, matrix_operations, device, torch} of the first device. Refusal where that Python has no torch for it."""
    path = os.path.expanduser(python)
    environment = {**os.environ, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    try:
        done = subprocess.run(
            ["timeout", "-k", "5", str(LIMIT), path, "-c", PROGRAM],
            env=environment,
            capture_output=True,
            timeout=LIMIT + 10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Refusal("rates can't be measured with %s: %s" % (python, error)) from None
    line = next(
        (text for text in reversed(done.stdout.decode("utf-8", "replace").splitlines()) if text.startswith("RATES ")),
        "",
    )
    try:
        found = dict(json.loads(line[len("RATES ") :]))
        rates = {name: float(found[name]) for name in ("copy_bytes", "matrix_operations")}
    except (ValueError, KeyError, TypeError):
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[-300:] or "it said nothing"
        raise Refusal(
            "rates can't be measured with %s (code %d): %s; name a Python with torch in `python`"
            % (python, done.returncode, said)
        ) from None
    if kind == "gpu" and found.get("device") == "cpu":
        raise Refusal("the torch of %s sees no GPU; name a Python whose torch does in `python`" % python)
    return {**rates, "device": str(found.get("device")), "torch": str(found.get("torch")), "measured": int(time.time())}


def remember(root: str, rates: dict[str, Any]) -> None:
    write_json(os.path.join(root, NAME), rates)


def known(root: str, record: dict[str, Any]) -> dict[str, Any]:
    """Rates that were measured on this host; empty where none were, or on another board than it has now."""
    try:
        found = read_json(os.path.join(root, NAME)) or {}
        copy, matrix = float(found["copy_bytes"]), float(found["matrix_operations"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    devices = record.get("devices") or [{}]
    name = str(devices[0].get("name") or "")
    if record["kind"] != "cpu" and found.get("device") != name:
        return {}
    return {"copy_bytes": copy, "matrix_operations": matrix}
