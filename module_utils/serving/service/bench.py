"""Load on a service and what it measured: the client's command line, its result, callers who are there too. Standard library only, Python 3.8.

The client is `vllm bench serve` of the service's own environment or image, or what its engine has like it: there is nothing to install on a
host without a route, it counts tokens by the model's own tokenizer, and its figures are those that people compare. (GuideLLM wants a hundred
packages of its own beside.)
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import write_atomic

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
METRICS = ("ttft", "tpot", "itl", "e2el")
PERCENTILES = (50, 90, 99)
WARMUPS = 1
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def total(text: str, name: str) -> float | None:
    """Sum of one metric over its labels in Prometheus' text; None where there is none."""
    found = re.findall(r"(?m)^%s(?:\{[^}]*\})? ([0-9.eE+-]+)$" % re.escape(name), text)
    return sum(map(float, found)) if found else None


def load_of(metrics: str) -> tuple[float | None, float | None]:
    """(requests that run or wait now, requests that were answered since the start), None for what the engine doesn't count.

    Requests for a single token are not counted where the engine tells them apart: gateways ask such all the time, to see whether it answers.
    """
    running, waiting = total(metrics, "vllm:num_requests_running"), total(metrics, "vllm:num_requests_waiting")
    now = None if running is None else running + (waiting or 0)
    answered = total(metrics, "vllm:request_success_total")
    single = re.findall(
        r'(?m)^vllm:request_params_max_tokens_bucket\{[^}]*\ble="1(?:\.0)?"[^}]*\} ([0-9.eE+-]+)$', metrics
    )
    return now, None if answered is None else max(0.0, answered - sum(map(float, single)))


def kind_of(spec: dict[str, Any]) -> str:
    """What a service is for: chat, completion or embedding. Refusal for what no load of ours fits."""
    kind = str((spec.get("check") or {}).get("kind") or "chat")
    if kind == "vision":
        return "chat"
    if kind not in ("chat", "completion", "embedding"):
        text = "service '%s' is for %s; a load is there for models that answer in words and for embeddings, so measure this one with its own client"
        raise Refusal(text % (spec["service"], kind))
    return kind


def command(given: dict[str, Any], spec: dict[str, Any], model: str, seed: int) -> list[str]:
    """Words after the program's name, for one level. The key is in none of them. `model`: the folder, as the client sees it."""
    words = [
        "bench", "serve", "--base-url", str(spec["endpoint"]).replace("0.0.0.0", "127.0.0.1"),  # noqa: S104
        "--model", str(spec["served_name"]), "--tokenizer", model, "--num-prompts", str(requests_of(given)), "--num-warmups", str(WARMUPS),
        "--seed", str(seed), "--disable-tqdm", "--save-result", "--result-filename", "result.json",
        "--metric-percentiles", ",".join(map(str, PERCENTILES)), "--ready-check-timeout-sec", "0",
    ]  # fmt: skip
    if kind_of(spec) == "embedding":
        words += ["--backend", "openai-embeddings", "--endpoint", "/v1/embeddings", "--percentile-metrics", "e2el"]
    else:
        words += [
            "--backend",
            "openai",
            "--ignore-eos",
            "--temperature",
            "0",
            "--percentile-metrics",
            ",".join(METRICS),
        ]
    if given["rate"]:
        words += ["--request-rate", str(given["rate"])]
    else:
        words += ["--max-concurrency", str(given["concurrency"])]
    if given["prompts"]:
        words += [
            "--dataset-name",
            "custom",
            "--skip-chat-template",
            "--custom-output-len",
            str(given["output_length"]),
        ]
    else:
        words += [
            "--dataset-name",
            "random",
            "--random-input-len",
            str(given["prompt_length"]),
            "--random-output-len",
            str(given["output_length"]),
        ]
    return words


def requests_of(given: dict[str, Any]) -> int:
    """Requests of one repeat: as given, else three rounds of what runs at once, and at least 8."""
    return int(
        given["requests"] or max(8, 3 * (int(given["concurrency"]) if not given["rate"] else round(given["rate"] * 10)))
    )


def figures(result: dict[str, Any]) -> dict[str, float]:
    """The figures that are kept of the client's result: tokens a second, and each metric's mean and percentiles in ms."""
    found = {
        "output_tokens_per_second": result.get("output_throughput"),
        "requests_per_second": result.get("request_throughput"),
    }
    if not found["output_tokens_per_second"]:  # embeddings have none
        found.update(output_tokens_per_second=None, tokens_per_second=result.get("total_token_throughput"))
    for metric in METRICS:
        found["%s_ms_mean" % metric] = result.get("mean_%s_ms" % metric)
        for percentile in PERCENTILES:
            found["%s_ms_p%d" % (metric, percentile)] = result.get("p%d_%s_ms" % (percentile, metric))
    return {name: round(float(value), 3) for name, value in found.items() if isinstance(value, (int, float))}


# Student's t for a 95 % interval, by degrees of freedom.
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}


def spread(values: list[float]) -> dict[str, Any]:
    """{mean, half} of repeats; `half` is half of the 95 % interval, None of one value."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return {"mean": round(mean, 3), "half": None, "n": len(values)}
    deviation = (sum((value - mean) ** 2 for value in values) / (len(values) - 1)) ** 0.5
    half = T_95.get(len(values) - 1, 2.0) * deviation / len(values) ** 0.5
    return {"mean": round(mean, 3), "half": round(half, 3), "n": len(values)}


def summed(repeats: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Each figure over the repeats of a level."""
    names = [name for name in repeats[0] if all(name in one for one in repeats)] if repeats else []
    return {name: spread([one[name] for one in repeats]) for name in names}


def difference(now: dict[str, Any], before: dict[str, Any]) -> dict[str, Any] | None:
    """How much a figure changed, in percent of what it was, with half of its interval; `sure`: the interval leaves no change out."""
    if not before["mean"]:
        return None
    percent = 100 * (now["mean"] / before["mean"] - 1)
    if now["half"] is None or before["half"] is None:
        return {"percent": round(percent, 1), "half": None, "sure": False}
    half = 100 * (now["half"] ** 2 + before["half"] ** 2) ** 0.5 / abs(before["mean"])
    return {"percent": round(percent, 1), "half": round(half, 1), "sure": abs(percent) > half}


def check_names(given: dict[str, Any]) -> None:
    """Refuse names that make no file name."""
    for key in ("run", "service"):
        if not NAME.fullmatch(given[key]):
            text = "%s %r may have letters, digits, dot, dash and underscore, and at most 63 of them"
            raise Refusal(text % (key, given[key]))


def written_files(given: dict[str, Any], files: dict[str, str], dry: bool) -> None:
    """Write a report's files into its folder (`given`: folder, run, service). Refusal where that can't be."""
    check_names(given)
    if dry:
        return
    try:
        os.makedirs(given["folder"], mode=0o755, exist_ok=True)
        for path, content in files.items():
            write_atomic(path, content.encode())
    except OSError as error:
        raise Refusal("the report can't be written: %s; set reports_dir" % error) from None
