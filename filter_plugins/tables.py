"""Filters for what a person reads: a status table, a plan table, the last words of a deploy."""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2


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


def status_row(host: str, row: Mapping[str, Any]) -> list[Any]:
    model = row.get("model") or {}
    probe = f"ok: {first_line(row.get('answer'), 30)!r}" if row.get("ready") else first_line(row.get("problem"))
    state = "ready" if row.get("ready") else row.get("state")
    uptime = duration(row.get("uptime_seconds"))
    return [
        host,
        row["service"],
        state,
        model.get("name"),
        model.get("revision"),
        row.get("endpoint"),
        uptime,
        probe,
        row.get("log"),
    ]


STATUS = ("HOST", "SERVICE", "STATE", "MODEL", "REVISION", "ENDPOINT", "UPTIME", "PROBE", "LOG")


def status_table(results: Mapping[str, Any]) -> str:
    """{host: result of endpoint_probe} -> one line a service. A host without a result is shown as unreachable."""
    rows = []
    for host, result in results.items():
        services = (result or {}).get("services")
        if services is None:
            words = first_line((result or {}).get("msg"), 90) or "no answer"
            state = "error" if (result or {}).get("failed") and not (result or {}).get("unreachable") else "unreachable"
            rows.append([host, "", state, "", "", "", "", words, ""])
        elif not services:
            rows.append([host, "", "nothing deployed", "", "", "", "", "", ""])
        else:
            rows += [status_row(host, row) for row in services]
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
                    s["hardware"],
                    s["engine"],
                    s["runtime"],
                    devices,
                    s["endpoint"],
                ]
            )
    return table(rows, ("HOST", "SERVICE", "MODEL", "HARDWARE", "ENGINE", "RUNTIME", "DEVICES", "ENDPOINT"))


def local_only(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def reach(row: Mapping[str, Any], report: Mapping[str, Any]) -> str:
    """URL at which a service answers to whoever can reach it: a service that listens everywhere has its host's own address."""
    match = re.fullmatch(r"(https?://)\[?(.*?)\]?(:\d+)", str(row.get("endpoint") or ""))
    if not match:
        return str(row.get("endpoint") or "")
    scheme, host, port = match.groups()
    if host in ("0.0.0.0", "::", "*", ""):  # noqa: S104 - never a place to call
        host = str(report.get("address") or "127.0.0.1")
    return f"{scheme}[{host}]{port}" if ":" in host else f"{scheme}{host}{port}"


def try_it(row: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    """Lines to copy: one request, and a tunnel where the service answers to its own host alone."""
    url, ssh = reach(row, report), report.get("ssh")
    _, _, host, port = re.split(r"(https?://)(.*):", url) if re.match(r"https?://.*:\d+$", url) else ("", "", "", "")
    lines = []
    if ssh and local_only(host):
        lines.append(
            f"  it listens on its host alone; from another machine first: ssh -N -L {port}:{host}:{port} {shlex.quote(ssh)}"
        )
    key = ""
    if row.get("key_file"):
        look = f"head -n 1 {shlex.quote(row['key_file'])}"
        key = f' -H "Authorization: Bearer $({f"ssh {shlex.quote(ssh)} sudo {look}" if ssh else look})"'
    question = [{"role": "user", "content": row.get("question") or "Say hello."}]
    body = json.dumps({"model": row["served_name"], "messages": question, "temperature": 0}, ensure_ascii=False)
    return [
        *lines,
        "  try it:",
        f"  curl -s {url}/v1/chat/completions{key} -H 'Content-Type: application/json' -d {shlex.quote(body)}",
    ]


def report_page(report: Mapping[str, Any], template: str) -> str:
    """The report as HTML. What hosts, models and callers say is text there, whatever it contains: everything is escaped."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.ChainableUndefined)
    environment.filters["reach"] = reach
    environment.filters["start_words"] = start_words
    return environment.from_string(Path(template).read_text(encoding="utf-8")).render(report=report) + "\n"


def start_words(start: Mapping[str, Any]) -> str:
    """What a start measured, beside what was predicted for it."""
    logged, predicted = start["measured"]["tokens"], start["predicted"]["tokens"]
    off = f", {start['error']:+.1%}" if start.get("error") is not None else ""
    return f"{logged:,} tokens ({predicted:,} predicted{off})"


def summary(report: Mapping[str, Any]) -> str:
    """What an operator wants to read when a deploy is done: URL, a line to copy, the answer, how long it took."""
    lines = []
    for row in report["services"]:
        if not row["ready"]:
            lines.append(f"{row['service']} is NOT ready: {first_line(row.get('problem'), 160)}")
            continue
        timings = row["timings"]
        lines += [
            f"{row['service']} is ready at {reach(row, report)}/v1",
            f"  asked     {row.get('question') or 'Say hello.'}",
            f"  answered  {first_line(row['answer'])}",
            f"  ready in {timings['ready_seconds']} s after its start, first token after {timings['first_token_seconds']} s",
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
            *([f"  an image  {first_line(row['image'])}"] if row.get("image") else []),
            *(
                [f"  KV cache  {start_words(start)}"]
                if (start := (report.get("starts") or {}).get(row["service"]))
                else []
            ),
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
            "summary": summary,
            "report_page": report_page,
            "duration": duration,
        }
