"""What is there of a model on this host: asked here, by whoever needs to know.

A model has two forms, each a model on disk of its own: as it is published, and converted to fp16 (`+float16`).

<models_root>/.refs/<key>.json             which revision of a form the last fetch published
<models_root>/<name>@<revision>[+float16]  the published form, with its manifest
<models_root>/.<key>@<revision>.partial    a fetch or conversion of it that is not done yet
"""

from __future__ import annotations

import glob
import os
import re
from typing import Any, Iterable, NamedTuple

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import in_use, read_json
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.weights import manifests

SUFFIX = "+float16"
UNFINISHED = re.compile(r"\.(.+)@[^@]*\.partial")


class Use(NamedTuple):
    """A release of a service that names a model's folder."""

    path: str  # the folder, links resolved
    service: str
    release: str
    role: str  # runs, current, previous, or kept: a release that a rollback may still lead to

    def __str__(self) -> str:
        return "service '%s' (release %s, %s)" % (self.service, self.release, self.role)


class Form(NamedTuple):
    """One form of a model on this host. Sizes in bytes."""

    key: str
    record: dict[str, Any]  # of the last fetch; empty if there was none
    path: str | None  # the published folder that the record names; None if it or its manifest isn't there
    manifest: dict[str, Any]
    lacking: int  # of its published files, what is missing or cut
    partials: list[str]  # folders of unfinished fetches
    arrived: int  # of the unfinished fetch that has come furthest, what is on disk
    announced: int | None  # of the same, the size of the whole; None where its listing isn't recorded
    users: list[Use]

    @property
    def revision(self) -> str | None:
        return self.manifest.get("revision")

    @property
    def identity(self) -> str | None:
        return self.manifest.get("identity")

    @property
    def size(self) -> int:
        """Of the published files, by the manifest."""
        return sum(int(row["bytes"]) for row in self.manifest.get("files", {}).values())

    def to_come(self, total: int) -> int:
        """Bytes that a fetch of this form still writes; `total` is its size where nothing on this host says it better.

        Where some revision is published, another one may share most files with it: the fetch itself measures that before its first byte.
        """
        if self.path:
            return self.lacking
        return max(0, (self.announced or total) - self.arrived)


def key_of(name: str, convert: str | None) -> str:
    """What a form is recorded under."""
    return name + SUFFIX if convert else name


def key_of_folder(path: str) -> str | None:
    """The form that a folder of models_root holds, published or unfinished; None for one that isn't ours."""
    base = os.path.basename(path)
    unfinished = UNFINISHED.fullmatch(base)
    if unfinished:
        return unfinished.group(1)
    name, at, revision = base.partition("@")
    if not at or not name or name.startswith("."):
        return None
    return key_of(name, SUFFIX if revision.replace(".damaged", "").endswith(SUFFIX) else None)


def lock_path(models_root: str, key: str) -> str:
    """The lock of whoever fetches or converts a form."""
    return os.path.join(models_root, ".refs", key + ".lock")


def record_of(models_root: str, key: str) -> dict[str, Any]:
    """What the last run recorded of a form: {revision, kind, repo, commit, ...}; empty if there was none."""
    try:
        ref = read_json(manifests.ref_path(models_root, key))
    except ValueError:
        return {}
    return ref if isinstance(ref, dict) and isinstance(ref.get("revision"), str) else {}


def on_disk(path: str) -> int:
    """Bytes of a file that lie on disk: one that is being fetched has its full size from the start, and holes."""
    try:
        stat = os.stat(path)
    except OSError:
        return 0
    return min(stat.st_size, stat.st_blocks * 512) if path.endswith(".part") else stat.st_size


def look(models_root: str, name: str, convert: str | None = None, used: Iterable[Use] = ()) -> Form:
    """What is there of one form. Reads no weights: `lacking` goes by sizes. `used` is what `uses` found.

    Refusal if the manifest is damaged.
    """
    key = key_of(name, convert)
    record = record_of(models_root, key)
    folder = manifests.published(models_root, name, record.get("revision", ""))
    manifest = (manifests.read_manifest(folder) if record else None) or {}
    pattern = os.path.join(glob.escape(models_root), ".%s@*.partial" % glob.escape(key))
    partials = [path for path in sorted(glob.glob(pattern)) if key_of_folder(path) == key]
    arrived, announced = max([_arrived(path) for path in partials], default=(0, None), key=lambda pair: pair[0])
    return Form(
        key=key,
        record=record,
        path=folder if manifest else None,
        manifest=manifest,
        lacking=sum(_lacks(os.path.join(folder, file), row) for file, row in manifest.get("files", {}).items()),
        partials=partials,
        arrived=arrived,
        announced=announced,
        users=[use for use in used if _key_of_use(models_root, use) == key],
    )


def _lacks(path: str, row: dict[str, Any]) -> int:
    """Bytes that must be written anew of a published file."""
    try:
        return 0 if os.stat(path).st_size == row["bytes"] else int(row["bytes"])
    except OSError:
        return int(row["bytes"])


def _arrived(partial: str) -> tuple[int, int | None]:
    """(bytes on disk, size of the whole or None) of an unfinished fetch."""
    there = 0
    for base, _, names in os.walk(partial):
        for name in names:
            if name not in (manifests.MANIFEST, manifests.DONE, manifests.LISTING) and not name.endswith(
                (".journal", ".head")
            ):
                there += on_disk(os.path.join(base, name))
    try:
        files = (read_json(os.path.join(partial, manifests.LISTING)) or {}).get("files")
        return there, sum(int(row["size"]) for row in files) if files else None
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        return there, None


def _key_of_use(models_root: str, use: Use) -> str | None:
    inside = os.path.dirname(use.path) == os.path.realpath(models_root)
    return key_of_folder(use.path) if inside else None


def uses(root: str, without: Iterable[str] = ()) -> tuple[list[Use], list[str]]:
    """(which releases of all services below serving_root name which folder, releases that can't be read).

    `without` are folders of releases that are about to go.
    """
    gone = set(without)
    found: list[Use] = []
    unreadable: list[str] = []
    for service in releases.folders(root):
        folder = releases.service_dir(root, service)
        running = (releases.running_release(root, service) or {}).get("release")
        roles = {
            releases.link_digest(folder, "previous"): "previous",
            releases.link_digest(folder, "current"): "current",
            running: "runs",
        }
        for number in releases.releases(folder):
            path = os.path.join(folder, "releases", number)
            if path in gone:
                continue
            spec = releases.read_spec(path)
            if spec is None:
                unreadable.append(path)
                continue
            added = spec.get("adapters")
            for model in (spec.get("model"), *(added.values() if isinstance(added, dict) else ())):
                place = model.get("path") if isinstance(model, dict) else None
                if isinstance(place, str) and place:
                    resolved = os.path.realpath(os.path.expanduser(place))
                    found.append(Use(resolved, service, number, roles.get(number, "kept")))
    return found, unreadable


def unused(models_root: str, used: Iterable[Use]) -> tuple[list[str], list[str]]:
    """(paths below models_root that no release needs, what of the rest is being worked on now).

    Published folders, records and unfinished fetches, in either form. A folder without an @ in its name is nobody's business here.
    """
    users = list(used)
    paths = {use.path for use in users}
    keys = {_key_of_use(models_root, use) for use in users}
    gone: list[str] = []
    busy: list[str] = []
    for name in sorted(os.listdir(models_root)) if os.path.isdir(models_root) else []:
        path = os.path.join(models_root, name)
        key = key_of_folder(path)
        if key is None or os.path.realpath(path) in paths:
            continue
        (busy if in_use(lock_path(models_root, key)) else gone).append(path)
    refs = os.path.join(models_root, ".refs")
    for name in sorted(os.listdir(refs)) if os.path.isdir(refs) else []:
        key, end = os.path.splitext(name)
        if key not in keys and end in (".json", ".lock", ".progress") and not in_use(lock_path(models_root, key)):
            gone.append(os.path.join(refs, name))
    return gone, busy


def published(models_root: str, name: str, convert: str | None) -> Form:
    """The form, which must be published. Refusal if it isn't."""
    form = look(models_root, name, convert)
    if form.path is None:
        raise Refusal("model '%s' is not published below %s; run deploy.yml --tags fetch" % (form.key, models_root))
    return form
