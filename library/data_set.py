#!/usr/bin/python
"""Module data_set: the questions of a data set that evalscope knows by name, and which answers to them are right."""

from __future__ import annotations

DOCUMENTATION = r"""
module: data_set
short_description: Read a data set that evalscope knows, or score answers to it
description:
  - With O(folder) it reads a copy of the data set, as its hub publishes it, into questions with evalscope's own prompts.
  - With O(rows) it says what evalscope reads out of each answer, and whether that is the expected one. Nobody is asked, and nothing is fetched.
options:
  python: {description: Interpreter of the harness's environment., type: path, required: true}
  known:
    description: Evalscope's name of the data set.
    type: str
    required: true
    choices: [gsm8k, mmlu, ceval, aime24, gpqa_diamond, math_500, mmmu, math_vision, ocr_bench, blink, mmmu_pro, mmmu_pro_vision, cmmmu]
  folder: {description: The copy on this host., type: path}
  shots: {description: Worked examples before each question., type: int, default: 0}
  rows: {description: "Answers to score: {id, expect, choices, about, text}.", type: list, elements: dict}
  seconds: {description: How long it may take., type: int, default: 600}
attributes:
  check_mode: {support: full, details: It changes nothing.}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Read GSM8K
  data_set:
    python: /srv/vllm/harness/bin/python
    known: gsm8k
    folder: /srv/vllm/cache/datasets/gsm8k

- name: Is 72 right?
  data_set:
    python: /srv/vllm/harness/bin/python
    known: gsm8k
    rows:
      - {id: main-0, expect: "72", text: "48 + 24 = 72, so \\boxed{72}."}
"""
RETURN = r"""
items: {description: "The questions: {id, messages, expect, choices, about}. An image stands as its digest.", returned: with O(folder), type: list}
scores: {description: "{id: {read, right}} of the answers.", returned: with O(rows), type: dict}
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import run_module
from ansible.module_utils.serving.service import harness_program, harness_sets


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    request: dict[str, Any] = {"known": given["known"]}
    if given["folder"]:
        request.update(folder=given["folder"], shots=given["shots"])
    else:
        request.update(rows=given["rows"])
    return {"changed": False, **harness_sets.told(given["python"], request, given["seconds"])}


def main() -> None:
    spec = {
        "python": {"type": "path", "required": True},
        "known": {"type": "str", "required": True, "choices": list(harness_program.KNOWN)},
        "folder": {"type": "path"},
        "shots": {"type": "int", "default": 0},
        "rows": {"type": "list", "elements": "dict"},
        "seconds": {"type": "int", "default": 600},
    }
    run_module(
        AnsibleModule(
            spec,
            supports_check_mode=True,
            mutually_exclusive=[("folder", "rows")],
            required_one_of=[("folder", "rows")],
        ),
        body,
    )


if __name__ == "__main__":
    main()
