#!/usr/bin/python
"""Module ssh_bootstrap: first contact with a host that only has a password."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ssh_bootstrap
short_description: Pin a host's key, install the operator's public key and a sudo rule
description:
  - Runs on the controller and speaks to the host with paramiko, with a password that is stored nowhere.
  - A host key that is pinned already must be the same; a new one is pinned if its fingerprint is the one given, or if RV(fingerprint) may be trusted.
  - The public key is added once, the sudo rule is checked by C(visudo) before it counts.
options:
  host: {description: Address of the host., type: str, required: true}
  port: {description: Port of its ssh server., type: int, default: 22}
  user: {description: User to log in as., type: str, required: true}
  password: {description: "Password of the user, also for sudo.", type: str, required: true}
  identity: {description: The operator's public key (one line)., type: str, required: true}
  known_hosts: {description: File where host keys are pinned., type: path, default: ~/.ssh/known_hosts}
  fingerprint: {description: "The host key's fingerprint that the operator has read at the console, SHA256:....", type: str, default: ''}
  accept_new: {description: Pin an unknown host key without comparing it., type: bool, default: false}
  sudo: {description: "Give the user sudo without a password (needed by become); nothing for root.", type: bool, default: true}
  timeout: {description: Seconds for the connection and for each command., type: int, default: 30}
requirements: [paramiko]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: First contact
  ssh_bootstrap:
    host: 10.0.0.21
    user: root
    password: "{{ bootstrap_password }}"
    identity: "{{ lookup('ansible.builtin.file', '~/.ssh/id_ed25519.pub') }}"
    fingerprint: SHA256:uNiVztksCsDhcc0u9e8BrDZHRfe9Hxs9XXUzNbkWcfc
  delegate_to: localhost
"""
RETURN = r"""
fingerprint: {description: The host key's fingerprint., returned: success, type: str}
reasons: {description: What was done., returned: always, type: list, elements: str}
"""

import base64
import hashlib
import os
import re
import shlex
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import locked, write_atomic

try:
    import paramiko
except ImportError:
    paramiko = None


def fingerprint_of(key: Any) -> str:
    """As ssh-keygen -l prints it."""
    digest = hashlib.sha256(key.asbytes()).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def pinned_name(host: str, port: int) -> str:
    return host if port == 22 else "[%s]:%d" % (host, port)


def pinned(path: str, name: str) -> list[Any]:
    """Keys that are pinned for this host."""
    if not os.path.exists(path):
        return []
    found = paramiko.HostKeys(path).lookup(name)
    return list(found.values()) if found else []


def connect(given: dict[str, Any]) -> Any:
    """A transport whose host key is known but not yet trusted: nothing secret has been sent."""
    import socket

    try:
        raw = socket.create_connection((given["host"], given["port"]), given["timeout"])
        transport = paramiko.Transport(raw)
        transport.start_client(timeout=given["timeout"])
    except (OSError, EOFError, paramiko.SSHException) as error:
        raise Refusal(
            "%s port %d: no ssh server answers (%s)" % (given["host"], given["port"], error or "connection ended")
        ) from None
    return transport


def trust(given: dict[str, Any], transport: Any, path: str) -> tuple[str, str | None]:
    """(fingerprint, line to pin or None if it is pinned). Refusal for a changed or an unknown key."""
    key, name = transport.get_remote_server_key(), pinned_name(given["host"], given["port"])
    seen = fingerprint_of(key)
    known = pinned(path, name)
    if known:
        if any(key.asbytes() == other.asbytes() for other in known):
            return seen, None
        raise Refusal(
            "%s shows another host key than the one pinned in %s: %s, pinned is %s. Somebody may be in between, or the host was reinstalled; "
            "only if you know which, remove the old one with ssh-keygen -R '%s' -f %s"
            % (name, path, seen, ", ".join(fingerprint_of(other) for other in known), name, path)
        )
    if given["fingerprint"] and given["fingerprint"] != seen:
        raise Refusal(
            "%s shows host key %s, you gave %s; do not go on before you know why" % (name, seen, given["fingerprint"])
        )
    if not given["fingerprint"] and not given["accept_new"]:
        raise Refusal(
            "%s shows the unknown host key %s; compare it at the host's console (ssh-keygen -l -f /etc/ssh/ssh_host_%s_key.pub), then give it as fingerprint"
            % (name, seen, key.get_name().replace("ssh-", "").split("-")[0])
        )
    return seen, "%s %s %s\n" % (name, key.get_name(), key.get_base64())


def run(transport: Any, command: str, text: str, timeout: int) -> tuple[int, str]:
    """(exit code, output) of a command that reads `text`."""
    channel = transport.open_session(timeout=timeout)
    channel.settimeout(timeout)
    channel.set_combine_stderr(True)
    channel.exec_command(command)
    channel.sendall(text.encode())
    channel.shutdown_write()
    out = b""
    while True:
        data = channel.recv(65536)
        if not data:
            break
        out += data
    return channel.recv_exit_status(), out.decode("utf-8", "replace")


def install_key(given: dict[str, Any], transport: Any, check: bool) -> bool:
    """Add the public key to the user's authorized_keys; True if it was missing."""
    code, text = run(transport, "cat ~/.ssh/authorized_keys 2>/dev/null || true", "", given["timeout"])
    body = given["identity"].split()[1]
    if any(body in line.split() for line in text.splitlines()):
        return False
    if not check:
        line = shlex.quote(given["identity"].strip())
        # A file without a newline at its end would swallow our line.
        mend = '[ -z "$(tail -c1 ~/.ssh/authorized_keys 2>/dev/null)" ] || echo >> ~/.ssh/authorized_keys'
        command = "umask 077; mkdir -p ~/.ssh && { %s; } && echo %s >> ~/.ssh/authorized_keys"
        code, text = run(transport, command % (mend, line), "", given["timeout"])
        if code:
            raise Refusal("the public key can't be installed on %s: %s" % (given["host"], text.strip()[-300:]))
    return True


def install_sudo(given: dict[str, Any], transport: Any, check: bool) -> bool:
    """A sudo rule without a password; True if it was missing."""
    code, _ = run(transport, "sudo -n true", "", given["timeout"])
    if code == 0:
        return False
    if not check:
        rule = "%s ALL=(ALL) NOPASSWD: ALL" % given["user"]
        inner = (
            "f=$(mktemp) && echo %s > $f && visudo -cqf $f && install -m 0440 $f /etc/sudoers.d/vllm-ansible && rm -f $f"
            % shlex.quote(rule)
        )
        code, text = run(
            transport, "sudo -S -p '' sh -c %s" % shlex.quote(inner), given["password"] + "\n", given["timeout"]
        )
        if code:
            raise Refusal(
                "user %s on %s may not use sudo with this password (%s); log in as root, or have the user put into the group sudo or wheel"
                % (given["user"], given["host"], text.strip()[-300:])
            )
    return True


def body(module: AnsibleModule) -> dict[str, Any]:
    given, check = module.params, module.check_mode
    if paramiko is None:
        raise Refusal(missing_required_lib("paramiko"))
    if not re.fullmatch(r"(ssh|ecdsa|sk)-[\w@.-]+ [A-Za-z0-9+/=]+( .*)?", given["identity"].strip()):
        raise Refusal("identity is no public key of ssh; give the content of a .pub file")
    path = os.path.expanduser(given["known_hosts"])
    reasons = []
    transport = connect(given)
    try:
        seen, line = trust(given, transport, path)
        if line:
            reasons.append("host key %s is pinned in %s" % (seen, path))
        try:
            transport.auth_password(given["user"], given["password"])
        except paramiko.AuthenticationException:
            raise Refusal("%s refuses this password for user %s" % (given["host"], given["user"])) from None
        if install_key(given, transport, check):
            reasons.append("the public key is installed for %s" % given["user"])
        if given["sudo"] and given["user"] != "root" and install_sudo(given, transport, check):
            reasons.append("%s may use sudo without a password" % given["user"])
    finally:
        transport.close()
    if line and not check:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with locked(path + ".lock", path, keep=False):
            before = open(path, encoding="utf-8").read() if os.path.exists(path) else ""
            write_atomic(path, (before + ("" if before.endswith("\n") or not before else "\n") + line).encode(), 0o600)
    diff = {
        "before": "",
        "after": "".join(reason + "\n" for reason in reasons),
        "before_header": given["host"],
        "after_header": given["host"],
    }
    return {"changed": bool(reasons), "reasons": reasons, "fingerprint": seen, "diff": diff}


def main() -> None:
    spec = {
        "host": {"type": "str", "required": True},
        "port": {"type": "int", "default": 22},
        "user": {"type": "str", "required": True},
        "password": {"type": "str", "required": True, "no_log": True},
        "identity": {"type": "str", "required": True},
        "known_hosts": {"type": "path", "default": "~/.ssh/known_hosts"},
        "fingerprint": {"type": "str", "default": ""},
        "accept_new": {"type": "bool", "default": False},
        "sudo": {"type": "bool", "default": True},
        "timeout": {"type": "int", "default": 30},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
