"""Texts of the site's files as they are and as they will be: compared, shown as a diff, written each by one rename."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any, Callable, TypeVar

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import locked, write_atomic
from ansible.module_utils.serving.service import site

Said = TypeVar("Said")


class Texts:
    """Texts of files, by their real paths."""

    def __init__(self) -> None:
        self.before: dict[str, str] = {}
        self.after: dict[str, str] = {}

    def of(self, path: str) -> str:
        path = os.path.realpath(path)
        if path not in self.before:
            self.before[path] = self.after[path] = site.read_text(path)
        return self.after[path]

    def put(self, path: str, text: str) -> None:
        self.after[os.path.realpath(path)] = text

    @property
    def changed(self) -> list[str]:
        return sorted(path for path, text in self.after.items() if text != self.before[path])

    def write(self) -> None:
        for path in self.changed:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            mode = stat.S_IMODE(os.stat(path).st_mode) if os.path.exists(path) else 0o644
            write_atomic(path, self.after[path].encode(), mode)

    def diff(self) -> list[dict[str, str]]:
        return [
            {"before": self.before[path], "after": self.after[path], "before_header": path, "after_header": path}
            for path in self.changed
        ]


def written(inventory: str, draft: Callable[[], tuple[Texts, Said]], dry: bool) -> tuple[Texts, Said]:
    """What `draft` makes of the site's tables, written unless `dry`; made anew under their lock, for another run may write meanwhile."""
    texts, said = draft()
    if texts.changed and not dry:
        if not os.path.isdir(inventory):
            raise Refusal("the inventory's folder %s does not exist" % inventory)
        with contextlib.ExitStack() as locks:
            locks.enter_context(locked(os.path.join(inventory, ".tables.lock"), "the site's tables", keep=False))
            texts, said = draft()
            texts.write()
    return texts, said


def changes(texts: Texts, diff: bool) -> dict[str, Any]:
    """The part of a module's result that says what was changed."""
    return {
        "changed": bool(texts.changed),
        "files": texts.changed,
        **({"diff": texts.diff()} if diff else {}),
    }


def result(module: Any, draft: Callable[[dict[str, Any]], tuple[Texts, dict[str, Any]]]) -> dict[str, Any]:
    """What a module returns that writes the site's tables: what was changed, and what `draft` says of its parameters."""
    given = module.params
    texts, said = written(given["inventory"], lambda: draft(given), module.check_mode)
    return {**changes(texts, module._diff), **said}
