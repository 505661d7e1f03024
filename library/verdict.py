#!/usr/bin/python
"""Module verdict: the verdict on a service's release, kept on its host."""

from __future__ import annotations

DOCUMENTATION = r"""
module: verdict
short_description: Read or keep the verdict on a service's current release
description:
  - A verdict belongs to a release and to what it was judged against. Kept beside the releases, it spares an unchanged release being asked again.
  - A release that waits for its verdict does not count as one that has answered until O(passes) says so.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
  release: {description: The release that was judged. Nothing is kept where another one is current by now., type: str}
  keep: {description: The verdict to keep. Without it the kept one is only read., type: dict}
  passes: {description: "May the release count as one that has answered, and be returned to?", type: bool, default: false}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Which verdict has it?
  verdict:
    serving_root: /srv/vllm
    service: demo
"""
RETURN = r"""
release: {description: The current release; null if the service is not deployed., returned: success, type: str}
kept: {description: The verdict on it; null if there is none., returned: success, type: dict}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.service import releases, verdicts


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    folder = releases.service_dir(given["serving_root"], given["service"])
    now = releases.link_digest(folder, "current")
    if given["release"] and now != given["release"]:
        raise Refusal(
            "service '%s' was judged as release %s and has release %s by now; judge it again"
            % (given["service"], given["release"], now)
        )
    if now and given["keep"] and not module.check_mode:
        verdicts.keep(folder, now, given["keep"])
    if now and given["passes"] and not module.check_mode:
        verdicts.passed(folder, now)
    return {"changed": False, "release": now, "kept": verdicts.kept(folder, now) if now else None}


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "service": {"type": "str", "required": True},
        "release": {"type": "str"},
        "keep": {"type": "dict"},
        "passes": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
