"""The site's tables as people keep them: which file holds one, and rows written into it with everything else left byte for byte as it was.

A row is put in as text, below the last row of its table; a row that changes is parsed and written by itself. So comments, order, quotes and
line ends of the rest stay. Needs ruamel.yaml, which the controller's environment has.
"""

from __future__ import annotations

import glob
import io
import os
import re
from typing import Any, Callable, Mapping, NamedTuple

from ansible.module_utils.serving.errors import Refusal

ENDINGS = (".yml", ".yaml")
VAULT = "$ANSIBLE_VAULT"
Change = Callable[[Any], None]  # gets a row as ruamel's mapping, and changes it in place


def library() -> Any:
    """ruamel.yaml. Refusal where the controller lacks it."""
    try:
        import ruamel.yaml
    except ImportError:
        raise Refusal(
            "the controller's Python has no ruamel.yaml, which writes tables without losing comments; run `make setup`, or "
            "pip install -r requirements.lock"
        ) from None
    return ruamel.yaml


def writer() -> Any:
    """A YAML writer in the style of the project's tables."""
    found = library().YAML()
    found.preserve_quotes, found.width = True, 160
    found.indent(mapping=2, sequence=4, offset=2)
    return found


def files_of(folder: str, name: str) -> list[str]:
    """Files in which Ansible looks for variables of a group or a host, in its order: `name.yml`, and files of a folder `name`."""
    found = [os.path.join(folder, name + end) for end in ENDINGS if os.path.isfile(os.path.join(folder, name + end))]
    below = glob.glob(os.path.join(glob.escape(os.path.join(folder, name)), "**", "*"), recursive=True)
    return found + sorted(path for path in below if path.endswith(ENDINGS) and os.path.isfile(path))


def table_file(inventory: str, table: str) -> str:
    """The file beside an inventory that holds a table of the site, such as `models`; where a new one belongs, if none does.

    The one place that knows how a site's folder is laid out. The last one counts where several have it, as for Ansible.
    """
    folder = os.path.join(inventory, "group_vars")
    holders = [
        path for path in files_of(folder, "all") if re.search(r"(?m)^%s[ \t]*:" % re.escape(table), read_text(path))
    ]
    return holders[-1] if holders else os.path.join(folder, "all", table + ".yml")


def read_text(path: str) -> str:
    """A file as text with its own line ends; empty where there is none."""
    try:
        with open(path, encoding="utf-8", newline="") as source:
            return source.read()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise Refusal("%s is no UTF-8 text (byte %d); nothing was written" % (path, error.start)) from None


def parsed(path: str, text: str) -> Any:
    """A file's YAML as ruamel has it. Refusal with the line where it is none."""
    if text.startswith(VAULT):
        raise Refusal("%s is encrypted with vault; keep the table in a file that isn't, nothing was written" % path)
    errors = library().error
    try:
        return writer().load(text)
    except (errors.MarkedYAMLError, errors.YAMLStreamError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = " line %d" % (mark.line + 1) if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())[:160]
        raise Refusal("%s%s is no valid YAML (%s); correct it, nothing was written" % (path, where, reason)) from None


def plain(value: Any) -> Any:
    """Without ruamel's classes, to compare."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    return int(value) if isinstance(value, int) else float(value) if isinstance(value, float) else str(value)


class Place(NamedTuple):
    """Where a mapping's entry stands in a text: lines [first, last) and the column of its key."""

    first: int
    last: int
    column: int


class Document:
    """One file of tables."""

    def __init__(self, path: str, text: str) -> None:
        self.path, self.text = path, text
        self.newline = "\r\n" if "\r\n" in text else "\n"
        self.lines = text.splitlines(keepends=True)
        self.data = parsed(path, text)
        if self.data is not None and not isinstance(self.data, Mapping):
            raise Refusal("%s holds no mapping of names; nothing was written" % path)

    def at(self, keys: tuple[str, ...]) -> Any:
        """What stands under these keys; None where nothing does."""
        node: Any = self.data
        for key in keys:
            node = node.get(key) if isinstance(node, Mapping) else None
        return node

    def place(self, keys: tuple[str, ...]) -> Place | None:
        """The lines of an entry; None inside of `{...}`, where it shares its line with others."""
        above = self.at(keys[:-1]) if len(keys) > 1 else self.data
        if above.fa.flow_style():
            return None
        first, column = above.lc.key(keys[-1])
        last = first + 1
        while last < len(self.lines) and self.inside(self.lines[last], column):
            last += 1
        while last > first + 1 and not self.said(self.lines[last - 1], column):
            last -= 1
        return Place(first, last, column)

    @staticmethod
    def inside(line: str, column: int) -> bool:
        """Does a line belong to an entry whose key stands in this column, or may it (empty lines, comments)?"""
        bare = line.strip()
        indent = len(line) - len(line.lstrip(" "))
        return not bare or bare.startswith("#") or indent > column or (indent == column and bare.startswith("- "))

    @staticmethod
    def said(line: str, column: int) -> bool:
        """Is a line surely the entry's own, and not an empty line or a comment before the next one?"""
        bare = line.strip()
        return bool(bare) and (not bare.startswith("#") or len(line) - len(line.lstrip(" ")) > column)

    def spliced(self, first: int, last: int, block: str) -> str:
        """The whole text with these lines replaced."""
        block = block.replace("\n", self.newline)
        before = "".join(self.lines[:first])
        if before and not before.endswith(("\n", "\r")):
            before += self.newline
        return before + block + "".join(self.lines[last:])

    def indented(self, name: str, row: Any, column: int) -> str:
        """An entry as text, its key in this column."""
        stream = io.StringIO()
        writer().dump({name: row}, stream)
        return "".join(
            " " * column + line if line.strip() else line for line in stream.getvalue().splitlines(keepends=True)
        )

    def added(self, table: str, name: str, row: Any) -> str:
        """The text with a new row at the end of a table, which is made where the file has none."""
        rows = self.at((table,))
        if not rows:  # no such table, or `models:` and `models: {}`
            block = "%s:\n%s" % (table, self.indented(name, row, 2))
            if self.data is not None and table in self.data:
                place = self.place((table,))
                assert place
                return self.spliced(place.first, place.last, block)
            start = "" if self.text.strip() else "---\n"
            return self.spliced(len(self.lines), len(self.lines), start + block)
        place = self.place((table,))
        if place is None or rows.fa.flow_style():
            raise Refusal(
                "%s has its table '%s' in braces, into which no row is written; put each row on lines of its own"
                % (self.path, table)
            )
        column = rows.lc.key(next(iter(rows)))[1]
        gap = "\n" if len(rows) > 1 and any(not line.strip() for line in self.lines[place.first : place.last]) else ""
        return self.spliced(place.last, place.last, gap + self.indented(name, row, column))

    def changed(self, keys: tuple[str, ...], change: Change) -> str:
        """The text with the entry under these keys changed, itself alone if it can be read alone."""
        place = self.place(keys)
        if place is not None:
            lines = self.lines[place.first : place.last]
            alone = "".join(line[place.column :] if line.strip() else "\n" for line in lines)
            try:
                found = writer().load(alone)
            except library().error.MarkedYAMLError:  # an alias of what stands elsewhere in the file
                found = None
            if found is not None:
                if found[keys[-1]] is None:
                    found[keys[-1]] = library().comments.CommentedMap()
                change(found[keys[-1]])
                stream = io.StringIO()
                writer().dump(found, stream)
                text = stream.getvalue()
                block = "".join(
                    " " * place.column + line if line.strip() else line for line in text.splitlines(keepends=True)
                )
                return self.spliced(place.first, place.last, block)
        copy = parsed(self.path, self.text)
        node = copy
        for key in keys:
            node = node[key]
        change(node)
        stream = io.StringIO()
        writer().dump(copy, stream)
        return stream.getvalue().replace("\n", self.newline)


def with_row(path: str, text: str, table: str, name: str, row: Any, update: bool) -> str:
    """The text of a file of tables with this row in it. The same text where the row says it all already.

    A row that is there keeps keys that `row` doesn't have. Refusal where it says something else and `update` isn't asked for.
    """
    document = Document(path, text)
    rows = document.at((table,))
    if rows is not None and not isinstance(rows, Mapping):
        raise Refusal("%s: '%s' is no mapping of names to rows; nothing was written" % (path, table))
    if not rows or name not in rows:
        after = document.added(table, name, row)
    else:
        there, wanted = plain(rows[name]), plain(row)
        if not isinstance(there, dict):
            raise Refusal("%s: '%s' in table '%s' is no mapping of keys; nothing was written" % (path, name, table))
        unlike = [key for key in wanted if there.get(key) != wanted[key]]
        if not unlike:
            return text
        if not update:
            raise Refusal(
                "%s has '%s' in table '%s' already, with another %s; give another name (-e name=...), or -e update=true"
                % (path, name, table, ", ".join(unlike))
            )

        def change(node: Any) -> None:
            for key in unlike:
                node[key] = row[key]

        after = document.changed((table, name), change)
    check(path, text, after, (table, name), plain(row))
    return after


def with_options(path: str, text: str, service: str, args: Mapping[str, Any]) -> str:
    """The text of a file of tables with these engine_args in a service's row, each in its line; a value of None removes one.

    A row that the file doesn't have lies over the product's from then on. Refusal where other rows would change with it, as with an anchor.
    """
    document = Document(path, text)
    rows = document.at(("services",))
    if rows is not None and not isinstance(rows, Mapping):
        raise Refusal("%s: 'services' is no mapping of names to rows; nothing was written" % path)
    there = plain(rows[service]) if rows and service in rows else None
    if there is not None and not isinstance(there, dict):
        raise Refusal("%s: '%s' in table 'services' is no mapping of keys; nothing was written" % (path, service))
    before = (there or {}).get("engine_args")
    wanted = {
        key: value
        for key, value in {**(before if isinstance(before, dict) else {}), **args}.items()
        if value is not None or not before
    }
    if before == wanted:
        return text
    if there is None:
        after = document.added("services", service, {"engine_args": dict(args)})
        check(path, text, after, ("services", service), {"engine_args": dict(args)})
        return after

    place = document.place(("services", service))
    mine = "".join(document.lines[place.first : place.last]) if place else ""
    shared = [name for name in re.findall(r"&([\w.-]+)", mine) if re.search(r"\*%s(?![\w.-])" % re.escape(name), text)]
    if shared:
        text = "%s: other rows share '%s' of service '%s', and would change with it; give them rows of their own first, nothing was written"
        raise Refusal(text % (path, ", ".join("&" + name for name in shared), service))

    def change(node: Any) -> None:
        there = node.get("engine_args")
        if not isinstance(there, Mapping):  # none yet, or `auto`
            node["engine_args"] = {}
        elif "*" in mine:  # those of another row, as an alias: from now on its own
            node["engine_args"] = plain(there)
        for key, value in args.items():
            if value is None and before:
                node["engine_args"].pop(key, None)
            else:
                node["engine_args"][key] = value

    after = document.changed(("services", service), change)
    check(path, text, after, ("services", service), {"engine_args": wanted})
    return after


def check(path: str, before: str, after: str, keys: tuple[str, ...], row: Mapping[str, Any]) -> None:
    """Refuse to write what would not read back as it was meant, or what would change another row."""
    old, new = plain(parsed(path, before) or {}), plain(parsed(path, after) or {})
    node = new
    for key in keys:
        node = node.get(key) if isinstance(node, dict) else None
    good = isinstance(node, dict) and all(node.get(key) == value for key, value in row.items())
    for data in (old, new):
        inner = data
        for key in keys[:-1]:
            inner = inner.get(key) or {}
        inner.pop(keys[-1], None)
        if not inner:
            data.pop(keys[0], None)
    if not good or old != new:
        raise Refusal(
            "%s could not be changed without touching other rows; add this by hand: %s: %s"
            % (path, keys[-1], dict(row))
        )


def with_figures(row: dict[str, Any]) -> dict[str, Any]:
    """A row as people write it: large numbers in groups of three, small mappings on one line."""
    yaml = library()

    def number(value: Any) -> Any:
        large = isinstance(value, int) and not isinstance(value, bool) and value >= 1_000_000
        return yaml.scalarint.ScalarInt(value, underscore=[3, False, False]) if large else value

    def flow(value: dict[str, Any]) -> Any:
        found = yaml.comments.CommentedMap({key: number(one) for key, one in value.items()})
        found.fa.set_flow_style()
        return found

    out: dict[str, Any] = {}
    for key, value in row.items():
        if key == "sources":
            out[key] = {name: flow(source) for name, source in value.items()}
        else:
            out[key] = (
                {inner: number(one) for inner, one in value.items()} if isinstance(value, dict) else number(value)
            )
    return out


def with_listed(path: str, text: str, table: str, name: str, key: str, has: list[str], more: str) -> str:
    """The text of a file of tables in which a row's list `key` has `more` too; `has`: what it holds by other files, where this one has none."""
    document = Document(path, text)
    rows = document.at((table,))
    if rows is not None and not isinstance(rows, Mapping):
        raise Refusal("%s: '%s' is no mapping of names to rows; nothing was written" % (path, table))
    row = rows.get(name) if rows else None
    there = row.get(key) if isinstance(row, Mapping) else None
    wanted = [*(plain(there) if isinstance(there, list) else has)]
    if more in wanted:
        return text
    wanted.append(more)
    fresh = library().comments.CommentedSeq(wanted)
    fresh.fa.set_flow_style()

    def change(node: Any) -> None:
        if isinstance(node.get(key), list):
            node[key].append(more)
        else:
            node[key] = fresh

    after = document.changed((table, name), change) if row is not None else document.added(table, name, {key: fresh})
    check(path, text, after, (table, name), {key: wanted})
    return after
