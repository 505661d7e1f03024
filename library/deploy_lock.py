#!/usr/bin/python
"""Module deploy_lock: one deploy a host at a time."""

from __future__ import annotations

DOCUMENTATION = r"""
module: deploy_lock
short_description: Take or give back the lock that a running deploy holds on a host
description:
  - The lock is a file in the serving root. It names operator, controller, run and time, so that the second operator knows whom to ask.
  - A run that no longer lives on the same controller holds nothing; its lock is taken over. The same controller means the same boot and
    process namespace, not the same name. After a reboot it means the same machine, started after the lock was taken.
  - Whether any other run lives can't be seen from here. Its lock holds for O(max_age) seconds, or until O(break_lock) is set. While the host
    isn't started again, those seconds are counted since its start, so that a clock set forward or back neither ends nor prolongs them.
  - A run that began after this one looked for living runs can't be seen either.
  - A lock file without a run in it, which no deploy writes, holds nothing, and a warning says so. What can't be read at all holds until
    O(break_lock) is set.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  state: {description: Take the lock or give it back., type: str, choices: [held, released], default: held}
  holder:
    description: What lookup P(controller#lookup) returns on the controller.
    type: dict
    required: true
  break_lock: {description: Take the lock whoever holds it., type: bool, default: false}
  max_age: {description: Seconds after which the lock of a run that can't be seen from here no longer holds., type: int, default: 43200}
attributes:
  check_mode: {support: full, details: Says who holds the lock, writes nothing.}
  diff_mode: {support: none}
notes:
  - The lock is no state of the host, so taking it is not reported as a change.
"""
EXAMPLES = r"""
- name: Take the lock
  deploy_lock:
    serving_root: /srv/vllm
    holder: "{{ lookup('controller') }}"
"""
RETURN = r"""
holder: {description: Who holds the lock now., returned: always, type: dict}
taken_over: {description: Why an older lock no longer held., returned: when there was one, type: str}
"""

import contextlib
import json
import os
import stat
import time
from typing import Any, NamedTuple

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import FULL, ROOM, Refusal, run_module
from ansible.module_utils.serving.files import kind_of, locked, remove_parts, remove_tree, write_json
from ansible.module_utils.serving.processes import boot_id

LIMIT = 1 << 16  # bytes of a lock file, of which we write some 500
LONGEST = 300  # characters of a name in it: host names have 64, machines and boots fewer


class Run(NamedTuple):
    """A run of Ansible and where it lives: what a lock file names. Empty or 0: unknown."""

    operator: str = ""
    controller: str = ""  # its name, for people
    run: str = ""  # pid@start
    machine: str = ""
    boot: str = ""
    namespace: str = ""
    uid: int = -1
    now: float = 0.0  # when it looked for living runs, by the controller's clock
    up: float = 0.0  # the same in seconds since the controller's boot
    since: float = 0.0  # when the lock was taken, by the host's clock
    host_boot: str = ""
    host_up: float = 0.0  # the same in seconds since the host's boot

    @classmethod
    def of(cls, row: Any) -> Run | None:
        """The run that a holder or a lock file describes; None if it describes none."""
        if not isinstance(row, dict):
            return None
        values: dict[str, Any] = {}
        for name, default in cls._field_defaults.items():
            value = row.get(name, default)
            if isinstance(default, str):
                good = isinstance(value, str) and len(value) <= LONGEST
            else:
                good = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= abs(value) < 1e11
            if not good:
                return None
            values[name] = value if isinstance(default, str) else type(default)(value)
        found = cls(**values)
        return found if found.operator and found.controller and found.run else None

    def place(self) -> tuple[str, str, str, str]:
        """What names one run among all machines: start times count from a boot, pids in a namespace."""
        return self.controller, self.boot, self.namespace, self.run


def read_lock(path: str) -> tuple[Run | None, str | None]:
    """(the run that the file names, what is odd about it); (None, None) where there is no lock."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return None, None
    if not stat.S_ISREG(mode):
        raise Refusal(
            "%s is a %s, so nobody can tell who deploys here; if nobody does, repeat with -e break_lock=true"
            % (path, kind_of(mode))
        )
    try:
        with open(path, "rb") as source:
            text = source.read(LIMIT + 1)
    except OSError as error:
        raise Refusal(
            "%s can't be read (%s), so nobody can tell who deploys here; use the user who deployed, or repeat with -e break_lock=true"
            % (path, error.strerror)
        ) from None
    try:
        run = Run.of(json.loads(text.decode())) if len(text) <= LIMIT else None
    except (ValueError, RecursionError):
        run = None
    return run, None if run else "%s names no run, so it holds nothing (it begins with %r)" % (path, text[:40])


def has_ended(lock: Run, me: Run, holder: dict[str, Any]) -> str | None:
    """Why the run of a lock can't live any more, as far as this controller can tell; None if it may live."""
    if not lock.boot or not me.boot:
        return None
    text = "run %s of %s on this controller has ended" % (lock.run, lock.operator)
    if lock.boot != me.boot:
        again = lock.machine and (lock.machine, lock.controller) == (me.machine, me.controller)
        return text if again and 0 < lock.now < float(holder.get("booted") or 0) else None
    if not lock.namespace or lock.namespace != me.namespace:  # another container of the same machine
        return None
    if lock.up > me.up:  # it looked later than we did, so it may have begun since, which `live` doesn't know
        return None
    live, sees = holder.get("live"), holder.get("sees_others") or lock.uid == me.uid
    return text if live is not None and sees and lock.run not in live else None


def why_free(lock: Run, me: Run, holder: dict[str, Any], max_age: int) -> str | None:
    """Why `lock` does not keep `me` out; None if it does. `me` has the host's clocks of now."""
    if lock.place() == me.place():
        return "it is our own"
    ended = has_ended(lock, me, holder)
    place = (lock.boot, lock.namespace)
    alive = all(place) and place == (me.boot, me.namespace) and lock.run in (holder.get("live") or [])
    if ended or alive:
        return ended
    age = me.since - lock.since
    if lock.host_boot and lock.host_boot == me.host_boot:
        age = me.host_up - lock.host_up
    if age < -max_age:
        return "it is of a time to come: a clock was set back since"
    return "it is older than %d s" % max_age if age > max_age else None


def taken(path: str, me: Run, given: dict[str, Any], dry: bool) -> tuple[dict[str, Any], str | None, str | None]:
    """Take the lock: (who holds it now, why an older one no longer held, what was odd about it). Refusal if another run holds it."""
    odd, free = None, None
    me = me._replace(since=time.time(), host_boot=boot_id(), host_up=time.clock_gettime(time.CLOCK_BOOTTIME))
    try:
        lock, odd = read_lock(path)
    except Refusal as refusal:
        if not given["break_lock"]:
            raise
        lock, free = None, "broken by the operator"
        odd = str(refusal).partition(",")[0]
        if not dry:
            remove_tree(path)
    if lock is not None:
        free = why_free(lock, me, given["holder"], given["max_age"])
        if free is None and not given["break_lock"]:
            since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(0, lock.since)))
            raise Refusal(
                "another deploy is running on this host: %s, from controller %s, since %s (process %s). Wait for it; "
                "if it no longer runs, repeat with -e break_lock=true"
                % (lock.operator, lock.controller, since, lock.run.partition("@")[0])
            )
        free = free or "broken by the operator"
    mine = me._asdict()
    if not dry:
        remove_parts(path)
        write_json(path, mine)
    return mine, free or odd, odd


def give_back(path: str, me: Run, dry: bool) -> None:
    with contextlib.suppress(Refusal):  # odd, so not ours
        lock, _ = read_lock(path)
        if lock and lock.place() == me.place() and not dry:
            os.unlink(path)


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    root = given["serving_root"]
    path = os.path.join(root, "deploy.lock")
    me = Run.of(given["holder"])
    if me is None:
        raise Refusal("'holder' must be what lookup('controller') returns, not %r" % (given["holder"],))
    if not os.path.isdir(root) and (module.check_mode or given["state"] == "released"):
        return {"changed": False, "holder": None}
    os.makedirs(root, mode=0o755, exist_ok=True)
    guard: Any = contextlib.nullcontext()
    if not module.check_mode:
        guard = locked(os.path.join(root, ".deploy.flock"), "the deploy lock", timeout=10)
    try:
        with guard:
            if given["state"] == "released":
                give_back(path, me, module.check_mode)
                return {"changed": False, "holder": None}
            mine, free, odd = taken(path, me, given, module.check_mode)
    except OSError as error:
        if error.errno not in FULL:
            raise
        # What frees space (uninstall.yml) and ends services must run all the same; a deploy is refused by preflight.
        if given["state"] == "released":
            give_back(path, me, module.check_mode)
            return {"changed": False, "holder": None}
        mine, free, odd = taken(path, me, given, True)
        module.warn("the disk of %s is full, so no lock keeps others from deploying here meanwhile; %s" % (root, ROOM))
    if odd:
        module.warn("the deploy lock: %s" % odd)
    return {"changed": False, "holder": mine, "taken_over": free}


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["held", "released"], "default": "held"},
        "holder": {"type": "dict", "required": True},
        "break_lock": {"type": "bool", "default": False},
        "max_age": {"type": "int", "default": 43200},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
