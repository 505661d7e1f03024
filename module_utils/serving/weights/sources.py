"""The sources of a model in the order to try, from its row in models.yml and the options of module weights_fetch."""

from __future__ import annotations

import os
import re
from typing import Any

from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.choice import Wanted
from ansible.module_utils.serving.weights.hubs import HUBS
from ansible.module_utils.serving.weights.hubs.mirror import Mirror
from ansible.module_utils.serving.weights.listing import COMMIT, Source, SourceFailed
from ansible.module_utils.serving.weights.local import Directory, Published
from ansible.module_utils.serving.weights.model_state import key_of
from ansible.module_utils.serving.weights.records import known_digests, why_not_published

KNOWN = ("directory", "mirror", *HUBS)


def wanted_of(given: dict[str, Any]) -> Wanted:
    return Wanted(tuple(given["include"]), tuple(given["exclude"]))


def limits_of(given: dict[str, Any], by_file: bool = False) -> Limits:
    numbers = (given[name] for name in ("connections", "stall_timeout", "retries", "wait_limit"))
    return Limits(*numbers, by_file=by_file, slow=given["least_rate"])


def shown_address(address: str) -> str:
    """An address for a message: without user, password and query."""
    return re.sub(r"(?<=//)[^/]*@|[?#].*", "", address, flags=re.S)


def check_login(kind: str, address: str) -> None:
    """SourceFailed for an address with a password or a query: requests carry neither, and messages and manifests would show them."""
    if shown_address(address) != address:
        raise SourceFailed(
            "its address holds a user, a password or a query, which no request carries; write it without them, "
            "and give a token as %s_token" % kind
        )


def source_of(kind: str, row: Any, given: dict[str, Any], limits: Limits) -> Source:
    """The source that a row of models.yml describes; of `published` the row is a folder. SourceFailed where it can't be one."""
    if kind == "published":
        return Published(row)
    wanted, revision = wanted_of(given), row.get("revision") or None
    if kind == "directory":
        path = os.path.expanduser(row.get("path") or "")
        key = key_of(given["name"], given["convert"])
        return Directory(path, wanted, known_digests(given["models_root"], key, path))
    if given["require_pin"] and not COMMIT.fullmatch(revision or ""):
        raise SourceFailed(
            "its revision is %s, and pins are required: set a commit in models.yml" % (revision or "not set")
        )
    token = given.get(kind + "_token") or ""  # a hub without options of its own has variables in its environment
    check_login(kind, (row.get("url") if kind == "mirror" else given.get(kind + "_endpoint")) or "")
    if kind == "mirror":
        return Mirror(given["name"], row.get("url") or "", revision, wanted, token, limits)
    return HUBS[kind](row.get("repo") or "", revision, wanted, given.get(kind + "_endpoint") or "", token, limits)


def candidates(given: dict[str, Any], key: str) -> list[tuple[str, Any]]:
    """(kind, row) of the sources in the order to try; what is on this host already comes first."""
    sources = given["sources"]
    unknown = sorted(set(sources) - {*KNOWN, "registry"})
    if unknown or not sources:
        raise Refusal(
            "model '%s' has the sources %s; known are %s and %s"
            % (given["name"], ", ".join(unknown) or "none", ", ".join(KNOWN[:-1]), KNOWN[-1])
        )
    found = [(kind, sources.get(kind) or {}) for kind in given["order"] if kind in sources or kind == "peers"]
    if not [kind for kind, _ in found if kind != "peers" or given["peers_file"]]:
        raise Refusal(
            "model '%s' has the sources %s, and weights_sources allows %s; add one of them"
            % (given["name"], ", ".join(sorted(sources)), ", ".join(given["order"]) or "none")
        )
    if key != given["name"]:
        plain, _ = why_not_published(given["models_root"], given["name"], sources, wanted_of(given))
        if plain:
            found.insert(0, ("published", plain))
    return found
