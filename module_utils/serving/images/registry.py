"""Images from registries: by digest, from the first place that has them, checked against the host before gigabytes move."""

from __future__ import annotations

import contextlib
import os
import re
import time
from typing import Any, Callable, Iterator

from ansible.module_utils.serving.deadlines import SLOW
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import free_bytes, human
from ansible.module_utils.serving.images.reference import Reference, check_platform, places
from ansible.module_utils.serving.progress import Progress

# Layers travel compressed; unpacked they take about this much more.
UNPACKED = 2.6

# What engines and registries say about a pull (moby 20.10 to 28, distribution 2.8; excerpts are in the tests), and what to do.
REMEDIES = (
    (
        r"manifest unknown|manifest for .* not found|not found: manifest",
        "the registry has no such tag or digest: name an image that it has, in the service's row or in gateway_image",
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


# The same of an archive that it loads.
ARCHIVE_REMEDIES = (
    (
        r"docker-import-\S+: no such file",
        "the archive lacks this file: make it again by docker save, skopeo's docker-archive: or buildx's type=docker; "
        "an engine without containerd's store reads no OCI layout",
    ),
    (
        r"diffID|EOF|flate|checksum|invalid tar|mismatch|digest",
        "the archive is damaged: make it again, and compare its sha256 here with that where it was made",
    ),
    *(row for row in REMEDIES if "no space left" in row),
)


class PullFailed(Refusal):
    """This place can't give the image; the next one is tried."""


@contextlib.contextmanager
def registry_errors(place: str, remedies: tuple[tuple[str, str], ...] = REMEDIES) -> Iterator[None]:
    """What the engine says about a registry, or an archive, in words that name the remedy."""
    import docker.errors
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        raise PullFailed("%s: %s" % (place, explain(error.explanation or str(error), remedies))) from None
    except docker.errors.DockerException as error:
        raise PullFailed("%s: %s" % (place, explain(error, remedies))) from None
    except requests.exceptions.RequestException as error:
        raise PullFailed("%s: the engine went away (%s)" % (place, type(error).__name__)) from None
    except Refusal:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise PullFailed("%s: it gave what can't be read (%s: %.200s)" % (place, type(error).__name__, error)) from None


def explain(text: Any, remedies: tuple[tuple[str, str], ...] = REMEDIES) -> str:
    """An engine's words about a pull, and what to do. Sources: moby and distribution, their messages as recorded in tests."""
    said = " ".join((text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)).split())[:400]
    for pattern, remedy in remedies:
        if re.search(pattern, said, re.I):
            return "%s (%s)" % (said, remedy)
    return said


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


def nowhere(image: Reference, failures: list[str]) -> Refusal:
    """What to say where no place has an image: each place with its reason."""
    return Refusal("image %s can't be had: %s" % (image.text, "; ".join(failures)), failed_places=failures)


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
