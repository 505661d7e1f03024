"""A search for settings as a page with a chart, and as text. Standard library only; everything that a search says is escaped."""

from __future__ import annotations

from html import escape
from typing import Any

from ansible.module_utils.serving.service.bench_page import shown, start

WIDTH, ROW, TOP, LABEL = 360, 44, 8, 17  # of the chart, in its own units
LETTERS = 56  # of a name, at its width
COLUMNS = (
    ("ttft_ms_p50", "first token, ms"),
    ("tpot_ms_p50", "further token, ms"),
    ("e2el_ms_p99", "whole answer p99, ms"),
)
ENDS = {
    "settled": "settled: the best is apart from all others", "alike": "settled: what is left differs by less than 2 %",
    "visited": "not settled: three starts of each did not tell the best apart", "budget": "not settled: the minutes were over",
    "nothing": "none of the candidates worked",
}  # fmt: skip


def figure(row: dict[str, Any]) -> str:
    """`723 ± 11 tokens a second`, or why there is none."""
    if row["problem"]:
        return str(row["problem"])
    return "not tried" if row["mean"] is None else "%s tokens a second" % shown(row)


def verdict(search: dict[str, Any]) -> str:
    """One sentence: what to take."""
    if search["winner"] is None:
        return "nothing was measured, so nothing is to be changed"
    if not search["winner_args"]:
        others = sum(one["mean"] is not None for one in search["ranking"]) - 1
        return "it stays as it runs: none of %d others is faster beyond chance" % others
    means = {one["candidate"]: one["mean"] for one in search["ranking"]}
    now = next((one["mean"] for one in search["ranking"] if one["candidate"] == search["now"]), None)
    gain = " (%+.0f %%)" % (100 * (means[search["winner"]] / now - 1)) if now else ""
    return "%s is the fastest%s" % (search["winner"], gain)


def chart(search: dict[str, Any]) -> str:
    """One bar for each candidate, best first, with its interval. The words stand above their bar, so that a narrow screen shows them whole."""
    ranking = search["ranking"]
    most = max([one["mean"] + (one["half"] or 0) for one in ranking if one["mean"] is not None] or [1.0]) or 1.0
    parts = []
    for number, one in enumerate(ranking):
        y = TOP + number * ROW
        name = one["candidate"] + (" (now)" if one["candidate"] == search["now"] else "")
        words = name if len(name) < LETTERS else name[: LETTERS - 2] + "…"
        parts.append(
            '<text x="0" y="%d" font-size="11"%s>%s</text>'
            % (y + 8, ' font-weight="600"' if one["candidate"] == search["winner"] else "", escape(words))
        )
        if one["mean"] is None:
            parts.append(
                '<text x="0" y="%d" font-size="10" style="fill:var(--worse)">%s</text>'
                % (y + LABEL + 9, escape(figure(one)[:66]))
            )
            continue
        room = WIDTH - 70
        wide = room * one["mean"] / most
        colour = "var(--mark)" if one["candidate"] == search["winner"] else "var(--old)"
        parts.append('<rect x="0" y="%d" width="%.1f" height="12" rx="1" fill="%s"/>' % (y + LABEL - 2, wide, colour))
        if one["half"] is not None:
            low, high = (room * max(0.0, one["mean"] + side * one["half"]) / most for side in (-1, 1))
            parts.append(
                '<path d="M%.1f %dH%.1fM%.1f %dv8M%.1f %dv8" stroke="var(--ink)" fill="none"/>'
                % (low, y + LABEL + 4, high, low, y + LABEL, high, y + LABEL)
            )
        parts.append(
            '<text x="%d" y="%d" font-size="11" text-anchor="end">%s</text>'
            % (WIDTH, y + LABEL + 8, escape(shown(one)))
        )
    high = TOP + ROW * len(ranking)
    return (
        '<svg viewBox="0 0 %d %d" width="720" role="img" aria-label="tokens a second of each candidate, with 95 %% intervals">%s</svg>'
        % (WIDTH, high, "".join(parts))
    )


def load_words(load: dict[str, Any]) -> str:
    prompts = (
        "prompts from %s" % load["prompts"]
        if load.get("prompts")
        else "random prompts of %s tokens" % load["prompt_length"]
    )
    return "%s at once, %s, answers of %s tokens, %s repeats in each start" % (
        load["concurrency"],
        prompts,
        load["output_length"],
        load["repeats"],
    )


def text(search: dict[str, Any]) -> str:
    """For the terminal."""
    lines = [
        "%s: %s (%s; %d trials in %d s of %g minutes)"
        % (
            search["service"],
            verdict(search),
            search["why"],
            len(search["trials"]),
            search["seconds"],
            search["minutes"],
        )
    ]
    lines += [
        "  %s: %s%s" % (one["candidate"], figure(one), "" if one["visits"] < 2 else ", %d starts" % one["visits"])
        for one in search["ranking"]
    ]
    row = search["row"]
    if row.get("left"):
        lines.append(row["left"])
    elif row.get("lines"):
        lines.append("%s, to be committed:" % ("written" if search["wrote"] else "not written (write_row=false)"))
        lines += row["lines"]
        lines.append("a deploy puts it into use, on every host that runs this row")
    return "\n".join(lines)


def page(search: dict[str, Any]) -> str:
    """The page."""
    about = "%s. %s; %d trials in %d s of %g minutes. Load: %s. Bars are tokens a second, with 95 %% intervals."
    about %= (search["written"], ENDS.get(search["result"], search["result"]), len(search["trials"]), search["seconds"], search["minutes"],
              load_words(search["load"]))  # fmt: skip
    parts = [
        start("Settings of %s on %s" % (search["service"], search["host"])),
        "<p><strong>%s</strong></p>" % escape(verdict(search) + "."),
        '<p class="soft">%s</p>' % escape(about),
        chart(search),
    ]
    rows = []
    for number, one in enumerate(search["trials"], 1):
        figures = one.get("figures") or {}
        cells = "".join("<td>%s</td>" % escape(shown(figures.get(name))) for name, _ in COLUMNS)
        values = ", ".join("%.1f" % value for value in one["values"]) or one["problem"]
        rows.append(
            "<tr><td>%d. %s</td><td>%s</td>%s<td>%.0f</td></tr>"
            % (number, escape(one["candidate"]), escape(values), cells, one["seconds"])
        )
    heads = "".join("<th>%s</th>" % escape(words) for _, words in COLUMNS)
    parts.append(
        '<h2>Trials</h2><div class="wide"><table><tr><th>trial</th><th>tokens a second of each repeat</th>%s<th>seconds</th></tr>%s</table></div>'
        % (heads, "".join(rows))
    )
    if search["row"].get("lines"):
        parts.append("<h2>Its row</h2><pre>%s</pre>" % escape("\n".join(search["row"]["lines"])))
    elif search["row"].get("left"):
        parts.append("<h2>Its row</h2><p>%s</p>" % escape(search["row"]["left"]))
    return "".join(parts) + "</body></html>\n"
