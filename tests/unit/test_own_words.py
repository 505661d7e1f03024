"""Errors that say themselves what is refused: which count, which don't, and what a person is told to correct."""

from __future__ import annotations

import json
import re

import pytest
from ansible.module_utils.serving.service import failures
from ansible.module_utils.serving.service.own_words import OPTIONS, names
from ansible.module_utils.serving.service.statements import Statement
from conftest import ROOT


def explained(text: str, code: int | None = 1) -> failures.Explanation:
    return failures.explain(text.splitlines(), code)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("ValueError: tile_rows must be one of (8, 16, 32), got 4", "correct `tile_rows` as it says"),
        ("ValueError: --acme-ids index 9 is out of range for this host", "correct engine_args.acme_ids as it says"),
        ("ValueError: acme_config.min_rows must be positive, got 0", "correct `acme_config.min_rows` as it says"),
        ("ValueError: --acme-size and --other-thing are incompatible here", "correct engine_args.acme_size and engine_args.other_thing as it says"),
        ("RuntimeError: Acme needs at least two ranks. Please set VLLM_ACME_RANKS or use --acme off", "correct engine_args.acme and env.VLLM_ACME_RANKS"),
        ("NotImplementedError: Acme pooling is not supported with this model yet", "leave that feature out of engine_args"),
        ("AssertionError: acme_width should be a multiple of 64", "correct `acme_width` as it says"),
        ("acme.errors.UnsupportedConfigError: streams cannot be shared between hosts", "change the option, model or package that it speaks of"),
        ("ValueError: Acme kind 'acme_fast' is not supported by this layer", "change the option, model or package that it speaks of"),
        ("sglang: error: the page size must be a power of two", "change the option, model or package that it speaks of"),
    ],
)  # fmt: skip
def test_a_sentence_that_gives_its_reason_needs_no_row(line: str, told: str) -> None:
    found = explained(line)
    assert found.hint == failures.OWN_WORDS and found.root == line
    assert told in (found.meaning or "")


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: acme failed",
        "RuntimeError: Error 17 in acme_call",
        "ValueError: 7",
        "RuntimeError: \"acme_impl\" not implemented for 'Half'",
        "TypeError: Can't instantiate abstract class Acme with abstract method acme_encode",
        "RuntimeError: acme_state is not set",  # of the code's own state: nobody can set it
        "KeyError: 'must be set'",
        "OSError: acme must be there",
        "RuntimeError: Expected all tensors to be on the same device, but found at least two devices",
        "RuntimeError: tensor a and tensor b must be contiguous",
        "TypeError: acme() takes nothing, it must not be called so: unexpected keyword argument",
        "RuntimeError: a and b must have same reduction dim, but got [s7, 9] X [8, 7]",
        "ValueError: both operands must agree",  # of nothing that an operator can set
        'AssertionError: acme gave up\n\nSet TORCHDYNAMO_VERBOSE=1 for the trace. For more set TORCH_LOGS="+dynamo"',  # advice is no reason
    ],
)
def test_a_sentence_without_a_reason_or_of_the_codes_inside_is_not_explained(line: str) -> None:
    assert explained(line).hint != failures.OWN_WORDS


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (
            "Error: podman's acme subnets are given twice",
            '"podman\'s acme subnets are given twice": correct ports and network',
        ),
        (
            "Error: OCI runtime error: crun: acme of the overlay mount: Text file busy",
            '"acme of the overlay mount: Text file busy": check the row\'s `mounts`',
        ),
        (
            "docker: Error response from daemon: failed to create task: acme rootfs is odd: unknown.",
            '"acme rootfs is odd": check the row\'s `mounts`',
        ),
        (
            "Error: OCI runtime error: crun: acme of the thing: Text file busy",
            '"acme of the thing: Text file busy": ',
        ),
    ],
)
def test_the_innermost_part_of_a_container_engines_message_is_its_reason(line: str, told: str) -> None:
    found = explained(line, 125)
    assert (found.hint, found.sure, found.root) == (failures.OWN_WORDS, False, line)
    assert told in (found.meaning or "")


@pytest.mark.parametrize(
    "line", ["Error: Invalid value for '--acme': '80x' is no integer.", "Error: cannot find the port 8000 of acme"]
)
def test_any_program_s_error_is_no_container_engine_s(line: str) -> None:
    assert "container engine" not in (explained(line, 1).meaning or "")


def test_a_container_engine_that_gives_no_reason_is_told_so() -> None:
    assert explained("docker: Error response from daemon: acme: unknown.", 125).hint == "engine-refused"


def test_only_the_first_error_and_its_chain_speak_for_themselves() -> None:
    first = (
        'Traceback (most recent call last):\n  File "/v/a.py", line 1, in f\nacme.Odd: no words that anybody knows\n'
    )
    second = (
        'Traceback (most recent call last):\n  File "/v/b.py", line 2, in g\nValueError: acme_size must be even, got 3'
    )
    assert explained(first + second) == failures.Explanation(None, "acme.Odd: no words that anybody knows", None)
    chained = explained(first + "\nDuring handling of the above exception, another exception occurred:\n\n" + second)
    assert (chained.hint, chained.root) == (failures.OWN_WORDS, "ValueError: acme_size must be even, got 3")


def test_a_consequence_and_what_is_said_in_passing_never_speak() -> None:
    wrapper = "RuntimeError: Engine core initialization failed. See root cause above. You must look there"
    assert explained(wrapper).hint == "ended-unsaid"
    for line in (
        "WARNING 11-20 10:00:00 [a.py:1] ValueError: acme_size must be even",
        "INFO:     acme_size must be even",
    ):
        assert explained(line).hint is None


def test_rows_come_before_own_words_and_own_words_before_the_kind_of_the_error() -> None:
    assert (
        explained(
            "ValueError: Total number of attention heads (32) must be divisible by tensor parallel size (3)."
        ).hint
        == "heads-not-divisible"
    )
    assert explained("AssertionError: acme_size must be even").hint == failures.OWN_WORDS
    assert explained("AssertionError: acme").hint == "assertion"
    assert explained("ValueError: not enough values to unpack (expected 2, got 1)").hint == "engine-fault"


def test_a_signal_says_more_than_a_sentence() -> None:
    assert explained("ValueError: acme_size must be even", -9).hint == "exit--9"


def test_two_words_and_a_list_of_what_to_try_are_no_reason() -> None:
    assert explained("RuntimeError: invalid argument").hint is None
    log = "Exception: Capture cuda graph failed: acme\nPossible solutions:\n1. set --mem-fraction-static to a smaller value"
    found = explained(log)
    assert (found.hint, found.sure) == ("sglang-capture", False)


def test_only_a_name_of_which_something_is_demanded_is_told() -> None:
    meaning = (
        explained(
            "ValueError: acme_run() can't be called here, acme_rows is not a multiple of 8 and it must be"
        ).meaning
        or ""
    )
    assert "correct `acme_rows` as it says" in meaning
    assert "acme_run" not in meaning


def test_only_an_option_of_an_engine_is_surely_what_is_to_be_corrected() -> None:
    assert explained("ValueError: max_num_seqs must be even").sure
    assert not explained("ValueError: acme_rows must be even").sure
    known = [json.loads((ROOT / f"planning/{name}_options.json").read_text())["options"] for name in ("vllm", "sglang")]
    assert not set(re.sub(r"[^\w|]", "", OPTIONS.pattern).split("|")) - set(known[0]) - set(known[1])


@pytest.mark.parametrize(
    ("line", "helps"),
    [
        (
            "RuntimeError: Acme is too old for this compiler: it only supports GPUs of capability 7.0",
            "use another accelerator",
        ),
        (
            "ImportError: the acme backend requires transformers>=9 for this, but got 4",
            "install or upgrade in the environment",
        ),
        (
            "acme.utils.BackendSupportedError: mm_acme does not support backend 'acme' with capability 121",
            "use another accelerator",
        ),
        ("NotImplementedError: Acme is only supported on Cuda toolkit 13.1 and above!", "built with that CUDA"),
        ("ValueError: Unsupported bits for gptq, only 4 and 8 are supported", "`quantization`"),
        ("ValueError: Acme requires heads divisible by the number of ranks", "tensor_parallel_size"),
        ("ValueError: the prompt is longer than the cache: not enough memory", "lower max_model_len"),
    ],
)
def test_the_remedy_is_of_the_kind_that_the_sentence_speaks_of(line: str, helps: str) -> None:
    found = explained(line)
    assert found.hint == failures.OWN_WORDS and helps in (found.meaning or "")


def test_names_are_keys_of_a_row_each_once_and_few() -> None:
    sentence = "--acme-size, --acme-size or --x-y with NCCL_ACME; not CUBLAS_STATUS_ACME, CUDA_ERROR_ACME, VLLM_ or a--b; --third --fourth"
    assert names(sentence) == ["engine_args.acme_size", "engine_args.x_y", "engine_args.third"]
    assert names("set NCCL_ACME; CUDA_ERROR_ACME came") == ["env.NCCL_ACME"]


def test_a_statement_of_many_lines_is_read_whole() -> None:
    log = "ValueError: the engine can't start\n  acme_size is 3\n  acme_size must be even"
    assert explained(log).hint == failures.OWN_WORDS
    assert Statement(log, "exception").consequence is False


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ('the acme plugin refuses "gpu-layout"', '"the acme plugin refuses "gpu-layout""'),
        ('"the acme plugin refuses it"', '"the acme plugin refuses it"'),
        ('the acme plugin refuses "it', '"the acme plugin refuses "it"'),
        ('the acme plugin refuses it"', '"the acme plugin refuses it"'),
    ],
)
def test_a_name_in_quotes_keeps_both_of_them(said: str, reason: str) -> None:
    meaning = explained("docker: Error response from daemon: " + said).meaning or ""
    assert f"gives its own reason, {reason}: " in meaning


def test_what_docker_s_sdk_puts_around_the_daemon_s_reason_is_no_part_of_it() -> None:
    said = 'docker.errors.APIError: 500 Server Error for http+docker://localhost/v1.41/x: Internal Server Error ("acme rootfs of the thing is odd")'
    found = failures.explain(
        ["Traceback (most recent call last):", '  File "/opt/acme/run.py", line 3, in main', "    go()", said], 1
    )
    assert found.hint == "own-words" and '"acme rootfs of the thing is odd": check the row' in (found.meaning or "")
