"""A site: which file holds which table of it, what the product's version must be, and what its settings are called now."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import yaml
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from .rows import Collected, fail

# Variables of an inventory that earlier versions knew: what to write today.
GONE = {
    "accelerator": "write board: NAME (boards.yml), or board: {name: NAME, count: 2} where the host differs",
    "accelerator_groups": "groups below 'accelerators' are named freely; remove it",
    "deployable_hardware": "every board is deployed by its vendor's role; remove it",
}


def setting_faults(where: str, settings: Iterable[str]) -> None:
    """Refuse variables that are gone, each with what it is called now."""
    found = Collected()
    for name in sorted(set(settings) & set(GONE)):
        found.run(fail, f"{where}: the setting '{name}' is gone; {GONE[name]}")
    found.end()


def version_problem(version: str, wanted: str) -> str:
    """A sentence where a site's settings refuse this version of the product, or nothing. `wanted` is like `>=0.2,<0.3`."""
    try:
        fits = not wanted or SpecifierSet(wanted).contains(version, prereleases=True)
    except InvalidSpecifier:
        return f"product_versions is {wanted!r}, but must be a range of versions, such as '>=0.2,<0.3'"
    if fits:
        return ""
    return (
        f"this is vllm-ansible {version}, and the site's settings want {wanted} (product_versions); point the site's `vllm-ansible` at such a version, or "
        f"read CHANGELOG.md of this one and change product_versions"
    )


def table_file(folder: str, table: str) -> str:
    """The file below `folder` (an inventory's) that holds a table of the site, or is to hold it: one whole path.

    group_vars/all.yml or a file in group_vars/all that has the table at its top; else group_vars/all/TABLE.yml.
    """
    every = Path(folder) / "group_vars" / "all"
    single = [every.with_suffix(suffix) for suffix in (".yml", ".yaml", ".json", "")]
    for path in [
        *(one for one in single if one.is_file()),
        *sorted(every.glob("*.y*ml")),
        *sorted(every.glob("*.json")),
    ]:
        try:
            read = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            continue  # a vault, or tags of Ansible's: Ansible says what is wrong with it
        if isinstance(read, dict) and table in read:
            return str(path)
    return str(every / f"{table}.yml")
