"""What a source says of a model: its files, their digests, the commit. Everything foreign in it is checked here."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import traceback
import unicodedata
from typing import Any, Iterable, Iterator, Protocol

from ansible.module_utils.serving.errors import Refusal, as_shown
from ansible.module_utils.serving.weights import folders
from ansible.module_utils.serving.weights.choice import UNFINISHED

COMMIT = re.compile(r"[0-9a-f]{40}")


class SourceFailed(Exception):
    """This source can't serve the model; the next one is tried. The message names the source, the thing and the reason.

    `status` and `code`: what a hub answered, as a number of HTTP and in its own word (X-Error-Code), where it did.
    """

    def __init__(self, message: str, status: int | None = None, code: str = "") -> None:
        super().__init__(as_shown(message))
        self.status, self.code = status, code


@dataclasses.dataclass(frozen=True)
class Entry:
    """One file as its source states it: sizes in bytes, digests in hex, `url` or (on this host) `path`."""

    name: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None  # of git's blob: "blob <size>\\0" and the content
    url: str | None = None
    path: str | None = None
    of: str | None = None  # of a file that another host has converted: its source's content
    stated: str | None = None  # sha256 that a folder's list of sums gives: a claim that the bytes must agree with

    @property
    def content(self) -> str:
        """What the content is known by: equal for the same file of any source that states the same digest."""
        return self.of or self.sha256 or self.git_sha1 or ""


@dataclasses.dataclass(frozen=True)
class Listing:
    """A revision of a model: the commit it was resolved to, and every file of it."""

    kind: str
    repo: str
    requested: str | None
    revision: str
    files: tuple[Entry, ...]
    headers: dict[str, str] = dataclasses.field(default_factory=dict, repr=False)  # for the hub's own host alone
    expect: dict[str, str] = dataclasses.field(default_factory=dict)  # headers that each answer of the hub must have
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)  # name -> why it is not taken
    sizes: dict[str, int] = dataclasses.field(default_factory=dict)  # of what is left out, bytes
    notes: tuple[str, ...] = ()  # what is odd, in sentences
    contents: dict[str, bytes] = dataclasses.field(
        default_factory=dict, repr=False
    )  # small files that were read already
    fingerprint: dict[str, list[int]] | None = None  # of a folder, taken before it is read
    about: dict[str, Any] = dataclasses.field(
        default_factory=dict
    )  # what a hub says beside: id, gated, license, pipeline_tag

    @property
    def short(self) -> str:
        """The revision as folders are named by it."""
        return self.revision[:12]

    @property
    def bytes(self) -> int:
        return sum(entry.size for entry in self.files)


class Source(Protocol):
    kind: str
    repo: str
    requested: str | None

    def listing(self) -> Listing:
        """Resolve the revision and list its files. SourceFailed if that can't be done."""


FILES = 100_000  # files that a model may have
LARGEST = 1 << 50  # bytes that one file may have
TURNS = (
    "LRE",
    "RLE",
    "LRO",
    "RLO",
    "PDF",
    "LRI",
    "RLI",
    "FSI",
    "PDI",
)  # characters that show a name in another order than it has
OURS = re.compile(r".*\.(part|journal|head)(\.[0-9]+)?|\..*\.(part|partial)")  # names of files and folders we work in


def as_text(name: Any) -> str:
    """A name in a listing, which may be anything; what is no text, or none that a URL can hold, is refused."""
    if not isinstance(name, str) or any("\ud800" <= char <= "\udfff" for char in name):
        safe_name(name)
    return str(name)


PATH_LIMIT, NAME_LIMIT = 1000, 240  # bytes in UTF-8 of a file's path, and of each part of it


def unfit(name: Any) -> str:
    """Why a file of a listing can't be written below our folder by this name; empty where it can."""
    if not isinstance(name, str) or not name:
        return "it is no name"
    if any(ord(char) < 32 or char in "\\\x7f\x85\u2028\u2029" or "\ud800" <= char <= "\udfff" for char in name):
        return "it has a backslash, a control character, or bytes that are no UTF-8"
    if any(unicodedata.bidirectional(char) in TURNS for char in name):
        return "it has characters that show it in another order"
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts):
        return "its path leads elsewhere"
    for text, limit in [(name, PATH_LIMIT), *((part, NAME_LIMIT) for part in parts)]:
        if len(text.encode()) > limit:
            return "it has %d bytes, the limit is %d" % (len(text.encode()), limit)
    if any(OURS.fullmatch(part) for part in parts) or parts[0] in folders.OURS or UNFINISHED.fullmatch(parts[-1]):
        return "a fetch has files of that name"
    return ""


def safe_name(name: Any) -> str:
    """A file's name in a listing, as it may be written below our folder; SourceFailed for one that would leave it."""
    why, text = unfit(name), name if isinstance(name, str) else repr(name)
    if why:
        raise SourceFailed(
            "its listing has a file called %r, which can't be a file of a model: %s; rename or remove it at the source. Nothing was fetched"
            % (text[:200], why)
        )
    return text


def checked(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """The files of a listing, by name. Doubles, files below files, names that differ in case alone and empty listings are refused."""
    found: dict[str, Entry] = {}
    folded: dict[str, str] = {}
    for entry in entries:
        safe_name(entry.name)
        if entry.name in found:
            raise SourceFailed("its listing has '%s' twice" % entry.name)
        if type(entry.size) is not int or not 0 <= entry.size <= LARGEST:
            raise SourceFailed("its listing gives '%s' a size of %.60r" % (entry.name, entry.size))
        if entry.path is None and not re.fullmatch(r"[0-9a-f]{64}|[0-9a-f]{40}", str(entry.content)):
            raise SourceFailed("its listing states no digest of '%s', so it could not be verified" % entry.name)
        found[entry.name] = entry
        if len(found) > FILES:
            raise SourceFailed("its listing has more than %d files" % FILES)
        path = ""
        for part in entry.name.split("/"):
            path = "%s/%s" % (path, part) if path else part
            same = folded.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
            if same != path:
                raise SourceFailed(
                    "it has '%s' and '%s', which are the same name where case doesn't count; rename or exclude one"
                    % (same, path)
                )
    for name in found:
        parent = os.path.dirname(name)
        while parent:
            if parent in found:
                raise SourceFailed("its listing has '%s' as a file and as a folder" % parent)
            parent = os.path.dirname(parent)
    if not found:
        raise SourceFailed("its listing is empty")
    return tuple(found[name] for name in sorted(found))


def parsed(data: bytes) -> Any:
    """JSON of somebody else. ValueError for what isn't, for a number that is none, and for one too deep to be read."""

    def refuse(word: str) -> Any:
        raise ValueError("%s is no number" % word)

    try:
        return json.loads(data.decode(), parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is too deep") from None


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """The one place where whatever a source brings about becomes SourceFailed, so that the next one is asked.

    What an operator has to mend here (Refusal, an error of the disk) stays what it is.
    """
    try:
        yield
    except (Refusal, SourceFailed, OSError):
        raise
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = "%s:%s" % (os.path.basename(last.filename), last.lineno)
        raise SourceFailed(
            "it gave what can't be read (%s at %s%s)" % (type(error).__name__, place, text and ": " + text)
        ) from None
