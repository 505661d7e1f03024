"""The cases of benchmarks/failures: each breaks something, in words that the program which runs them knows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks/failures"))

import provoke  # noqa: E402

CASES: list[dict[str, Any]] = yaml.safe_load((ROOT / "benchmarks/failures/cases.yml").read_text())
OF_FILES = ("set", "write", "remove", "cut")
KEYS = {
    "cause", "model", "serve", "args", "env", "gpus", "limits", "mounts", "user", "busy_port", "bare_path", "signal", *OF_FILES,
}  # fmt: skip


def test_each_case_breaks_something_that_is_known() -> None:
    for case in CASES:
        assert set(case) <= KEYS and set(case) - {"cause", "gpus", "model"}, case
        assert case.get("signal") in (None, *provoke.SIGNALS), case


@pytest.mark.parametrize("case", [case for case in CASES if set(case) & set(OF_FILES)], ids=lambda case: case["cause"])
def test_a_broken_model_differs_from_the_whole_one(case: dict[str, Any], tmp_path: Path) -> None:
    folder = provoke.broken(case, tmp_path / "model")
    whole = provoke.MODELS[case.get("model", "demo")]
    named = {name for key in OF_FILES for name in case.get(key, ())}
    for name in named:
        before = (whole / name).read_bytes() if (whole / name).exists() else None
        assert before != ((folder / name).read_bytes() if (folder / name).exists() else None), name
    for file in whole.iterdir():
        if file.name not in {*named, "SHA256SUMS"}:
            assert file.read_bytes() == (folder / file.name).read_bytes()


def test_a_case_is_started_with_its_options_and_limits() -> None:
    case = {"cause": "x", "args": ["--dtype", "float8"], "limits": ["--nofile=40:40"], "mounts": "true", "user": 7}
    line = provoke.command(case, "/opt/python", "/models/acme", 9, gpus=0)
    assert line[:5] == ["unshare", "-m", "sh", "-c", 'true; exec "$@"'] and line[6] == "setpriv"
    assert line[line.index("prlimit") + 1] == "--nofile=40:40"
    assert line[-9:] == [
        "--dtype",
        "float8",
        "--port",
        "9",
        "--host",
        "127.0.0.1",
        "--max-model-len",
        "2048",
        "--enforce-eager",
    ]
    draft = {"cause": "x", "args": ["--speculative-config", json.dumps({"model": "DEMO"})]}
    assert str(provoke.MODELS["demo"]) in " ".join(provoke.command(draft, "p", "m", 9, gpus=1))


def test_a_log_is_kept_without_passing_lines_and_outer_frames() -> None:
    api, core = "(APIServer pid=7) ", "(EngineCore pid=9) ERROR 11-20 10:00:00 [core.py:1] "
    outer = [f'{core}  File "/env/x{number}.py", line 1, in f' for number in range(5)]
    lines = [
        api + "INFO 11-20 10:00:00 [a.py:1] harmless",
        core + "Traceback (most recent call last):",
        *outer,
        core + "ValueError: no /env/model",
    ]
    assert provoke.shortened(lines, {"/env": "/opt"}) == [
        core + "Traceback (most recent call last):",
        f'{core}  File "/opt/x3.py", line 1, in f',
        f'{core}  File "/opt/x4.py", line 1, in f',
        core + "ValueError: no /opt/model",
    ]
