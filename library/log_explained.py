#!/usr/bin/python
"""Module log_explained: what any log of a host says of a failure, and what helps."""

from __future__ import annotations

DOCUMENTATION = r"""
module: log_explained
short_description: Explain a failure by a log of the host
description:
  - Reads the end of a log of the host (a file, a systemd unit's journal, or the kernel's) and explains it as verify explains a service's own log.
    For what fails beside the services, such as drivers, kernel modules, container engines, package managers. Changes nothing.
options:
  file: {description: "A log file of the host, such as /var/log/nvidia-installer.log.", type: path}
  unit: {description: "A systemd unit, such as docker.service; `kernel` for what the kernel says since it was booted.", type: str}
  lines: {description: How many of its last lines are returned; up to 2000 are read., type: int, default: 50}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Explain why the driver was not installed
  log_explained:
    file: /var/log/nvidia-installer.log
- name: Explain why Docker does not start
  log_explained:
    unit: docker.service
"""
RETURN = r"""
lines: {description: Its last lines., returned: always, type: list, elements: str}
log: {description: Where the whole log is., returned: always, type: str}
root: {description: "The line that counts; none where nothing sounds like an error.", returned: always, type: str}
meaning: {description: "Cause and remedy in one line; none where nobody knows.", returned: always, type: str}
sure: {description: Whether that is the cause and not only a possible one., returned: always, type: bool}
text: {description: "Lines, root and meaning as a person reads them.", returned: always, type: str}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.service.host_logs import explained, read_file, read_journal


def body(module: AnsibleModule) -> dict[str, Any]:
    file, unit = module.params["file"], module.params["unit"]
    lines, log = read_file(file) if file else read_journal(unit)
    return {"changed": False, **explained(lines, log, module.params["lines"])}


def main() -> None:
    spec = {"file": {"type": "path"}, "unit": {"type": "str"}, "lines": {"type": "int", "default": 50}}
    run_module(
        AnsibleModule(
            spec, supports_check_mode=True, required_one_of=[["file", "unit"]], mutually_exclusive=[["file", "unit"]]
        ),
        body,
    )


if __name__ == "__main__":
    main()
