"""Filters that make a release of a service's record: `release`, `template_faults`, `with_adapters`, `fetch_is_pending`.

`release` says what a release on a host consists of, from the record, from what was found there (module artifact_info) and from the devices
that it gets (module service_devices): the files and their templates, the spec, and the paths that the templates write. Templates see its
result as `release` and the record as `service`.
"""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import jinja2

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning.adapters import COPIES, SEEN, live_of, with_adapters
from planning.facts import would_publish
from planning.groups import OWN_OPTIONS, STEP_VARIABLE
from planning.paths import callers_paths

Record = Mapping[str, Any]

# What a container needs whatever its engine is; the guard is in front of every engine.
RUNTIME_FILES: dict[str, dict[str, str]] = {
    "native": {},
    "container": {
        "start": "container/start.j2",
        "stop": "container/stop.j2",
        "environment": "container/environment.j2",
    },
}
GROUP = {"start": "group/start.j2", "group.py": "group/group.py"}
SILENCE = 20  # seconds without a sign of life after which a host of a group counts as gone; TCP gets over a cut of 8
OWNER = {"guard/vllm_ansible_owner.py": "guard/vllm_ansible_owner.py"}  # for the host's own door, beside the guard
GUARD = {"guard/vllm_ansible_guard.py": "guard/vllm_ansible_guard.py"}
NO_IMAGE: dict[str, Any] = {"id": None, "digest": None, "uid": 0}  # check mode may find none


class Roots(TypedDict):
    """Where things lie on the host."""

    serving: str
    models: str
    environment: str | None  # that we make for the engine; None where there is none


class Seen(TypedDict):
    """What the engine sees: in a container the weights lie below /models, and it listens on the port that is published."""

    model: str
    host: str
    adapters: dict[str, str]


class Release(TypedDict):
    """What templates and module inference_service need. Paths are the host's, those with `seen` the engine's or the start script's."""

    files: dict[str, str]  # file of the release: template
    spec: dict[str, Any]
    folder: str
    model_path: str
    adapter_paths: dict[str, str]
    environment: str | None
    python: str  # of the tools
    cache: str
    container: str
    image: str | None
    user: int  # that the image runs as; 0 natively
    key: str
    key_copy: bool
    key_seen: str
    secrets: str
    secrets_copy: bool
    secrets_seen: str
    live: dict[str, str]
    place: Record
    seen: Seen


def files_of(service: Record) -> dict[str, str]:
    """{file of the release: template}, the runtime's before the engine's."""
    files = {**RUNTIME_FILES[service["runtime"]], **service["engine_facts"]["files"], **GUARD}
    if service["adapters_at_runtime"]:
        files.update(OWNER)
    if not service["group"]:
        return files
    # What starts the engine is started by group.py, once all hosts are there.
    return {**GROUP, "engine": files.pop("start"), **files}


def container_of(service: Record) -> str:
    """Name of the service's container."""
    return f"vllm-{service['service']}"


def cache_of(service: Record, root: str, image: Record, environment: str | None) -> str:
    """Folder of what is compiled and tuned: for one image or environment, one kind of accelerator, one set of operators. Others may crash on it."""
    of_image, of_environment = str(image["id"] or "image").rpartition(":")[2][:12], posixpath.basename(str(environment))
    made = of_image if service["runtime"] == "container" else of_environment
    return f"{root}/cache/{made}-{service['board']}{'-flaggems' if service['flaggems'] else ''}"


def spec_of(service: Record, found: Record, place: Record, model_path: str, environment: str | None) -> dict[str, Any]:
    """What status, rollback and prune need to know. Its digest names the release: a key more is another release on every host."""
    facts, weights, image = service["engine_facts"], found["weights"], found["image"] or NO_IMAGE
    inside = service["runtime"] == "container"
    flaggems = bool(service["flaggems"])
    same = (
        "service", "engine", "runtime", "endpoint", "kind", "served_name", "api_key", "check", "rights", "drain_timeout", "ready_timeout",
        "restart_limit",
    )  # fmt: skip
    spec = {
        **{key: service[key] for key in same},
        "devices": place["names"],
        "cores": place["cores"],
        "paths": callers_paths(service),
        "model": {
            "name": service["model"]["name"],
            "revision": weights["revision"],
            "identity": weights["identity"],
            "path": model_path,
        },
        "env_path": None if inside else environment,
        "image": {
            "name": re.sub(r"@sha256:.*", "", service["image"]),
            "digest": image["digest"],
            "id": image["id"],
        }
        if inside
        else None,
        "container": container_of(service) if inside else None,
        "reasoning": service["model"]["reasoning"],
        "vision": service["model"]["vision"],
        "flaggems": flaggems if flaggems or facts["flaggems_built_in"] else None,
    }
    # Said only where an engine differs from what the modules expect, and where there are inputs: so releases of the others stay as they are.
    probe = {key: value for key, value in facts["probe"].items() if value}
    return {
        **spec,
        **({"probe": probe} if probe else {}),
        **({"inputs": found["inputs"]} if found.get("inputs") else {}),
        **({"adapters": adapters_of(service, found)} if service["adapters"] else {}),
        **({"live": live_of(service)} if service["adapters_at_runtime"] else {}),
        **({"group": group_of(service, spec)} if service["group"] else {}),
    }


def group_of(service: Record, spec: Record) -> dict[str, Any]:
    """What group.py reads of the group. `digest` is that of what all its hosts have alike: with another one they don't start together."""
    args = {
        key: value
        for key, value in service["engine_args"].items()
        if key not in (*OWN_OPTIONS, "kv_cache_memory_bytes")
    }
    group, image = service["group"], spec["image"] or {}
    alike = [
        args, service["env"], group["members"], group["addresses"], group["ports"], spec["engine"], spec["served_name"], spec["model"]["identity"],
        image.get("digest") or image.get("name"), posixpath.basename(str(spec["env_path"])), service["options_version"],
    ]  # fmt: skip
    digest = hashlib.sha256(json.dumps(alike, sort_keys=True, default=str).encode()).hexdigest()[:16]
    known = {key: value for key, value in group.items() if key != "judged"}  # no release is new for its verdict
    return {**known, "silence": SILENCE, "step_seconds": int(service["env"][STEP_VARIABLE]), "digest": digest}


def adapters_of(service: Record, found: Record) -> dict[str, Any]:
    """{name: {revision, identity, path}} of a record's adapters on this host."""
    keys = ("revision", "identity", "path")
    return {row["name"]: {key: found["adapters"][row["name"]][key] for key in keys} for row in service["adapters"]}


def release(service: Record, found: Record, place: Record, roots: Roots) -> Release:
    """A release of this record. `found`: {weights, image, inputs} of artifact_info. `place`: {names, cdi, cores} of service_devices."""
    inside = service["runtime"] == "container"
    image = found["image"] or NO_IMAGE
    root, name = roots["serving"], service["model"]["name"]
    folder = f"{root}/services/{service['service']}"
    environment = service["native_env"] or roots["environment"]
    model_path = found["weights"]["path"] or f"{roots['models']}/{name}@<revision>"
    adapters = {
        row["name"]: found["adapters"][row["name"]]["path"] or f"{roots['models']}/{row['name']}@<revision>" for row in service["adapters"]
    }  # fmt: skip
    # Key and secrets belong to root alone; an image that runs as another user gets copies of its own with each start.
    user = int(image.get("uid") or 0)
    key, secrets, owner = f"{folder}/api_key", f"{folder}/secret_env", f"{folder}/owner_key"
    live = live_of(service)
    copied = bool(live and inside)
    key_copy, secrets_copy = bool(service["api_key"] and user), bool(service["secret_env"] and user)
    return {
        "files": files_of(service),
        "spec": spec_of(service, found, place, model_path, environment),
        "folder": folder,
        "model_path": model_path,
        "adapter_paths": {} if copied else adapters,
        "environment": environment,
        "python": f"{root}/tools/bin/python",
        "cache": cache_of(service, root, image, environment),
        "container": container_of(service),
        "image": image["id"],
        "user": user,
        "key": key,
        "key_copy": key_copy,
        "key_seen": "$here/../../tmp/api_key" if key_copy else key,
        "secrets": secrets,
        "secrets_copy": secrets_copy,
        "secrets_seen": "$here/../../tmp/secret_env" if secrets_copy else secrets,
        "live": {
            "key": owner,
            "key_seen": "$here/../../tmp/owner_key" if user else owner,
            "copy": "yes" if user else "",
            "adapters": f"{folder}/adapters",
            "doors": f"{live['load']} {live['unload']}",
        }
        if live
        else {},
        "place": place,
        "seen": {
            "model": f"/models/{name}" if inside else model_path,
            "adapters": {
                one: f"{COPIES}/{posixpath.basename(path)}" if copied else f"{SEEN}/{one}" if inside else path
                for one, path in adapters.items()
            },
            # Inside a network of its own it listens on all, and the port is published where the row says.
            "host": "0.0.0.0" if inside and "host-network" not in service["rights"] else service["address"],  # noqa: S104
        },
    }


def fetch_is_pending(service: Record, facts: Mapping[str, Any], keep_source: bool = False) -> bool:
    """In check mode: would Fetch, earlier in the same run, publish other weights than are there now? `facts` are the host's."""
    name = service["model"]["name"]
    forms = [
        name + ("+float16" if service["convert"] else ""),
        *([name] if keep_source else []),
        *(row["name"] for row in service["adapters"]),
    ]
    return any(facts.get(would_publish(form)) for form in forms)


def template_problem(name: str, product: str, site: str) -> str | None:
    """What is wrong with where a template lies, or with the text of a site's."""
    ours, own = (os.path.join(folder, name) for folder in (product, site))
    if not os.path.isfile(own):
        return None if os.path.isfile(ours) else f"its template '{name}' is not there; write it as {own}"
    if os.path.realpath(own) == os.path.realpath(ours):
        return None
    if os.path.isfile(ours):
        return f"its template {own} has the name of one of the product's; give it a folder of its own"
    try:
        jinja2.Environment(autoescape=False).parse(Path(own).read_text(encoding="utf-8"))  # noqa: S701
    except jinja2.TemplateSyntaxError as error:
        return f"its template {own} is no Jinja: line {error.lineno}: {error.message}"
    except (OSError, UnicodeDecodeError) as error:
        return f"its template {own} can't be read: {error}"
    return None


def template_faults(plan: list[Record], product: str, site: str) -> list[str]:
    """A sentence for each template of the plan's engines that can't be rendered. `product`, `site`: folders of templates."""
    engines = {service["engine"]: set[str]() for service in plan}
    for service in plan:
        engines[service["engine"]].update(files_of(service).values())
    found = ((engine, template_problem(name, product, site)) for engine in engines for name in sorted(engines[engine]))
    return [f"engine '{engine}': {problem}" for engine, problem in found if problem]


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "fetch_is_pending": fetch_is_pending,
            "release": release,
            "template_faults": template_faults,
            "with_adapters": with_adapters,
        }
