"""A service's folder on a host: releases by digest, `current` and `previous`, key, run and exit records.

services/<name>/releases/<digest>/{start, spec.json, ...}   rendered, never edited afterwards
services/<name>/current, previous                           links into releases/
services/<name>/verified.json                               releases that have answered, and since when
services/<name>/api_key                                     0600, made once
services/<name>/run.json                                    the process that runs now (written by foreground.py)
services/<name>/exit.json                                   how the last one ended
"""

from __future__ import annotations

import os
import re
import secrets
import time
from typing import Any

from ansible.module_utils.serving.errors import FULL, ROOM, Refusal
from ansible.module_utils.serving.files import (
    copy_file,
    digest,
    fsync_dir,
    read_json,
    remove_tree,
    sha256_file,
    swap_link,
    write_atomic,
    write_json,
)
from ansible.module_utils.serving.processes import boot_id, start_ticks

SPEC = "spec.json"


def service_dir(root: str, name: str) -> str:
    return os.path.join(root, "services", name)


def write_release(
    folder: str, spec: dict[str, Any], files: dict[str, str], sources: dict[str, str] | None = None
) -> tuple[str, bool]:
    """(digest, written): the release folder of this spec and these files, made in one rename if it isn't there whole.

    `sources` are files of this host with the content of the inputs that travel with the release: the relative names in the spec's
    `inputs`. Refusal where one has other content than the spec says.
    """
    number = digest({"spec": spec, "files": files})[:12]
    release = os.path.join(folder, "releases", number)
    wanted = carried(spec)
    if (
        read_spec(release) is not None
        and all(_text(os.path.join(release, n)) == text for n, text in files.items())
        and all(has_content(os.path.join(release, n), content) for n, content in wanted.items())
    ):
        return number, False
    part = release + ".partial"
    remove_tree(part)
    os.makedirs(part, mode=0o755)
    for name, text in files.items():
        os.makedirs(os.path.dirname(os.path.join(part, name)), mode=0o755, exist_ok=True)
        write_atomic(os.path.join(part, name), text.encode(), 0o755 if name == "start" else 0o644)
    for name, content in wanted.items():
        path = os.path.join(part, name)
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        copy_file((sources or {})[name], path)
        os.chmod(path, 0o644)
        if not has_content(path, content):
            raise Refusal("%s arrived with other content than it had on the controller; run it again" % name)
    write_json(os.path.join(part, SPEC), spec)
    remove_tree(release)
    os.rename(part, release)
    fsync_dir(os.path.dirname(release))
    return number, True


def carried(spec: dict[str, Any]) -> dict[str, str]:
    """{name in the release: sha256:...} of the inputs that travel with a release; the others are paths of the host."""
    found = spec.get("inputs")
    return {n: str(c) for n, c in found.items() if not n.startswith("/")} if isinstance(found, dict) else {}


def has_content(path: str, content: str) -> bool:
    """Is there a file with the content `sha256:...`?"""
    try:
        return bool("sha256:" + sha256_file(path) == content)
    except OSError:
        return False


def source_of(folder: str, name: str, content: str) -> str | None:
    """A file with this content in a release that is here already, under the same name; None if there is none."""
    paths = (os.path.join(folder, "releases", number, name) for number in releases(folder))
    return next((path for path in paths if has_content(path, content)), None)


def lacking_inputs(folder: str, spec: dict[str, Any], given: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """({input: a file of this host with its content}, inputs that have none here)."""
    found = {}
    for name, content in carried(spec).items():
        path = given.get(name) or source_of(folder, name, content)
        if path:
            found[name] = path
    return found, sorted(set(carried(spec)) - set(found))


def _text(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as source:
            return source.read()
    except (OSError, UnicodeDecodeError):
        return None


def read_spec(release: str) -> dict[str, Any] | None:
    """spec.json of a release; None if there is none or it is damaged."""
    try:
        spec = read_json(os.path.join(release, SPEC))
    except ValueError:
        return None
    return spec if isinstance(spec, dict) else None


def link_digest(folder: str, link: str) -> str | None:
    """The digest that `current` or `previous` points to."""
    try:
        return os.path.basename(os.readlink(os.path.join(folder, link)))
    except OSError:
        return None


def changed_at(folder: str) -> float | None:
    """When the current release took over, seconds since 1970; None where there is none."""
    try:
        return os.lstat(os.path.join(folder, "current")).st_mtime
    except OSError:
        return None


def verified(folder: str) -> dict[str, float]:
    """{release: when it last answered}: what verify has seen work on this host."""
    try:
        found = read_json(os.path.join(folder, "verified.json")) or {}
    except ValueError:
        return {}
    there = os.path.join(folder, "releases")
    return {
        n: float(t) for n, t in found.items() if isinstance(t, (int, float)) and os.path.isdir(os.path.join(there, n))
    }


def mark_verified(folder: str, number: str) -> None:
    """Record that a release answers as it should."""
    known = verified(folder)
    if number not in known:
        write_json(os.path.join(folder, "verified.json"), {**known, number: time.time()})


def earlier(folder: str, number: str) -> str | None:
    """The release to return to from `number`: `previous`, else the newest other one that has answered. None: there is none."""
    there = os.path.join(folder, "releases")
    link = link_digest(folder, "previous")
    if link and link != number and read_spec(os.path.join(there, link)) is not None:
        return link
    known = verified(folder)
    others = sorted(
        (n for n in known if n != number and read_spec(os.path.join(there, n)) is not None), key=known.__getitem__
    )
    return others[-1] if others else None


def make_current(folder: str, number: str) -> bool:
    """Point `current` at a release. True if that changed.

    `previous` becomes what was current, unless that has never answered: then it stays with the one before. So a rollback never
    leads to a release that nobody has seen work, whatever was tried and killed in between.
    """
    old = link_digest(folder, "current")
    if old == number:
        return False
    back = None
    if old is not None and os.path.isdir(os.path.join(folder, "releases", old)):
        known = verified(folder)
        back = old if old in known else earlier(folder, number) or (None if number in known else old)
    swap_link(os.path.join(folder, "current"), os.path.join("releases", number))
    if back is not None and back != number:
        swap_link(os.path.join(folder, "previous"), os.path.join("releases", back))
    return True


def current_spec(root: str, name: str) -> dict[str, Any] | None:
    return read_spec(os.path.join(service_dir(root, name), "current"))


def _names(folder: str) -> list[str]:
    """What lies in a folder; nothing where it can't be read."""
    try:
        return os.listdir(folder)
    except OSError:
        return []


def releases(folder: str) -> list[str]:
    """Digests of the releases in a service's folder, without what a killed run left half written."""
    base = os.path.join(folder, "releases")
    return sorted(n for n in _names(base) if not n.endswith(".partial") and os.path.isdir(os.path.join(base, n)))


def folders(root: str) -> list[str]:
    """Names of the services that have a release below `root`, also where `current` is damaged or was never set."""
    names = _names(os.path.join(root, "services"))
    return sorted(n for n in names if not n.startswith(".") and releases(service_dir(root, n)))


def deployed(root: str, planned: list[str]) -> list[dict[str, Any]]:
    """[{service, endpoint, release, running, planned}] of everything below `root`; `planned` are the names in runs."""
    rows = []
    for name in folders(root):
        spec = current_spec(root, name) or {}
        rows.append(
            {
                "service": name,
                "endpoint": spec.get("endpoint"),
                "release": link_digest(service_dir(root, name), "current"),
                "running": running_release(root, name) is not None,
                "planned": name in planned,
            }
        )
    return rows


def beside(rows: list[dict[str, Any]], host: str, replicas: dict[str, list[str]]) -> list[str]:
    """One sentence for each service of `deployed` that its plan doesn't name: what it is and how it ends.

    `replicas`: what the plan names instead, where the row of a service has replicas now.
    """
    found = []
    for row in rows:
        if row["planned"]:
            continue
        place = " at %s" % row["endpoint"] if row["endpoint"] else ""
        state = "still runs%s" % place if row["running"] else "does not run, but is still deployed"
        to = "-l %s -e service=%s" % (host, row["service"])
        stop = "playbooks/stop.yml %s stops it, " % to if row["running"] else ""
        why = "is not in runs of host %s and" % host
        if now := replicas.get(row["service"]):
            why = "is %s in runs of host %s now, and by its own name" % (", ".join(now), host)
        found.append(
            "service '%s' %s %s; it is left alone. If it is not wanted any more: %splaybooks/uninstall.yml %s removes it"
            % (row["service"], why, state, stop, to)
        )
    return found


def services(root: str) -> list[str]:
    """Names of the services that are deployed below `root`."""
    base = os.path.join(root, "services")
    if not os.path.isdir(base):
        return []
    return sorted(
        n for n in os.listdir(base) if os.path.isdir(service_dir(root, n)) and current_spec(root, n) is not None
    )


def serving(root: str) -> list[str]:
    """Names of the services whose process lives."""
    return [name for name in services(root) if running_release(root, name)] if root else []


def lock_path(root: str, name: str) -> str:
    """The lock of whoever changes a service."""
    return os.path.join(root, "services", ".%s.lock" % name)


def new_key() -> str:
    """256 random bits in hexadecimal: nothing that a shell, a header or an option parser takes for something else."""
    return secrets.token_hex(32)


def checked_key(key: str) -> str:
    """A key that a person gave. Refusal, which does not show it, if no header would carry it or it could be guessed."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]{16,256}={0,2}", key):
        raise Refusal(
            "the given API key has %d characters and must have 16 to 256 letters, digits or . _ ~ + / -; `openssl rand -hex 32` makes one"
            % len(key)
        )
    return key


def with_key(keys: list[str], given: str | None) -> list[str]:
    """The keys after one was given, or made where there is none: the one that counts first, then the one before it."""
    if given is None:
        return keys or [new_key()]
    return keys if keys[:1] == [given] else [given, *keys[:1]]


def write_keys(folder: str, keys: list[str]) -> None:
    write_atomic(os.path.join(folder, "api_key"), "".join(key + "\n" for key in keys).encode(), 0o600)


def ensure_key(folder: str, given: str | None = None, dry: bool = False) -> str | None:
    """Make the API key once (256 random bits), or put a given one before it, in a 0600 file. What was done, in words."""
    path = os.path.join(folder, "api_key")
    keys = read_keys(folder)
    wanted = with_key(keys, given)
    if wanted != keys:
        if not dry:
            write_keys(folder, wanted)
        if given is None:
            return "an API key was made"
        return "the API key is the given one" + (
            "; the old one counts until playbooks/rotate_key.yml -e finish=true" if keys else ""
        )
    if not dry:
        os.chmod(path, 0o600)
    return None


def key_changed(folder: str, run: dict[str, Any]) -> bool:
    """Is the key file another one than the process has read? `run`: its run.json."""
    try:
        written = os.stat(os.path.join(folder, "api_key")).st_mtime_ns
    except OSError:
        return False
    if "key" in run:
        return bool(written != run["key"])
    # Of a process that notes no key. A time to come is that of a clock that was set back since.
    return float(run["started"]) * 1e9 < written <= time.time_ns()


def read_keys(folder: str) -> list[str]:
    """The API keys, the one that counts first; none if the service has none. Refusal if they may not be read."""
    path = os.path.join(folder, "api_key")
    try:
        with open(path, encoding="ascii") as source:
            return [line.strip() for line in source if line.strip()]
    except FileNotFoundError:
        return []
    except PermissionError:
        raise Refusal("%s may not be read by this user; use the one who deployed the service" % path) from None


def read_key(folder: str) -> str | None:
    """The API key that counts; None if the service has none."""
    return next(iter(read_keys(folder)), None)


def running_release(root: str, name: str) -> dict[str, Any] | None:
    """The run record {pid, ticks, boot, release, started} of a service whose process lives; else None."""
    try:
        run = read_json(os.path.join(service_dir(root, name), "run.json"))
        alive = run and run["boot"] == boot_id() and start_ticks(int(run["pid"])) == run["ticks"]
    except (ValueError, KeyError, TypeError):
        return None
    return run if alive else None


def running_endpoint(root: str, name: str) -> str | None:
    """URL of the API that the running process has; None where none runs."""
    run = running_release(root, name) or {}
    spec = read_spec(os.path.join(service_dir(root, name), "releases", str(run.get("release")))) or {}
    return spec.get("endpoint")


def last_exit(root: str, name: str) -> dict[str, Any] | None:
    """How the service's last process ended: {code, release, ended, seconds}; None if none has ended yet."""
    try:
        found = read_json(os.path.join(service_dir(root, name), "exit.json"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def last_run(lines: list[str]) -> list[str]:
    """The log lines of the newest run; of the one before too, while a failed service is being restarted.

    A log outlives restarts and releases: what an earlier release said must not explain why this one fails.
    """
    starts = [number for number, line in enumerate(lines) if line.startswith("foreground: starting release ")]
    if not starts:
        return lines
    last = lines[starts[-1] :]
    ended = any(line.startswith("foreground: the engine ended with code ") for line in last)
    if not ended and len(starts) > 1 and lines[starts[-2]] == lines[starts[-1]]:
        return lines[starts[-2] :]
    return last


def check_room(folder: str, before: str) -> None:
    """Refuse, in a sentence that begins with `before`, where what is to happen could not even be noted in the folder."""
    path = os.path.join(folder, ".room")
    try:
        write_atomic(path, bytes(1 << 16))
        os.unlink(path)
    except OSError as error:
        if error.errno in FULL:
            raise Refusal("%s: the disk of %s is full; %s" % (before, folder, ROOM)) from None
        raise
