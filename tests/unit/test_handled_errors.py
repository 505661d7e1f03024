"""An error that its own words call handled is no cause, and takes no later traceback with it."""

from __future__ import annotations

import pytest
from ansible.module_utils.serving.service.failures import explain
from ansible.module_utils.serving.service.statements import statements

FRAMES = ["Traceback (most recent call last):", '  File "/opt/acme/load.py", line 7, in load', "    read(path)"]
LAST = [*FRAMES, "OSError: Can't load image processor for '/models/acme'."]
API = "(APIServer pid=7) "
ERROR = API + "ERROR 11-27 01:42:37 [repo_utils.py:66] "


def exceptions(lines: list[str]) -> list[tuple[str, str]]:
    return [(one.kind, one.text) for one in statements(lines) if "Error: " in one.text]


@pytest.mark.parametrize(
    "handled",
    [
        ["[acme] `FastThing` requires acmevision (not installed); falling back to `SlowThing`."],
        ["usage stats could not be sent"],
        ["Error retrieving safetensors metadata: not here, retrying 2 of 2"],
    ],
)
def test_a_traceback_long_after_it_counts(handled: list[str]) -> None:
    others = [f"(EngineCore pid=9) INFO 11-27 01:42:37 [a.py:{number}] step" for number in range(6)]
    assert exceptions([*handled, *others, *LAST]) == [("exception", LAST[-1])]


def test_its_own_traceback_does_not() -> None:
    assert exceptions(["Exception ignored in: <function f>", *LAST]) == [("passing", LAST[-1])]
    prefixed = [f"{ERROR}Error retrieving file list: no such repo", *[ERROR + line for line in LAST]]
    assert exceptions(prefixed) == [("passing", LAST[-1])]


def test_a_traceback_without_the_loggers_head_is_another_ones() -> None:
    """vLLM 0.25.1 tries a path as a hub's name, says so, and ends with a traceback that Python itself writes."""
    said = [
        f"{ERROR}Error retrieving file list: Repo id must be in the form 'name': '/gone'.",
        *[API + line for line in LAST],
    ]
    assert exceptions(said) == [("exception", LAST[-1])]


def test_the_state_that_is_written_down_is_no_error() -> None:
    core = "(EngineCore pid=9) ERROR 11-27 01:40:32 "
    lines = [
        core + "[multiproc_executor.py:284] Worker proc VllmWorker-1 died unexpectedly, shutting down executor.",
        core + "[dump_input.py:72] Dumping input data for V1 LLM engine (v0.25.1) with config: model='/models/acme'",
        core + "[dump_input.py:81] Dumping scheduler stats: SchedulerStats(num_running_reqs=1)",
        *[core + "[core.py:1233] " + line for line in ("EngineCore encountered a fatal error.", *FRAMES, "RuntimeError: Executor failed.")],
        API + "ERROR 11-27 01:40:32 [async_llm.py:704] AsyncLLM output_handler failed.",
    ]  # fmt: skip
    found = explain(lines, 0)
    assert found.hint == "process-ended" and found.root and "VllmWorker-1 died" in found.root, found


def test_an_engine_that_ended_without_a_word_is_told_so_and_not_by_its_exit_code() -> None:
    words = "EngineCore encountered an issue. See stack trace (above) for the root cause."
    dead = [ERROR + line for line in (*FRAMES, f"vllm.v1.engine.exceptions.EngineDeadError: {words}")]
    for code in (0, 1):
        found = explain([ERROR + "AsyncLLM output_handler failed.", *dead], code)
        assert (found.hint, found.sure) == ("ended-unsaid", False), found


def test_what_a_process_of_its_own_said_counts_before_the_error_that_repeats_it() -> None:
    inner = [*FRAMES, "ModuleNotFoundError: No module named 'acmetorch'"]
    warning = ["/a.py:1: RuntimeWarning: 'x' found in sys.modules", "  warn(RuntimeWarning(msg))"]
    lines = [API + line for line in (*FRAMES, "RuntimeError: Error raised in subprocess:", *warning, *inner)]
    assert (explain(lines, 1).root or "").startswith("ModuleNotFoundError: No module named 'acmetorch'")


def test_memory_that_a_header_of_no_weights_asks_for_is_told_as_the_file() -> None:
    """vLLM 0.32 reads the first bytes of a Git LFS pointer as the length of a header."""
    lines = [
        "Traceback (most recent call last):",
        '  File "/opt/acme/transformers_utils/utils.py", line 113, in parse_safetensors_file_metadata',
        '    metadata = json.loads(f.read(length_of_metadata).decode("utf-8"))',
        "                          ^^^^^^^^^^^^^^^^^^^^^^^^^^",
        "MemoryError",
    ]
    assert explain(lines, 1).hint == "weights-damaged"
    assert explain(["MemoryError"], 1).hint == "memory-out"
