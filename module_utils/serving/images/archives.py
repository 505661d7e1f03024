"""Images from archives, as `docker save` makes them: read with bounds before an engine loads them."""

from __future__ import annotations

import contextlib
import json
import lzma
import os
import re
import tarfile
import zlib
from typing import Any, Iterator

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import BLOCK, free_bytes, human
from ansible.module_utils.serving.files import digest as digest_of_value
from ansible.module_utils.serving.images.reference import Reference, parse
from ansible.module_utils.serving.images.registry import PullFailed, check_room, data_root, registry_errors
from ansible.module_utils.serving.weights import records
from ansible.module_utils.serving.weights.listing import parsed

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
        raise Refusal("%s is no archive that docker save makes (%s); make it again" % (path, error)) from None
    except OSError as error:
        if error.errno is not None:  # of the disk
            raise
        raise Refusal("%s is no archive that docker save makes (%s); make it again" % (path, error)) from None


def members(tar: tarfile.TarFile, limit: float, name: str) -> Iterator[tarfile.TarInfo]:
    """What is in an archive. Refusal as soon as it is more than `limit` bytes: a few kilobytes can inflate to terabytes."""
    total, count = 0.0, 0
    for member in tar:
        total, count = total + max(0, member.size), count + 1
        if count > MEMBERS:
            raise ValueError("it has more than %d members" % MEMBERS)
        if total > limit:
            raise Refusal(
                "archive %s inflates to more than the %s that are free; free some, or make it again"
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
                "not enough disk for the image: the layers of %s inflate to more than the %s that are free; free some, or make it again"
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
            "archive %s holds %s, wanted is %s; make it again, or correct the id"
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
    found, _ = records.why_not_published(folder, archive_key(name, arch), archive_sources(name))
    if not found:
        return None
    with open(os.path.join(found, ABOUT), encoding="utf-8") as source:
        return {**json.load(source), "path": os.path.join(found, TAR)}
