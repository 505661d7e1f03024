"""An error that no row knows: whose code raised it. And which error of several is the one."""

from __future__ import annotations

import pytest
from ansible.module_utils.serving.service import failures
from ansible.module_utils.serving.service.raised_in import raised_in
from ansible.module_utils.serving.service.statements import FRAMES, Statement, statements


def explained(text: str, code: int | None = None) -> failures.Explanation:
    return failures.explain(text.splitlines(), code)


def traceback(*files: str, error: str, who: str = "") -> str:
    frames = "".join(f'  File "{file}", line 7, in f\n    g()\n' for file in files)
    said = f"Traceback (most recent call last):\n{frames}{error}"
    return "\n".join(who + line for line in said.splitlines())


LIB = "/srv/env/lib/python3.12/site-packages"


@pytest.mark.parametrize(
    ("file", "helps"),
    [
        (LIB + "/flag_gems/ops/acme.py", "flaggems: false"),
        ("/root/.cache/huggingface/modules/transformers_modules/acme/modeling_acme.py", "trust_remote_code"),
        (LIB + "/deep_gemm/acme.py", "VLLM_USE_DEEP_GEMM"),
        (LIB + "/flashinfer/acme.py", "another attention backend"),
        (LIB + "/lmcache/v1/acme.py", "kv_transfer_config"),
        (LIB + "/vllm/model_executor/layers/quantization/acme.py", "another quantisation"),
        (LIB + "/xgrammar/acme.py", "structured_outputs_config"),
        (LIB + "/vllm/v1/spec_decode/acme.py", "speculative_config"),
        (LIB + "/vllm/v1/core/sched/acme.py", "async_scheduling"),
        (LIB + "/vllm/distributed/device_communicators/acme.py", "disable_custom_all_reduce"),
        (LIB + "/vllm/lora/acme.py", "without the adapters"),
        (LIB + "/torch/_inductor/acme.py", "enforce_eager"),
        (LIB + "/triton/compiler/acme.py", "Triton that belongs"),
        (LIB + "/vllm_mindspore/acme.py", "mindformers"),
        ("/work/vllm-ascend/vllm_ascend/acme.py", "torch-npu"),
        (LIB + "/huggingface_hub/acme.py", "HF_HUB_OFFLINE"),
        (LIB + "/tokenizers/acme.py", "tokenizer"),
        (LIB + "/vllm/multimodal/acme.py", "limit_mm_per_prompt"),
        (LIB + "/transformers/acme.py", "transformers"),
        (LIB + "/vllm/model_executor/model_loader/acme.py", "weights_info"),
    ],
)
def test_an_error_that_nobody_knows_is_told_by_whose_code_raised_it(file: str, helps: str) -> None:
    found = explained(traceback(LIB + "/vllm/acme.py", file, LIB + "/torch/_ops.py", error="acme.Odd: nobody knows"))
    assert (found.hint, found.sure, found.root) == (failures.RAISED_IN, False, "acme.Odd: nobody knows")
    assert helps in (found.meaning or "") and (found.meaning or "").startswith(failures.POSSIBLE)


def test_the_innermost_file_of_a_known_part_counts_and_only_the_error_s_own() -> None:
    inner = traceback(LIB + "/triton/a.py", LIB + "/flag_gems/b.py", error="acme.Odd: nobody knows")
    assert "FlagGems" in (explained(inner).meaning or "")
    first = traceback(LIB + "/acme/a.py", error="acme.Odd: nobody knows")
    assert explained(first) == failures.Explanation(None, "acme.Odd: nobody knows", None)
    assert explained(first + "\n" + inner) == failures.Explanation(None, "acme.Odd: nobody knows", None)
    two = traceback(LIB + "/flag_gems/b.py", error="acme.Odd: zero", who="(Worker_TP0 pid=7) ").splitlines()
    other = traceback(LIB + "/acme/b.py", error="acme.Odd: one", who="(Worker_TP1 pid=8) ").splitlines()
    mixed = [line for pair in zip(two, other, strict=True) for line in pair]
    assert {one.text: one.files for one in statements(mixed)} == {
        "acme.Odd: zero": (LIB + "/flag_gems/b.py",),
        "acme.Odd: one": (LIB + "/acme/b.py",),
    }


def test_a_file_that_stands_around_all_that_an_engine_does_is_not_blamed() -> None:
    around = [LIB + "/sglang/srt/managers/scheduler.py", LIB + "/torch/_dynamo/eval_frame.py"]
    inside = [f"{LIB}/acme/{number}.py" for number in range(4)]
    assert explained(traceback(*around, *inside, error="acme.Odd: nobody knows")).hint is None
    assert explained(traceback(*around, *inside[:3], error="acme.Odd: nobody knows")).hint == failures.RAISED_IN


def test_what_says_more_comes_first() -> None:
    """A row of the error itself, its own words, a signal."""
    at = LIB + "/flag_gems/b.py"
    assert explained(traceback(at, error="torch.OutOfMemoryError: CUDA out of memory.")).hint == "gpu-memory-out"
    assert explained(traceback(at, error="ValueError: max_num_seqs must be even")).hint == failures.OWN_WORDS
    assert explained(traceback(at, error="acme.Odd: nobody knows"), -11).hint == "exit--11"
    # Of the kind of an error alone nothing follows: whose code it was says more.
    assert explained(traceback(at, error="IndexError: list index out of range")).hint == failures.RAISED_IN
    assert explained(traceback(LIB + "/acme/b.py", error="IndexError: list index out of range")).hint == "engine-fault"


def test_a_panic_of_rust_is_an_error_with_its_place() -> None:
    log = "thread '<unnamed>' panicked at {}/src/acme.rs:10:1:\nassertion failed: nobody < knows\nnote: run with `RUST_BACKTRACE=1`"
    assert "grammar" in (explained(log.format("llguidance")).meaning or "")
    assert "tokenizer" in (explained(log.format("/root/.cargo/registry/src/tokenizers-0.21.0")).meaning or "")
    nobody = explained(log.format("acme"))
    assert nobody.hint == "rust-panic" and "nobody < knows" in (statements(log.splitlines())[0].text)


def test_a_traceback_of_any_depth_keeps_its_innermost_files() -> None:
    files = tuple(f"/a/{number}.py" for number in range(3 * FRAMES))
    said = statements(traceback(*files, error="acme.Odd: nobody knows").splitlines())
    assert said[-1].files == files[-FRAMES:]
    assert raised_in(Statement("acme.Odd: x", "exception")) is None


def test_tritons_error_is_what_stands_below_the_kernels_source() -> None:
    log = """(Worker_TP1 pid=7) ERROR 10-08 09:19:30 [a.py:671] triton.compiler.errors.CompilationError: at 12:4:
(Worker_TP1 pid=7) ERROR 10-08 09:19:30 [a.py:671] def acme_kernel(
(Worker_TP1 pid=7) ERROR 10-08 09:19:30 [a.py:671]     x = raise_error if no_value else 1
(Worker_TP1 pid=7) ERROR 10-08 09:19:30 [a.py:671]     ^
(Worker_TP1 pid=7) ERROR 10-08 09:19:30 [a.py:671] ValueError("type fp8e4nv not supported in this architecture. The supported fp8 dtypes are ('fp8e5')")"""
    found = explained(log)
    assert (found.hint, found.sure) == ("fp8-needs-newer-gpu", True)
    assert explained(log.rpartition("\n")[0]).hint == "triton-compile"


def test_an_error_that_only_names_a_key_gives_way_to_what_it_was_raised_for() -> None:
    link = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
    first = traceback(LIB + "/acme/a.py", error="KeyError: 7")
    assert explained(first + link + traceback("/a.py", error="OSError: nobody knows")).root == "OSError: nobody knows"
    assert explained(first + link + traceback("/a.py", error="KeyError: 8")).root == "KeyError: 7"
    assert explained(first + "\n" + traceback("/a.py", error="OSError: nobody knows")).root == "KeyError: 7"


def test_a_compiled_part_that_could_not_be_loaded_counts_where_then_a_name_is_missing() -> None:
    warned = "WARNING 09-04 04:55:04 a.py:180] Failed to import from vllm._acme with ImportError('/a/_C.abi3.so: undefined symbol: _ZN5torch1aEv')"
    missing = traceback("/a.py", error="NameError: name 'AcmeType' is not defined")
    assert explained(warned + "\n" + missing).hint == "torch-abi"
    assert explained(missing).hint == "engine-fault"


def test_podman_that_cleans_up_hides_no_reason() -> None:
    unmounting = "ERRO[0000] Unmounting /srv/acme/overlay/22/merged: invalid argument\n"
    reason = "Error: mounting storage for container 50a9: nobody knows this one"
    assert explained(unmounting + reason, 125).root == reason
    log = (
        'time="2026-11-20T10:00:00Z" level=error msg="error unmounting /srv/acme/overlay/22/merged: invalid argument"\n'
    )
    assert explained(log + reason, 125).root == reason


def test_the_reason_of_a_program_that_podman_called_is_on_the_next_line() -> None:
    log = (
        "Error: pasta failed with exit code 1:\nCouldn't open network namespace /run/user/7/netns/x: Permission denied"
    )
    assert explained(log, 126).hint == "pasta-closed"


def test_the_heading_of_canns_message_gives_way_to_what_it_announces() -> None:
    log = "EE9999: Inner Error!\nEE9999  Failed to allocate memory, retcode:-1  [FUNC:SvmMalloc]"
    assert explained(log).hint == "npu-memory-allocation"
    assert explained("EE9999: Inner Error!").hint == "cann-class-runtime"


@pytest.mark.parametrize("code", [137, -9, 143, -15])
def test_who_was_killed_after_an_error_was_perhaps_killed_because_of_it(code: int) -> None:
    after = explained("ERROR: nobody knows this one", code)
    assert (after.sure, after.root) == (False, "nobody knows this one")
    assert (after.meaning or "").startswith(failures.POSSIBLE)
    assert explained("INFO: nothing", code).sure
    assert explained("ERROR: nobody knows this one", 139).sure
