"""An error that no row knows: whose code raised it. And which error of several is the one."""

from __future__ import annotations

import re

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
        (LIB + "/filelock/_unix.py", "locks (flock"),
        (LIB + "/tokenizers/acme.py", "tokenizer"),
        (LIB + "/vllm/multimodal/acme.py", "limit_mm_per_prompt"),
        (LIB + "/transformers/acme.py", "transformers"),
        (LIB + "/vllm/model_executor/model_loader/acme.py", "weights_info"),
        (LIB + "/jinja2/acme.py", "chat_template"),
        ("<template>", "chat_template"),
        (LIB + "/vllm/config/speculative.py", "num_speculative_tokens"),
        ("/sgl-workspace/sglang/python/sglang/srt/server_args.py", "speculative_eagle_topk"),
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


@pytest.mark.parametrize("environment", ["/opt/mindspore/venv", "/srv/transformers", "/opt/flag_gems/triton"])
@pytest.mark.parametrize(
    "below",
    [
        "/lib/python3.12/site-packages/vllm/x.py",
        "/lib/python3/dist-packages/vllm/x.py",
        "/lib/python3.11/json/decoder.py",
    ],
)
def test_the_name_of_an_environment_is_no_part_of_an_engine(environment: str, below: str) -> None:
    assert raised_in(Statement("acme.Odd: x", "exception", files=(environment + below,))) is None


def test_an_engine_s_own_model_is_not_what_it_is_called_after() -> None:
    for file in ("/vllm/model_executor/models/transformers/base.py", "/sglang/srt/models/transformers/base.py"):
        assert raised_in(Statement("acme.Odd: x", "exception", files=(LIB + file,))) is None
    models = LIB + "/vllm_mindspore/model_executor/models/acme.py"
    assert "mindformers" in (raised_in(Statement("acme.Odd: x", "exception", files=(models,))) or "")


SGLANG = LIB + "/sglang/srt/"
OF_VLLM = re.compile(
    "enforce_eager|compilation_config|async_scheduling|max_num_|speculative_config|structured_outputs|kv_transfer|limit_mm|all2all|max_model_len"
    "|prefix.caching|vllm|VLLM"
)


@pytest.mark.parametrize(
    "file",
    [
        "managers/scheduler.py", "speculative/acme.py", "lora/acme.py", "layers/quantization/acme.py", "model_executor/cuda_graph_runner.py",
        "model_loader/acme.py", "multimodal/acme.py", "distributed/parallel_state.py", "hardware_backend/npu/acme.py",
        *(f"../../{name}/acme.py" for name in (
            "flag_gems", "deep_gemm", "flashinfer", "mooncake", "xgrammar", "torch/_inductor", "triton", "mindspore", "huggingface_hub",
            "tokenizers", "transformers", "transformers_modules",
        )),
    ],
)  # fmt: skip
def test_a_failure_of_sglang_gets_no_remedy_of_vllm(file: str) -> None:
    inner = LIB + file[5:] if file.startswith("../../") else SGLANG + file
    log = traceback(SGLANG + "entrypoints/acme.py", inner, error="acme.Odd: nobody knows")
    meaning = explained(log).meaning or ""
    assert explained(log).hint == failures.RAISED_IN and not OF_VLLM.search(meaning), meaning


def test_a_row_that_says_what_was_done_comes_before_whose_code_it_was() -> None:
    runner = SGLANG + "model_executor/cuda_graph_runner.py"
    found = explained(
        traceback(runner, error="Exception: Capture cuda graph failed: acme\nPossible solutions:\n1. acme")
    )
    assert found.hint == "sglang-capture" and "disable_cuda_graph" in (found.meaning or "")
    panic = traceback(SGLANG + "managers/scheduler.py", error="pyo3_runtime.PanicException: acme")
    assert explained(panic).hint == "rust-panic"


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


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("AttributeError: 'NoneType' object has no attribute 'shape'", "OSError: [Errno 9] Bad file descriptor"),
        ("TypeError: 'int' object is not iterable", "KeyError: 7"),
        ("KeyError: 'acme'", "OSError: nobody knows"),
        ("IndexError: list index out of range", "RuntimeError: acme"),
        ("KeyError: 7", "ValueError: acme_size must be even, got 3"),
    ],
)
def test_the_error_that_is_shown_is_the_one_that_is_explained(first: str, second: str) -> None:
    link = "\n\nDuring handling of the above exception, another exception occurred:\n\n"
    found = explained(traceback("/a.py", error=first) + link + traceback("/b.py", error=second))
    assert found.hint is None or explained(found.root or "").hint == found.hint
    assert found.root == (second if first.startswith(("KeyError", "IndexError")) else first)


def test_a_compiled_part_that_could_not_be_loaded_counts_where_then_a_name_is_missing() -> None:
    warned = "WARNING 09-04 04:55:04 a.py:180] Failed to import from vllm._acme with ImportError('/a/_C.abi3.so: undefined symbol: _ZN5torch1aEv')"
    missing = traceback("/a.py", error="NameError: name 'AcmeType' is not defined")
    assert explained(warned + "\n" + missing).hint == "torch-abi"
    assert explained(missing).hint == "engine-fault"


UNDEFINED = "WARNING 09-04 04:55:04 a.py:180] Failed to import from vllm._acme with ImportError('/a/_C.abi3.so: undefined symbol: _ZN5torch1aEv')"


@pytest.mark.parametrize(
    "warned",
    [
        "Failed to import from vllm._moe_C with ImportError('libcuda.so.1: cannot open shared object file: No such file or directory')",
        "Failed to import Triton kernels. No module named 'triton_kernels.matmul_ogs'",
        "Failed to load plugin lora_acme: No module named 'acme'",
        UNDEFINED.partition("] ")[2],
    ],
)
def test_a_name_that_a_module_forgot_is_no_matter_of_what_was_warned_of(warned: str) -> None:
    missing = traceback("/a.py", error="NameError: name 'List' is not defined")
    found = explained(f"WARNING 09-04 04:55:04 [a.py:180] {warned}\n{missing}")
    assert found == explained(missing) and found.root == "NameError: name 'List' is not defined"


@pytest.mark.parametrize(
    ("warned", "missing"),
    [
        (UNDEFINED, "NameError: name 'AcmeType' is not defined"),
        ("WARNING 09-04 04:55:04 [a.py:1] Failed to import from vllm._C with ImportError('libcuda.so.1: cannot open shared object file')",
         "RuntimeError: Failed to infer device type"),
        ("/x/cuda/__init__.py:107: UserWarning: CUDA initialization: The NVIDIA driver on your system is too old (found version 11040).",
         "RuntimeError: No CUDA GPUs are available"),
    ],
)  # fmt: skip
def test_what_was_warned_of_is_never_told_as_surely_the_cause(warned: str, missing: str) -> None:
    found = explained(warned + "\n" + missing)
    assert found.hint in ("torch-abi", "driver-library-missing", "driver-too-old") and not found.sure
    assert (found.meaning or "").startswith(failures.POSSIBLE)


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


def test_a_row_whose_words_come_of_any_part_names_that_part_too() -> None:
    differ = "RuntimeError: Sizes of tensors must match except in dimension 1."
    draft = traceback(LIB + "/vllm/model_executor/models/llama_eagle3.py", error=differ)
    other = traceback(LIB + "/vllm/model_executor/models/llama.py", error=differ)
    assert explained(draft).hint == explained(other).hint == "shapes-differ"
    assert "speculative decoding" in (explained(draft).meaning or "")
    assert "not among the known" not in (explained(draft).meaning or "")
    assert "speculative decoding" not in (explained(other).meaning or "")


def test_the_compiler_s_own_scheduler_is_no_scheduler_of_requests() -> None:
    log = traceback(LIB + "/torch/_inductor/scheduler.py", error="acme.Odd: nobody knows")
    assert "compilation" in (explained(log).meaning or "")
