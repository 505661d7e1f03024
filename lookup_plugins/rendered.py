"""Lookup `rendered`: a template of the product that may include those of the site."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from ansible.plugins.loader import lookup_loader
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = """
name: rendered
short_description: A template that may include those of other folders
description:
  - As M(ansible.builtin.template#lookup), but what the template includes is looked for beside it and then in O(folders), whatever folder the playbook lies in.
  - A folder that isn't there is no error.
options:
  _terms: {description: The template., required: true}
  folders: {description: "Where included templates may lie, beside the template's own folder.", type: list, elements: path, default: []}
  template_vars: {description: Variables that templates see beside those of the host., type: dict, default: {}}
"""
EXAMPLES = """
- ansible.builtin.debug: {msg: "{{ lookup('rendered', templates_dir ~ '/release.j2', folders=[site_templates_dir], template_vars=values) }}"}
"""
RETURN = """
_raw: {description: The text., type: list, elements: str}
"""


class LookupModule(LookupBase):
    def run(self, terms: list[Any], variables: Mapping[str, Any] | None = None, **options: Any) -> list[Any]:
        self.set_options(var_options=variables, direct=options)
        seen: Any = copy.copy(variables)
        seen["ansible_search_path"] = self.get_option("folders")
        lookup = lookup_loader.get("ansible.builtin.template", loader=self._loader, templar=self._templar)
        return list(lookup.run(terms, seen, template_vars=self.get_option("template_vars")))
