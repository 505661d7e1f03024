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
from ansible.module_utils.serving.images.registry import (
    ARCHIVE_REMEDIES,
    PullFailed,
    check_room,
    data_root,
    registry_errors,
)
from ansible.module_utils.serving.weights import records
from ansible.module_utils.serving.weights.listing import parsed

# Archives: what `docker save` makes, from an operator or from the controller (module image_archive)

TAR, ABOUT = "image.tar", "image.json"  # files of a folder that module image_archive publishes


MEMBERS, INDEX = 100_000, 16 << 20  # members of an archive, bytes of its index
MANIFEST = 4 << 20  # bytes of one image's manifest, as registries have it
# The members that say which images an archive holds. A tar of an unpacked archive (`tar -cf x.tar .`) names them with `./`.
TELLING = re.compile(r"(?:\./)*(manifest\.json|index\.json|blobs/sha256/[0-9a-f]{64})")
ARCHIVE_ERRORS = (
    tarfile.TarError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    EOFError,
    RecursionError,
    zlib.error,
    lzma.LZMAError,
)


def opened(path: str) -> tarfile.TarFile:
    """The tar file, packed or not. tarfile tells its four attempts in five lines; what the file is says more."""
    try:
        return tarfile.open(path)
    except tarfile.ReadError:
        with open(path, "rb") as source:
            start = source.read(16)
        if start.startswith(b"\x28\xb5\x2f\xfd"):
            raise Refusal("%s is packed with zstd, which can't be read here; unpack it (zstd -d)" % path) from None
        words = (
            "it is no tar, and none that gzip, bzip2 or xz packed: it begins with %r" % start
            if start
            else "it is empty"
        )
        raise ValueError(words) from None


@contextlib.contextmanager
def archive(path: str) -> Iterator[tarfile.TarFile]:
    """An archive to be read. PullFailed where there is none, Refusal where it can't be read to its end."""
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            raise ValueError("it is no file")
        with opened(path) as tar:
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


def images_in(path: str, limit: float = float("inf")) -> list[list[str]]:
    """The images of an archive, each by the ids that engines know it by: of the configuration, or of the manifest (containerd's store).

    Refusal where what is in it is larger than `limit` bytes.
    """
    found: list[list[str]] = []
    leads: dict[str, list[str]] = {}  # a manifest or index of platforms -> what it names
    with archive(path) as tar:
        for member in members(tar, limit, path):
            telling = TELLING.fullmatch(member.name)
            if not telling:
                continue
            name, source = telling.group(1), tar.extractfile(member)
            if name.startswith("blobs/"):
                if source is not None and member.size <= MANIFEST and source.read(1) == b"{":
                    leads[name[-64:]] = named_by(b"{" + source.read())
                continue
            if source is None or member.size > INDEX:
                raise ValueError("its %s is no file of at most %s" % (member.name, human(INDEX)))
            rows = parsed(source.read(INDEX + 1))
            for row in rows["manifests"] if isinstance(rows, dict) else rows:
                found.append(re.findall(r"[0-9a-f]{64}", str(row.get("Config") or row.get("digest"))))
    groups: list[list[str]] = []
    for ids in found:
        whole = list(dict.fromkeys(ids))
        for one in whole:  # grows while it is read
            whole += [other for other in leads.get(one, ()) if other not in whole]
        same = next((group for group in groups if set(group) & set(whole)), None)
        if same is None:
            groups.append(whole)
        else:
            same += [one for one in whole if one not in same]
    return [["sha256:" + one for one in group] for group in groups if group]


def named_by(blob: bytes) -> list[str]:
    """What a manifest, or an index of platforms, names; nothing for a blob that is neither."""
    try:
        row = parsed(blob)
        rows = [row.get("config") or {}, *(row.get("manifests") or [])]
        return [one for row in rows for one in re.findall(r"[0-9a-f]{64}", str(row.get("digest")))]
    except (ValueError, TypeError, AttributeError):
        return []


def ids_in(path: str, limit: float = float("inf")) -> list[str]:
    """All ids of an archive's images, those that it names itself first."""
    return [one for group in images_in(path, limit) for one in group]


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
    """The ids of the wanted image in an archive. Refusal if it isn't there, or the archive inflates to more than `limit` bytes."""
    found = images_in(path, limit)
    ids = next((group for group in found if wanted in group), None)
    if ids is None:
        raise Refusal(
            "archive %s holds %s, wanted is %s; make it again, or correct the id"
            % (path, ", ".join(group[0] for group in found) or "no image", wanted)
        )
    return ids


def load(client: Any, image: Reference, path: str, wanted: str) -> Any:
    """The image of an archive, under a name: the engine's clean-up takes what has none."""
    root = data_root(client)
    free = free_bytes(root)
    ids = check_archive(path, wanted, free)
    check_room(unpacked(path, free), free, root)
    with registry_errors(path, ARCHIVE_REMEDIES), open(path, "rb") as source:
        loaded = client.images.load(source)
    found = next((one for one in sorted(loaded, key=lambda one: one.id != wanted) if one.id in ids), None)
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
