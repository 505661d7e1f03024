"""Images that are on this host, and the options of the modules that bring them."""

from __future__ import annotations

import json
import os
import re
import subprocess
from typing import Any

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import digest as digest_of_value
from ansible.module_utils.serving.files import read_json
from ansible.module_utils.serving.host.system import run_tool
from ansible.module_utils.serving.images.reference import check_platform, parse

ARCHIVE: dict[str, Any] = {
    "type": "dict",
    "options": {"path": {"type": "path", "required": True}, "id": {"type": "str", "required": True}},
}
# Options of the modules that bring an image from registries or an archive.
ARGUMENTS: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "mirrors": {"type": "list", "elements": "str", "default": []},
    "archive": ARCHIVE,
    "username": {"type": "str", "default": ""},
    "password": {"type": "str", "default": "", "no_log": True},
    "look": {"type": "bool", "default": False},
}


# What is on this host


def record_path(folder: str, name: str) -> str:
    """Where it is recorded what an image's name was resolved to."""
    return os.path.join(folder, "%s.json" % digest_of_value(name)[:16])


def read_record(folder: str, name: str) -> dict[str, Any]:
    """What an earlier run has found out: the digest of a tag, the id of an image from an archive."""
    try:
        return dict(read_json(record_path(folder, name)) or {})
    except ValueError:
        return {}


def inspect(ident: str) -> dict[str, Any] | None:
    """What the host's engine says of an image; None if it has none by that name or id. Refusal if no engine answers."""
    code, text, error = run_tool(["docker", "image", "inspect", ident])
    if code == 0:
        found: dict[str, Any] = json.loads(text)[0]
        return found
    if re.search(r"no such image", error, re.I):
        return None
    raise Refusal(
        "no container engine answers (%s); start it, or run deploy.yml --tags prepare" % " ".join(error.split())[:200]
    )


def on_host(name: str, folder: str, archive: dict[str, Any] | None) -> tuple[dict[str, Any] | None, str]:
    """(the image, the digest that counts) by its reference, the records in `folder`, and the archive that it may have come from.

    None where the host has no such image. By the engine's command line: this runs under any Python of a host.
    """
    record = read_record(folder, name)
    digest = parse(name).digest or str(record.get("digest") or "")
    wanted = archive["id"] if archive else None
    idents = [record.get("id") if record.get("archive") == wanted else None, wanted]
    if digest:  # whichever mirror it came from
        _, text, _ = run_tool(["docker", "image", "ls", "--no-trunc", "--digests", "--format", "{{.Digest}} {{.ID}}"])
        idents = [line.partition(" ")[2] for line in text.splitlines() if line.startswith(digest + " ")][:1] + idents
    for ident in idents:
        found = inspect(ident) if ident else None
        if found:
            return found, digest
    return None, digest


def about(image: dict[str, Any], digest: str) -> dict[str, Any]:
    """What a release needs to know of an image on this host."""
    user = (image.get("Config") or {}).get("User") or "root"
    return {"id": image["Id"], "digest": digest or None, "user": user, "uid": uid_of(image["Id"], user)}


def check_built_for(image: dict[str, Any], name: str, arch: str) -> None:
    built = image.get("Architecture", "")
    if arch and built:
        check_platform(parse(name), [{"architecture": built}], arch)


def uid_of(ident: str, user: str) -> int:
    """Number of the user that an image runs as. A name is looked up in the image itself."""
    name = user.partition(":")[0]
    if name == "root":
        return 0
    if name.isdigit():
        return int(name)
    command = ["docker", "run", "--rm", "--network=none", "--entrypoint=id", ident, "-u"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False)
    if not done.stdout.strip().isdigit():
        raise Refusal(
            "image %s runs as user '%s', and that user's number can't be found (%s); the image needs the program id, or a numeric USER"
            % (ident[:19], name, done.stderr.strip()[-200:])
        )
    return int(done.stdout)
