#!/usr/bin/python
"""Module inference_service: one service on a host, from rendered files to a supervised process."""

from __future__ import annotations

DOCUMENTATION = r"""
module: inference_service
short_description: Release, run, stop or remove one inference service
description:
  - Writes the rendered files as a release named by its digest, points C(current) at it and makes the host's supervisor run it in the foreground.
  - The process is replaced if and only if it doesn't run the release that C(current) names; RV(reasons) says why.
  - Supervisor is systemd where it is PID 1, else supervisord. It restarts the process after a crash, O(spec.restart_limit) times in a row.
  - A killed run leaves a whole release or none. The next one finishes what is missing.
options:
  name: {description: "Name of the service: letters, digits, dot, dash, underscore.", type: str, required: true}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  state:
    description:
      - V(started) releases and runs. V(restarted) replaces the process of the current release. V(stopped) ends it until the next start or boot.
      - V(rolled_back) swaps C(current) and C(previous) and runs that; it needs nothing but this host. V(reverted) does so only if the current
        release has never answered and the other one has, which is what a deploy or an upgrade that failed asks for.
      - V(absent) removes the service, its releases, key, log and unit.
    type: str
    choices: [started, stopped, restarted, rolled_back, reverted, absent]
    default: started
  spec:
    description: What the service is, for status and for rollback. Needed for its first start; without it the current release is started.
    type: dict
    suboptions:
      endpoint: {description: URL of the API., type: str, required: true}
      drain_timeout: {description: Seconds that requests in flight get., type: int, required: true}
      ready_timeout: {description: Seconds to a first answer., type: int, required: true}
      restart_limit: {description: Failed starts in a row., type: int, required: true}
      api_key: {description: Make a key on the host., type: bool, required: true}
  api_key: {description: A key of the site's own instead of a generated one., type: str}
  shares_with: {description: A service of this host whose key it takes where none is given., type: str}
  inputs:
    description:
      - "Files that travel with the release, {name: path}: names begin with C(inputs/), paths are of the controller. The action plugin brings those
        that no release on the host has, and puts their digests into RV(release) by way of O(spec)."
    type: dict
    default: {}
  files: {description: "Rendered files of the release by name; C(start) is what runs.", type: dict}
  secret_env:
    description:
      - Secrets of the process's environment by name, for a 0600 file of the service, outside of its releases.
      - The release names them with a digest that is keyed on this host, so that another secret is another release.
    type: dict
  runner: {description: Text of the program that holds the process in the foreground., type: str}
  python: {description: Interpreter for it., type: path}
  supervisor: {description: Who runs it., type: str, choices: [auto, systemd, supervisord], default: auto}
  restarts:
    description: "For V(started): where the process was to stay and its engine refuses an adapter, restart it. Else it goes on, and RV(refused) says why."
    type: bool
    default: true
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Restart the demo
  inference_service:
    name: demo
    serving_root: /srv/vllm
    state: restarted
"""
RETURN = r"""
reasons: {description: Why something was done., returned: always, type: list, elements: str}
stays: {description: "In check mode, would the process stay and its engine load and give up adapters alone?", returned: always, type: bool}
refused: {description: Why the process can't stay; nothing was done to it then., returned: when O(restarts=false), type: str}
endpoint: {description: "URL of the release that runs, before anything is done; null where none does.", returned: always, type: str}
release: {description: Digest of the release that is current., returned: always, type: str}
before: {description: Digest of the release that was current., returned: always, type: str}
ready_timeout: {description: Seconds that the current release gets to a first answer., returned: always, type: int}
supervisor: {description: Who runs it., returned: always, type: str}
log: {description: Where its output is., returned: always, type: str}
lacking: {description: Inputs whose content is not on the host yet; nothing was done then., returned: when there are some, type: list, elements: str}
key_file: {description: Where its API key lies; null without one., returned: always, type: str}
"""

import os
import re
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import digest, locked, own_folder, remove_tree, write_atomic, write_json
from ansible.module_utils.serving.host.device_use import use_of
from ansible.module_utils.serving.host.host_inputs import edited
from ansible.module_utils.serving.host.system import run_tool
from ansible.module_utils.serving.service import live, releases
from ansible.module_utils.serving.service.claims import claims, port_of
from ansible.module_utils.serving.service.differences import spec_reasons, text_diff
from ansible.module_utils.serving.service.secret_env import marked, write_secrets
from ansible.module_utils.serving.service.supervisors import Supervisor, read_text, supervisor

RUNNER = "foreground.py"
NEEDED = {"endpoint": str, "drain_timeout": int, "ready_timeout": int, "restart_limit": int, "api_key": bool}


class Stays(Exception):
    """The engine refuses what it was to do while it runs, and must not be restarted."""


class Lacking(Exception):
    """Inputs of a release have to be brought first; nothing was touched."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


def released(module: AnsibleModule, folder: str) -> tuple[str | None, list[str], dict[str, str]]:
    """Write the release and point `current` at it: (digest, reasons, diff). In check mode: say what would be."""
    given = module.params
    spec, files = given["spec"], given["files"]
    if spec is None:
        return releases.link_digest(folder, "current"), [], {}
    for key, kind in NEEDED.items():
        if not isinstance(spec.get(key), kind):
            raise Refusal("spec.%s is %r, but must be %s" % (key, spec.get(key), kind.__name__))
    if "start" not in (files or {}) or not given["runner"] or not given["python"]:
        raise Refusal("a release needs 'files' with 'start', 'runner' and 'python'")
    secrets = given["secret_env"] or {}
    if secrets:
        if not module.check_mode:
            os.makedirs(folder, mode=0o755, exist_ok=True)
        spec = marked(folder, spec, secrets, make=not module.check_mode)
    old = releases.read_spec(os.path.join(folder, "current"))
    reasons = spec_reasons(old, spec)
    diff = text_diff(folder, files)
    if old is None:
        reasons.append("the service is not deployed yet")
    elif diff:
        changed = [n for n in sorted(files) if read_text(os.path.join(folder, "current", n)) != files[n]]
        reasons.append("other content of " + ", ".join(changed))
    own_key = releases.checked_key(given["api_key"]) if given["api_key"] else None
    if given["shares_with"] not in (None, given["name"]) and not own_key:
        own_key = next(
            iter(releases.read_keys(releases.service_dir(given["serving_root"], given["shares_with"]))), None
        )
    if module.check_mode:
        done = releases.ensure_key(folder, own_key, dry=True) if spec["api_key"] and own_key else None
        return digest({"spec": spec, "files": files})[:12], reasons + ([done] if done else []), diff
    sources, lacking = releases.lacking_inputs(folder, spec, given["inputs"])
    if lacking:
        raise Lacking(lacking)
    own_folder(folder)
    own_folder(os.path.join(folder, "releases"))
    done = releases.ensure_key(folder, own_key) if spec["api_key"] else None
    if done:
        reasons.append(done)
    if secrets:
        write_secrets(folder, secrets)
    number, _ = releases.write_release(folder, spec, files, sources)
    releases.make_current(folder, number)
    if not secrets and write_secrets(folder, {}):
        reasons.append("secret_env is removed")
    return number, reasons, diff


def unit_reasons(module: AnsibleModule, owner: Supervisor, folder: str, spec: dict[str, Any]) -> tuple[list[str], bool]:
    """Write runner and unit where they differ: what was written, and whether the process must be replaced for it."""
    name, root = module.params["name"], module.params["serving_root"]
    script = os.path.join(root, RUNNER)
    wanted = {}
    if module.params["runner"]:
        wanted[script] = module.params["runner"]
        command = [module.params["python"], "-u", script, folder]
        for part in command:
            if re.search(r"\s", part):
                raise Refusal(
                    "'%s' has white space, which a unit's command line does not carry; choose another serving_root"
                    % part
                )
        wanted[owner.unit_path(name)] = owner.unit_text(name, command, folder, spec)
    reasons, replace = [], False
    for path, text in wanted.items():
        old = read_text(path)
        if old == text:
            continue
        if old and path != script and folder not in old:
            raise Refusal("%s belongs to another service of the same name; uninstall that one or rename this" % path)
        reasons.append("%s is %s" % (path, "changed" if old else "new"))
        replace = replace or path != script  # a running process does not read its runner again
        if not module.check_mode:
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            write_atomic(path, text.encode())
    return reasons, replace


def run_reasons(root: str, name: str, number: str | None, state: str) -> list[str]:
    """Why the process must be (re)started; nothing if it runs the current release."""
    run = releases.running_release(root, name)
    if run is None:
        return ["it does not run"]
    if run["release"] != number:
        return ["it runs release %s, current is %s" % (run["release"], number)]
    if releases.key_changed(releases.service_dir(root, name), run):
        return ["its API key was changed after it started"]
    return ["a restart was asked for"] if state == "restarted" else []


def started(module: AnsibleModule, owner: Supervisor, folder: str, state: str) -> tuple[list[str], dict[str, str]]:
    name, root = module.params["name"], module.params["serving_root"]
    number, reasons, diff = released(module, folder)
    spec = module.params["spec"] or releases.read_spec(os.path.join(folder, "current"))
    if number is None or spec is None:
        raise Refusal("service '%s' is not deployed on this host; run deploy.yml" % name)
    unit, replace = unit_reasons(module, owner, folder, spec)
    why = run_reasons(root, name, number, state)
    run = releases.running_release(root, name)
    stays = bool(why) and state == "started" and not replace
    stays = stays and run is not None and not releases.key_changed(folder, run)
    whole = marked(folder, spec, module.params["secret_env"], make=False)
    stays = stays and live.stays(folder, run, whole, module.params["files"])
    if not module.check_mode:
        live.prepared(folder, spec)
    if stays and run:
        try:
            return reasons + unit + (
                [live.LOADS] if module.check_mode else live.applied(root, name, run, number, spec)
            ), diff
        except Refusal as refusal:
            if not module.params["restarts"]:
                raise Stays(str(refusal)) from None
            why.append("%s; it is restarted with them" % refusal)
    if not module.check_mode and (why or replace):
        releases.check_room(folder, "service '%s' is left as it is" % name)
        # A supervisor that brings it back meanwhile is no reason to do it twice.
        owner.stop(name)
        remember_memory(folder, spec)
        owner.apply(name)
        owner.start(name)
        wait_running(root, name, owner)
    return reasons + unit + why, diff


def remember_memory(folder: str, spec: dict[str, Any]) -> None:
    """Memory in use on the host's devices before a start, for M(device_proof) where the driver shows no processes."""
    if spec.get("devices") and spec.get("kind") in ("gpu", "npu"):
        write_json(os.path.join(folder, "memory.json"), use_of(spec["kind"]).memory)


def wait_running(root: str, name: str, owner: Supervisor, seconds: float = 20.0) -> None:
    """Wait until foreground.py has taken over, so that the caller sees the new process."""
    until = time.monotonic() + seconds
    while releases.running_release(root, name) is None and time.monotonic() < until:
        if owner.state(name) in ("failed", "absent"):
            break
        time.sleep(0.1)


def lacking(spec: dict[str, Any]) -> list[str]:
    """What a release needs on this host and no longer finds."""
    model = (spec.get("model") or {}).get("path")
    mine = [path for path in spec.get("inputs") or {} if path.startswith("/")]
    paths = (model, spec.get("env_path"), *mine)
    gone = [path for path in paths if path and not os.path.exists(os.path.expanduser(path))]
    image = (spec.get("image") or {}).get("id")
    if image and run_tool(["docker", "image", "inspect", "--format", "x", image])[0] != 0:
        gone.append("image %s" % ((spec["image"].get("name") or "") + " " + image).strip())
    return gone


def rolled_back(module: AnsibleModule, owner: Supervisor, folder: str, state: str) -> list[str]:
    """Return to the release before. `reverted`: only from one that has never answered."""
    name = module.params["name"]
    now = releases.link_digest(folder, "current")
    if now is None:
        raise Refusal("service '%s' is not deployed on this host; run deploy.yml" % name)
    if state == "reverted" and now in releases.verified(folder):
        return []
    target = releases.earlier(folder, now)
    if state == "reverted" and target not in releases.verified(folder):
        return []  # what nobody has seen work is no way back
    if target is None:
        raise Refusal(
            "service '%s' has no earlier release on this host to return to; deploy the one that you want" % name
        )
    spec = releases.read_spec(os.path.join(folder, "releases", target)) or {}
    gone = lacking(spec)
    if gone:
        raise Refusal(
            "service '%s' can't return to release %s: %s is no longer on this host; deploy it from its row"
            % (name, target, ", ".join(gone))
        )
    for other, claim in claims(module.params["serving_root"]).items():
        held = sorted({str(one) for one in claim.devices or []} & {str(one) for one in spec.get("devices") or []})
        port = claim.port if claim.port and claim.port == port_of(spec) else None
        what = "device %s" % ", ".join(held) if held else "port %s" % port if port else ""
        if other != name and what:
            raise Refusal(
                "service '%s' can't return to release %s: service '%s' has its %s now; stop that one first (playbooks/stop.yml -e service=%s)"
                % (name, target, other, what, other)
            )
    if not module.check_mode:
        releases.make_current(folder, target)
        started(module, owner, folder, "started")
    return ["release %s -> %s" % (now, target), *edited(spec.get("inputs") or {})]


def removed(module: AnsibleModule, owner: Supervisor, folder: str) -> list[str]:
    name = module.params["name"]
    there = [path for path in (owner.unit_path(name), folder) if os.path.lexists(path)]
    if there and not module.check_mode:
        owner.stop(name)
        owner.remove(name)
        remove_tree(folder)
    return ["%s is removed" % path for path in there]


def body(module: AnsibleModule) -> dict[str, Any]:
    name, root, state = module.params["name"], module.params["serving_root"], module.params["state"]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", name):
        raise Refusal("service name %r may have letters, digits, dot, dash, underscore, and at most 63 of them" % name)
    folder = releases.service_dir(root, name)
    owner = supervisor(root, module.params["supervisor"])
    before = releases.link_digest(folder, "current")
    endpoint = releases.running_endpoint(root, name)
    refused = None
    diff: dict[str, str] = {}

    def act() -> list[str]:
        nonlocal diff
        if state == "absent":
            return removed(module, owner, folder)
        if state == "stopped":
            if not releases.releases(folder):
                there = ", ".join(releases.folders(root)) or "none"
                raise Refusal("service '%s' is not deployed on this host; deployed: %s" % (name, there))
            # backoff: it doesn't run just now, but the supervisor would bring it back
            if releases.running_release(root, name) is None and owner.state(name) in ("stopped", "failed", "absent"):
                return []
            if not module.check_mode:
                owner.stop(name)
            return ["it was running"]
        if state in ("rolled_back", "reverted"):
            return rolled_back(module, owner, folder, state)
        reasons, diff = started(module, owner, folder, state)
        return reasons

    if module.check_mode:
        reasons = act()
    else:
        own_folder(os.path.join(root, "services"))
        with locked(releases.lock_path(root, name), "service '%s'" % name, keep=state != "absent"):
            try:
                reasons = act()
            except Lacking as error:
                return {"changed": False, "lacking": error.names}
            except Stays as error:
                reasons, refused = ["the process has to be replaced"], str(error)
    key = os.path.join(folder, "api_key")
    result = {
        "changed": bool(reasons),
        "stays": live.LOADS in reasons,
        "reasons": reasons,
        "refused": refused,
        "endpoint": endpoint,
        "release": releases.link_digest(folder, "current"),
        "before": before,
        "ready_timeout": (releases.current_spec(root, name) or {}).get("ready_timeout"),
        "supervisor": owner.kind,
        "log": owner.log_place(name),
        "key_file": key if os.path.exists(key) or (module.params["spec"] or {}).get("api_key") else None,
    }
    return dict(result, diff=diff) if diff else result


def main() -> None:
    spec = {
        "name": {"type": "str", "required": True},
        "serving_root": {"type": "path", "required": True},
        "state": {
            "type": "str",
            "choices": ["started", "stopped", "restarted", "rolled_back", "reverted", "absent"],
            "default": "started",
        },
        "spec": {"type": "dict"},
        "api_key": {"type": "str", "no_log": True},
        "shares_with": {"type": "str"},
        "files": {"type": "dict"},
        "inputs": {"type": "dict", "default": {}},
        "secret_env": {"type": "dict", "no_log": True},
        "runner": {"type": "str"},
        "python": {"type": "path"},
        "supervisor": {"type": "str", "choices": ["auto", "systemd", "supervisord"], "default": "auto"},
        "restarts": {"type": "bool", "default": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
