#!/usr/bin/python
"""Module image_build: an engine's image with FlagGems in it, pinned."""

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build
short_description: Derive an image with a pinned FlagGems from an engine's image, and push it
description:
  - The vendor documents install FlagGems from a moving branch while the container runs. Here it becomes a layer, once, from a pinned version or commit.
  - An image that was made from the same base by the same recipe is not built again; the recipe's digest is a label of it.
options:
  name: {description: "Name of the new image, registry/path:tag.", type: str, required: true}
  base: {description: The base image's id or digest on this host., type: str, required: true}
  activate: {description: Shell line that enters the image's own environment., type: str, default: ''}
  requirements:
    description: "What pip installs, without dependencies of theirs: NAME==VERSION, or git+https://...@COMMIT."
    type: list
    elements: str
    required: true
  environment_of_pip: {description: "Variables for pip while building, such as an index or a CA file; they don't stay in the image.", type: dict, default: {}}
  push: {description: Push it to its registry., type: bool, default: true}
  username: {description: User for the registry., type: str, default: ''}
  password: {description: Password or token for it., type: str, default: ''}
requirements: [docker]
attributes:
  check_mode: {support: full}
  diff_mode: {support: full}
"""
EXAMPLES = r"""
- name: Put FlagGems into the image
  image_build:
    name: registry.example.org/site/flagos-h100:gems-5.0.2
    base: sha256:c0ffee
    activate: source /root/miniconda3/bin/activate flagscale-inference
    requirements: [flag_gems==5.0.2, sqlalchemy==2.0.48]
"""
RETURN = r"""
id: {description: The image's id on this host., returned: success, type: str}
digest: {description: "Digest of its manifest in the registry; null without a push.", returned: success, type: str}
reference: {description: "What to write into a service's row: name@digest, or the name.", returned: success, type: str}
"""

import io
import re
import shlex
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import digest as digest_of_value
from ansible.module_utils.serving.images import reference, registry

RECIPE = "vllm-ansible.recipe"


def check_requirement(text: str) -> None:
    """Refuse what moves: a name without a version, a branch, a tag."""
    pinned = re.fullmatch(r"[A-Za-z0-9_.-]+==[A-Za-z0-9_.+!-]+", text)
    commit = re.fullmatch(r"git\+https://\S+@[0-9a-f]{40}", text)
    if not pinned and not commit:
        raise Refusal(
            "'%s' is not pinned; write NAME==VERSION, or git+https://HOST/PATH@ with a commit of 40 digits" % text
        )


def dockerfile(given: dict[str, Any]) -> str:
    # Docker hands proxies to a build unasked; one that is declared here stays in the image's history, with its password.
    names = [name for name in sorted(given["environment_of_pip"]) if not re.fullmatch(r"(?i)\w+_proxy", name)]
    for name in names:
        if re.search(r"//\S*@", str(given["environment_of_pip"][name])):
            raise Refusal(
                "%s of fetch_environment has a password, which would stay in the image's history; give an address without one"
                % name
            )
    arguments = "".join("ARG %s\n" % name for name in names)
    enter = given["activate"] + " && " if given["activate"] else ""
    # Environments that uv made have no pip.
    command = "%s{ python -m pip --version || python -m ensurepip; } >/dev/null 2>&1 && python -m pip install %s %s" % (
        enter,
        "--no-deps --no-cache-dir --disable-pip-version-check",
        " ".join(shlex.quote(one) for one in given["requirements"]),
    )
    return "FROM %s\n%sRUN %s\n" % (given["base"], arguments, '["/bin/bash", "-c", %s]' % quoted(command))


def quoted(text: str) -> str:
    return '"%s"' % text.replace("\\", "\\\\").replace('"', '\\"')


def build(client: Any, given: dict[str, Any], recipe: str) -> Any:
    """The built image. Refusal with the last lines of a build that failed."""
    import docker.errors

    try:
        image, _ = client.images.build(
            fileobj=io.BytesIO(dockerfile(given).encode()), tag=given["name"], rm=True, forcerm=True, pull=False,
            labels={RECIPE: recipe}, buildargs={k: str(v) for k, v in given["environment_of_pip"].items()},
        )  # fmt: skip
    except docker.errors.BuildError as error:
        text = "".join(str(row.get("stream") or "") for row in error.build_log)
        lines = [
            re.sub(r"\x1b\[[0-9;]*m", "", x).strip() for x in text.splitlines() if not re.match(r"\s*(--->|Step )", x)
        ]
        raise Refusal(
            "%s can't be built: %s\nLast lines:\n  %s"
            % (given["name"], error.msg, "\n  ".join([x for x in lines if x][-8:]))
        ) from None
    except docker.errors.APIError as error:
        raise Refusal("%s can't be built: %s" % (given["name"], error.explanation or error)) from None
    return image


def push(client: Any, given: dict[str, Any]) -> str:
    """Push the image: the digest that its registry gives it."""
    try:
        with registry.registry_errors(given["name"]):
            for row in client.api.push(
                given["name"], stream=True, decode=True, auth_config=registry.credentials(given)
            ):
                if "error" in row:
                    raise Refusal("%s can't be pushed: %s" % (given["name"], registry.explain(row["error"])))
                if (row.get("aux") or {}).get("Digest"):
                    return str(row["aux"]["Digest"])
    except registry.PullFailed as failure:
        raise Refusal("%s can't be pushed: %s" % (given["name"], failure)) from None
    raise Refusal("%s was pushed and its registry named no digest" % given["name"])


def body(module: AnsibleModule) -> dict[str, Any]:
    import docker.errors

    given = module.params
    for one in given["requirements"]:
        check_requirement(one)
    image = reference.parse(given["name"])
    if image.digest or not image.tag:
        raise Refusal("name %s must be registry/path:tag; the digest is what comes of it" % given["name"])
    client = registry.connect()
    recipe = digest_of_value({key: given[key] for key in ("base", "activate", "requirements")})[:16]
    try:
        found = client.images.get(given["name"])
    except docker.errors.ImageNotFound:
        found = None
    same = found is not None and (found.attrs["Config"].get("Labels") or {}).get(RECIPE) == recipe
    pushed = next(
        (d.partition("@")[2] for d in (found.attrs["RepoDigests"] if same else []) if d.startswith(image.repo + "@")),
        None,
    )
    todo = ([] if same else ["it is not built from this recipe yet"]) + (
        ["it is not pushed yet"] if given["push"] and not pushed else []
    )
    result: dict[str, Any] = {
        "changed": bool(todo),
        "reasons": todo,
        "id": found.id if same else None,
        "digest": pushed,
    }
    if todo:
        result["diff"] = {
            "before": "",
            "after": dockerfile(given),
            "before_header": given["name"],
            "after_header": given["name"],
        }
    if todo and not module.check_mode:
        if not same:
            result["id"] = build(client, given, recipe).id
        if given["push"]:
            result["digest"] = push(client, given)
    result["reference"] = "%s@%s" % (given["name"], result["digest"]) if result["digest"] else given["name"]
    return result


def main() -> None:
    spec = {
        "name": {"type": "str", "required": True},
        "base": {"type": "str", "required": True},
        "activate": {"type": "str", "default": ""},
        "requirements": {"type": "list", "elements": "str", "required": True},
        "environment_of_pip": {"type": "dict", "default": {}},
        "push": {"type": "bool", "default": True},
        "username": {"type": "str", "default": ""},
        "password": {"type": "str", "default": "", "no_log": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
