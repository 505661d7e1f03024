"""Ask a hub or a folder what a model is, and say plainly what is wrong where it can't be read: unknown, private, gated, a data set, down."""

from __future__ import annotations

import contextlib
import difflib
import re
import time
import urllib.parse
from typing import Any, Iterator, Mapping

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.adapter_info import AdapterFacts
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.hubs.hub import Hub
from ansible.module_utils.serving.weights.listing import Entry, Listing, SourceFailed
from ansible.module_utils.serving.weights.local import Directory
from ansible.module_utils.serving.weights.reading import Facts, read
from ansible.module_utils.serving.weights.selection import content_of

NAMED = 5  # names that are suggested
PAGES = {"huggingface": "%s/%s", "modelscope": "%s/models/%s"}


def search(hub: Hub) -> list[str]:
    """Names that the hub's own search finds for a repository's name, the nearest first; none where it can't be asked."""
    words = re.sub(r"[^A-Za-z0-9.]+", " ", hub.repo.rpartition("/")[2]).strip()
    found: list[str] = []
    with contextlib.suppress(Exception):  # a suggestion is no reason to fail
        found = hub.search(words) or hub.search(" ".join(words.split()[:2]))
    close = difflib.get_close_matches(hub.repo.lower(), [name.lower() for name in found], n=NAMED, cutoff=0.3)
    return sorted(found, key=lambda name: close.index(name.lower()) if name.lower() in close else NAMED)[:NAMED]


def missing(hub: Hub, status: int | None) -> Refusal:
    """Why a repository can't be found: it is a data set, it is private, or its name is another one."""
    with contextlib.suppress(Exception):
        if hub.is_dataset():
            return Refusal("'%s' is a data set on %s, no model; nothing was written" % (hub.repo, hub.kind))
    near = search(hub)
    words = "; did you mean %s?" % ", ".join("'%s'" % name for name in near) if near else ""
    private = " for this token" if hub.token else ", or it is private and needs a token (%s_token)" % hub.kind
    return Refusal("%s has no model '%s'%s%s Nothing was written" % (hub.kind, hub.repo, private, words or "."))


@contextlib.contextmanager
def explained(hub: Hub) -> Iterator[None]:
    """What a hub's refusal of a listing means, in one sentence."""
    try:
        yield
    except SourceFailed as failure:
        if failure.code == "RevisionNotFound" or (failure.status == 404 and hub.requested and not failure.code):
            raise Refusal(
                "%s has no revision '%s' of '%s'; leave it out for the newest, nothing was written"
                % (hub.kind, hub.requested, hub.repo)
            ) from None
        if failure.code == "GatedRepo" or (failure.status == 403 and hub.token):
            raise gated(hub, hub.repo) from None
        if failure.status in (401, 403, 404):
            raise missing(hub, failure.status) from None
        if "listing is empty" in str(failure):
            raise Refusal("'%s' on %s is empty: it has no file; nothing was written" % (hub.repo, hub.kind)) from None
        raise Refusal("%s on %s could not be read: %s; nothing was written" % (hub.repo, hub.kind, failure)) from None


def gated(hub: Hub, repo: str) -> Refusal:
    page = PAGES[hub.kind] % (hub.endpoint, repo)
    return Refusal(
        "'%s' is gated: accept its licence at %s, and set %s_token to a token of the account that did; nothing was written"
        % (repo, page, hub.kind)
    )


def of_hub(hub: Hub, known: Mapping[str, str]) -> Facts | AdapterFacts:
    """What a model of a hub is."""
    with explained(hub):
        listing = hub.listing()
        return over_http(hub, listing, known)


def over_http(hub: Hub, listing: Listing, known: Mapping[str, str]) -> Facts | AdapterFacts:
    """Facts by small files and ranges of the listing's own addresses, over one client that keeps its connection."""
    client = Client(listing.headers, hub.endpoint, listing.expect, hub.limits)
    client.until = time.monotonic() + hub.limits.listing
    about = listing.about

    def refused(failure: Exception) -> Exception:
        return gated(hub, str(about.get("id") or hub.repo)) if about.get("gated") else failure

    def small(name: str) -> bytes:
        entry = next(one for one in listing.files if one.name == name)
        if name in listing.contents:
            return bytes(listing.contents[name])
        try:
            data: bytes = content_of(entry, listing.headers, listing.expect, hub.limits, client)
            return data
        except SourceFailed as failure:
            raise refused(failure) from None

    def head(entry: Entry, begin: int, end: int) -> bytes:
        try:
            return bytes(client.read(entry.url or "", end - begin, begin, end, entry.size))
        except SourceFailed as failure:
            raise refused(failure) from None

    return read(listing, small, head, known)


def of_folder(path: str, include: Any, known: Mapping[str, str]) -> Facts | AdapterFacts:
    """What a model in a folder of this host is."""
    try:
        listing = Directory(path, include).listing()
    except SourceFailed as failure:
        raise Refusal("%s; nothing was written" % failure) from None
    paths = {entry.name: entry.path or "" for entry in listing.files}

    def head(entry: Entry, begin: int, end: int) -> bytes:
        with open(entry.path or "", "rb") as source:
            source.seek(begin)
            return source.read(end - begin)

    def small(name: str) -> bytes:
        with open(paths[name], "rb") as source:
            return source.read(32 << 20)

    return read(listing, small, head, known)


def repo_of(given: str, home: str) -> str:
    """A repository's name, from its name or from the address of its page. Refusal for what is neither."""
    text = given.strip()
    if re.match(r"https?://", text):
        path = urllib.parse.urlsplit(text).path.strip("/")
        parts = [part for part in path.split("/") if part not in ("models",)]
        text = "/".join(parts[:2])
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[\w-][\w.-]*", text):
        raise Refusal(
            "model '%s' is no repository such as Qwen/Qwen2.5-7B-Instruct and no absolute path of a folder; write one of the two"
            % given[:120]
        )
    return text
