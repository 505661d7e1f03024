"""Reports on the controller: one folder a run, the latest linked, a bound on how many, and a page for the fleet.

reports/index.html                       every host's latest
reports/HOST/20261125T163822Z/           report.json, report.html of one run; whole, since it comes by one rename
reports/HOST/latest                      a link to the newest
reports/HOST/report.html, report.json    links into it
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reporting.compare import differences
from reporting.page import fleet_page, report_page

RUN = re.compile(r"\d{8}T\d{6}Z(-\d+)?")
KEEP = 30
FILES = ("report.html", "report.json")


def write(path: Path, text: str) -> None:
    """Whole or as it was before, and readable by all whatever the umask is: a report has no secrets."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def link(path: Path, target: str) -> None:
    if path.is_symlink() and os.readlink(path) == target:
        return
    new = path.with_name(f".{path.name}.new")
    with contextlib.suppress(FileNotFoundError):
        new.unlink()
    new.symlink_to(target)
    os.replace(new, path)


def folder(path: Path) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o755)
    return path


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Hosts of one run report at the same time, and so do runs."""
    with os.fdopen(os.open(root / ".lock", os.O_RDWR | os.O_CREAT, 0o644), "r") as file:
        with contextlib.suppress(OSError):  # another user's
            os.fchmod(file.fileno(), 0o644)
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def runs(place: Path) -> list[str]:
    """Names of the runs of a host, oldest first."""
    found = [entry.name for entry in place.iterdir() if RUN.fullmatch(entry.name) and entry.is_dir()]
    return sorted(found, key=lambda name: (name[:16], int(name[17:] or 0)))


def read(path: Path) -> dict[str, Any] | None:
    """A report, None where there is none or it can't be read: an old one is no reason to fail."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict):
        return None
    services = found.get("services")
    found["services"] = [row for row in services if isinstance(row, dict)] if isinstance(services, list) else []
    return found


def last(root: Path, host: str, reached: bool = False) -> dict[str, Any] | None:
    """The newest report of a host; with `reached` the newest of a run that came as far as asking its services."""
    place = root / host
    for name in reversed(runs(place)) if place.is_dir() else ():
        found = read(place / name / "report.json")
        if found is not None and (found.get("services") or not reached):
            return found
    return read(place / "report.json")


def save(root: Path, report: Mapping[str, Any], keep: int = KEEP) -> dict[str, Any]:
    """Write one run's report and the fleet's page: {folder, since}. Raises OSError, ValueError for a name that is no folder's."""
    host = str(report["host"])
    if os.path.basename(host) != host or host in ("", ".", ".."):
        raise ValueError(f"'{host}' is no name for a folder of reports")
    place = folder(folder(root) / host)
    with alone(root):
        before = last(root, host, reached=True)
        full = {**report, "since": {"written": (before or {}).get("written"), "rows": differences(before, report)}}
        if not report.get("services"):
            full["since"] = {"written": (before or {}).get("written"), "rows": []}
        name = stamp = re.sub(r"[-:]", "", str(report["written"]))
        number = 1
        while (place / name).exists():
            number += 1
            name = f"{stamp}-{number}"
        full["run"] = name
        for remains in place.glob(".*.partial"):  # of a run that was killed
            shutil.rmtree(remains, ignore_errors=True)
        partial = folder(place / f".{name}.partial")
        write(partial / "report.json", json.dumps(full, indent=2, ensure_ascii=False, default=str) + "\n")
        write(partial / "report.html", report_page(full))
        os.rename(partial, place / name)
        link(place / "latest", name)
        for file in FILES:
            link(place / file, f"latest/{file}")
        for old in runs(place)[: -max(1, keep)]:
            shutil.rmtree(place / old, ignore_errors=True)
        write_index(root, str(report["written"]))
    return {"folder": str(place / name), "since": full["since"]}


def write_index(root: Path, written: str) -> None:
    found = []
    for entry in sorted(root.iterdir()):
        latest = read(entry / "latest" / "report.json") if entry.is_dir() else None
        if latest is not None:
            found.append({**latest, "folder": entry.name})
    write(root / "index.html", fleet_page(found, written))
