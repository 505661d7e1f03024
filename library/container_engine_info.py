#!/usr/bin/python
"""Module container_engine_info: what a host's container engine lacks."""

from __future__ import annotations

DOCUMENTATION = r"""
module: container_engine_info
short_description: Read a host's Docker engine and say what it lacks
description:
  - Reads version, daemon.json and state of Docker, and compares them with what services need. Changes nothing.
  - RV(packages) is what to install where no engine is there; an engine that is there is never replaced.
  - RV(config) is daemon.json with the settings merged in; everything else in it stays as it is.
options:
  cdi: {description: "Do containers get their devices by CDI names? That needs Docker 25.", type: bool, default: false}
  source: {description: "Where Docker comes from where none is installed.", type: str, choices: [auto, distribution, vendor], default: auto}
  sources:
    description: "What each system offers: {debian-12: {distribution: {packages, version}, vendor: {packages, version}}}."
    type: dict
    required: true
  settings: {description: "Keys of daemon.json to set; a key that is there already wins, but for C(features).", type: dict, default: {}}
  environment:
    description: "Variables for fetching from outside; Docker gets their proxies (HTTPS_PROXY, HTTP_PROXY, NO_PROXY) unless a URL has a password."
    type: dict
    default: {}
  certificates: {description: "Certificates of private registries, as registry[:port] to PEM text.", type: dict, default: {}}
  config_path: {description: Docker's configuration., type: path, default: /etc/docker/daemon.json}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: What does Docker lack?
  container_engine_info:
    cdi: true
    sources: "{{ container_engine_sources }}"
"""
RETURN = r"""
version: {description: Version of the engine., returned: always, type: str}
live: {description: Whether it answers., returned: always, type: bool}
os: {description: The host's system., returned: always, type: dict}
origin: {description: "Where to install from: C(distribution) or C(vendor); null if nothing is to be installed.", returned: always, type: str}
packages: {description: What to install., returned: always, type: list, elements: str}
config: {description: daemon.json as it should be., returned: always, type: str}
config_changed: {description: Whether that differs from what is there., returned: always, type: bool}
restart: {description: "Whether the running engine has not read its configuration yet.", returned: always, type: bool}
certificates: {description: Registries whose certificate Docker does not have yet., returned: always, type: list, elements: str}
serving: {description: Our services in containers that a restart of the engine would end., returned: always, type: list, elements: str}
problems: {description: What is wrong and what helps., returned: always, type: list, elements: str}
"""

import json
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.host.cpu import read
from ansible.module_utils.serving.host.system import installed, numbers, os_release, run_tool, unit_states

CDI_SINCE = (25,)
CDI_WITHOUT_FLAG = (28, 2)


def merged(config: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The product's settings below what an operator wrote; `features` by key, the product's on top: CDI is what services need."""
    out = {**settings, **config}
    if settings.get("features"):
        out["features"] = {**(config.get("features") or {}), **settings["features"]}
    return out


def proxies(environment: dict[str, Any]) -> dict[str, str]:
    """Docker's `proxies` (since 23) from the usual variables. A URL with a password is left out: daemon.json is no place for it."""
    found = {}
    for name, key in (("http_proxy", "http-proxy"), ("https_proxy", "https-proxy"), ("no_proxy", "no-proxy")):
        value = environment.get(name.upper()) or environment.get(name)
        if value and "@" not in str(value):
            found[key] = str(value)
    return found


def choose(
    os_key: str | None, sources: dict[str, Any], source: str, cdi: bool
) -> tuple[str | None, list[str], str | None]:
    """(origin, packages, problem) for a host without an engine. The distribution's is preferred where it is new enough."""
    offers = sources.get(os_key or "")
    if not offers:
        text = "no container engine is installed, and this version installs none on %s; install Docker%s by hand"
        return None, [], text % (os_key or "this system", " 25 or later" if cdi else "")
    good = [
        name
        for name in ("distribution", "vendor")
        if name in offers and source in ("auto", name) and (not cdi or numbers(offers[name]["version"]) >= CDI_SINCE)
    ]
    if not good:
        text = "container_engine_source is %s, but on %s that offers %s%s; set it to auto"
        told = ", ".join("%s: Docker %s" % (n, o["version"]) for n, o in sorted(offers.items()))
        return None, [], text % (source, os_key, told, ", and CDI needs 25" if cdi else "")
    return good[0], list(offers[good[0]]["packages"]), None


def assess(state: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What follows from what was read. Pure."""
    problems, origin = list(state["problems"]), None
    packages: list[str] = []
    version = numbers(state["version"])
    if not state["installed"]:
        origin, packages, problem = choose(state["os"]["key"], given["sources"], given["source"], given["cdi"])
        problems += [problem] if problem else []
        # The version that will be there decides about the flag.
        version = numbers(given["sources"][state["os"]["key"]][origin]["version"]) if origin else ()
    elif given["cdi"] and version and version < CDI_SINCE:
        problems.append(
            "Docker %s is installed (%s), and devices by CDI names need 25 or later; upgrade it, or set the board's device_access: nodes"
            % (state["version"], ", ".join(state["packages"]) or "not from a package")
        )
    settings = dict(given["settings"])
    if found := proxies(given["environment"]):
        settings["proxies"] = found
    if given["cdi"] and CDI_SINCE <= version < CDI_WITHOUT_FLAG:
        settings["features"] = {**settings.get("features", {}), "cdi": True}
    config = merged(state["config"], settings)
    text = json.dumps(config, indent=2, sort_keys=True) + "\n" if config else ""
    changed = config != state["config"]
    if state["installed"] and not state["live"]:
        problems.append("Docker is installed and does not answer (%s); look at journalctl -u docker" % state["answer"])
    return {
        "version": state["version"],
        "live": state["live"],
        "os": state["os"],
        "origin": origin,
        "packages": packages,
        "config": text,
        "config_changed": changed,
        "restart": bool(state["live"] and not changed and state["stale"]),
        "certificates": sorted(
            name for name, text in given["certificates"].items() if state["certificates"].get(name) != text.strip()
        ),
        "problems": problems,
    }


def look(config_path: str, registries: list[str]) -> dict[str, Any]:
    """Everything about the engine that this host tells."""
    code, text, error = run_tool(["docker", "version", "--format", "{{.Server.Version}}"])
    live = code == 0 and bool(text.strip())
    version = text.strip() if live else None
    packages = installed([r"docker\.io", r"docker-ce", r"docker", r"docker-engine", r"moby(-engine)?"])
    if not version:
        version = next((row["version"] for row in packages.values()), None)
    problems, config = [], {}
    raw = read(config_path)
    if raw.strip():
        try:
            config = json.loads(raw)
            if not isinstance(config, dict):
                raise ValueError
        except ValueError:
            problems.append("%s is not JSON; correct it, or remove it" % config_path)
            config = {}
    return {
        "installed": bool(packages) or code is not None,
        "packages": sorted("%s %s" % (name, row["version"]) for name, row in packages.items()),
        "version": version,
        "live": live,
        "answer": " ".join((error or text).split())[:200],
        "config": config,
        "certificates": {
            name: read(os.path.join(os.path.dirname(config_path), "certs.d", name, "ca.crt")).strip()
            for name in registries
        },
        "stale": live and newer_than_engine(config_path),
        "os": os_release(),
        "problems": problems,
    }


def serving() -> list[str]:
    """Our services that run in containers now."""
    _, text, _ = run_tool(["docker", "ps", "--filter", "label=vllm-ansible.service", "--format", "{{.Names}}"])
    return [name.replace("vllm-", "", 1) for name in text.split()]


def newer_than_engine(path: str) -> bool:
    """Was the configuration written after the engine started?"""
    try:
        return os.stat(path).st_mtime > os.stat("/run/docker.pid").st_mtime
    except OSError:
        return False


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    state = look(given["config_path"], list(given["certificates"]))
    if any("@" in str(value) for name, value in given["environment"].items() if name.lower().endswith("_proxy")):
        module.warn(
            "fetch_environment has a proxy with a password: Docker does not get it, since daemon.json would keep it for everybody to read; "
            "give Docker a proxy without one, or set proxies in container_engine_settings"
        )
    if state["installed"] and not state["live"]:
        unit = unit_states(["docker.service"])["docker.service"]
        state["answer"] = "docker.service is %s; %s" % (unit["active"], state["answer"])
    found = assess(state, given)
    restarts = state["live"] and (found["config_changed"] or found["restart"])
    return {"changed": False, **found, "serving": serving() if restarts else []}


def main() -> None:
    spec = {
        "cdi": {"type": "bool", "default": False},
        "source": {"type": "str", "choices": ["auto", "distribution", "vendor"], "default": "auto"},
        "sources": {"type": "dict", "required": True},
        "settings": {"type": "dict", "default": {}},
        "environment": {"type": "dict", "default": {}},
        "certificates": {"type": "dict", "default": {}},
        "config_path": {"type": "path", "default": "/etc/docker/daemon.json"},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
