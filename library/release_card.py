#!/usr/bin/python
"""Module release_card: what a vendor's release card says, as draft rows."""

from __future__ import annotations

DOCUMENTATION = r"""
module: release_card
short_description: Read a release card into draft rows, with every contradiction as a question
description:
  - Reads Markdown or HTML in which a vendor says how to run a model on a board - model and hub, image, engine settings, environment, benchmark table.
  - Nothing is guessed. Where a card says two things or none, the row's key is null and a question says why. What it says and no service should do is
    a finding under the name of the plan's rule, such as C(path-without-mount), C(tag-without-digest) or C(rights-beyond-least).
  - Changes nothing; a person answers the questions and adds the model.
options:
  path: {description: "The card, a file of this machine.", type: path, required: true}
requirements: [PyYAML]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Read a card
  release_card:
    path: /data/cards/QwQ-32B-FlagOS-Nvidia.md
  delegate_to: localhost
"""
RETURN = r"""
title: {description: What the card is called., returned: always, type: str}
model: {description: Draft of the model's row., returned: always, type: dict}
service: {description: "Draft of the service's row; C(vendor) is whose board the card names.", returned: always, type: dict}
reference: {description: "Draft of a row of references.yml, from its benchmark table.", returned: always, type: dict}
questions: {description: "What the card contradicts or leaves open, a sentence each.", returned: always, type: list, elements: str}
findings: {description: "What it says and no service should do: {rule, text}.", returned: always, type: list, elements: dict}
text: {description: "All of it as an operator reads it: draft rows as YAML, questions, findings.", returned: always, type: str}
"""

import io
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.service.cards import Draft, read_card
from ansible.module_utils.serving.service.site import writer

LARGEST = 16 << 20  # bytes of a card


def read_text(path: str) -> str:
    if not os.path.isfile(path):
        raise Refusal("the card %s is no file of this machine; give the path of a README.md" % path)
    if os.path.getsize(path) > LARGEST:
        raise Refusal("the card %s has more than %d MiB; a release card is a page of text" % (path, LARGEST >> 20))
    with open(path, "rb") as source:
        data = source.read()
    if b"\0" in data:
        raise Refusal("%s is no text; give the path of a README.md" % path)
    return data.decode("utf-8-sig", "replace")


def shown(draft: Draft) -> str:
    """Draft rows as YAML, then questions and findings."""
    stream = io.StringIO()
    name = draft.title.lower()
    rows: dict[str, Any] = {"models": {name: draft.model}, "services": {name: {"model": name, **draft.service}}}
    if draft.reference:
        rows["references"] = {name: draft.reference}
    writer().dump(rows, stream)
    lines = ["# Draft of %s. Null: the card doesn't say, or says two things." % draft.title, stream.getvalue().rstrip()]
    lines += ["", "Questions:" if draft.questions else "No questions.", *("  - %s" % text for text in draft.questions)]
    lines += [
        "Findings:" if draft.findings else "No findings.",
        *("  - %s  [%s]" % (row["text"], row["rule"]) for row in draft.findings),
    ]
    hubs = draft.model.get("sources") or {}
    for hub, source in list(hubs.items())[:1]:
        lines += [
            "",
            "Next: ansible-playbook playbooks/add_model.yml -e model=%s -e hub=%s -l HOST" % (source["repo"], hub),
        ]
    return "\n".join(lines)


def body(module: AnsibleModule) -> dict[str, Any]:
    path = module.params["path"]
    draft = read_card(read_text(path), os.path.splitext(os.path.basename(path))[0])
    return {
        "changed": False,
        "title": draft.title,
        "model": draft.model,
        "service": draft.service,
        "reference": draft.reference,
        "questions": draft.questions,
        "findings": draft.findings,
        "text": shown(draft),
    }


def main() -> None:
    run_module(AnsibleModule({"path": {"type": "path", "required": True}}, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
