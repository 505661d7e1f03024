"""Which services a host runs, as its inventory says: where that is written, and the text with others."""

from __future__ import annotations

import glob
import io
import os
import re
from typing import Any, Mapping, NamedTuple, Sequence

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.service.site import ENDINGS, Document, files_of, library, parsed, read_text, writer


class Host(NamedTuple):
    """Where a host of an inventory is written: the file, and the keys that lead to its row."""

    path: str
    keys: tuple[str, ...]


def inventory_files(sources: Sequence[str]) -> list[str]:
    """Files of an inventory, and those of its folders, as Ansible reads them."""
    found: list[str] = []
    for source in sources:
        below = glob.glob(os.path.join(glob.escape(source), "*")) if os.path.isdir(source) else [source]
        found += sorted(path for path in below if os.path.isfile(path))
    return found


def host_places(path: str, host: str) -> list[Host]:
    """Every row of a host in a YAML inventory; none where the file is no such inventory."""
    if not path.endswith(ENDINGS) or not os.path.isfile(path):
        return []
    found: list[Host] = []

    def walk(node: Any, keys: tuple[str, ...]) -> None:
        if not isinstance(node, Mapping) or len(keys) > 40:
            return
        for key, inner in node.items():
            if key == "hosts" and isinstance(inner, Mapping) and host in inner:
                found.append(Host(path, (*keys, "hosts", host)))
            walk(inner, (*keys, str(key)))

    walk(parsed(path, read_text(path)), ())
    return found


def runs_place(inventory: str, files: list[str], host: str) -> Host | None:
    """Where `runs` of a host is written, or may be: its host_vars, else its row in the inventory; None where that isn't YAML of ours."""
    for path in files_of(os.path.join(inventory, "host_vars"), host):
        if re.search(r"(?m)^runs[ \t]*:", read_text(path)):
            return Host(path, ())
    places = [place for path in files for place in host_places(path, host)]
    holding = [p for p in places if isinstance(Document(p.path, read_text(p.path)).at((*p.keys, "runs")), list)]
    best = holding or places
    return best[0] if best else None


def with_run(place: Host, text: str, service: str, effective: Sequence[str] = ()) -> str:
    """The text of an inventory with a service in a host's `runs`; the same text where it is there.

    `effective`: what the host runs by whatever file says so. A host's own list hides its group's, so one that is new has these in it.
    """
    runs = own_runs(place, text)
    if runs is None:
        runs = list(effective)
    return text if service in runs else with_runs(place, text, [*runs, service])


def own_runs(place: Host, text: str) -> list[str] | None:
    """What the host's own `runs` lists, None where it has none. Refusal where it is an expression, which no list may replace."""
    row = _row(Document(place.path, text), place)
    runs = row.get("runs") if isinstance(row, Mapping) else None
    if runs is not None and not isinstance(runs, list):
        raise Refusal("`runs` in %s is no list ('%s')" % (place.path, str(runs)[:60]))
    return None if runs is None else [str(name) for name in runs]


def _row(document: Document, place: Host) -> Any:
    return document.at(place.keys) if place.keys else document.data


def with_runs(place: Host, text: str, wanted: list[str]) -> str:
    """The text of an inventory in which a host's `runs` has these services; the same text where it has them, in whatever order."""
    document = Document(place.path, text)
    row = _row(document, place)
    has = row.get("runs") if isinstance(row, Mapping) else None
    if isinstance(has, list) and sorted(map(str, has)) == sorted(wanted):
        return text

    def change(node: Any) -> None:
        runs = node.get("runs")
        if isinstance(runs, list):
            for name in [one for one in runs if one not in wanted]:
                runs.remove(name)
            runs.extend(name for name in wanted if name not in runs)
        else:
            runs = library().comments.CommentedSeq(wanted)
            runs.fa.set_flow_style()
            node["runs"] = runs

    if place.keys:
        return str(document.changed(place.keys, change))
    copy = parsed(place.path, text)
    change(copy)
    stream = io.StringIO()
    writer().dump(copy, stream)
    return stream.getvalue().replace("\n", document.newline)
