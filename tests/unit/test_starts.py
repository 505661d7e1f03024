"""What a start's log says, what is remembered of it, and how it corrects the next prediction; and speed, predicted as an interval."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.sizing import asked, engines, learned, logs, memory, models, rates, speed
from tables import TABLES

GIB = 1 << 30
# Lines of vLLM 0.19 and 0.25 with two ranks, as they come; times and addresses shortened.
LOG = """\
(Worker_TP0 pid=1) INFO 11-25 10:00:01 [gpu_model_runner.py:4820] Model loading took 30.53 GiB memory and 12.3 seconds
(Worker_TP1 pid=2) INFO 11-25 10:00:01 [gpu_model_runner.py:4820] Model loading took 30.53 GiB memory and 12.4 seconds
(Worker_TP0 pid=1) INFO 11-25 10:00:20 [monitor.py:53] torch.compile took 29.8 s in total
(Worker_TP0 pid=1) INFO 11-25 10:00:21 [gpu_worker.py:462] Available KV cache memory: 39.1 GiB
(Worker_TP1 pid=2) INFO 11-25 10:00:21 [gpu_worker.py:462] Available KV cache memory: 39.05 GiB
(EngineCore pid=3) INFO 11-25 10:00:21 [kv_cache_utils.py:1710] GPU KV cache size: 320,288 tokens
(EngineCore pid=3) INFO 11-25 10:00:21 [kv_cache_utils.py:1711] Maximum concurrency for 8,192 tokens per request: 39.10x
(Worker_TP0 pid=1) INFO 11-25 10:00:30 [gpu_model_runner.py:6100] Graph capturing finished in 9 secs, took 0.81 GiB
(EngineCore pid=3) INFO 11-25 10:00:30 [core.py:290] init engine (profile, create kv cache, warmup model) took 41.35 s (compilation: 29.8 s)
"""
KEY = {
    "model": "qwq-32b", "board": "H100", "engine": "0.25.1", "tensor": 2, "pipeline": 1, "eager": False, "max_num_seqs": 256, "max_num_batched_tokens": 8192,
}  # fmt: skip


def start(number: int, cache: int, predicted: int = 40 * GIB, **key: Any) -> dict[str, Any]:
    return {
        "start": f"1-{number}",
        "key": {**KEY, **key},
        "predicted": {"cache_bytes": predicted},
        "measured": {"cache_bytes": cache},
        "ready_seconds": 60.0 + number,
    }


def test_a_starts_log_is_read() -> None:
    assert logs.measured(LOG.splitlines()) == {
        "weights_bytes": int(30.53 * GIB), "compile_seconds": 29.8, "cache_bytes": int(39.05 * GIB), "tokens": 320_288, "graphs_bytes": int(0.81 * GIB),
        "engine_seconds": 41.4,
    }  # fmt: skip
    assert logs.measured(["INFO 05-22 model_runner.py:1115] Loading model weights took 13.9476 GB"]) == {
        "weights_bytes": int(13.9476 * GIB)
    }
    assert logs.measured([]) == {} and logs.measured(["Available KV cache memory: -2.14 GiB"]) == {
        "cache_bytes": int(-2.14 * GIB)
    }


def test_a_start_is_remembered_once_and_old_ones_go(tmp_path: Path) -> None:
    root = str(tmp_path)
    assert (
        learned.starts(root) == []
        and learned.remember(root, start(1, 39 * GIB))
        and not learned.remember(root, start(1, 1))
    )
    for number in range(2, 120):
        learned.remember(root, start(number, 39 * GIB))
    rows = learned.starts(root)
    assert len(rows) == learned.KEPT and rows[-1]["start"] == "1-119"
    for damage in ("", "{", "[]", '{"starts": 3}', '{"starts": [1, {"key": 2}]}', "\udcff"):
        (tmp_path / learned.NAME).write_text(damage, errors="surrogateescape")
        assert learned.starts(root) == []
    assert learned.remember(root, start(1, 39 * GIB)) and len(learned.starts(root)) == 1


def test_the_next_prediction_is_corrected_by_the_same_settings_else_by_their_family() -> None:
    rows = [start(1, 39 * GIB, model="other"), start(2, 37 * GIB, model="another"), start(3, 38 * GIB, model="third")]
    assert learned.correction([], KEY) == 0
    assert learned.correction(rows, KEY) == -2 * GIB  # the median of the family
    assert learned.correction([*rows, start(4, 41 * GIB)], KEY) == GIB
    assert (
        learned.correction(rows, {**KEY, "tensor": 4}) == 0
        and learned.correction(rows, {**KEY, "engine": "0.33.0"}) == 0
    )
    assert learned.correction([{**start(5, 1), "predicted": None}, {**start(6, 1), "measured": {}}], KEY) == 0
    assert learned.seconds([*rows, start(4, 41 * GIB)], KEY) == 64.0 and learned.seconds(rows, KEY) is None


def test_a_learned_start_is_predicted_to_the_block() -> None:
    model = models.model_of(TABLES["models"]["qwq-32b"])
    assert model is not None
    chosen, device, known = memory.Settings(max_model_len=8192), memory.Device(81559 << 20), engines.constants("0.25.1")
    off = (34_368 * 256 * 1024) - memory.budget(
        model, chosen, device, known
    ).cache_bytes  # vLLM 0.25.1 logged 34,368 tokens
    assert abs(off) > 64 << 20
    assert abs(memory.budget(model, chosen, device, known, off).tokens - 34_368) <= 16


H100_RATES, H200_RATES = (3.03e12, 640e12), (4.3e12, 640e12)
# Out tokens a second of all requests: 512-token prompts, 64 out. (model, TP, eager, rates, one stream, requests at once, theirs together)
MEASURED = [
    ("qwq-32b", 2, True, H100_RATES, 22.3, 16, 274),
    ("qwq-32b", 2, True, H100_RATES, 22.3, 64, 658),
    ("qwq-32b", 2, False, H100_RATES, 67.4, 16, 723),
    ("qwq-32b", 2, False, H100_RATES, 67.4, 64, 1380),
    ("qwq-32b", 1, False, H100_RATES, 39.5, 16, 426),
    ("qwen2-7b-instruct", 1, True, H100_RATES, 55.1, 64, 1921),
    ("qwen2-7b-instruct", 1, False, H100_RATES, 154.0, 64, 3205),
    ("qwen2-7b-instruct", 1, True, H200_RATES, 60.9, 64, 2689),
    ("qwen2-7b-instruct", 1, False, H200_RATES, 209.8, 64, 4018),
    ("qwq-32b", 1, True, H200_RATES, 43.8, 64, 878),
    ("qwq-32b", 1, False, H200_RATES, 56.1, 64, 903),
]


@pytest.mark.parametrize(("name", "tensor", "eager", "rates", "one", "at_once", "together"), MEASURED)
def test_measured_speeds_lie_in_the_predicted_interval(
    name: str, tensor: int, eager: bool, rates: tuple[float, float], one: float, at_once: int, together: int
) -> None:
    model = models.model_of(TABLES["models"][name])
    assert model is not None
    device = memory.Device(80 * GIB, copy_rate=rates[0], matrix_rate=rates[1])
    found = speed.predict(
        model, memory.Settings(tensor=tensor, max_model_len=8192, eager=eager), device, at_once, 512, 64
    )
    assert found is not None and found.measured
    assert found.one[0] <= one <= found.one[1] and found.many[0] <= together <= found.many[1]
    assert eager or found.one[1] / found.one[0] < 1.35  # an interval that says nothing is no prediction


def test_a_board_from_its_data_sheet_says_so_and_an_unknown_one_nothing() -> None:
    model = models.model_of(TABLES["models"]["qwen2-7b-instruct"])
    assert model is not None
    sheet = speed.predict(model, memory.Settings(), memory.Device(80 * GIB, name="NVIDIA H100 80GB HBM3"), 16)
    assert sheet is not None and not sheet.measured and "data sheet, not measured here" in sheet.words()
    assert speed.predict(model, memory.Settings(), memory.Device(80 * GIB, name="Zephyr 9"), 16) is None


def fake_python(folder: Path, text: str) -> str:
    path = folder / "python"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def test_rates_are_measured_kept_and_used_for_the_board_they_are_of(run_module: Any, tmp_path: Path) -> None:
    good = """echo 'warning: something'; echo 'RATES {"copy_bytes": 3.03e12, "matrix_operations": 6.4e14, "device": "NVIDIA H100", "torch": "2.11"}'"""
    given = {"kind": "cpu", "measure": True, "python": fake_python(tmp_path, good), "serving_root": str(tmp_path)}
    assert run_module("accelerator_info", given, check=True)["rates"] == {} and not (tmp_path / rates.NAME).exists()
    assert run_module("accelerator_info", given, check=False)["rates"]["copy_bytes"] == 3.03e12
    board = {"kind": "gpu", "devices": [{"name": "NVIDIA H100", "memory_total_bytes": 81559 << 20}]}
    assert rates.known(str(tmp_path), board) == {"copy_bytes": 3.03e12, "matrix_operations": 6.4e14}
    device = asked.device_of({**board, "rates": rates.known(str(tmp_path), board)})
    assert device is not None and speed.rated(device) == (device, True)
    assert rates.known(str(tmp_path), {"kind": "gpu", "devices": [{"name": "NVIDIA H200"}]}) == {}
    for damage in ("", "[]", "{", '{"copy_bytes": "x", "matrix_operations": 1}'):
        (tmp_path / rates.NAME).write_text(damage)
        assert rates.known(str(tmp_path), board) == {}


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        (
            "echo 'ModuleNotFoundError: torch' >&2; exit 1",
            "cpu",
            "ModuleNotFoundError: torch; name a Python with torch",
        ),
        ("""echo 'RATES {"copy_bytes": 1}'""", "cpu", "it said nothing"),
        ("""echo 'RATES {"copy_bytes": 1, "matrix_operations": 1, "device": "cpu"}'""", "gpu", "sees no GPU"),
    ],
)
def test_a_python_that_cant_measure_is_refused(text: str, kind: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=words):
        rates.measure(fake_python(tmp_path, text), kind)
