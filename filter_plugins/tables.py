"""Filters for what a person reads: a status table, a plan table, the last words of a deploy."""

from __future__ import annotations

import json
import re
import shlex
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from judging import tables as verdicts
from planning.addresses import loopback
from reporting.addresses import reach
from reporting.starts import start_words


def table(rows: Iterable[Iterable[Any]], header: Iterable[str]) -> str:
    """Columns of equal width, header first. Empty cells read `-`."""
    lines = [[str(cell) for cell in header]]
    lines += [["-" if cell in (None, "") else str(cell) for cell in row] for row in rows]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def duration(seconds: float | None) -> str:
    """Seconds as a person says them: 45 s, 12 min, 3 h 5 min, 4 d 2 h."""
    if seconds is None:
        return "-"
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{whole} s"


def first_line(text: Any, limit: int = 70) -> str:
    line = (str(text or "").splitlines() or [""])[0]
    return line if len(line) <= limit else line[: limit - 1] + "…"


def status_row(host: str, row: Mapping[str, Any], now: float, members: bool = False) -> list[Any]:
    model = row.get("model") or {}
    probe = f"ok: {first_line(row.get('answer'), 30)!r}" if row.get("ready") else first_line(row.get("problem"))
    state = "ready" if row.get("ready") else row.get("state")
    uptime = duration(row.get("uptime_seconds"))
    group = row.get("group") or {}
    whole = bool(group) and not members and not group["rank"]
    return [
        "+".join(group["members"]) if whole else host,
        row["service"],
        state,
        model.get("name"),
        model.get("revision"),
        row.get("endpoint"),
        uptime,
        row.get("restarts"),
        duration(now - row["changed_at"]) + " ago" if row.get("changed_at") else None,
        probe,
        row.get("log"),
    ]


STATUS = ("HOST", "SERVICE", "STATE", "MODEL", "REVISION", "ENDPOINT", "UPTIME", "RESTARTS", "CHANGED", "PROBE", "LOG")


def one_line(results: Mapping[str, Any]) -> dict[str, Any]:
    """The results with the parts of each service that several hosts run together in the line of its first host, if that one was asked, too."""
    services = {host: list((result or {}).get("services") or []) for host, result in results.items()}
    shown = {host: [dict(row) for row in rows] for host, rows in services.items()}
    for host, rows in services.items():
        for row in rows:
            group = row.get("group") or {}
            first = next(
                (one for one in shown.get(str(group.get("leader")), []) if one["service"] == row["service"]), None
            )
            if not group.get("rank") or first is None:
                continue
            shown[host] = [one for one in shown[host] if one["service"] != row["service"]]
            if not row.get("ready"):
                more = f"{host}: {row.get('problem') or row.get('state')}"
                first["problem"] = f"{first['problem']}; {more}" if first.get("problem") else more
                first["state"] = first.get("state") if not first.get("ready") else "degraded"
                first["ready"] = False
    return {
        host: result
        if (result or {}).get("services") is None
        else {**result, "services": shown[host], "parts": len(services[host]) - len(shown[host])}
        for host, result in results.items()
    }


def status_table(results: Mapping[str, Any], members: bool = False) -> str:
    """{host: result of endpoint_probe} -> one line a service. A host without a result is shown as unreachable.

    `members`: a line for each host of a service that several run together.
    """
    rows = []
    for host, result in (results if members else one_line(results)).items():
        services = (result or {}).get("services")
        if services is None:
            words = first_line((result or {}).get("msg"), 90) or "no answer"
            state = "error" if (result or {}).get("failed") and not (result or {}).get("unreachable") else "unreachable"
            rows.append([host, "", state, *[""] * 6, words, ""])
        elif not services and not result.get("parts"):
            rows.append([host, "", "nothing deployed", *[""] * 8])
        else:
            rows += [status_row(host, row, (result or {}).get("now") or time.time(), members) for row in services]
    return table(rows, STATUS)


def plan_table(plans: Mapping[str, Any]) -> str:
    """{host: plan} -> one line a service."""
    rows: list[list[Any]] = []
    for host, services in plans.items():
        if not services:
            rows.append([host, "", "", "", "", "", "", ""])
        for s in services:
            devices = "all" if s["devices"] is None else ",".join(map(str, s["devices"]))
            rows.append(
                [
                    host,
                    s["service"],
                    s["model"]["name"],
                    s["board"],
                    s["engine"],
                    s["runtime"],
                    devices,
                    s["endpoint"],
                ]
            )
    return table(rows, ("HOST", "SERVICE", "MODEL", "BOARD", "ENGINE", "RUNTIME", "DEVICES", "ENDPOINT"))


def explain_table(lines: Iterable[Iterable[Any]]) -> str:
    """Which value comes from where, one line a value."""
    return table(([service, key, first_line(value, 80), where] for service, key, value, where in lines), EXPLAINED)


EXPLAINED = ("SERVICE", "KEY", "VALUE", "FROM")


def summarised(services: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What programs want to know of a plan: one row a service."""
    keys = ("service", "board", "engine", "engine_version", "runtime", "image", "devices", "endpoint", "served_name")
    return [{**{key: one[key] for key in keys}, "model": one["model"]["name"]} for one in services]


def request_of(row: Mapping[str, Any]) -> tuple[str, dict[str, Any] | None]:
    """(path, body without the model's name) of a request that a service of this kind answers; no body where it takes a file."""
    passages = ["Paris is the capital of France.", "The recipe needs two eggs."]
    query = "What is the capital of France?"
    kinds: dict[str, tuple[str, dict[str, Any] | None]] = {
        "completion": ("/v1/completions", {"prompt": row.get("question") or "Once upon a time", "max_tokens": 32}),
        "embedding": ("/v1/embeddings", {"input": passages}),
        "rerank": ("/v1/rerank", {"query": query, "documents": passages}),
        "score": ("/v1/score", {"text_1": query, "text_2": passages}),
        "classify": ("/classify", {"input": [row.get("question") or passages[0]]}),
        "transcription": ("/v1/audio/transcriptions", None),
    }
    messages = [{"role": "user", "content": row.get("question") or "Say hello."}]
    return kinds.get(row.get("kind") or "chat", ("/v1/chat/completions", {"messages": messages, "temperature": 0}))


def try_it(row: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Lines to copy: one request, and a tunnel where the service answers to its own host alone."""
    url, ssh = reach(row, report), report.get("ssh")
    _, _, host, port = re.split(r"(https?://)(.*):", url) if re.match(r"https?://.*:\d+$", url) else ("", "", "", "")
    lines = []
    if ssh and loopback(host):
        lines.append(
            f"  it listens on its host alone; from another machine first: ssh -N -L {port}:{host}:{port} {shlex.quote(ssh)}"
        )
    key = ""
    if row.get("key_file"):
        look = f"head -n 1 {shlex.quote(row['key_file'])}"
        key = f' -H "Authorization: Bearer $({f"ssh {shlex.quote(ssh)} sudo {look}" if ssh else look})"'
    path, body = request_of(row)
    if body is None:
        return [
            *lines,
            "  try it:",
            f"  curl -s {url}{path}{key} -F model={shlex.quote(row['served_name'])} -F file=@speech.wav",
        ]
    text = json.dumps({"model": row["served_name"], **body}, ensure_ascii=False)
    return [
        *lines,
        "  try it:",
        f"  curl -s {url}{path}{key} -H 'Content-Type: application/json' -d {shlex.quote(text)}",
    ]


def verdict_of(row: Mapping[str, Any], report: Mapping[str, Any]) -> Mapping[str, Any]:
    """The verdict on a service: this run's, else the one that its host keeps."""
    return (report.get("verdicts") or {}).get(row["service"]) or row.get("judged") or {}


def summary(report: Mapping[str, Any]) -> str:
    """What an operator wants to read when a deploy is done: URL, a line to copy, the answer, how long it took."""
    lines = []
    for row in report["services"]:
        if not row["ready"]:
            lines.append(f"{row['service']} is NOT ready: {first_line(row.get('problem'), 160)}")
            continue
        group = row.get("group") or {}
        if group.get("rank"):
            lines.append(f"{row['service']}: this host follows {group['leader']}, which has its API (log {row['log']})")
            continue
        timings = row["timings"]
        lines += [
            f"{row['service']} is ready at {reach(row, report)}/v1",
            *(
                [f"  asked     {row.get('question') or 'Say hello.'}"]
                if row.get("kind", "chat") in ("chat", "vision", "completion")
                else [f"  checked   {row['kind']}"]
            ),
            f"  answered  {first_line(row['answer'])}",
            *(f"  {name:9} {first_line(said)}" for name, said in (row.get("more") or {}).items()),
            f"  ready in {timings['ready_seconds']} s after its start, first token after {timings['first_token_seconds']} s"
            if timings["first_token_seconds"] is not None
            else f"  ready in {timings['ready_seconds']} s after its start, answer after {timings['seconds']} s",
            *(
                [
                    f"  FlagGems  {len(flaggems['operators'])} operators run: {first_line(', '.join(flaggems['operators']))}"
                ]
                if (flaggems := row.get("flaggems") or {}).get("operators")
                else []
            ),
            *(
                [f"  devices   {proof['verdict']}: {first_line(proof['text'], 120)}"]
                if (proof := (report.get("devices") or {}).get(row["service"]))
                else []
            ),
            *(
                [f"  verdict   {verdicts.words(judged)} against {judged['pack']['name']}"]
                if (judged := verdict_of(row, report)).get("pack")
                else []
            ),
            *([f"  an image  {first_line(row['image'])}"] if row.get("image") else []),
            *(
                [f"  KV cache  {start_words(start)}"]
                if (start := (report.get("starts") or {}).get(row["service"]))
                else []
            ),
            *([f"  runs over {', '.join(group['members'])}, unencrypted between them"] if group else []),
            f"  log       {row['log']}",
            *try_it(row, report),
        ]
    return "\n".join([*lines, f"report: {report['report']}"])


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "status_table": status_table,
            "plan_table": plan_table,
            "explain_table": explain_table,
            "summarised": summarised,
            "summary": summary,
            "duration": duration,
        }
