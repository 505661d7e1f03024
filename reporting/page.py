"""The report of a host and the page of the fleet, as HTML.

A section is a file: `host/NN-name.html.j2` sees `report`, `service/NN-name.html.j2` sees `row` (one service) too. Files are included in the
order of their names. What hosts, models and callers say is text there, whatever it contains: everything is escaped.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from judging import tables as verdicts
from reporting.addresses import reach
from reporting.origin import PRODUCT
from reporting.starts import start_words

TEMPLATES = PRODUCT / "templates" / "report"


def gib(value: Any) -> str:
    """Bytes as GiB; nothing where it is no number."""
    return f"{value / 2**30:.1f} GiB" if isinstance(value, int | float) else ""


def moment(value: Any) -> str:
    return str(value or "").replace("T", " ").replace("Z", " UTC")


def span(value: Any) -> str:
    """Seconds as a person says them; what is no number stands as it is."""
    if not isinstance(value, int | float):
        return str(value)
    return f"{value:.1f} s" if value < 60 else f"{int(value) // 60} min {int(value) % 60} s"


def counted(report: Mapping[str, Any]) -> str:
    """`ready`, `failed` or, where nothing runs, `empty`."""
    rows = report.get("services") or []
    if report.get("failure") or not all(isinstance(row, Mapping) and row.get("ready") for row in rows):
        return "failed"
    return "ready" if rows else "empty"


FILTERS = {
    "verdict_bar": verdicts.bar,
    "verdict_words": verdicts.words,
    "reach": reach,
    "gib": gib,
    "moment": moment,
    "span": span,
    "counted": counted,
    "start_words": start_words,
}


@functools.cache
def templates(folder: Path) -> jinja2.Environment:
    """The templates of a folder, compiled once."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.ChainableUndefined,
        loader=jinja2.FileSystemLoader(folder),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(FILTERS)
    environment.globals["verdict_meaning"] = verdicts.MEANING

    def sections(place: str) -> list[str]:
        names = environment.list_templates()
        return sorted(one for one in names if one.startswith(f"{place}/") and one.endswith(".html.j2"))

    environment.globals["sections"] = sections
    return environment


def render(name: str, folder: Path = TEMPLATES, **given: Any) -> str:
    return templates(folder).get_template(name).render(**given) + "\n"


def report_page(report: Mapping[str, Any], folder: Path = TEMPLATES) -> str:
    return render("report.html.j2", folder, report=report)


def fleet_page(reports: Iterable[Mapping[str, Any]], written: str, folder: Path = TEMPLATES) -> str:
    """`reports`: the latest of each host; those that need somebody come first."""
    rows = sorted(reports, key=lambda one: (counted(one) != "failed", str(one.get("host"))))
    return render("index.html.j2", folder, reports=rows, written=written)
