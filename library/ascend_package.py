#!/usr/bin/python
"""Module ascend_package: run one of Ascend's .run installers, and prove what it did."""

from __future__ import annotations

DOCUMENTATION = r"""
module: ascend_package
short_description: Install the driver or the firmware of Ascend NPUs from a .run file
description:
  - Runs the installer without asking (C(--quiet), nothing on standard input), after the file's sha256 was checked.
  - Exit code 0 means installed, 2 installed and a reboot is due, anything else failed. What counts is version.info afterwards, since some
    failures exit with 0 and C(/etc/ascend_install.info) is written before the installation.
  - A mark in C(/var/lib/vllm-ansible/ascend) lies there while an installer runs. A run that finds it installs again, whatever version.info says.
  - Only one installer runs at a time; other modules and operators' own runs are waited for.
options:
  path: {description: The .run file on this host., type: path, required: true}
  sha256: {description: Its digest., type: str, required: true}
  kind: {description: What it installs., type: str, choices: [driver, firmware], required: true}
  wait: {description: Seconds to wait for another installer., type: int, default: 600}
  root: {description: Where the file system starts; other than / in tests., type: path, default: /}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Install the driver
  ascend_package:
    kind: driver
    path: /var/lib/vllm-ansible/ascend/Ascend-hdk-310p-npu-driver_25.2.0_linux-aarch64.run
    sha256: 5f0c2c…
"""
RETURN = r"""
version: {description: The version that is installed afterwards., returned: always, type: str}
before: {description: The version that was installed before., returned: always, type: str}
reboot_required: {description: Whether the installer asks for a reboot., returned: always, type: bool}
log: {description: The installer's last lines., returned: changed, type: list, elements: str}
"""

import os
import re
import subprocess
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import locked, sha256_file, write_json
from ansible.module_utils.serving.host.cpu import read
from ansible.module_utils.serving.host.npu_host import mark_path, parse_name, read_mark
from ansible.module_utils.serving.host.npus import version_info
from ansible.module_utils.serving.processes import boot_id

LOGS = "/var/log/ascend_seclog/ascend_install.log"
# What installers say, and what helps (install.sh of the open-sourced driver; issues of ascend-deployer and vllm-ascend).
WORDS = (
    (r"0x0094|another installer|is running", "another installer runs: wait for its end"),
    (r"0x0091|0x0096|HwHiAiUser", "user and group HwHiAiUser must exist before: groupadd HwHiAiUser; useradd -g HwHiAiUser -m HwHiAiUser"),
    (r"maybe-uninitialized", "GCC 9.3.1 does not build 24.1.0.1: take a newer driver, or install by hand with KCFLAGS=-Wno-error=maybe-uninitialized"),
    (
        r"rebuild ko has something wrong|Werror",
        "the driver's modules do not build: install gcc, make, dkms and the headers of the running kernel (uname -r)",
    ),
    (r"[Nn]o space|not enough space", "free some disk space below /usr/local"),
    (r"permission|not root-owned", "the install path and its parents must belong to root with mode 755"),
)  # fmt: skip


def meaning(text: str) -> str:
    """What helps against what an installer said."""
    for pattern, remedy in WORDS:
        if re.search(pattern, text):
            return remedy
    return "look at %s" % LOGS


def install(given: dict[str, Any], folder: str, mark: str, lock: int) -> tuple[int, list[str]]:
    """Run the installer. Returns its exit code and last lines.

    A connection that is lost must not end it half way: it has its own session, writes to a file, and holds the lock itself.
    """
    path = given["path"]
    options = ["--full", "--install-for-all", "--quiet"] if given["kind"] == "driver" else ["--full", "--quiet"]
    write_json(mark, {"installing": os.path.basename(path), "since": time.time()})
    # Through sh: the file need not be executable, and /tmp may be mounted noexec. It asks on a terminal even with --quiet at times.
    output = os.path.join(folder, given["kind"] + ".log")
    with open(output, "wb") as sink:
        process = subprocess.Popen(
            ["sh", path, *options], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, cwd="/", start_new_session=True, pass_fds=(lock,)
        )  # fmt: skip
        code = process.wait()
    return code, [line for line in read(output).splitlines() if line.strip()][-20:]


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    path, kind, root = given["path"], given["kind"], given["root"]
    mark = mark_path(root, kind)
    folder = os.path.dirname(mark)
    name = os.path.basename(path)
    wanted = parse_name(path).get("version")
    before = version_info(root, kind).get("Version")
    interrupted = bool(read_mark(root, kind).get("installing"))
    result: dict[str, Any] = {"changed": False, "version": before, "before": before, "reboot_required": False}
    if before and before == wanted and not interrupted:
        return result
    result.update(
        changed=True, diff={"before": "%s\n" % (before or "nothing"), "after": "%s %s\n" % (kind, wanted or name)}
    )
    if module.check_mode:
        return result  # the file may only be copied in a real run
    if not os.path.isfile(path):
        raise Refusal("%s is not on this host; give the path of the .run file" % path)
    found = sha256_file(path)
    if found != given["sha256"].lower():
        raise Refusal(
            "%s has sha256 %s, expected %s; it is not the file that was meant, nothing was run"
            % (name, found, given["sha256"])
        )
    os.makedirs(folder, mode=0o755, exist_ok=True)
    with locked(os.path.join(folder, "lock"), "an installer of Ascend's", given["wait"]) as lock:
        code, lines = install(given, folder, mark, lock)
        after = version_info(root, kind).get("Version")
        text = "\n".join(lines)
        if code not in (0, 2):
            raise Refusal(
                "%s failed (exit code %d); %s. Its last lines:\n  %s"
                % (name, code, meaning(text), "\n  ".join(lines[-8:])),
                code=code,
            )
        if not after or (wanted and after != wanted):
            raise Refusal(
                "%s ended with exit code %d, but version.info says %s instead of %s; %s. Its last lines:\n  %s"
                % (name, code, after or "nothing", wanted, meaning(text), "\n  ".join(lines[-8:])),
                code=code,
            )
        reboot = code == 2 or bool(re.search(r"[Rr]eboot", text))
        # The boot in which a reboot was asked for: the request ends with it.
        write_json(
            mark,
            {"installing": None, "version": after, "code": code, "reboot_after": boot_id(root) if reboot else None},
        )
    return dict(result, version=after, log=lines, reboot_required=reboot)


def main() -> None:
    spec = {
        "path": {"type": "path", "required": True},
        "sha256": {"type": "str", "required": True},
        "kind": {"type": "str", "choices": ["driver", "firmware"], "required": True},
        "wait": {"type": "int", "default": 600},
        "root": {"type": "path", "default": "/"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
