"""A folder on this host as a source of weights: what is in it, what it says of itself, and what is no model's folder."""

from __future__ import annotations

import glob
import os
import re
import stat as modes

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.choice import is_junk
from ansible.module_utils.serving.weights.manifests import DONE, LISTING, MANIFEST, SUMS

FILES_LIMIT = 100_000  # files of one folder
OURS = (MANIFEST, DONE, LISTING)
SUM = re.compile(r"([0-9a-fA-F]{64}) [ *](\S.*)")
SUM_BSD = re.compile(r"SHA256 \((.+)\) = ([0-9a-fA-F]{64})")


def list_files(folder: str) -> dict[str, str]:
    """Relative name -> path of every file of a model's folder, without what editors, systems and clients leave behind.

    Links to files count as files, wherever they lead (a hub's cache consists of them). A linked subfolder is followed
    inside the folder, and refused where it leads out of it or in a circle.
    """
    if not os.path.isdir(folder):
        raise Refusal(
            "the model's folder %s does not exist on this host; check sources.directory.path in models.yml" % folder
        )
    refuse_cache(folder)
    found: dict[str, str] = {}
    top = os.path.realpath(folder)

    def walk(path: str, name: str, above: tuple[str, ...]) -> None:
        with os.scandir(path) as entries:
            rows = sorted(entries, key=lambda entry: entry.name)
        for entry in rows:
            mine = entry.name if not name else "%s/%s" % (name, entry.name)
            if is_junk(mine) or mine in OURS:
                continue
            is_folder, is_file = what_is(entry)
            if is_folder:
                real = os.path.realpath(entry.path)
                if entry.is_symlink():
                    check_link(entry.path, real, top, above)
                walk(entry.path, mine, (*above, real))
            elif is_file:
                found[mine] = entry.path
            else:
                raise Refusal(
                    "%s is neither a file nor a link to one (%s); a model's folder must not hold it"
                    % (printable(entry.path), kind_of(entry))
                )
            if len(found) > FILES_LIMIT:
                raise Refusal("%s has more than %d files; it is no model's folder" % (folder, FILES_LIMIT))

    try:
        walk(folder, "", (top,))
    except RecursionError:
        raise Refusal("%s has folders within folders without end; it is no model's folder" % folder) from None
    if not found:
        raise Refusal("the model's folder %s is empty" % folder)
    return found


def printable(path: str) -> str:
    """A path for a message, whatever bytes it is made of."""
    return path if path.isprintable() else ascii(path)


def what_is(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """(is it a folder, is it a file?), links followed; neither for a link that leads nowhere or to itself."""
    try:
        return entry.is_dir(), entry.is_file()
    except OSError:
        if not entry.is_symlink():
            raise
        return False, False


def kind_of(entry: os.DirEntry[str]) -> str:
    if entry.is_symlink():
        return "a link that leads nowhere, to %s" % printable(os.readlink(entry.path))
    mode = entry.stat(follow_symlinks=False).st_mode
    return "a socket" if modes.S_ISSOCK(mode) else "a named pipe" if modes.S_ISFIFO(mode) else "a device"


def check_link(path: str, real: str, top: str, above: tuple[str, ...]) -> None:
    """Refuse a linked folder that leads out of the model's folder, or back to one that holds it."""
    if real != top and not real.startswith(top + os.sep):
        raise Refusal(
            "%s is a link to the folder %s, outside of the model's folder; copy it in, or link its files one by one"
            % (printable(path), printable(real))
        )
    if real in above:
        raise Refusal("%s is a link to %s, which holds the link itself; remove it" % (printable(path), real))


def refuse_cache(folder: str) -> None:
    """Refuse the folder of a hub client's cache, and name the snapshot in it."""
    repositories = [folder] if os.path.isdir(os.path.join(folder, "snapshots")) else []
    if not repositories and not os.path.exists(os.path.join(folder, "config.json")):
        repositories = sorted(glob.glob(os.path.join(glob.escape(folder), "models--*")))
    snapshots = []
    for repository in repositories:
        found = sorted(
            p for p in glob.glob(os.path.join(glob.escape(repository), "snapshots", "*")) if os.path.isdir(p)
        )
        current = []
        for ref in ("main", "master"):
            try:
                with open(os.path.join(repository, "refs", ref), encoding="utf-8") as source:
                    current += [p for p in found if os.path.basename(p) == source.read(100).strip()]
            except (OSError, ValueError):
                continue
        snapshots += current[:1] or found
    if repositories:
        where = ", ".join(snapshots[:3]) or "(it has none; fetch the model first)"
        raise Refusal(
            "%s is a hub client's cache, not a model's folder; use a snapshot in it as sources.directory.path: %s"
            % (folder, where)
        )


def read_sums(path: str) -> dict[str, str]:
    """A `sha256sum` listing -> {name: sha256}. Malformed lines are refused."""
    sums: dict[str, str] = {}
    with open(path, encoding="utf-8-sig", errors="replace") as source:
        for number, line in enumerate(source, 1):
            text = line.rstrip("\r\n")
            if not text.strip():
                continue
            match, other = SUM.fullmatch(text), SUM_BSD.fullmatch(text)
            if not match and not other:
                raise Refusal("%s line %d is not '<sha256>  <name>': %r" % (path, number, text[:80]))
            name, value = (match.group(2), match.group(1)) if match else (other.group(1), other.group(2))  # type: ignore[union-attr]
            sums[os.path.normpath(name)] = value.lower()
    sums.pop(SUMS, None)  # its own sum, taken while it was written, can't be right
    return sums


def state_of(path: str) -> list[int]:
    """What changes with a file's content: size, mtime and ctime (ns). ctime can't be set back, so a restored mtime hides nothing."""
    stat = os.stat(path)
    return [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]


def fingerprint(files: dict[str, str]) -> dict[str, list[int]]:
    """The state of each file: equal means not worth reading again."""
    return {name: state_of(path) for name, path in files.items()}


def seen_at(path: str | None) -> dict[str, list[int]] | None:
    """The state of a folder whose content came from elsewhere; None where it can't be read here."""
    try:
        return fingerprint(list_files(os.path.expanduser(path or "")))
    except (Refusal, OSError):
        return None
