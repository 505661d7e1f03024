"""Rows of the tables: keys with their types, merging, and refusals that name the nearest thing there is."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

from ansible.errors import AnsibleFilterError

Row = dict[str, Any]
# Keys of rows that earlier versions knew: what to write today.
GONE = {
    "ours": "it is called undocumented",
    "hardware": "write the boards that the row is for, as in boards: [NAME], or nothing, and it runs on any that it fits",
}


class Key(NamedTuple):
    """One key of a table: its type, its default, and one line for the manual."""

    type: str
    default: Any
    text: str


LONG = re.compile(r"[^\s'\",]{1000,}")  # one word of a sentence: a value may be a whole file


def as_shown(text: str) -> str:
    """A sentence as a terminal may show it: no word without end, no control characters, no halves of characters."""
    text = LONG.sub(lambda word: f"{word[0][:100]}... ({len(word[0])} characters)", text)
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    return "".join(ascii(char)[1:-1] if unicodedata.category(char) in hidden else char for char in text)


def type_name(value: Any) -> str:
    """What YAML calls a value's type. Ansible's own types of text, lists and mappings have names that tell an operator nothing."""
    return next(one.__name__ for one in type(value).__mro__ if one.__module__ in ("builtins", "datetime"))


class Faults(AnsibleFilterError):
    """What is wrong with a row, one sentence each."""

    def __init__(self, faults: list[str]) -> None:
        faults = [as_shown(text) for text in faults]
        super().__init__("\n".join(faults))
        self.faults = faults


def fail(text: str) -> NoReturn:
    """Raises Faults with one sentence."""
    raise Faults([text])


class Collected:
    """Gathers the refusals of several checks, so that a person reads all of them at once."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def run(self, check: Callable[..., Any], *given: Any, **options: Any) -> Any:
        """What `check` returns, None where it refuses."""
        try:
            return check(*given, **options)
        except Faults as refusal:
            self.faults += [text for text in refusal.faults if text not in self.faults]
        return None

    def end(self) -> None:
        """Raises Faults if anything was refused."""
        if self.faults:
            raise Faults(self.faults)


class Checked(Mapping[str, Any]):
    """A table whose rows are checked once, when they are first asked for, however many services and boards ask.

    As a mapping it has the rows as they are written; `row` is what `check(name, row)` returns, and refuses as that did.
    """

    def __init__(self, table: Mapping[str, Any], check: Callable[[str, Any], Row]) -> None:
        self.table, self.check = table, check
        self.found: dict[str, Row | Faults] = {}

    def __getitem__(self, name: str) -> Any:
        return self.table[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)

    def row(self, name: str) -> Row:
        if name not in self.found:
            try:
                self.found[name] = self.check(name, self.table[name])
            except Faults as refusal:
                self.found[name] = refusal
        found = self.found[name]
        if isinstance(found, Faults):
            raise Faults(found.faults)
        return found


def nearest(name: Any, known: Iterable[str]) -> str:
    """Words that help after a typo: the nearest name there is, or all of them."""
    names = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    if len(names) > 40:
        return "nothing is called like that"
    return f"there are: {', '.join(names)}" if names else "there are none"


def merge(low: Mapping[str, Any], high: Mapping[str, Any]) -> Row:
    """`high` over `low`: dicts merge by key, lists and scalars replace, null removes what was there, at every depth."""
    out = dict(low)
    for key, value in high.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, Mapping):
            below = out.get(key)
            out[key] = merge(below if isinstance(below, Mapping) else {}, value)
        else:
            out[key] = value
    return out


def plain(value: Any) -> Any:
    """The value with its secrets as they are meant: one that is vaulted inline is no text, and in a file would stand as its cipher."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_operators(value: Any) -> bool:
    """{allow: [names]} or {deny: [names]}; null in place of the list takes it away."""
    if not isinstance(value, Mapping) or set(value) not in ({"allow"}, {"deny"}):
        return False
    names = next(iter(value.values()))
    return names is None or (
        isinstance(names, list) and all(isinstance(one, str) and re.fullmatch(r"[\w.]+", one) for one in names)
    )


def is_hosts(value: Any) -> bool:
    """A list of names of hosts, each once."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, str) and one for one in value)
        and len(set(value)) == len(value)
    )


def check_type(where: str, name: str, key: Key, value: Any) -> None:
    """Refuse a value of the wrong type; say which type it should have. Null is no value: see `check_set`."""
    if value is None:
        return
    good = {
        "str": isinstance(value, str) and value != "",
        "path": isinstance(value, str) and value != "",
        "int": is_int(value) and 0 <= value < 2**63,
        "seconds": is_int(value) and 1 <= value < 2**31,
        "port": is_int(value) and 0 < value < 65536,
        "bool": isinstance(value, bool),
        "share": isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= 1,
        "dict": isinstance(value, Mapping),
        "args": isinstance(value, Mapping) or value == "auto",
        "secrets": isinstance(value, Mapping),
        "list": isinstance(value, list),
        "convert": value is False or value == "float16",
        "flaggems": isinstance(value, bool) or is_operators(value),
        "hosts": (is_int(value) and 1 <= value <= 64) or is_hosts(value),
    }
    kinds = {
        "port": "a port number, 1 to 65535",
        "path": "an absolute path",
        "int": "a whole number, 0 or more",
        "seconds": "a whole number of seconds, 1 or more",
        "str": "text; quote it" if value not in ("", False) and isinstance(value, int | float) else "text",
        "bool": "true or false",
        "share": "a number above 0, at most 1",
        "dict": "a mapping",
        "args": "a mapping, or auto",
        "secrets": "a mapping of names to secrets",
        "list": "a list",
        "convert": "float16 or false",
        "hosts": "a number of hosts, 1 to 64, or a list of different names",
        "flaggems": "true, false, {allow: [...]} or {deny: [...]} with names of operators, such as mm",
    }
    if key.type == "list" and name != "devices" and isinstance(value, list):
        for item in value:
            if not isinstance(item, str) or not item:
                fail(f"{where}: '{name}' has {item!r}, but must be a list of text; quote it ({key.text})")
    if not good[key.type]:
        shown = f"a {type_name(value)}" if key.type == "secrets" else repr(value)
        fail(f"{where}: '{name}' is {shown}, but must be {kinds[key.type]} ({key.text})")


def defaults(keys: Mapping[str, Key]) -> Row:
    """What a row has where nobody says anything; None for a key that must be set."""
    return {name: None if key.default is ... else key.default for name, key in keys.items()}


def check_set(where: str, row: Mapping[str, Any], keys: Mapping[str, Key]) -> None:
    """Refuse a merged row without a key that has no default."""
    missing = [name for name, key in keys.items() if key.default is ... and row.get(name) is None]
    if missing:
        raise Faults([f"{where}: '{name}' must be set ({keys[name].text})" for name in missing])


def check_row(where: str, row: Any, keys: Mapping[str, Key], *, partial: bool = False) -> Row:
    """The keys of a row, checked. `partial`: an override, which need not have them all."""
    if not isinstance(row, Mapping):
        fail(f"{where}: is {type_name(row)} {row!r}, but must be a mapping of keys")
    found = Collected()
    for name, value in row.items():
        if name in GONE and name not in keys:
            found.run(fail, f"{where}: key '{name}' is gone; {GONE[name]}")
        elif name not in keys:
            found.run(fail, f"{where}: unknown key '{name}'; {nearest(name, keys)}")
        else:
            found.run(check_type, where, name, keys[name], value)
    if not partial:
        found.run(check_set, where, row, keys)
    found.end()
    return {str(name): value for name, value in row.items()}


def one_of(where: str, name: str, value: Any, known: Iterable[str]) -> None:
    if value not in tuple(known):
        fail(f"{where}: '{name}' is {value!r}; {nearest(value, known)}")


def lookup(where: str, what: str, name: Any, table: Mapping[str, Any], file: str) -> Any:
    if not isinstance(name, str) or name not in table:
        fail(f"{where}: {what} '{name}' is not in {file}; {nearest(name, table)}")
    return table[name]


def check_switch(where: str, name: str, value: Any) -> None:
    """Refuse what is neither true nor false, in the forms in which `-e name=false` and YAML give them."""
    if not isinstance(value, bool) and str(value).lower() not in ("true", "false", "yes", "no", "on", "off", "1", "0"):
        fail(f"{where}: '{name}' is {value!r}, but must be true or false")


def check_texts(where: str, name: str, row: Mapping[str, Any], known: Iterable[str], *, numbers: bool = False) -> None:
    """The keys of a mapping inside a row: known, and all of them text, or all of them numbers above 0."""
    found = Collected()
    for key, value in row.items():
        found.run(one_of, where, name, key, known)
        if numbers and not (is_int(value) and value > 0):
            found.run(fail, f"{where}: {name}.{key} is {value!r}, but must be a whole number above 0")
        if not numbers and not isinstance(value, str):
            found.run(fail, f"{where}: {name}.{key} is {value!r}, but must be text; quote it")
    found.end()
