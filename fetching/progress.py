"""How far a fetch is, in words."""

from __future__ import annotations

from typing import Any


def human(count: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in ("B", "KiB") else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def line(progress: dict[str, Any]) -> str:
    """Done and total, rate and remaining time, as one reads them in a terminal or in a log."""
    done, total = progress["done"], progress["total"]
    if not total:
        return f"{progress['phase']}{'; ' + progress['note'] if progress['note'] else ''}"
    text = f"{progress['phase']} {human(done)} of {human(total)} ({100 * done // total} %)"
    if progress["rate"]:
        text += f", {human(progress['rate'])}/s"
    if progress["left"]:
        text += f", {duration(progress['left'])} left"
    text += f", from {progress['source']}"
    return text + (f"; {progress['note']}" if progress["note"] else "")


AT_WORK = ("asking", "outside", "taking", "stranded")


def rows(progress: dict[str, Any]) -> list[dict[str, Any]]:
    """This host and the others of the play that share with it, in their order."""
    own = {key: progress.get(key) for key in ("host", "rank", "stage", "done", "total", "rate", "left", "source")}
    return sorted([own, *progress.get("fleet", [])], key=lambda row: row["rank"])


def tells(progress: dict[str, Any]) -> bool:
    """One host tells for all of them: the first that is still at work."""
    busy = [row["rank"] for row in rows(progress) if row["stage"] in AT_WORK]
    return not busy or progress["rank"] == busy[0]


def table(progress: dict[str, Any]) -> str:
    """Where each host takes a model from, and how far it is."""
    words = {"asking": "asks the others", "stranded": "no way outside; waits for the others"}
    cells = [("host", "from", "done", "rate", "left")]
    for row in rows(progress):
        total, stage = row.get("total") or 0, row["stage"]
        if stage not in ("outside", "taking") or not total:
            cells.append((row["host"], words.get(stage, stage), "", "", ""))
            continue
        done = f"{human(row['done'])} of {human(total)} ({100 * row['done'] // total} %)"
        rate = f"{human(row['rate'])}/s" if row["rate"] else "-"
        cells.append((row["host"], row["source"] or "-", done, rate, duration(row["left"]) if row["left"] else "-"))
    widths = [max(len(row[number]) for row in cells) for number in range(5)]
    text = (
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells
    )
    return "\n".join([f"  {progress['name']}:", *(f"  {one}" for one in text)])
