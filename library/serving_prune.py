#!/usr/bin/python
"""Module serving_prune: remove what no deployed service needs any more."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_prune
short_description: Remove models, environments and tools that no deployed service of a host needs
description:
  - Looks at the releases of the services that remain, those that a rollback may lead to among them. What none of them names was made by a
    deploy and is removed, but for what a fetch or an installation is working on just now.
  - Where a release can't be read, nobody can tell what it needs, and models and environments stay.
  - Models are removed only where O(models_root) lies inside O(serving_root); a shared or mounted folder of models is left alone.
  - With no service left, supervisord ends, and tools, logs, caches and the serving root itself are removed, as far as deploy made them.
    A gateway that runs below supervisord keeps it, with its tools and logs; one whose HAProxy is of an image keeps the records of images.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  models_root: {description: Folder of published models., type: path, required: true}
  keep_models: {description: Leave all models where they are., type: bool, default: false}
  keep_releases:
    description:
      - Releases that each service keeps, the current one and the one to return to among them. 0 keeps all.
      - With a number, images and caches that no kept release names go, too, and what a killed relay of images has left.
    type: int
    default: 0
  gateway_folder:
    description:
      - Folder of this host's gateway, whose image stays whether it runs or not.
      - Without it, the folder C(gateway) of O(serving_root).
    type: path
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
freed_bytes: {description: "Bytes of the files that were removed, images not counted.", returned: always, type: int}
kept: {description: "What was left, and why.", returned: always, type: list, elements: str}
"""

import contextlib
import os
import re
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.files import in_use, read_json, remove_lock, remove_tree
from ansible.module_utils.serving.gateway.forms import image_of
from ansible.module_utils.serving.gateway.units import ALL
from ansible.module_utils.serving.host.environments import folders
from ansible.module_utils.serving.host.system import run_tool
from ansible.module_utils.serving.processes import runs_from
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.supervisors import Supervisord
from ansible.module_utils.serving.sizing import learned, rates
from ansible.module_utils.serving.weights.model_state import unused, uses

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
    "foreground.py",
    "peers",
    "archives",
    learned.NAME,
    rates.NAME,
)
OF_UNITS = ("supervisor", "tools", "tools.lock", "logs")  # what supervisord and whoever runs below it have
FOLDERS = ("models/.refs", "models", "envs", "services")


def old_releases(root: str, keep: int) -> list[str]:
    """Folders of releases beyond the newest `keep` of each service. What runs, and what a rollback leads to, always stays."""
    out = []
    for name in releases.services(root) if keep else []:
        folder = releases.service_dir(root, name)
        base = os.path.join(folder, "releases")  # what a killed run left half written counts as old
        now = releases.link_digest(folder, "current") or ""
        run = releases.running_release(root, name) or {}
        needed = {now, releases.earlier(folder, now), releases.link_digest(folder, "previous"), run.get("release")} - {
            None,
            "",
        }
        known = releases.verified(folder)
        rest = [n for n in os.listdir(base) if n not in needed]
        rest.sort(key=lambda n: (known.get(n, 0), os.stat(os.path.join(base, n)).st_mtime), reverse=True)
        out += [os.path.join(base, n) for n in rest[max(0, keep - len(needed)) :]]
    return out


def specs(root: str, gone: list[str]) -> list[dict[str, Any]]:
    """Specs of every release that a remaining service could run or return to, without those that go."""
    found = []
    for name in releases.folders(root):
        folder = releases.service_dir(root, name)
        paths = [os.path.join(folder, "releases", number) for number in releases.releases(folder)]
        found += [s for s in (releases.read_spec(path) for path in paths if path not in gone) if s]
    return found


def unneeded_images(root: str, gateway: str, left: list[dict[str, Any]], gone: list[str]) -> dict[str, str]:
    """{image id: what we know it by} of images that we have brought and neither a kept release nor the gateway names.

    Docker itself keeps the image of a container that runs.
    """
    named = {(s.get("image") or {}).get("id") for s in left} | {image_of(gateway)}
    known = {}  # what Docker finds an image by
    for spec in (releases.read_spec(path) or {} for path in gone):
        image = spec.get("image") or {}
        if image.get("id"):
            known[image["id"]] = image.get("name") or image["id"]
    base = os.path.join(root, "images")
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        try:
            record = read_json(os.path.join(base, name)) if name.endswith(".json") else None
        except ValueError:
            continue
        if record and (record.get("id") or record.get("digest")):
            repository = re.sub(r"(:[^/:@]*)?(@.*)?$", "", record["image"])
            known[record.get("id") or "%s@%s" % (repository, record["digest"])] = record["image"]
    found = {}
    for reference, name in known.items():
        code, ident, _ = run_tool(["docker", "image", "inspect", "--format", "{{.Id}}", reference])
        if code == 0 and ident.strip() not in named:
            found[ident.strip()] = name
    return found


def unneeded_caches(root: str, left: list[dict[str, Any]]) -> list[str]:
    """Caches of images and environments that no kept release names; roles/serve/vars names them."""
    made = {(s.get("image") or {}).get("id", "").split(":")[-1][:12] for s in left if s.get("image")}
    made |= {os.path.basename(s["env_path"]) for s in left if s.get("env_path")}
    base = os.path.join(root, "cache")
    names = sorted(os.listdir(base)) if os.path.isdir(base) else []
    return [os.path.join(base, n) for n in names if n != "uv" and not any(n.startswith(m + "-") for m in made)]


def unneeded_envs(root: str, left: list[dict[str, Any]]) -> list[str]:
    """Environments below the serving root that no release names, what a killed installation left among them."""
    envs = {os.path.realpath(str(s["env_path"])) for s in left if s.get("env_path")}
    base = os.path.join(root, "envs")
    out = []
    for name in sorted(os.listdir(base)) if os.path.isdir(base) else []:
        env = re.sub(r"\.(lock|installing|files|progress)$", "", os.path.join(base, name))
        if os.path.realpath(env) not in envs and not in_use(env + ".lock") and not runs_from(env):
            out.append(os.path.join(base, name))
    return out


def unneeded(
    root: str, models_root: str, keep_models: bool, old: list[str], gateway: str
) -> tuple[list[str], list[str]]:
    """(paths to remove, reasons for what is kept). `old` are releases that go, `gateway` is its folder."""
    out: list[str] = []
    kept: list[str] = []
    used, unreadable = uses(root, old)
    inside = os.path.join(models_root, "").startswith(os.path.join(root, ""))
    if unreadable:
        kept.append(
            "models and environments: what release %s needs can't be read; deploy or uninstall its service"
            % unreadable[0]
        )
    else:
        out += unneeded_envs(root, specs(root, old))
    if not inside or keep_models:
        kept.append(
            "models below %s: %s" % (models_root, "asked to keep them" if keep_models else "not inside %s" % root)
        )
    elif not unreadable:
        gone, busy = unused(models_root, used)
        out += gone
        kept += ["%s: a fetch works on it now" % path for path in busy]
    if not releases.folders(root):
        stays: set[str] = set()
        owned = gateway_units(root)
        if image_of(gateway):
            stays.add("images")  # by these records the gateway knows an image of the controller's, or by tag
        if owned:
            stays.update(OF_UNITS)
            kept.append(
                "supervisord and its tools: the gateway runs below it; playbooks/gateway.yml -e gateway_state=absent ends it"
            )
        out += [path for path in (os.path.join(root, n) for n in WHOLE if n not in stays) if os.path.lexists(path)]
        out += [] if owned else folders(os.path.join(root, "tools"))
    return out, kept


def gateway_units(root: str) -> list[str]:
    """Programs of a gateway that run below this root's supervisord."""
    return [name for name in ALL if os.path.exists(os.path.join(root, "supervisor", "conf.d", name + ".conf"))]


def tree_bytes(paths: list[str]) -> int:
    """Bytes of the files below these paths, a file with several names (uv's cache and the environments) counted once."""
    seen: dict[tuple[int, int], int] = {}
    for path in paths:
        files = [path] if not os.path.isdir(path) or os.path.islink(path) else []
        for folder, _, names in os.walk(path):
            files += [os.path.join(folder, name) for name in names]
        for name in files:
            with contextlib.suppress(OSError):  # it went meanwhile
                found = os.lstat(name)
                seen[found.st_dev, found.st_ino] = found.st_size
    return sum(seen.values())


def remove(path: str) -> None:
    """Remove what isn't needed; a lock file only while nobody holds it."""
    if path.endswith(".lock"):
        remove_lock(path)
    else:
        remove_tree(path)


def body(module: AnsibleModule) -> dict[str, Any]:
    root, models_root = module.params["serving_root"], module.params["models_root"]
    keep = module.params["keep_releases"]
    old = old_releases(root, keep)
    left = specs(root, old)
    gateway = module.params["gateway_folder"] or os.path.join(root, "gateway")
    gone, kept = unneeded(root, models_root, module.params["keep_models"], old, gateway)
    images: dict[str, str] = {}
    if keep:
        images = unneeded_images(root, gateway, left, old)
        gone = old + gone + unneeded_caches(root, left)
        archives = os.path.join(root, "archives")  # of images, left by a deploy that was killed
        if os.path.isdir(archives) and archives not in gone:
            gone.append(archives)
    elif os.path.isdir(os.path.join(root, "images")):
        kept.append("images in the container engine: `docker image ls` lists them, `docker rmi` removes one")
    size = tree_bytes(gone)
    if not module.check_mode:
        for ident, name in sorted(images.items()):
            code, _, error = run_tool(["docker", "image", "rm", ident], 600)  # not forced: others may use it
            if code != 0:
                kept.append("image %s: %s" % (name, " ".join(error.split())[:200]))
        ends = not releases.folders(root) and not gateway_units(root)
        if ends and len(os.path.join(root, "supervisor", "s.sock")) <= 100:
            Supervisord(root).shutdown()
        for path in gone:
            remove(path)
        if not releases.folders(root):
            remove_tree(os.path.join(root, "deploy.lock"))  # no state of the host: that it goes is no change
            remove_lock(os.path.join(root, ".deploy.flock"))
            for name in (*FOLDERS, "."):
                with contextlib.suppress(OSError):  # not empty: it holds something that is not ours
                    os.rmdir(os.path.normpath(os.path.join(root, name)))
    everything = [*gone, *("image %s" % name for _, name in sorted(images.items()))]
    text = "".join(path + "\n" for path in everything)
    diff = {"before": text, "after": "", "before_header": "no longer needed", "after_header": "no longer needed"}
    return {"changed": bool(everything), "removed": everything, "freed_bytes": size, "kept": kept, "diff": diff}


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "models_root": {"type": "path", "required": True},
        "keep_models": {"type": "bool", "default": False},
        "keep_releases": {"type": "int", "default": 0},
        "gateway_folder": {"type": "path"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
