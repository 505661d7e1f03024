#!/usr/bin/python
"""Module serving_prune: remove what no deployed service needs any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_prune
short_description: Remove models, environments and tools that no deployed service of a host needs
description:
  - Looks at the releases of the services that remain. What none of them names was made by a deploy and is removed.
  - Models are removed only where O(models_root) lies inside O(serving_root); a shared or mounted folder of models is left alone.
  - With no service left, supervisord ends, and tools, logs, caches and the serving root itself are removed, as far as deploy made them.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  models_root: {description: Folder of published models., type: path, required: true}
  keep_models: {description: Leave all models where they are., type: bool, default: false}
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Tidy up after an uninstall
  serving_prune:
    serving_root: /srv/vllm
    models_root: /srv/vllm/models
"""
RETURN = r"""
removed: {description: What was removed., returned: always, type: list, elements: str}
kept: {description: "What was left, and why.", returned: always, type: list, elements: str}
"""

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving import releases as r
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.files import remove_tree
from ansible.module_utils.serving.supervisors import Supervisord

# What a deploy makes directly below the serving root, beside services/, models/ and envs/.
WHOLE = (
    "supervisor",
    "tools",
    "tools.lock",
    "tools.installing",
    "logs",
    "cache",
    "images",
    "bundles",
    "deploy.lock",
    ".deploy.flock",
    "foreground.py",
    "peers",
)
FOLDERS = ("models/.refs", "models", "envs", "services")


def specs(root: str) -> list[dict[str, Any]]:
    """Specs of every release that a remaining service could run or return to."""
    found = []
    for name in r.services(root):
        base = os.path.join(r.service_dir(root, name), "releases")
        found += [s for s in (r.read_spec(os.path.join(base, d)) for d in sorted(os.listdir(base))) if s]
    return found


def unneeded(root: str, models_root: str, keep_models: bool) -> tuple[list[str], list[str]]:
    """(paths to remove, reasons for what is kept)."""
    left = specs(root)
    envs = {s.get("env_path") for s in left}
    models = {(s.get("model") or {}).get("path") for s in left}
    out, kept = [], []
    base = os.path.join(root, "envs")
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        path = os.path.join(base, name)
        if path.removesuffix(".lock") not in envs:  # .installing of a killed run goes too
            out.append(path)
    inside = os.path.join(models_root, "").startswith(os.path.join(root, ""))
    if not inside or keep_models:
        kept.append(
            "models below %s: %s" % (models_root, "asked to keep them" if keep_models else "not inside %s" % root)
        )
    elif os.path.isdir(models_root):
        names = {os.path.basename(path).partition("@")[0] for path in models if path}
        for name in sorted(os.listdir(models_root)):
            path = os.path.join(models_root, name)
            if ("@" in name and path not in models) or name.endswith(".partial"):
                out.append(path)
        refs = os.path.join(models_root, ".refs")
        for name in sorted(os.listdir(refs)) if os.path.isdir(refs) else []:
            if os.path.splitext(name)[0] not in names:
                out.append(os.path.join(refs, name))
    if os.path.isdir(os.path.join(root, "images")):
        kept.append("images in the container engine: `docker image ls` lists them, `docker rmi` removes one")
    if not r.services(root):
        out += [path for path in (os.path.join(root, name) for name in WHOLE) if os.path.lexists(path)]
    return out, kept


def body(module: AnsibleModule) -> dict[str, Any]:
    root, models_root = module.params["serving_root"], module.params["models_root"]
    gone, kept = unneeded(root, models_root, module.params["keep_models"])
    if not module.check_mode:
        if not r.services(root) and len(os.path.join(root, "supervisor", "s.sock")) <= 100:
            Supervisord(root).shutdown()
        for path in gone:
            remove_tree(path)
        if not r.services(root):
            for name in (*FOLDERS, "."):
                with contextlib.suppress(OSError):  # not empty: it holds something that is not ours
                    os.rmdir(os.path.normpath(os.path.join(root, name)))
    text = "".join(path + "\n" for path in gone)
    diff = {"before": text, "after": "", "before_header": "no longer needed", "after_header": "no longer needed"}
    return {"changed": bool(gone), "removed": gone, "kept": kept, "diff": diff}


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "models_root": {"type": "path", "required": True},
        "keep_models": {"type": "bool", "default": False},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
