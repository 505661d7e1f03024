#!/usr/bin/python
"""Module signing_key: the key of a package repository, used only if it is the one that the tables name."""

from __future__ import annotations

DOCUMENTATION = r"""
module: signing_key
short_description: Fetch a repository's public key and write it where package managers look, if its fingerprint is listed
description:
  - Of several keys in the file the listed ones are written and the others are left out; without any listed one it fails and nothing is written.
  - A file that is there and holds listed keys alone stays, and nothing is fetched.
options:
  url: {description: Where the key is published., type: str, required: true}
  dest: {description: "The file to write, in armour; its folder is made.", type: path, required: true}
  fingerprints: {description: "Fingerprints that count, 40 or 64 hexadecimal digits; white space is ignored.", type: list, elements: str, required: true}
  member: {description: "Path of the key inside, where the URL is a Debian package that carries it.", type: str}
  whose: {description: Whose key it is and which variable lists it; for messages., type: str, required: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Docker's key
  signing_key:
    url: https://download.docker.com/linux/debian/gpg
    dest: /etc/apt/keyrings/vllm-ansible-docker.asc
    fingerprints: [9DC858229FC7DD38854AE2D88D81803C0EBFCD88]
    whose: signing_keys.docker
"""
RETURN = r"""
fingerprints: {description: Of the keys in the file., returned: always, type: list, elements: str}
left_out: {description: Of keys that were published and are not listed., returned: always, type: list, elements: str}
"""

import io
import os
import re
import subprocess
import tarfile
import tempfile
import threading
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import write_atomic
from ansible.module_utils.serving.host.openpgp import armoured, keys
from ansible.module_utils.urls import open_url

LARGEST = 4 << 20  # bytes; a keyring has some kB, its package some more
UNPACKED = 64 << 20  # bytes of a package's files
DEADLINE = 60.0  # seconds


def read(url: str) -> bytes:
    """The file at a URL. Refusal for one that is too large."""
    data = b""
    with open_url(url, timeout=20) as answer:
        while part := answer.read1(1 << 16):
            data += part
            if len(data) > LARGEST:
                raise Refusal(
                    "%s has more than %d MiB, which no key has; is it the right address?" % (url, LARGEST >> 20)
                )
    return data


def fetched(url: str) -> bytes:
    """The file at a URL, within a minute: a thread waits for it, since what trickles passes every timeout. Refusal if it can't be had."""
    found: list[bytes] = []
    problems: list[Exception] = []

    def work() -> None:
        try:
            found.append(read(url))
        except Exception as error:  # urllib, http and ssl raise a dozen kinds
            problems.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(DEADLINE)
    if found:
        return found[0]
    if not problems:
        raise Refusal("%s did not come within %d s; ask another mirror" % (url, DEADLINE))
    if isinstance(problems[0], Refusal):
        raise problems[0]
    raise Refusal(
        "the key %s can't be fetched: %s; is the repository's address right, and fetch_environment?"
        % (url, problems[0])
    )


def unpacked(data: bytes) -> bytes:
    """The archive of files in a Debian package, within a minute. ValueError for one that inflates beyond UNPACKED."""
    with tempfile.TemporaryFile() as package:
        package.write(data)
        package.seek(0)
        words = ["dpkg-deb", "--fsys-tarfile", "/dev/stdin"]
        with subprocess.Popen(words, stdin=package, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            ender = threading.Timer(DEADLINE, process.kill)
            ender.daemon = True
            ender.start()
            assert process.stdout
            tar = process.stdout.read(UNPACKED + 1)
            ender.cancel()
            if len(tar) > UNPACKED:
                process.kill()
                raise ValueError("the package's files are more than %d MiB" % (UNPACKED >> 20))
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, words)
    return tar


def member_of(data: bytes, member: str) -> bytes:
    """One file of a Debian package."""
    try:
        with tarfile.open(fileobj=io.BytesIO(unpacked(data))) as archive:
            for entry in archive:
                if entry.name.lstrip("./") == member.lstrip("/") and entry.isfile():
                    if entry.size > LARGEST:  # a sparse one takes no room in the archive
                        raise ValueError("%s in the package has more than %d MiB" % (member, LARGEST >> 20))
                    source = archive.extractfile(entry)
                    return source.read() if source else b""
    except (OSError, subprocess.SubprocessError, tarfile.TarError, EOFError, RecursionError) as error:
        raise ValueError("it is no Debian package (%s)" % type(error).__name__) from None
    raise ValueError("the package has no %s" % member)


def listed_keys(data: bytes, listed: list[str]) -> tuple[dict[str, bytes], list[str]]:
    found = keys(data)
    return {name: found[name] for name in listed if name in found}, [name for name in found if name not in listed]


def there(path: str, listed: list[str]) -> list[str] | None:
    """Fingerprints of the keys at `path` if all of them are listed."""
    try:
        with open(path, "rb") as source:
            good, others = listed_keys(source.read(LARGEST), listed)
    except (OSError, ValueError):
        return None
    return list(good) if good and not others else None


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    url, dest, whose = given["url"], given["dest"], given["whose"]
    listed = [re.sub(r"\s", "", str(name)).upper() for name in given["fingerprints"]]
    for name in listed:
        if not re.fullmatch(r"[0-9A-F]{40}|[0-9A-F]{64}", name):
            raise Refusal(
                "%s lists %r, but a fingerprint has 40 or 64 hexadecimal digits; a short key id can be forged"
                % (whose, name)
            )
    have = there(dest, listed)
    if have:
        return {"changed": False, "fingerprints": have, "left_out": []}
    data = fetched(url)
    try:
        good, others = listed_keys(member_of(data, given["member"]) if given["member"] else data, listed)
    except ValueError as error:
        raise Refusal("%s is refused: %s; is the repository's address right?" % (url, error)) from None
    if not good:
        raise Refusal(
            "%s is refused: its key is %s, and %s lists %s; if a mirror signs with a key of its own, list that one, else somebody is in between"
            % (url, ", ".join(others), whose, ", ".join(listed) or "none")
        )
    if not module.check_mode:
        os.makedirs(os.path.dirname(dest), mode=0o755, exist_ok=True)
        write_atomic(dest, armoured(b"".join(good.values())), 0o644)
    return {"changed": True, "fingerprints": list(good), "left_out": others}


def main() -> None:
    spec = {
        "url": {"type": "str", "required": True},
        "dest": {"type": "path", "required": True},
        "fingerprints": {"type": "list", "elements": "str", "required": True},
        "member": {"type": "str"},
        "whose": {"type": "str", "required": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
