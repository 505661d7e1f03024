"""What a killed run of a model has left on this host, and its removal."""

from __future__ import annotations

import contextlib
import glob
import os

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import (
    locked,
    remove_tree,
)
from ansible.module_utils.serving.weights import manifests
from ansible.module_utils.serving.weights.model_state import SUFFIX, lock_path, record_of
from ansible.module_utils.serving.weights.publishing import remove_others


def tidy(root: str, key: str) -> list[str]:
    """Mend and remove what a killed run of this model has left. Only for the holder of its lock. Returns what was there."""
    name, found = key.removesuffix(SUFFIX), []
    for old in leftovers(root, key):
        folder = old.removesuffix(".damaged")
        if old != folder and not os.path.lexists(folder):
            os.rename(old, folder)  # killed between two renames: better this one than none
        else:
            remove_tree(old)
        found.append(old)
    revision = record_of(root, key).get("revision")
    if revision:
        folder = manifests.published(root, name, revision)
        staging = os.path.join(root, ".%s@%s.partial" % (key, revision.removesuffix(SUFFIX)))
        manifest = manifests.read_manifest(folder) if os.path.isdir(folder) else None
        if manifest and os.path.isfile(os.path.join(folder, manifests.DONE)):  # killed right after its rename
            remove_others(folder, {*manifest["files"], manifests.MANIFEST})
            found.append(os.path.join(folder, manifests.DONE))
        if manifest and stepped_aside(staging):
            remove_tree(staging)
            found.append(staging)
    return found


def leftovers(root: str, key: str) -> list[str]:
    """Folders that stepped aside, and files that were being written, of a run of this model that was killed."""
    name, converted = key.removesuffix(SUFFIX), key.endswith(SUFFIX)
    aside = glob.glob(os.path.join(glob.escape(root), glob.escape(name) + "@*.damaged"))
    found = [path for path in aside if path.removesuffix(".damaged").endswith(SUFFIX) == converted]
    for end in (".json.part.*", ".progress.part", ".progress.part.*"):
        found += glob.glob(os.path.join(glob.escape(root), ".refs", glob.escape(key) + end))
    return sorted(found)


def untidy(root: str, key: str, folder: str) -> bool:
    """Has a killed run of this published model left anything?"""
    staging = os.path.join(root, ".%s@%s.partial" % (key, folder.rpartition("@")[2].removesuffix(SUFFIX)))
    return bool(leftovers(root, key)) or os.path.isfile(os.path.join(folder, manifests.DONE)) or stepped_aside(staging)


def stepped_aside(staging: str) -> bool:
    """Does a staging folder hold what was published before, after the names were exchanged?"""
    return os.path.isfile(os.path.join(staging, manifests.MANIFEST)) and not os.path.isfile(
        os.path.join(staging, manifests.DONE)
    )


def sweep(root: str, key: str, folder: str, check_mode: bool) -> None:
    """Remove what a killed run of a published model has left, unless another run works on it now."""
    if not check_mode and untidy(root, key, folder):
        with contextlib.suppress(Refusal), locked(lock_path(root, key), "model '%s'" % key, 0):
            tidy(root, key)
