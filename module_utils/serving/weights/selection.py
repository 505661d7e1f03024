"""What of a source's files is taken, and the small files that decide it."""

from __future__ import annotations

import hashlib
import time
from typing import Any, Callable, Iterable

from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.choice import READ_LIMIT, UNFINISHED, Wanted, choose, is_junk
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.listing import Entry, SourceFailed, checked, safe_name


def taken(
    entries: Iterable[Entry], wanted: Wanted, read: Callable[[Entry], bytes], local: bool = False
) -> dict[str, Any]:
    """What is taken of a source's files and what is left out, as arguments of a Listing. SourceFailed where that is no model."""
    found: dict[str, Entry] = {}
    for entry in entries:
        if is_junk(entry.name):
            continue
        if not UNFINISHED.fullmatch(entry.name.rpartition("/")[2]):
            safe_name(entry.name)
        if entry.name in found:
            raise SourceFailed("its listing has '%s' twice" % entry.name)
        found[entry.name] = entry
    if not found:
        raise SourceFailed("its listing is empty")
    sizes = {name: entry.size if isinstance(entry.size, int) else -1 for name, entry in found.items()}
    contents: dict[str, bytes] = {}

    def small(name: str) -> bytes:
        if not 0 <= sizes[name] <= READ_LIMIT:
            raise Refusal(
                "%s is %s bytes; the limit for a file that is read at once is %d" % (name, sizes[name], READ_LIMIT)
            )
        if name not in contents:
            checked([found[name]])
            contents[name] = read(found[name])
        return contents[name]

    try:
        choice = choose(sizes, small, wanted, local)
    except Refusal as refusal:
        raise SourceFailed(str(refusal)) from None
    files = checked(found[name] for name in choice.kept)
    return {
        "files": files,
        "left_out": dict(choice.left_out),
        "sizes": {name: sizes[name] for name in choice.left_out},
        "notes": choice.notes,
        "contents": {} if local else contents,
    }


def content_of(
    entry: Entry,
    headers: dict[str, str],
    expect: dict[str, str] | None = None,
    limits: Limits | None = None,
    client: Any = None,
) -> bytes:
    """A small file, with the digest that its source states, over `client` if one is given. SourceFailed where it has another."""
    if entry.path is not None:
        with open(entry.path, "rb") as source:
            return source.read(READ_LIMIT)
    url, limits = entry.url or "", limits or Limits()
    if client is None:
        client = Client(headers, url, expect, limits)
        client.until = time.monotonic() + limits.listing
    for _ in range(2):
        data: bytes = client.read(url, READ_LIMIT)
        git = hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
        if entry.content in (hashlib.sha256(data).hexdigest(), git):
            return data
    raise SourceFailed(
        "file '%s' arrived damaged twice: its digest is not %s, which its source states" % (entry.name, entry.content)
    )
