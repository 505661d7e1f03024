"""Secrets of a service's environment on a host: one 0600 file that `start` reads, outside of every release.

services/<name>/secret_env    0600, `export NAME='value'` lines
services/<name>/secret_salt   0600, random, made once: what marks of secrets are keyed with, so that they tell nothing elsewhere
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets as random
import shlex
from typing import Any

from ansible.module_utils.serving.files import remove_parts, write_atomic
from ansible.module_utils.serving.service.releases import read_spec

FILE, SALT = "secret_env", "secret_salt"


def text_of(secrets: dict[str, str]) -> bytes:
    return "".join("export %s=%s\n" % (name, shlex.quote(secrets[name])) for name in sorted(secrets)).encode()


def salt_of(folder: str, make: bool) -> bytes:
    """This host's salt; where there is none, a new one, which is kept if `make`."""
    path = os.path.join(folder, SALT)
    try:
        with open(path, "rb") as source:
            found = source.read()
    except OSError:
        found = b""
    if len(found) < 32:
        found = random.token_bytes(32)
        if make:
            write_atomic(path, found, 0o600)
    return found


def mark(folder: str, secrets: dict[str, str], make: bool) -> str:
    """Names and a keyed digest, as a release's spec has them: another secret is another release."""
    digest = hmac.new(salt_of(folder, make), text_of(secrets), hashlib.sha256).hexdigest()[:16]
    return "%s (%s)" % (", ".join(sorted(secrets)), digest)


def marked(folder: str, spec: dict[str, Any], secrets: dict[str, str] | None, make: bool) -> dict[str, Any]:
    """A spec as its release has it, with the mark of its secrets."""
    return dict(spec, secret_env=mark(folder, secrets, make)) if secrets else spec


def wanted_by_a_release(folder: str) -> bool:
    there = os.path.join(folder, "releases")
    numbers = os.listdir(there) if os.path.isdir(there) else []
    specs: list[dict[str, Any]] = [read_spec(os.path.join(there, number)) or {} for number in numbers]
    return any(spec.get("secret_env") for spec in specs)


def write_secrets(folder: str, secrets: dict[str, str]) -> bool:
    """Write the file where it differs; remove it where neither the row nor a release to return to has any. True: changed."""
    path = os.path.join(folder, FILE)
    for name in (FILE, "api_key"):
        remove_parts(os.path.join(folder, name))  # of a killed writer: a secret that may have been replaced since
    try:
        with open(path, "rb") as source:
            old = source.read()
        private = os.stat(path).st_mode & 0o077 == 0
    except OSError:
        old, private = b"", True
    if not secrets:
        if not os.path.lexists(path) or wanted_by_a_release(folder):
            return False
        os.remove(path)
        return True
    if old == text_of(secrets) and private:
        return False
    write_atomic(path, text_of(secrets), 0o600)
    return True
