"""What is worth a trial: candidates around those of fit, on boards of several kinds, and only in options that the row leaves open."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.sizing.sweep import NOW, own, sweep
from tables import TABLES
from test_choices import chosen, cpu_host, p, planned, record


def swept(
    service: dict[str, Any], machine: dict[str, Any] | None = None, free: tuple[str, ...] = (), most: int = 6
) -> dict[str, dict[str, Any]]:
    given = {"dtypes": ["bfloat16", "float16", "float32"], "count": 8, "free": list(free), "most": most}
    return {one.name: one.args for one in sweep([service], service, machine or record(), given, [])}


def test_what_runs_comes_first_and_each_candidate_differs_from_it() -> None:
    found = swept(planned({"max_model_len": 32768, "max_num_seqs": 128}, engine="vllm", flaggems=False))
    assert next(iter(found)) == NOW and found[NOW] == {} and 3 <= len(found) <= 6
    others = [args for name, args in found.items() if name != NOW]
    assert all(args and "max_num_seqs" not in args and "max_model_len" not in args for args in others)
    assert any("tensor_parallel_size" in args for args in others) and any(
        args.get("max_num_batched_tokens") for args in others
    )
    assert not any(
        "kv_cache_dtype" in args or "enforce_eager" in args for args in others
    )  # what changes answers, or was never asked for


def test_a_row_that_gives_all_leaves_batches_alone_and_free_opens_an_option() -> None:
    row = {"tensor_parallel_size": 2, "data_parallel_size": 1, "pipeline_parallel_size": 1, "max_model_len": 8192, "max_num_seqs": 64,
           "max_num_batched_tokens": 8192, "gpu_memory_utilization": 0.9}  # fmt: skip
    service = planned(row, engine="vllm", flaggems=False)
    assert list(swept(service)) == [NOW]
    found = swept(service, free=("max_num_seqs",))
    assert {args["max_num_seqs"] for args in found.values() if args} >= {32, 128}
    assert all(set(args) <= {"max_num_seqs"} for args in found.values())
    assert any(
        args.get("kv_cache_dtype") == "fp8" for args in swept(service, free=("kv_cache_dtype",), most=9).values()
    )


def test_what_would_not_start_is_no_candidate() -> None:
    """On one H100 a 32B model leaves room for 34k tokens: no candidate asks for more sequences than hold them."""
    row = {"tensor_parallel_size": 1, "max_model_len": 32768}
    found = swept(planned(row, engine="vllm", flaggems=False), record(1), free=("max_num_seqs",), most=9)
    assert len(found) > 1 and all(args.get("max_num_seqs", 0) <= 512 for args in found.values())


def test_candidates_of_a_row_left_to_auto_close_every_option() -> None:
    """Laid over the row, a candidate must leave nothing open: the plan would refuse it as undecided."""
    row = {"engine": "vllm", "flaggems": False, "wishes": {"context": 8192}}
    choice = chosen(planned("auto", **row))
    pins = {"choices": {"gpu-01": {"qwq-32b": choice}}}
    tables = {**TABLES, "services": {"qwq-32b": {**TABLES["services"]["qwq-32b"], "engine_args": "auto", **row}}}
    found = swept(planned("auto", pins, **row))
    assert len(found) > 1
    for args in found.values():
        changes = {"qwq-32b": {"engine_args": args}} if args else {}
        [made] = p.plan(["qwq-32b"], tables, "h100-sxm", overrides=changes, host="gpu-01", pins=pins)
        assert not made["choice"]["open"]
        assert all(made["engine_args"].get(key) == value for key, value in args.items() if value is not None)


def test_a_cpu_is_swept_by_what_its_row_leaves_open() -> None:
    demo = {**planned({"max_model_len": 512, "max_num_seqs": 32}, name="demo", boards=["local"])}
    found = swept(demo, cpu_host(1))
    assert [args for args in found.values() if args] == [
        {"max_num_batched_tokens": 4096},
        {"max_num_batched_tokens": 1024},
    ]


def test_a_model_of_unknown_sizes_asks_for_candidates() -> None:
    service = planned({"max_model_len": 8192}, engine="vllm", flaggems=False)
    service["model"] = {**service["model"], "shape": {}}
    with pytest.raises(Refusal, match=r"say what to try: -e '\{\"candidates\""):
        swept(service)


def test_own_candidates_are_taken_as_they_are_and_what_runs_already_is_left_out() -> None:
    service = planned({"max_model_len": 8192, "max_num_seqs": 64}, engine="vllm", flaggems=False)
    found = own(
        [{"max_num_seqs": 64}, {"block_size": 32, "max_num_seqs": 64}, {"block_size": 32}, {"max_num_seqs": None}],
        service,
    )
    assert [one.name for one in found] == [NOW, "block_size 32", "without max_num_seqs"]
    assert [one.args for one in found] == [{}, {"block_size": 32}, {"max_num_seqs": None}]
    with pytest.raises(Refusal, match="candidate 1 is 'max_num_seqs=64', but must be engine_args"):
        own(["max_num_seqs=64"], service)
