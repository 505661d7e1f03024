#!/usr/bin/python
"""Module api_key: change a service's API key, with a time in which both keys count."""

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key
short_description: Make a new API key for a service beside the old one, or drop the old one
description:
  - The key file holds the key that counts in its first line, and, while callers change over, the old one in its second.
  - The service reads the file when it starts. The guard in each release accepts both; of a release of an earlier version, without a guard,
    only the first is sure to count.
  - No key is ever returned.
options:
  value: {description: The new key; made here where it is not given., type: str}
  name: {description: Name of the service., type: str, required: true}
  shares_with: {description: "A service of this host whose new key is this one's, too, where none is given.", type: str}
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  state:
    description:
      - V(added) puts a new key before the one there is, once; with two keys there it changes nothing.
      - V(finished) leaves the first key alone.
    type: str
    choices: [added, finished]
    default: added
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: A new key
  api_key:
    name: qwq-32b
    serving_root: /srv/vllm
"""
RETURN = r"""
count: {description: How many keys the file holds., returned: always, type: int}
key_file: {description: Where it lies on the host., returned: always, type: str}
both: {description: Whether the service's release accepts two keys., returned: always, type: bool}
"""

import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import locked
from ansible.module_utils.serving.service import releases


def body(module: AnsibleModule) -> dict[str, Any]:
    name, root = module.params["name"], module.params["serving_root"]
    folder = releases.service_dir(root, name)
    spec = releases.current_spec(root, name)
    if spec is None:
        raise Refusal("service '%s' is not deployed on this host; run deploy.yml" % name)
    if not spec.get("api_key"):
        raise Refusal("service '%s' asks for no key (api_key: false in its row)" % name)
    path = os.path.join(folder, "api_key")
    value = releases.checked_key(module.params["value"]) if module.params["value"] else None
    other = module.params["shares_with"] or name
    with locked(releases.lock_path(root, name), "service '%s'" % name):
        keys = releases.read_keys(folder)
        wanted = keys[:1] if module.params["state"] == "finished" else keys
        if module.params["state"] == "added":
            if value and keys == [value]:
                raise Refusal(
                    "api_keys gives service '%s' the key that counts already; put the new one there first" % name
                )
            if value:
                wanted = releases.with_key(keys, value)
            elif other != name:
                others = releases.read_keys(releases.service_dir(root, other))
                if module.check_mode and len(others) < 2:
                    others = [releases.new_key(), *others]  # as a run would have found them
                wanted = releases.with_key(keys, next(iter(others), None))
            elif len(keys) < 2:
                wanted = [releases.new_key(), *keys]
        changed = wanted != keys
        if changed and not module.check_mode:
            releases.write_keys(folder, wanted)
    return {
        "changed": changed,
        "count": len(wanted),
        "key_file": path,
        "both": spec.get("paths") is not None,
    }


def main() -> None:
    spec = {
        "value": {"type": "str", "no_log": True},
        "name": {"type": "str", "required": True},
        "shares_with": {"type": "str"},
        "serving_root": {"type": "path", "required": True},
        "state": {"type": "str", "choices": ["added", "finished"], "default": "added"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
