"""Where weights come from: ModelScope, Hugging Face, a mirror of ours, a folder. One Protocol, four sources.

A source says what a revision consists of and what each file must hash to; transfer.py moves the bytes and
believes nothing else. The hubs' own clients list and resolve. They do not move the bytes: Hugging Face's neither checks
content over plain HTTP nor resumes an earlier run, and both ask for a file in one piece.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import time
import traceback
import unicodedata
import urllib.parse
from typing import Any, Callable, Iterable, Iterator, Protocol

from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights import folders
from ansible.module_utils.serving.weights import manifest as m
from ansible.module_utils.serving.weights.choice import READ_LIMIT, UNFINISHED, Wanted, choose, is_junk

COMMIT = re.compile(r"[0-9a-f]{40}")


class SourceFailed(Exception):
    """This source can't serve the model; the next one is tried. The message names the source, the thing and the reason.

    `status` and `code`: what a hub answered, as a number of HTTP and in its own word (X-Error-Code), where it did.
    """

    def __init__(self, message: str, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
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
OURS = re.compile(r".*\.(part|journal|head)(\.[0-9]+)?|\..*\.(part|partial)")  # names of files and folders we work in


def as_text(name: Any) -> str:
    """A name in a listing, which may be anything; what is no text, or none that a URL can hold, is refused."""
    if not isinstance(name, str) or any("\ud800" <= char <= "\udfff" for char in name):
        safe_name(name)
    return str(name)


def safe_name(name: Any) -> str:
    """A file's name in a listing, as it may be written below our folder; SourceFailed for one that would leave it."""
    text = name if isinstance(name, str) else repr(name)
    parts = text.split("/")
    bad = (
        not isinstance(name, str)
        or not text
        or any(ord(char) < 32 or char in "\\\x7f\x85\u2028\u2029" or "\ud800" <= char <= "\udfff" for char in text)
        or len(text.encode("utf-8", "replace")) > 1000
        or any(
            part in ("", ".", "..") or len(part.encode("utf-8", "replace")) > 240 or OURS.fullmatch(part)
            for part in parts
        )
        or parts[0] in folders.OURS
        or UNFINISHED.fullmatch(parts[-1])
    )
    if bad:
        raise SourceFailed(
            "its listing has a file called %r, which can't be a file of a model; nothing was fetched" % text[:200]
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
    from ansible.module_utils.serving.weights.client import Client

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


@contextlib.contextmanager
def client_errors(what: str) -> Iterator[None]:
    """Errors of the hubs' clients in one sentence; their classes differ from version to version."""
    try:
        yield
    except (Refusal, SourceFailed):
        raise
    except ImportError as error:
        raise SourceFailed(
            "%s needs the Python package %s, which the tools environment brings; run deploy.yml --tags prepare"
            % (what, error.name)
        ) from None
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        text = re.sub(r"https?://\S*@", "https://...@", text)
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        code = str((getattr(response, "headers", None) or {}).get("X-Error-Code") or "")
        hints = {
            401: "it needs a token: set %s_token" % what.split()[0],
            403: "the token may not read it, or its licence has to be accepted on the hub",
            404: "it is not there: check repo and revision in models.yml",
            429: "the hub asks to slow down: wait, or set a token",
        }
        hint = (
            hints.get(status, "check the network, fetch_environment (proxy, CA) and the endpoint")
            if status
            else ("check the network, fetch_environment (proxy, CA) and the endpoint")
        )
        raise SourceFailed("%s (%s)" % (text[:400], hint), status, code) from None


class Hub:
    """What the hubs have in common: a repository at an endpoint, by options, else by the hub's own variables, else at its home."""

    variables: tuple[str, str]  # of its endpoint and of its token
    home: str

    def __init__(
        self,
        repo: str,
        revision: str | None,
        wanted: Wanted,
        endpoint: str = "",
        token: str = "",
        limits: Limits | None = None,
    ) -> None:
        self.repo, self.requested, self.wanted = repo, revision, wanted
        self.limits = limits or Limits()
        of_endpoint, of_token = self.variables
        self.endpoint = (endpoint or os.environ.get(of_endpoint) or self.home).rstrip("/")
        self.token = token or os.environ.get(of_token) or ""

    def search(self, words: str) -> list[str]:
        """Repositories of models that the hub's own search finds."""
        raise NotImplementedError

    def is_dataset(self) -> bool:
        """Is it the name of a data set?"""
        raise NotImplementedError


class HuggingFace(Hub):
    """Hugging Face or a hub that speaks its API. Large files are stated by sha256 (LFS), small ones by git's sha1."""

    kind = "huggingface"
    variables = ("HF_ENDPOINT", "HF_TOKEN")
    home = "https://huggingface.co"

    def api(self) -> Any:
        """The hub's own client, over our HTTP."""
        from ansible.module_utils.serving.weights import hub_clients
        from huggingface_hub import HfApi

        hub_clients.over_httpx(hub_clients.Line(self.endpoint, self.limits))
        return HfApi(endpoint=self.endpoint, token=self.token or False, library_name="vllm-ansible")

    def search(self, words: str) -> list[str]:
        return [str(row.id) for row in self.api().list_models(search=words, limit=20)]

    def is_dataset(self) -> bool:
        return bool(self.api().repo_exists(self.repo, repo_type="dataset"))

    def listing(self) -> Listing:
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        with client_errors("huggingface %s" % self.repo):
            from huggingface_hub import hf_hub_url
            from huggingface_hub.hf_api import RepoFile

            api = self.api()
            found = api.model_info(self.repo, revision=self.requested or "main", timeout=60)
            commit = found.sha or ""
            if not COMMIT.fullmatch(commit):
                raise SourceFailed("it resolves '%s' to %r, which is no commit" % (self.requested or "main", commit))
            if self.requested and COMMIT.fullmatch(self.requested) and commit != self.requested:
                raise SourceFailed("it answers commit %s for %s" % (commit, self.requested))
            rows = [
                row
                for row in api.list_repo_tree(self.repo, recursive=True, revision=commit)
                if isinstance(row, RepoFile)
            ]
            entries = (
                Entry(
                    name=as_text(row.path),
                    size=row.lfs.size if row.lfs else row.size,
                    sha256=row.lfs.sha256 if row.lfs else None,
                    git_sha1=None if row.lfs else row.blob_id,
                    url=hf_hub_url(self.repo, row.path, revision=commit, endpoint=self.endpoint),
                )
                for row in rows
            )
            headers = {"Authorization": "Bearer " + self.token} if self.token else {}
            expect = {"X-Repo-Commit": commit}
            rows_taken = taken(entries, self.wanted, lambda entry: content_of(entry, headers, expect, self.limits))
        about = {
            "id": found.id,
            "gated": bool(found.gated),
            "license": (found.card_data or {}).get("license"),
            "pipeline_tag": found.pipeline_tag,
        }
        return Listing(
            self.kind, self.repo, self.requested, commit, headers=headers, expect=expect, about=about, **rows_taken
        )


class ModelScope(Hub):
    """ModelScope or a hub that speaks its API. Every file is stated by sha256."""

    kind = "modelscope"
    variables = ("MODELSCOPE_ENDPOINT", "MODELSCOPE_API_TOKEN")
    home = "https://www.modelscope.cn"

    def rows(self, api: Any, revision: str) -> list[dict[str, Any]]:
        found = api.legacy.list_repo_files(self.repo, "model", revision=revision, recursive=True)
        for row in found:
            if row.get("Type") not in ("blob", "tree"):
                raise SourceFailed("its listing has %r of type %r" % (row.get("Path"), row.get("Type")))
        return [row for row in found if row["Type"] == "blob"]

    def api(self) -> Any:
        """The hub's own client, over our HTTP."""
        from ansible.module_utils.serving.weights import hub_clients
        from modelscope_hub.api import HubApi

        api = HubApi(endpoint=self.endpoint, token=self.token or None)
        line = hub_clients.Line(self.endpoint, self.limits)
        hub_clients.over_requests(line, api.legacy)
        hub_clients.over_requests(line, api.openapi)
        return api

    def search(self, words: str) -> list[str]:
        found = self.api().openapi.list_models(search=words, page_size=20)
        rows = found.get("models") or found.get("Models") or [] if isinstance(found, dict) else []
        return [str(row.get("id") or "") for row in rows if isinstance(row, dict) and row.get("id")]

    def is_dataset(self) -> bool:
        return bool(self.api().repo_exists(self.repo, "dataset"))

    def listing(self) -> Listing:
        with client_errors("modelscope %s" % self.repo):
            api = self.api()
            wanted = self.requested or "master"
            rows = self.rows(api, wanted)
            commit = wanted if COMMIT.fullmatch(wanted) else self.resolve(api, rows)
            entries = (
                Entry(
                    name=as_text(row.get("Path")),
                    size=row.get("Size", -1),
                    sha256=str(row.get("Sha256") or "").lower() or None,
                    url="%s/api/v1/models/%s/repo?%s"
                    % (
                        self.endpoint,
                        urllib.parse.quote(self.repo),
                        urllib.parse.urlencode({"Revision": commit or wanted, "FilePath": row.get("Path")}),
                    ),
                )
                for row in rows
            )
            headers = {"Authorization": "Bearer " + self.token} if self.token else {}
            rows_taken = taken(entries, self.wanted, lambda entry: content_of(entry, headers, None, self.limits))
            files = rows_taken["files"]
        # No commit that gives this listing: then its content is its name, which every byte is checked against anyway.
        revision = (
            commit
            or "listing-"
            + hashlib.sha256(json.dumps([[e.name, e.size, e.sha256] for e in files]).encode()).hexdigest()[:32]
        )
        return Listing(self.kind, self.repo, self.requested, revision, headers=headers, **rows_taken)

    def resolve(self, api: Any, rows: list[dict[str, Any]]) -> str | None:
        """The commit behind a branch: the newest that touched a file, if listing it gives the same files."""
        commits = [
            (row.get("CommittedDate") or 0, row["Revision"])
            for row in rows
            if COMMIT.fullmatch(str(row.get("Revision")))
        ]
        if not commits:
            return None
        newest = max(commits)[1]
        try:
            again = self.rows(api, newest)
        except Exception:
            return None

        def content(listed: list[dict[str, Any]]) -> set[tuple[Any, Any]]:
            return {(row.get("Path"), row.get("Sha256")) for row in listed}

        return str(newest) if content(again) == content(rows) else None


class Mirror:
    """Any HTTP server that has a models_root of ours, such as another host: manifests state every file's sha256."""

    kind = "mirror"

    def __init__(
        self,
        name: str,
        url: str,
        revision: str | None,
        wanted: Wanted,
        token: str = "",
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.name, self.repo, self.requested, self.wanted = name, url.rstrip("/"), revision, wanted
        self.token = token

    def read(self, path: str, headers: dict[str, str]) -> Any:
        from ansible.module_utils.serving.weights.client import Client

        url = "%s/%s" % (self.repo, urllib.parse.quote(path))
        with client_errors("mirror %s" % url):
            client = Client(headers, self.repo, None, self.limits)
            client.until = time.monotonic() + self.limits.listing
            return parsed(client.read(url, 64 << 20))

    def listing(self) -> Listing:
        headers = {"Authorization": "Bearer " + self.token} if self.token else {}
        revision = self.requested
        if not revision:
            record = self.read(".refs/%s.json" % self.name, headers)
            revision = record.get("revision") if isinstance(record, dict) else None
        if not isinstance(revision, str) or not re.fullmatch(r"[\w.+-]+", revision):
            raise SourceFailed("its record of '%s' names no revision" % self.name)
        folder = "%s@%s" % (self.name, revision[:12])
        manifest = self.read("%s/%s" % (folder, m.MANIFEST), headers)
        try:
            listed = dict(manifest["files"])
            entries = (
                Entry(
                    name=as_text(name),
                    size=row["bytes"],
                    sha256=row["sha256"],
                    url="%s/%s/%s" % (self.repo, urllib.parse.quote(folder), urllib.parse.quote(name)),
                )
                for name, row in listed.items()
            )
            rows_taken = taken(entries, self.wanted, lambda entry: content_of(entry, headers, None, self.limits))
            full = str(manifest.get("commit") or manifest["revision"])
            if not re.fullmatch(r"[\w.+-]{1,200}", full):
                raise ValueError("revision %.80r" % full)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceFailed("its manifest of %s is not one of ours (%r)" % (folder, error)) from None
        return Listing(self.kind, self.repo, self.requested, full, headers=headers, **rows_taken)


class Directory:
    """A folder on the host: a disk, NFS, a hub client's cache. Its content is read once, while it is copied.

    `known` is the sha256 of what was read from files that have not changed since: {name: (state, sha256)}. A list of sums in the
    folder is only a claim: bytes that don't agree with it are an error, and it never stands for bytes that weren't read.
    """

    kind = "directory"

    def __init__(self, path: str, wanted: Wanted, known: dict[str, tuple[list[int], str]] | None = None) -> None:
        self.repo, self.requested, self.wanted = os.path.expanduser(path), None, wanted
        self.known = known or {}

    def listing(self) -> Listing:
        try:
            found = folders.list_files(self.repo)
            seen = folders.fingerprint(found)
            sums = folders.read_sums(found[m.SUMS]) if m.SUMS in found else {}
        except Refusal as refusal:
            raise SourceFailed(str(refusal)) from None
        entries = []
        for name, path in found.items():
            state, digest = self.known.get(name, ([], None))
            entry = Entry(
                name, seen[name][0], digest if state == seen[name] else None, path=path, stated=sums.get(name)
            )
            if entry.sha256 and entry.stated and entry.sha256 != entry.stated:
                raise SourceFailed(disagreement(path, entry.sha256, entry.stated))
            entries.append(entry)
        try:
            rows_taken = taken(entries, self.wanted, lambda entry: content_of(entry, {}), local=True)
            notes = m.check_shards({entry.name: entry.path or "" for entry in rows_taken["files"]})
        except (Refusal, SourceFailed) as refusal:
            raise SourceFailed(str(refusal)) from None
        for name in sums:
            if name not in found and not is_junk(name) and not os.path.isfile(os.path.join(self.repo, name)):
                raise SourceFailed("%s lists %s, which is not in %s" % (m.SUMS, name, self.repo))
        rows_taken["notes"] += tuple(notes)
        return Listing(self.kind, self.repo, None, "", fingerprint=seen, **rows_taken)


def disagreement(path: str, found: str, stated: str) -> str:
    return "%s is damaged: sha256 is %s, %s says %s; restore the file at the source, or correct or remove %s there" % (
        path,
        found,
        m.SUMS,
        stated,
        m.SUMS,
    )


class Published:
    """A published model of this host, to be converted; its manifest states every digest."""

    kind = "published"

    def __init__(self, path: str) -> None:
        self.repo, self.requested = path, None

    def listing(self) -> Listing:
        manifest = m.read_manifest(self.repo)
        if manifest is None:
            raise SourceFailed("%s has no manifest" % self.repo)
        entries = (
            Entry(name=name, size=row["bytes"], sha256=row["sha256"], path=os.path.join(self.repo, name))
            for name, row in manifest["files"].items()
        )
        return Listing(self.kind, self.repo, None, manifest.get("commit") or manifest["revision"], checked(entries))
