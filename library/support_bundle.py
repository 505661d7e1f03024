#!/usr/bin/python
"""Module support_bundle: texts of a host as one archive on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: support_bundle
short_description: Pack texts into a tar.gz that only its owner may read
description:
  - Writes one archive with one folder of its own name. Runs on the controller, with what M(support_info) has returned.
options:
  path: {description: The archive., type: path, required: true}
  files: {description: Texts by file name., type: dict, required: true}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Pack
  support_bundle:
    path: reports/support/gpu-01.tar.gz
    files: "{{ found.files }}"
"""
RETURN = r"""
path: {description: The archive., returned: always, type: str}
bytes: {description: Its size., returned: always, type: int}
"""

import io
import os
import tarfile
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.files import write_atomic


def pack(name: str, files: dict[str, str]) -> bytes:
    """A gzipped tar of one folder with these texts."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for path, text in sorted(files.items()):
            member = tarfile.TarInfo("%s/%s" % (name, path))
            data = str(text).encode("utf-8", "replace")
            member.size, member.mtime, member.mode = len(data), int(time.time()), 0o600
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def body(module: AnsibleModule) -> dict[str, Any]:
    path = module.params["path"]
    data = pack(os.path.basename(path).removesuffix(".tar.gz"), module.params["files"])
    if not module.check_mode:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_atomic(path, data, 0o600)
    return {"changed": False, "path": path, "bytes": len(data)}  # the output of a run, not a state of the host


def main() -> None:
    spec = {"path": {"type": "path", "required": True}, "files": {"type": "dict", "required": True}}
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
