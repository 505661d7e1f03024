"""A log as statements: what was said by whom, what is only a consequence, and what may not be taken for a cause."""

from __future__ import annotations

import pytest
from ansible.module_utils.serving.service import failures
from ansible.module_utils.serving.service.log_lines import strip
from ansible.module_utils.serving.service.statements import statements


def explained(text: str, code: int | None = 1) -> failures.Explanation:
    return failures.explain(text.splitlines(), code)


UNKNOWN = """Traceback (most recent call last):
  File "/v/acme/core.py", line 9, in run
    start()
acme.Odd: no words that anybody knows"""


def test_a_general_row_speaks_of_the_first_error_and_its_chain_only() -> None:
    later = "Traceback (most recent call last):\n  File \"/v/end.py\", line 3, in close\nPermissionError: [Errno 13] Permission denied: '/srv/x'"
    assert explained(later).hint == "permission"
    assert explained(UNKNOWN + "\n" + later) == failures.Explanation(
        None, "acme.Odd: no words that anybody knows", None
    )
    chained = UNKNOWN + "\n\nDuring handling of the above exception, another exception occurred:\n\n" + later
    assert explained(chained).hint == "permission"


@pytest.mark.parametrize(
    "line",
    [
        "get_mempolicy: Operation not permitted",
        "set_mempolicy: Operation not permitted",
        "cat: /etc/acme: No such file or directory",
        "node1:71:71 [0] misc/ibvwrap.cc:190 NCCL WARN Call to ibv_open_device failed",
    ],
)
def test_lines_of_no_level_do_not_hide_an_error_that_nobody_knows(line: str) -> None:
    assert explained(line + "\n" + UNKNOWN) == failures.Explanation(None, "acme.Odd: no words that anybody knows", None)


def test_emphatic_lines_of_no_level_count_beside_an_error_that_nobody_knows() -> None:
    assert explained(UNKNOWN + "\n/start: line 9:  4242 Killed                  vllm serve").hint == "killed"
    assert explained("nvcc fatal   : Unknown option '-x'\n" + UNKNOWN).hint == "nvcc-too-old"


def test_nccls_warnings_count_where_communication_failed() -> None:
    warned = "node1:71:71 [0] misc/ibvwrap.cc:190 NCCL WARN Call to ibv_reg_mr failed\n"
    assert explained(warned + "RuntimeError: NCCL error: unhandled system error").hint == "nccl-infiniband"
    assert explained(warned + "torch.OutOfMemoryError: CUDA out of memory.").hint == "gpu-memory-out"
    assert explained(warned).hint == "nccl-infiniband"


def test_a_library_that_a_warning_says_is_missing_counts_where_it_is_missed() -> None:
    warning = 'WARNING 11-20 10:00:00 [_custom_ops.py:20] Failed to import from vllm._C with ImportError("/lib/libc.so.6: version `GLIBC_2.99\' not found")\n'
    assert explained(warning + "AttributeError: '_OpNamespace' '_C' object has no attribute 'x'").hint == "libc-too-old"
    assert explained(warning + UNKNOWN).hint is None
    # On NPUs vLLM always says that it has no _C: no cause.
    always = "WARNING 11-20 10:00:00 [_custom_ops.py:20] Failed to import from vllm._C with ModuleNotFoundError(\"No module named 'vllm._C'\")\n"
    assert explained(always + "RuntimeError: Failed to infer device type").hint == "no-device-type"


HANDLED = """(APIServer pid=1) ERROR 11-20 10:00:00 [registry.py:810] Error saving model info cache.
(APIServer pid=1) ERROR 11-20 10:00:00 [registry.py:810] Traceback (most recent call last):
(APIServer pid=1) ERROR 11-20 10:00:00 [registry.py:810]   File "/v/registry.py", line 805, in save
(APIServer pid=1) ERROR 11-20 10:00:00 [registry.py:810] FileNotFoundError: [Errno 2] No such file or directory: '/.cache/vllm'
(APIServer pid=1) ERROR 11-20 10:00:00 [registry.py:810]
(APIServer pid=1) ERROR 11-20 10:00:00 [registry.py:810] During handling of the above exception, another exception occurred:
(APIServer pid=1) ERROR 11-20 10:00:00 [registry.py:810]
(APIServer pid=1) ERROR 11-20 10:00:00 [registry.py:810] Traceback (most recent call last):
(APIServer pid=1) ERROR 11-20 10:00:00 [registry.py:810]   File "/v/registry.py", line 806, in save
(APIServer pid=1) ERROR 11-20 10:00:00 [registry.py:810] PermissionError: [Errno 13] Permission denied: '/.cache'
"""


def test_errors_that_their_own_words_call_handled_are_no_cause() -> None:
    assert explained(HANDLED) == failures.Explanation(None, None, None)
    after = "".join(f"(APIServer pid=1) ERROR 11-20 10:00:09 [core.py:708] {line}\n" for line in UNKNOWN.splitlines())
    assert explained(HANDLED + after) == failures.Explanation(None, "acme.Odd: no words that anybody knows", None)
    assert (
        explained(HANDLED + after.replace("acme.Odd: no words", "torch.OutOfMemoryError: CUDA out of memory")).hint
        == "gpu-memory-out"
    )


@pytest.mark.parametrize(
    ("wrapper", "inner", "name"),
    [
        ("error: subprocess-exited-with-error", "ImportError: libcusparse.so.12: undefined symbol: __nvJitLinkComplete_99", "mixed-cuda-libraries"),
        ("RuntimeError: Failed to load the backend extension: torch_npu.", "ImportError: libhccl.so: cannot open shared object file", "cann-missing"),
        ("Exception: WorkerProc initialization failed. See stack trace for root cause.", "KeyError: 'layers.0.mlp.up_proj.weight'", "weights-dont-fit"),
        ("ray.exceptions.RayTaskError(KeyError): ray::RayWorkerWrapper.execute_method() (pid=3, ip=10.0.0.2)", "RuntimeError: Cannot find ptxas",
         "ptxas-missing"),
        ("torch.multiprocessing.spawn.ProcessRaisedException:", "OSError: [Errno 98] Address already in use", "port-taken"),
        ("RuntimeError: Worker failed with error '', please check the stack trace above for the root cause", "RuntimeError: Cannot find ptxas",
         "ptxas-missing"),
        ("ERROR 11-20 10:00:00 [x.py:1] Worker VllmWorkerProcess pid 9 died, exit code: -15", "OSError: [Errno 98] Address already in use", "port-taken"),
    ],
)  # fmt: skip
def test_wrappers_are_asked_last(wrapper: str, inner: str, name: str) -> None:
    assert explained(wrapper + "\n" + inner).hint == name
    assert explained(inner + "\n" + wrapper).hint == name


def test_what_the_front_process_repeats_is_the_workers_own() -> None:
    line = "(EngineCore pid=7) ERROR 11-20 10:00:00 [core.py:7] RuntimeError: Worker failed with error '{}', please check the stack trace above"
    assert explained(line.format("Cannot find ptxas")).hint == "ptxas-missing"
    assert explained(line.format("no words that anybody knows")) == failures.Explanation(
        None, "RuntimeError: no words that anybody knows", None
    )


@pytest.mark.parametrize(
    "line", ["HCCL function error: hcclX(1), error code is {}", "NPU function error: aclX(1), error code is {}"]
)
@pytest.mark.parametrize("code", ["1", "5", "7", "15", "507013", "507899"])
def test_a_code_of_cann_alone_names_no_accelerator_as_sure(line: str, code: str) -> None:
    meaning = explained("RuntimeError: " + line.format(code)).meaning or ""
    assert "a 310P" not in meaning.split(":")[0].replace("(on a 310P)", "").replace(
        "or this one can't do it (a 310P", ""
    )


def test_a_wrapper_alone_is_shown_and_gives_no_cause() -> None:
    line = "RuntimeError: Engine process failed to start. See stack trace for the root cause."
    found = explained(line)
    assert (found.root, found.hint, found.sure) == (line, "ended-unsaid", False)


@pytest.mark.parametrize(
    "family",
    ["Triton Error [CUDA]: {}", "CUDA error: {}", "CUDA driver error: {}", "HIP {}", "NPU {}. Tried to allocate 2 GiB"],
)
def test_memory_that_ran_out_is_never_told_as_a_call_that_failed(family: str) -> None:
    found = explained("RuntimeError: " + family.format("out of memory"))
    assert found.hint in ("gpu-memory-out", "npu-memory-out", "cuda-no-memory")


def test_an_assertion_without_words_is_told_by_its_source_and_place() -> None:
    log = """Traceback (most recent call last):
  File "/v/site-packages/acme/layers/linear.py", line 77, in load
    assert acme.size == 7
           ^^^^^^^^^^^^^^
AssertionError"""
    found = explained(log)
    assert found.root == "AssertionError: assert acme.size == 7 (layers/linear.py:77)"
    assert found.hint == "assertion"
    shapes = log.replace("acme.size == 7", "param.shape == loaded_weight.shape")
    assert explained(shapes).hint == "weights-dont-fit"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ERROR 11-20 10:00:00 engine.py:158] ValueError('nobody knows this')", "ValueError: nobody knows this"),
        ("RuntimeError: ('nobody knows ', 'this of two parts')", "RuntimeError: nobody knows this of two parts"),
        ("2026-11-20 10:00:00.123 [Error] (Router) nobody knows: failed", "(Router) nobody knows: failed"),
        ("acme.exc.InductorError: RuntimeError: nobody knows this", "RuntimeError: nobody knows this"),
        (
            "acme.exc.CompilerFailed: backend='acme' raised:\nImportError: nobody knows this",
            "ImportError: nobody knows this",
        ),
        ('dockerd[71]: time="2026-11-20T10:00:00Z" level=error msg="nobody knows: failed"', '"nobody knows: failed"'),
        ("ERRO[2026-11-20T10:00:00.5+08:00] nobody knows: failed", "nobody knows: failed"),
    ],
)
def test_ways_to_write_an_exception(line: str, said: str) -> None:
    assert [one.text for one in statements(line.splitlines())] == [said]


def test_a_traceback_that_another_program_prints_further_in() -> None:
    log = """  error: subprocess-exited-with-error
  |> [9 lines of output]
      Traceback (most recent call last):
        File "/x/hook.py", line 3, in main
          json_out = hook()
      acme.Odd: the reason
      [end of output]"""
    assert explained(log).root == "acme.Odd: the reason"


def test_a_code_of_cann_is_a_statement_of_its_own_in_an_exceptions_message() -> None:
    log = """RuntimeError: The operation failed, error code is 5
[ERROR] 2026-11-20-10:00:00 (PID:7, Device:0, RankID:1) ERR02200 DIST call hccl api failed.
EI0005: 2026-11-20-10:00:01 The arguments for collective communication are inconsistent between ranks.
        TraceBack (most recent call last):
        Transport init error. Reason: [Create][DestLink]Create Dest error!"""
    assert explained(log).hint == "hccl-parameters-differ"


def test_a_code_of_cann_may_stand_behind_the_name_of_its_kind() -> None:
    log = """RuntimeError: The Inner error is reported as above.
[PID: 7] 2026-11-20-10:00:01.384.694 Communication_Error_Bind_IP_Port(EI0020): Failed to bind the IP port. The port 7 has already been bound."""
    assert explained(log).hint == "npu-port-taken"


def test_chains_are_kept_by_process() -> None:
    log = """(W0 pid=1) acme.FirstError: a
(W1 pid=2) acme.OtherError: b
(W0 pid=1) During handling of the above exception, another exception occurred:
(W0 pid=1) acme.SecondError: c"""
    chains = {one.text.split("\n")[0]: one.chain for one in statements(log.splitlines())}
    assert chains["acme.FirstError: a"] == chains["acme.SecondError: c"] != chains["acme.OtherError: b"]


def test_a_program_of_the_host_and_one_of_the_image_are_told_apart() -> None:
    words = 'exec: "acme": executable file not found in $PATH'
    assert (
        explained("OCI runtime create failed: runc create failed: unable to start container process: " + words).hint
        == "command-not-in-image"
    )
    assert explained("Error: could not find the helper: " + words).hint == "host-program-missing"


def test_a_log_that_lost_its_indentation_keeps_its_source_lines_apart() -> None:
    log = """Scheduler hit an exception: Traceback (most recent call last):
File "/v/acme/pynccl.py", line 350, in NCCL_CHECK
raise RuntimeError(f"NCCL error: {error_str}")
RuntimeError: no words that anybody knows
"""
    assert explained(log) == failures.Explanation(None, "RuntimeError: no words that anybody knows", None)
    cut = log.splitlines()[:3]  # the error itself is missing: nothing of the source is taken for it
    assert failures.explain(cut).meaning is None


def test_the_key_of_a_workers_error_is_that_errors() -> None:
    line = "RuntimeError: Worker failed with error ''ACME'', please check the stack trace above for the root cause"
    assert explained(line).root == "KeyError: 'ACME'"


def test_an_error_of_a_socket_is_no_disks() -> None:
    assert explained("tcp_ep.c:12 UCX  ERROR send(7) failed: Input/output error").hint == "kv-transfer"
    assert explained("cp: error reading '/models/x': Input/output error").hint != "kv-transfer"
    assert explained("OSError: [Errno 5] Input/output error: '/models/x'").hint == "disk-error"


def test_what_an_abort_says_of_itself_belongs_to_it() -> None:
    log = "terminate called after throwing an instance of 'std::runtime_error'\n  what():  NCCL Error 5: invalid usage (run with NCCL_DEBUG=WARN)"
    assert explained(log).hint == "nccl-usage"


def test_the_reason_of_a_validation_error_is_part_of_it() -> None:
    log = """pydantic_core._pydantic_core.ValidationError: 1 validation error for ModelConfig
  Value error, Model architectures ['AcmeForCausalLM'] failed to be inspected. Please check the logs for more details. [type=value_error]"""
    assert explained(log).hint == "class-failed-inspection"


def test_a_place_before_a_line_is_no_part_of_it() -> None:
    assert (
        explained("(RayWorkerWrapper pid=7) worker_base.py:572] KeyError: 'layers.0.mlp.up_proj.weight'").hint
        == "weights-dont-fit"
    )


@pytest.mark.parametrize(
    "line",
    [
        "Downloading: a.safetensors failed, reason: HTTPSConnectionPool(host='hf-mirror.com', port=443): Read timed out. will retry",
        "ERROR 11-20 10:00:00 [a.py:7] Cannot connect to proxy, retrying in 5 s",
    ],
)
def test_what_is_tried_again_is_no_cause(line: str) -> None:
    assert explained(line) == failures.Explanation(None, None, None)
    assert explained(line + "\n" + UNKNOWN).root == "acme.Odd: no words that anybody knows"
    assert explained(line + "\ntorch.OutOfMemoryError: CUDA out of memory.").hint == "gpu-memory-out"


def test_an_error_that_carries_a_traceback_is_read_on() -> None:
    log = """RuntimeError: Traceback (most recent call last):
  File "/v/replica.py", line 9, in start
    engine()
ImportError: libGL.so.1: cannot open shared object file: No such file or directory"""
    assert explained(log).hint == "library-missing"


def test_a_process_that_ends_the_others_after_its_error_was_not_killed_for_memory() -> None:
    assert explained(UNKNOWN + "\nKilled").sure is False
    assert explained("IndexError: list index out of range\nKilled").hint == "engine-fault"
    assert explained("ValueError: --acme must be even\nKilled").hint == failures.OWN_WORDS
    assert explained("loading\nKilled") == explained("Killed") and explained("Killed").sure


def test_a_list_of_what_was_given_names_nothing_to_set() -> None:
    found = explained(
        "RuntimeError: Unsupported quantization: num_bits=4 group_size=7 block_structure=None, must be another"
    )
    assert found.hint == failures.OWN_WORDS and not found.sure and "`num_bits`" not in (found.meaning or "")


def test_a_workers_error_that_begins_with_a_quote_is_that_errors() -> None:
    line = "RuntimeError: Worker failed with error ''Acme' object has no attribute 'x'', please check the stack trace above"
    assert explained(line).root == "RuntimeError: 'Acme' object has no attribute 'x'"


@pytest.mark.parametrize("date", ["Nov 15", "11月 15", "nov 15", "Mär  5", "févr. 5"])
def test_a_journal_in_any_language_is_read_without_its_date(date: str) -> None:
    (said,) = statements([f"{date} 14:15:47 node-1 dockerd[4177]: something failed"])
    assert said.text == "something failed"


def test_a_heading_is_told_with_the_line_that_it_announces() -> None:
    found = explained(
        "ERROR: The file './acme.yml' is invalid because:\nUnsupported config option for services.a: 'devices'"
    )
    assert found.hint == "compose-old"
    assert found.root == "The file './acme.yml' is invalid because: Unsupported config option for services.a: 'devices'"


def test_an_engine_that_ended_without_a_word_is_told_so_and_hides_no_error() -> None:
    ended = "ERROR 02-05 01:21:05 client.py:300] RuntimeError('Engine process (pid 76) died.')\nERROR 02-05 01:21:05 client.py:300] NoneType: None"
    assert (explained(ended).hint, explained(ended).sure) == ("process-ended", False)
    assert explained(UNKNOWN + "\n" + ended).root == "acme.Odd: no words that anybody knows"
    assert explained(UNKNOWN + "\n" + ended).hint is None


def test_the_causes_that_uv_draws_below_an_error_are_read_from_the_deepest() -> None:
    tree = """  \u00d7 Failed to download and build `acme==1`
  ├─▶ No solution found when resolving: `torch==2.11.0`
  ├─▶ Failed to fetch: `https://example.org/whl/torch/`
  ╰─▶ tls handshake eof"""
    assert [said.text for said in statements(tree.splitlines())] == [
        "tls handshake eof",
        "Failed to fetch: `https://example.org/whl/torch/`",
        "No solution found when resolving: `torch==2.11.0`",
        "\u00d7 Failed to download and build `acme==1`",
    ]
    assert explained(tree).hint == "index-unreachable"


@pytest.mark.parametrize(
    "bar",
    [
        " 11%|####    | 25/232 [01:26<02:49,  1.22it/s]",
        "Loading checkpoint shards:  33%|###   | 1/3 [00:20<00:40, 20.20s/it]",
        "Fetching:   0%|   | 0/4 [00:00<?, ?it/s]\rFetching:  25%|#  | 1/4 [00:01<00:03,  1.1it/s]",
    ],
)
def test_words_behind_a_progress_bar_are_a_line_of_their_own(bar: str) -> None:
    said = statements([bar + "[rank0]:[E1204 11:18:17.728425480 acme.ts:444] NPU out of memory."])
    assert [(one.text, one.kind) for one in said] == [("NPU out of memory.", "error")]


def test_the_error_of_a_child_process_has_its_reason_on_the_next_line() -> None:
    said = statements(["Error: acme-dns failed to start: Error from child process", "acme failed to bind 10.0.0.1:53"])
    assert said[0].text.endswith("child process acme failed to bind 10.0.0.1:53") and len(said) == 1


def test_an_error_without_words_gives_way_to_its_traceback() -> None:
    log = "ERROR 05-02 09:48:39 [engine.py:160] AssertionError()\nTraceback (most recent call last):\n"
    found = statements(
        (log + '  File "/x/acme/layer.py", line 7, in f\n    assert wide > 1\nAssertionError').splitlines()
    )
    assert [(one.text, one.kind) for one in found] == [
        ("AssertionError()", "words"), ("AssertionError: assert wide > 1 (acme/layer.py:7)", "exception"),
    ]  # fmt: skip
    assert explained("acme.OddError()") == failures.Explanation(None, "acme.OddError()", None)


@pytest.mark.parametrize(
    "before",
    [
        "2026-11-20T10:00:00.123456789Z stderr F ",  # a container's log on Kubernetes
        "[pod/acme-0/engine] ",  # kubectl logs --prefix
        "acme.1.k3j2h1@gpu-1    | ",  # docker service logs
        "2026-11-20T10:00:00+0100 gpu-1 docker[3230]: ",  # journalctl -o short-iso
        "2026-11-20T10:00:00+0100 gpu-1 kernel: ",
        "2026-11-20 10:00:00 ",  # Docker Desktop
    ],
)
def test_what_a_viewer_of_logs_writes_before_a_line_is_no_part_of_it(before: str) -> None:
    for line in UNKNOWN.splitlines():
        assert strip(before + line)[2] == line
    assert strip(before + "ERROR 11-20 10:00:00 [a.py:1]   File")[1:] == ("ERROR", "  File")
    own = "ValueError: Please increase acme_tokens."
    assert failures.explain([before + own], 1) == failures.explain([own], 1)


def test_two_words_before_a_colon_are_no_host_and_program() -> None:
    assert strip("2026-11-20T10:00:00Z vllm serve: error: x")[2] == "vllm serve: error: x"


def test_what_came_of_an_error_without_words_says_more_than_its_kind() -> None:
    waited = "\n\nThe above exception was the direct cause of the following exception:\n\nTimeoutError: RPC call to acme_step timed out."
    place = 'Traceback (most recent call last):\n  File "/v/vllm/distributed/device_communicators/shm_broadcast.py", line 5, in dequeue\n'
    assert explained(place + "TimeoutError" + waited).hint == "worker-silent"
    assert explained(place + "acme.Odd: nobody knows" + waited).hint != "worker-silent"


def test_a_log_that_only_waits_for_a_process_is_told_so() -> None:
    line = "(EngineCore pid=7) INFO 11-20 10:00:00 [shm_broadcast.py:802] No available shared memory broadcast block found in 60 seconds."
    found = explained(line, None)
    assert (found.hint, found.sure) == ("worker-silent", False)
    assert explained(line + "\n" + UNKNOWN).hint is None
