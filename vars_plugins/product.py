"""Vars plugin `product`: the product's defaults and its catalogue, below everything that an inventory says.

They are values of the group `all`: an inventory's own variables, in it or in group_vars, lie above, whatever its form and wherever
it is. The tables of the catalogue have names of their own (catalogue_models, ...); the plan lays a site's over them.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, ClassVar

from ansible import constants
from ansible.errors import AnsibleParserError
from ansible.inventory.group import Group
from ansible.plugins.vars import BaseVarsPlugin

DOCUMENTATION = """
name: product
short_description: Defaults and catalogue of vllm-ansible
description:
  - Gives the group C(all) what lies in the product's folder C(catalogue), below all that an inventory says.
  - Adds C(project_root), the product's folder, C(product_version), and C(site_root), the folder of the site.
  - The site's folder is that of ansible.cfg where the inventory lies in it, else the inventory's.
options:
  stage:
    description: When it runs; with the inventory, so that its values lie below group_vars and host_vars.
    default: inventory
    choices: [inventory]
    ini: [{section: vars_product, key: stage}]
"""

PRODUCT = Path(__file__).resolve().parent.parent


def version() -> str:
    """The product's version, of its pyproject.toml."""
    found = re.search(r'^version = "([^"]+)"', (PRODUCT / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    return found[1] if found else "0"


def site_of(folder: str) -> Path:
    """The folder of the site whose inventory lies in `folder`."""
    here = Path(folder).absolute()
    config = Path(constants.CONFIG_FILE).absolute().parent if constants.CONFIG_FILE else None
    if config and (config == here or config in here.parents):
        return config
    return here.parent if here.name == "inventory" else here


def check_yaml(loader: Any, folder: Path, name: str) -> None:
    """Refuse a file of variables that is no valid YAML by its name and line: Ansible, which reads it next, from the loader, says neither."""
    for file in loader.find_vars_files(str(folder), name) if folder.is_dir() else []:
        name_of_file = os.fsdecode(file)
        try:
            loader.load_from_file(name_of_file, cache="all", unsafe=True, trusted_as_template=True)
        except AnsibleParserError as error:
            cause = error.__cause__ or error.__context__
            mark = getattr(cause, "problem_mark", None)
            if mark is not None:
                reason = " ".join(str(getattr(cause, "problem", None) or cause).split())[:160]
                place = f"{name_of_file} line {mark.line + 1}"
                raise AnsibleParserError(f"{place} is no valid YAML ({reason}); correct it, nothing was done") from None


class VarsModule(BaseVarsPlugin):  # type: ignore[misc]
    """The group `all` of the first inventory: of a second one they would lie above the first one's group_vars."""

    first: str | None = None
    read: ClassVar[set[tuple[str, str]]] = set()

    def get_vars(self, loader: Any, path: str, entities: Any, cache: bool = True) -> dict[str, Any]:
        super().get_vars(loader, path, entities)
        if VarsModule.first is None:
            VarsModule.first = path
        listed = entities if isinstance(entities, list) else [entities]
        for one in listed:
            kind = "group_vars" if isinstance(one, Group) else "host_vars"
            if (path, f"{kind}/{one.name}") not in VarsModule.read and not str(one.name).startswith("/"):
                VarsModule.read.add((path, f"{kind}/{one.name}"))
                check_yaml(loader, Path(path) / kind, str(one.name))
        every = [one for one in listed if isinstance(one, Group)]
        if path != VarsModule.first or not any(one.name == "all" for one in every):
            return {}
        found: dict[str, Any] = {
            "project_root": str(PRODUCT),
            "product_version": version(),
            "site_root": str(site_of(path)),
        }
        for file in sorted((PRODUCT / "catalogue").glob("*.yml")):
            found |= loader.load_from_file(str(file), cache="all", unsafe=False, trusted_as_template=True)
        inline = {name for one in every for name in one.vars if one.name == "all"}
        return {name: value for name, value in found.items() if name not in inline}
