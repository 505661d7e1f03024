"""A load curve as a page with inline SVG, as text, and beside an earlier one. Standard library only; everything that a run says is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from ansible.module_utils.serving.service.bench import difference

SHOWN = (
    ("output_tokens_per_second", "tokens a second, all requests"), ("requests_per_second", "requests a second"),
    ("tokens_per_second", "tokens read a second"), ("ttft_ms_p50", "first token, ms, median"),
    ("ttft_ms_p99", "first token, ms, p99"), ("tpot_ms_p50", "each further token, ms, median"), ("tpot_ms_p99", "each further token, ms, p99"),
    ("e2el_ms_p99", "whole answer, ms, p99"),
)  # fmt: skip
PLOTS = tuple(
    one for one in SHOWN if one[0] in ("output_tokens_per_second", "tokens_per_second", "ttft_ms_p50", "tpot_ms_p50")
)
RATES = ("output_tokens_per_second", "tokens_per_second")
TOLD = (*RATES, "ttft_ms_p50", "ttft_ms_p99", "tpot_ms_p50")
WIDTH, HEIGHT, LEFT, BOTTOM = 360, 220, 56, 28
STYLE = (
    ":root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--paper:#fff;--line:#d8dee4;--mark:#3a6ea5;--old:#9aa3ad;--worse:#b42318}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e6e9ec;--soft:#9aa4ae;--paper:#14171a;--line:#3a4149;--mark:#7fb2e5;--old:#6b747d;--worse:#ff8a7a}}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2.5rem auto;padding:0 1.25rem;color:var(--ink);background:var(--paper)}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.3rem .6rem;border-bottom:1px solid var(--line)}td{white-space:nowrap}"
    "th:first-child,td:first-child{text-align:left}small,.soft{color:var(--soft)}svg{margin:0 1rem 1rem 0;max-width:100%;height:auto}"
    "svg text{fill:var(--ink)}.worse{color:var(--worse)}.wide{overflow-x:auto}pre{overflow-x:auto;font-size:13px}"
)


def start(title: str) -> str:
    """How a page begins. It loads nothing, follows the reader's light or dark, and fits a narrow screen."""
    head = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    )
    return head + "<title>%s</title><style>%s</style></head><body><h1>%s</h1>" % (escape(title), STYLE, escape(title))


def label(level: dict[str, Any]) -> str:
    """`16 at once`, `2.5 a second`."""
    return "%g a second" % level["rate"] if level["rate"] else "%d at once" % level["concurrency"]


def shown(figure: dict[str, Any] | None) -> str:
    """`723 ± 11`."""
    if figure is None:
        return "-"
    digits = 0 if figure["mean"] >= 100 else 1 if figure["mean"] >= 10 else 2
    text = "%.*f" % (digits, figure["mean"])
    return text if figure["half"] is None else "%s ± %.*f" % (text, digits, figure["half"])


def plot(levels: list[dict[str, Any]], name: str, title: str, against: list[dict[str, Any]]) -> str:
    """One figure over the levels, with its intervals; an earlier run's in grey behind it."""
    rows = [row for row in levels if name in row["figures"]]
    if not rows:
        return ""
    old = [row for row in against if name in row["figures"]]
    top = max(row["figures"][name]["mean"] + (row["figures"][name]["half"] or 0) for row in rows + old) * 1.05 or 1.0
    places = {label(row): n for n, row in enumerate(rows)}
    step = (WIDTH - LEFT - 16) / max(1, len(rows) - 1)

    def at(row: dict[str, Any], value: float) -> tuple[float, float]:
        high = max(0.0, min(1.0, value / top))
        return LEFT + 4 + places[label(row)] * step, HEIGHT - BOTTOM - high * (HEIGHT - BOTTOM - 26)

    def line(some: list[dict[str, Any]], colour: str) -> str:
        points = [at(row, row["figures"][name]["mean"]) for row in some if label(row) in places]
        drawn = '<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>' % (
            colour,
            " ".join("%.1f,%.1f" % point for point in points),
        )
        for row in some:
            half = row["figures"][name]["half"]
            if half is not None and label(row) in places:
                (x, low), (_, high) = (at(row, row["figures"][name]["mean"] + side * half) for side in (-1, 1))
                drawn += '<line stroke="%s" x1="%.1f" x2="%.1f" y1="%.1f" y2="%.1f"/>' % (colour, x, x, low, high)
        return drawn + "".join('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (x, y, colour) for x, y in points)

    ticks = "".join(
        '<text x="%.1f" y="%d" font-size="11" text-anchor="middle">%s</text>'
        % (at(row, 0)[0], HEIGHT - 10, escape("%g" % (row["rate"] or row["concurrency"])))
        for row in rows
    )
    for part in (0, 0.5, 1):
        y = at(rows[0], top * part)[1]
        ticks += '<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="var(--line)"/>' % (LEFT, WIDTH - 8, y, y)
        ticks += '<text x="%d" y="%.1f" font-size="11" text-anchor="end">%.*f</text>' % (
            LEFT - 6,
            y + 4,
            0 if top >= 10 else 2,
            top * part,
        )
    body = '<text x="8" y="14" font-size="13">%s</text>%s%s%s' % (
        escape(title),
        ticks,
        line(old, "var(--old)") if old else "",
        line(rows, "var(--mark)"),
    )
    return '<svg viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-label="%s">%s</svg>' % (
        WIDTH,
        HEIGHT,
        WIDTH,
        HEIGHT,
        escape(title),
        body,
    )


def changes(run: dict[str, Any], against: dict[str, Any] | None) -> list[dict[str, Any]]:
    """[{level, name, title, percent, half, sure}] of figures that both runs have."""
    before = {label(row): row for row in (against or {}).get("levels", [])}
    found = []
    for row in run["levels"]:
        for name, title in SHOWN:
            old = before.get(label(row), {"figures": {}})["figures"].get(name)
            if old and name in row["figures"]:
                moved = difference(row["figures"][name], old)
                found += [dict(moved, level=label(row), name=name, title=title)] if moved else []
    return found


def change_words(one: dict[str, Any]) -> str:
    """`+12.3 % ± 2.1`, and whether that is more than chance."""
    text = "%+.1f %%" % one["percent"]
    if one["half"] is None:
        return text + " (no interval: repeats are one)"
    return "%s ± %.1f%s" % (text, one["half"], "" if one["sure"] else " (may be chance)")


def text(run: dict[str, Any], against: dict[str, Any] | None) -> str:
    """For the terminal."""
    lines = ["%s, release %s, run %s" % (run["service"], run["release"], run["run"])]
    for row in run["levels"]:
        figures = row["figures"]
        parts = ["%s %s" % (title, shown(figures[name])) for name, title in SHOWN if name in TOLD and name in figures]
        lines.append(
            "  %-14s %s%s" % (label(row), "; ".join(parts), "; %d failed" % row["failed"] if row["failed"] else "")
        )
    lines += [
        "  %s against %s: %s" % (one["level"], (against or {})["run"], change_words(one))
        for one in changes(run, against)
        if one["name"] in RATES
    ]
    if run["others"]:
        lines.append(
            "  %d requests of others were answered meanwhile: these figures are not the service's alone" % run["others"]
        )
    return "\n".join(lines)


def page(run: dict[str, Any], against: dict[str, Any] | None) -> str:
    """The run as HTML."""
    head = start("%s: load curve %s" % (run["service"], run["run"]))
    first = run["levels"][0] if run["levels"] else {"prompt_length": 0, "output_length": 0}
    prompts = (
        "prompts from %s" % run["prompts"]
        if run.get("prompts")
        else "random prompts of %d tokens" % first["prompt_length"]
    )
    about = "Release %s on %s, measured on %s; %s, answers of %d tokens. ± is half of a 95 %% interval over the repeats." % (
        run["release"], run["host"], run["written"], prompts, first["output_length"])  # fmt: skip
    parts = [head, '<p class="soft">%s</p>' % escape(about)]
    if run["others"]:
        parts.append('<p class="worse">%d requests of others were answered meanwhile.</p>' % run["others"])
    parts += [plot(run["levels"], name, words, (against or {}).get("levels", [])) for name, words in PLOTS]
    columns = [(name, words) for name, words in SHOWN if any(name in row["figures"] for row in run["levels"])]
    rows = "".join(
        "<tr><td>%s</td>%s<td>%d</td></tr>"
        % (
            escape(label(row)),
            "".join("<td>%s</td>" % shown(row["figures"].get(name)) for name, _ in columns),
            row["failed"],
        )
        for row in run["levels"]
    )
    parts.append(
        '<div class="wide"><table><tr><th>load</th>%s<th>failed</th></tr>%s</table></div>'
        % ("".join("<th>%s</th>" % escape(words) for _, words in columns), rows)
    )
    moved = changes(run, against)
    if moved:
        rows = "".join(
            "<tr><td>%s</td><td>%s</td><td>%s</td></tr>"
            % (escape(one["level"]), escape(one["title"]), change_words(one))
            for one in moved
        )
        parts.append(
            "<h2>Against %s (release %s)</h2><table>%s</table>"
            % (escape(str((against or {})["run"])), escape(str((against or {}).get("release"))), rows)
        )
    return "".join(parts) + "</body></html>\n"
