"""Filters about weights and archives of images: what a host wants, and which hosts of a play have something to give each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]


def weights_wanted(forms: Iterable[Row], mirror: str = "", keep_source: bool = False) -> list[dict[str, Any]]:
    """[{name, sources, convert}] of a plan's model forms, as weights_fetch is asked for them; include and exclude where set."""
    return [
        {
            "name": form["model"]["name"],
            "sources": {**form["model"]["sources"], **({"mirror": {"url": mirror}} if mirror else {})},
            "convert": None if keep_source else form["convert"],
            **{key: form["model"][key] for key in ("include", "exclude") if form["model"].get(key)},
        }
        for form in forms
    ]


def weights_sharing(peers: Iterable[Row], host: str) -> list[Row]:
    """The hosts that this one shares with, itself among them: some model that both have in their plans is lacking somewhere.

    Empty where there is nothing to share.
    """
    rows = list(peers)
    lacking = {form["key"] for row in rows for form in row["forms"] if form["pending"]}
    mine = {form["key"] for row in rows if row["name"] == host for form in row["forms"]} & lacking
    found = [row for row in rows if mine & {form["key"] for form in row["forms"]}]
    return found if len(found) > 1 else []


def weights_lacking(peers: Iterable[Row]) -> list[dict[str, Any]]:
    """[{name, sources, convert}] of what some host lacks, each form once; include and exclude where set."""
    found = {form["key"]: form for row in peers for form in row["forms"] if form["pending"]}
    keys = ("name", "sources", "convert", "include", "exclude")
    return [{key: found[name][key] for key in keys if key in found[name]} for name in sorted(found)]


def image_lacking(hosts: Iterable[Row]) -> list[dict[str, Any]]:
    """[{key, name, arch, digest}] of the images that some host lacks, each once; of each host what it registered as `image_looks`."""
    looks = [row for host in hosts for row in host.get("image_looks", {}).get("results", []) if row.get("pending")]
    found = {row["image"]["key"]: row["image"] for row in looks}
    return [found[key] for key in sorted(found)]


def image_forms(looks: Iterable[Row]) -> list[dict[str, Any]]:
    """The archives that a host needs, as its models would be given."""
    found = {row["image"]["key"]: row["image"]["name"] for row in looks if row.get("pending")}
    return [
        {"model": {"name": key, "sources": {"registry": {"repo": name}}}, "convert": None}
        for key, name in sorted(found.items())
    ]


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {
            "weights_wanted": weights_wanted,
            "weights_sharing": weights_sharing,
            "weights_lacking": weights_lacking,
            "image_lacking": image_lacking,
            "image_forms": image_forms,
        }
