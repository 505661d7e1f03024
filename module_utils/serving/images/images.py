"""Container images: by digest, from the first place that has them, checked against the host before gigabytes move."""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import re
import subprocess
import tarfile
import time
import zlib
from typing import Any, Callable, Iterator, NamedTuple

from ansible.module_utils.serving.deadlines import SLOW
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import BLOCK, free_bytes, human, read_json
from ansible.module_utils.serving.files import digest as digest_of_value
from ansible.module_utils.serving.host.system import run_tool
from ansible.module_utils.serving.progress import Progress
from ansible.module_utils.serving.weights import acquire as w
from ansible.module_utils.serving.weights.hubs import parsed

# What Docker calls an architecture, by the kernel's name for it.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Layers travel compressed; unpacked they take about this much more.
UNPACKED = 2.6

# What engines and registries say about a pull (moby 20.10 to 28, distribution 2.8; excerpts are in the tests), and what to do.
REMEDIES = (
    (
        r"manifest unknown|manifest for .* not found|not found: manifest",
        "the registry has no such tag or digest: set the image of the row to one that it has",
    ),
    (
        r"no matching manifest for|does not match the specified platform",
        "the image is not built for this host's architecture: set another image for this hardware",
    ),
    (
        r"unauthorized|authentication required|no basic auth|denied|403 Forbidden",
        "the registry wants other credentials, or the path is wrong: set image_username and image_password (vault)",
    ),
    (r"repository .* not found|name unknown", "the registry has no such repository: check the image's path"),
    (
        r"x509|certificate",
        "the registry's certificate is not trusted: put its CA into /etc/docker/certs.d/<registry>/ca.crt",
    ),
    (
        r"server gave HTTP response to HTTPS",
        "the registry speaks plain HTTP: give it TLS, or name it in insecure-registries of daemon.json",
    ),
    (r"no space left", "the disk of the container engine is full: free some, or move its data-root"),
    (
        r"toomanyrequests|rate limit",
        "the registry limits pulls: set image_username and image_password, or image_mirrors",
    ),
    (
        r"connection refused|no such host|timeout|deadline exceeded|EOF|reset by peer|no route",
        "the registry can't be reached: check network, proxy of the engine, image_mirrors",
    ),
)


ARCHIVE: dict[str, Any] = {
    "type": "dict",
    "options": {"path": {"type": "path", "required": True}, "id": {"type": "str", "required": True}},
}
# Options of the modules that bring an image from registries or an archive.
ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "mirrors": {"type": "list", "elements": "str", "default": []},
    "archive": ARCHIVE,
    "username": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    "look": {"type": "bool", "default": False},
}


class PullFailed(Exception):
    """This place can't give the image; the next one is tried."""


class Reference(NamedTuple):
    """registry/path[:tag][@sha256:...] in its parts."""

    registry: str
    path: str
    tag: str
    digest: str

    @property
    def repo(self) -> str:
        return "%s/%s" % (self.registry, self.path) if self.registry else self.path

    @property
    def text(self) -> str:
        return self.repo + (":" + self.tag if self.tag else "") + ("@" + self.digest if self.digest else "")


def parse(text: str) -> Reference:
    """An image's reference in its parts. Refusal if it is none."""
    found = re.fullmatch(
        r"(?:(?P<registry>localhost|[\w-]+(?:\.[\w-]+)+|[\w.-]+(?=:\d+/)|\[[0-9a-f:]+\])(?P<port>:\d+)?/)?"
        r"(?P<path>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
        text,
    )
    if not found:
        raise Refusal("image %r is no reference like registry/path:tag or registry/path@sha256:<64 hex digits>" % text)
    registry = (found["registry"] or "") + (found["port"] or "")
    return Reference(registry, found["path"], found["tag"] or "", found["digest"] or "")


def places(image: Reference, mirrors: list[str]) -> list[Reference]:
    """Where to ask, in order: each mirror (`host[:port][/prefix]`) with the image's path, then its own registry."""
    found = []
    for mirror in mirrors:
        registry, _, prefix = mirror.strip("/").partition("/")
        found.append(image._replace(registry=registry, path="%s/%s" % (prefix, image.path) if prefix else image.path))
    return [*found, image]


@contextlib.contextmanager
def registry_errors(place: str) -> Iterator[None]:
    """What the engine says about a registry, in words that name the remedy."""
    import docker.errors
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        raise PullFailed("%s: %s" % (place, explain(error.explanation or str(error)))) from None
    except requests.exceptions.RequestException as error:
        raise PullFailed("%s: the engine went away (%s)" % (place, type(error).__name__)) from None
    except (PullFailed, Refusal):
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise PullFailed("%s: it gave what can't be read (%s: %.200s)" % (place, type(error).__name__, error)) from None


def explain(text: Any) -> str:
    """An engine's words about a pull, and what to do. Sources: moby and distribution, their messages as recorded in tests."""
    said = " ".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)).split())[:400]
    for pattern, remedy in REMEDIES:
        if re.search(pattern, said, re.I):
            return "%s (%s)" % (said, remedy)
    return said


def check_platform(image: Reference, platforms: list[dict[str, Any]], arch: str) -> None:
    """Refuse an image that isn't built for `arch` (the kernel's name), before it is pulled."""
    want = ARCHITECTURES.get(arch, arch)
    rows = (
        [row.get("architecture") for row in platforms if isinstance(row, dict)] if isinstance(platforms, list) else []
    )
    found = sorted({text for text in rows if isinstance(text, str)} - {"", "unknown"})
    if arch and found and want not in found:
        raise Refusal(
            "image %s is built for %s, this host is %s (%s); set another image for this hardware"
            % (image.text, ", ".join(found), arch, want)
        )


def check_room(needed: float, free: int, folder: str) -> None:
    """Refuse an image that the engine's disk can't hold."""
    if needed > free:
        raise Refusal(
            "not enough disk for the image: about %s needed, %s free below %s; free some or move the engine's data-root"
            % (human(needed), human(free), folder)
        )


class Layers:
    """Progress of a pull: bytes of layers as the engine tells them, and whether the disk will hold them.

    With `others`, places that could give the image instead, one that sends less than SLOW bytes a second for WINDOW seconds has failed.
    """

    WINDOW = 120.0  # seconds

    def __init__(self, folder: str, told: Callable[[int, int], None], others: bool = False) -> None:
        self.folder, self.told, self.others = folder, told, others
        self.free = free_bytes(folder)
        self.totals: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.since, self.before = time.monotonic(), 0

    def event(self, row: dict[str, Any]) -> None:
        """One line of the engine's stream. Refusal when what is announced won't fit, PullFailed when it comes too slowly."""
        layer, status, detail = str(row.get("id", "")), row.get("status", ""), row.get("progressDetail") or {}
        if status == "Downloading" and detail.get("total"):
            self.totals[layer], self.done[layer] = count_of(detail["total"]), count_of(detail.get("current") or 0)
        elif status in ("Download complete", "Pull complete") and layer in self.totals:
            self.done[layer] = self.totals[layer]
        total, done = sum(self.totals.values()), sum(self.done.values())
        check_room(total * UNPACKED, self.free, self.folder)
        self.told(done, total)
        seconds = time.monotonic() - self.since
        if status != "Downloading" or done >= total:  # it unpacks, or checks
            self.since, self.before = time.monotonic(), done
        elif seconds > self.WINDOW:
            if self.others and done - self.before < SLOW * seconds:
                raise PullFailed(
                    "it is slow, %s in %d s, and another place remains" % (human(done - self.before), seconds)
                )
            self.since, self.before = time.monotonic(), done


def count_of(value: Any) -> int:
    """A number of bytes as an engine tells it. ValueError for anything else."""
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError("a size of %.60r" % (value,))
    return value


def credentials(given: dict[str, Any]) -> dict[str, str] | None:
    """What the engine logs in with, from a module's options; None without a user."""
    return {"username": given["username"], "password": given["password"]} if given["username"] else None


def data_root(client: Any) -> str:
    """The engine's folder, or the nearest one that this process can see."""
    root = str(client.info().get("DockerRootDir") or "/")
    while not os.path.exists(root):
        root = os.path.dirname(root) or "/"
    return root


def connect() -> Any:
    """A client of the host's engine. Refusal if it doesn't answer."""
    try:
        import docker
        import docker.errors
    except ImportError as error:
        raise Refusal(
            "the Python package %s is missing, which the tools environment brings; run deploy.yml --tags prepare"
            % error.name
        ) from None
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except docker.errors.DockerException as error:
        raise Refusal(
            "no container engine answers at %s (%s); start it, or run deploy.yml --tags prepare"
            % (os.environ.get("DOCKER_HOST", "/var/run/docker.sock"), " ".join(str(error).split())[:200])
        ) from None
    return client


def pull(
    client: Any, image: Reference, digest: str, given: dict[str, Any], progress: Progress, platform: str | None = None
) -> tuple[Any, str, str, list[str]]:
    """(image, digest, place, failures) from the first place that has it; image is None where none has.

    `given` are a module's options mirrors, arch, username and password; `platform` is one other than the engine's own.
    """
    secret = credentials(given)
    failures: list[str] = []
    asked = places(image, given["mirrors"])
    for number, place in enumerate(asked, 1):
        try:
            with registry_errors(place.repo):
                target = "%s@%s" % (place.repo, digest) if digest else "%s:%s" % (place.repo, place.tag or "latest")
                about = client.api.inspect_distribution(target, auth_config=secret)
                found = about["Descriptor"]["digest"]
                if not re.fullmatch(r"sha256:[0-9a-f]{64}", found) or digest not in ("", None, found):
                    raise PullFailed("%s: it answers digest %.80s for %s" % (place.repo, found, target))
                check_platform(image, about.get("Platforms") or [], given["arch"])
                layers = Layers(data_root(client), progress.set, number < len(asked))
                progress.begin("pulling", 0, place.registry or "docker.io")
                for row in client.api.pull(
                    place.repo, tag=found, stream=True, decode=True, auth_config=secret, platform=platform
                ):
                    if "error" in row:
                        raise PullFailed("%s: %s" % (place.repo, explain(row["error"])))
                    try:
                        layers.event(row)
                    except Refusal as refusal:  # of what this place announces; another one may announce something else
                        raise PullFailed(str(refusal)) from None
                return client.images.get("%s@%s" % (place.repo, found)), found, place.repo, failures
        except PullFailed as failure:
            said = str(failure)
            failures.append(said if said.startswith(place.repo) else "%s: %s" % (place.repo, said))
    return None, digest, "", failures


# What is on this host


def record_path(folder: str, name: str) -> str:
    """Where it is recorded what an image's name was resolved to."""
    return os.path.join(folder, "%s.json" % digest_of_value(name)[:16])


def read_record(folder: str, name: str) -> dict[str, Any]:
    """What an earlier run has found out: the digest of a tag, the id of an image from an archive."""
    try:
        return dict(read_json(record_path(folder, name)) or {})
    except ValueError:
        return {}


def inspect(ident: str) -> dict[str, Any] | None:
    """What the host's engine says of an image; None if it has none by that name or id. Refusal if no engine answers."""
    code, text, error = run_tool(["docker", "image", "inspect", ident])
    if code == 0:
        found: dict[str, Any] = json.loads(text)[0]
        return found
    if re.search(r"no such image", error, re.I):
        return None
    raise Refusal(
        "no container engine answers (%s); start it, or run deploy.yml --tags prepare" % " ".join(error.split())[:200]
    )


def on_host(name: str, folder: str, archive: dict[str, Any] | None) -> tuple[dict[str, Any] | None, str]:
    """(the image, the digest that counts) by its reference, the records in `folder`, and the archive that it may have come from.

    None where the host has no such image. By the engine's command line: this runs under any Python of a host.
    """
    record = read_record(folder, name)
    digest = parse(name).digest or str(record.get("digest") or "")
    wanted = archive["id"] if archive else None
    idents = [record.get("id") if record.get("archive") == wanted else None, wanted]
    if digest:  # whichever mirror it came from
        _, text, _ = run_tool(["docker", "image", "ls", "--no-trunc", "--digests", "--format", "{{.Digest}} {{.ID}}"])
        idents = [line.partition(" ")[2] for line in text.splitlines() if line.startswith(digest + " ")][:1] + idents
    for ident in idents:
        found = inspect(ident) if ident else None
        if found:
            return found, digest
    return None, digest


def about(image: dict[str, Any], digest: str) -> dict[str, Any]:
    """What a release needs to know of an image on this host."""
    user = (image.get("Config") or {}).get("User") or "root"
    return {"id": image["Id"], "digest": digest or None, "user": user, "uid": uid_of(image["Id"], user)}


def check_built_for(image: dict[str, Any], name: str, arch: str) -> None:
    built = image.get("Architecture", "")
    if arch and built:
        check_platform(parse(name), [{"architecture": built}], arch)


# Archives: what `docker save` makes, from an operator or from the controller (module image_archive)

TAR, ABOUT = "image.tar", "image.json"  # files of a folder that module image_archive publishes


MEMBERS, INDEX = 100_000, 16 << 20  # members of an archive, bytes of its index
ARCHIVE_ERRORS = (
    tarfile.TarError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    zlib.error,
    lzma.LZMAError,
)


@contextlib.contextmanager
def archive(path: str) -> Iterator[tarfile.TarFile]:
    """An archive to be read. PullFailed where there is none, Refusal where it can't be read to its end."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("it is no file")
        with tarfile.open(path) as tar:
            yield tar
    except FileNotFoundError:
        raise PullFailed("archive %s is not on this machine" % path) from None
    except ARCHIVE_ERRORS as error:
        raise Refusal("%s is no archive that docker save makes (%s); make it anew" % (path, error)) from None
    except OSError as error:
        if error.errno is not None:  # of the disk
            raise
        raise Refusal("%s is no archive that docker save makes (%s); make it anew" % (path, error)) from None


def members(tar: tarfile.TarFile, limit: float, name: str) -> Iterator[tarfile.TarInfo]:
    """What is in an archive. Refusal as soon as it is more than `limit` bytes: a few kilobytes can inflate to terabytes."""
    total, count = 0.0, 0
    for member in tar:
        total, count = total + max(0, member.size), count + 1
        if count > MEMBERS:
            raise ValueError("it has more than %d members" % MEMBERS)
        if total > limit:
            raise Refusal(
                "archive %s inflates to more than the %s that are free; free some, or make it anew"
                % (name, human(limit))
            )
        yield member


def ids_in(path: str, limit: float = float("inf")) -> list[str]:
    """The ids by which engines know the images of an archive: of the configuration, or of the manifest (containerd's store).

    Refusal where what is in it is larger than `limit` bytes.
    """
    found = []
    with archive(path) as tar:
        for member in members(tar, limit, path):
            if member.name not in ("manifest.json", "index.json"):
                continue
            source = tar.extractfile(member)
            if source is None or member.size > INDEX:
                raise ValueError("its %s is no file of at most %s" % (member.name, human(INDEX)))
            rows = parsed(source.read(INDEX + 1))
            for row in rows["manifests"] if isinstance(rows, dict) else rows:
                found += re.findall(r"[0-9a-f]{64}", str(row.get("Config") or row.get("digest")))
    return ["sha256:" + one for one in dict.fromkeys(found)]


def unpacked(path: str, limit: float) -> int:
    """Bytes of an archive with its layers inflated. Refusal as soon as they are more than `limit`."""
    total = 0

    def add(count: int) -> None:
        nonlocal total
        total += count
        if total > limit:
            raise Refusal(
                "not enough disk for the image: the layers of %s inflate to more than the %s that are free; free some, or make it anew"
                % (path, human(limit))
            )

    with archive(path) as tar:
        for member in members(tar, limit, path):
            source = tar.extractfile(member) if member.isreg() else None
            if source is None:
                continue
            start = source.read(2)
            if start != b"\x1f\x8b":
                add(member.size)
                continue
            inflate, block = zlib.decompressobj(31), start
            while block:
                while block:
                    add(len(inflate.decompress(block, BLOCK)))
                    block = inflate.unconsumed_tail
                    if inflate.eof:  # gzip may have several parts
                        block, inflate = inflate.unused_data.lstrip(b"\0"), zlib.decompressobj(31)
                block = source.read(BLOCK)
    return total


def check_archive(path: str, wanted: str, limit: float = float("inf")) -> list[str]:
    """The ids in an archive. Refusal if it isn't the one that it should be, or inflates to more than `limit` bytes."""
    found = ids_in(path, limit)
    if wanted not in found:
        raise Refusal(
            "archive %s holds %s, wanted is %s; make it anew, or correct the id"
            % (path, ", ".join(found) or "no image", wanted)
        )
    return found


def load(client: Any, image: Reference, path: str, wanted: str) -> Any:
    """The image of an archive, under a name: the engine's clean-up takes what has none."""
    root = data_root(client)
    free = free_bytes(root)
    ids = check_archive(path, wanted, free)
    check_room(unpacked(path, free), free, root)
    with registry_errors(path), open(path, "rb") as source:
        found = next((one for one in client.images.load(source) if one.id in ids), None)
    if found is None:
        raise Refusal("archive %s was loaded, and the engine has no image %s; look into its log" % (path, wanted))
    if not found.tags:
        found.tag(image.repo, image.tag or "loaded-" + found.id[7:19])
        found.reload()
    return found


def archive_key(name: str, arch: str) -> str:
    """What the archive of an image is called where it is published: `vllm-openai.0a1b2c3d`."""
    return "%s.%s" % (parse(name).path.replace("/", "-")[-60:], digest_of_value([name, arch])[:8])


def archive_sources(name: str) -> dict[str, Any]:
    """As sources of models are given: where an archive comes from, first of all."""
    return {"registry": {"repo": name}}


def published_archive(folder: str, name: str, arch: str) -> dict[str, Any] | None:
    """{path, id, digest} of an image's archive below `folder`; None if there is none, or not whole."""
    found, _ = w.why_not_published(folder, archive_key(name, arch), archive_sources(name))
    if not found:
        return None
    with open(os.path.join(found, ABOUT), encoding="utf-8") as source:
        return {**json.load(source), "path": os.path.join(found, TAR)}


def uid_of(ident: str, user: str) -> int:
    """Number of the user that an image runs as. A name is looked up in the image itself."""
    name = user.partition(":")[0]
    if name == "root":
        return 0
    if name.isdigit():
        return int(name)
    command = ["docker", "run", "--rm", "--network=none", "--entrypoint=id", ident, "-u"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    if not done.stdout.strip().isdigit():
        raise Refusal(
            "image %s runs as user '%s', and that user's number can't be found (%s); the image needs the program id, or a numeric USER"
            % (ident[:19], name, done.stderr.strip()[-200:])
        )
    return int(done.stdout)
