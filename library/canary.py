#!/usr/bin/python
"""Module canary: what a running service answers to the items of a pack."""

from __future__ import annotations

DOCUMENTATION = r"""
module: canary
short_description: Ask a running service the items of a pack of reference answers
description:
  - For each item it decodes greedily with probabilities, and asks the probabilities of given tokens (C(prompt_logprobs)).
  - All sampling fields are sent. Prompts are token ids. What the engine doesn't give is null in the result, and nothing fails for it.
  - The action plugin M(judge) calls it and makes the verdict on the controller. Bounded by O(seconds); a service that dies meanwhile fails it.
options:
  serving_root: {description: Folder of everything that serves., type: path, required: true}
  service: {description: Name of the service., type: str, required: true}
  items:
    description:
      - "What to ask: {id, prompt (token ids), tokens (to decode), forced (token ids), from (first position that is wanted)}."
      - "To record a reference: {id, text or messages, tokens, limit (of the text's tokens)}; the answer then has C(prompt), too."
    type: list
    elements: dict
    required: true
  load: {description: Requests at once., type: int, default: 1}
  top: {description: How many of the most probable tokens to ask for at each position., type: int, default: 20}
  seconds: {description: When asking ends whatever is left., type: int, default: 300}
  template: {description: Messages of which the service says what tokens they become., type: list, elements: dict, default: []}
  sampling: {description: "Items, the first so many, that are asked a second time with sampling left to the service.", type: int, default: 0}
attributes:
  check_mode: {support: full, details: Asks nothing.}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Ask a sum
  canary:
    serving_root: /srv/vllm
    service: demo
    items: [{id: "1 + 1", prompt: [404, 370, 198], tokens: 5, forced: [404, 370, 198, 17], from: 1}]
"""
RETURN = r"""
served:
  description: "{identity, source_identity, max_model_len, template, own_sampling, release, served_name, model, engine, fingerprint}."
  returned: success
  type: dict
answers: {description: "{item: {tokens, text, finish, decoded, forced}}; an item that had no answer is not in it.", returned: success, type: dict}
problem: {description: What the last item without an answer met., returned: success, type: str}
seconds: {description: How long it took., returned: success, type: float}
"""

import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.service import releases
from ansible.module_utils.serving.service.canary import (
    Gone,
    Service,
    ask_all,
    limit_of,
    own_sampling,
    template_of,
    weights_of,
)
from ansible.module_utils.serving.service.exchange import NotYet


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    root, name = given["serving_root"], given["service"]
    spec = releases.current_spec(root, name)
    if spec is None:
        raise Refusal("service '%s' is not deployed on this host; run deploy.yml" % name)
    folder, began = releases.service_dir(root, name), time.monotonic()
    served: dict[str, Any] = {
        "release": releases.link_digest(folder, "current"),
        "served_name": spec["served_name"],
        "model": spec["model"]["name"],
        "engine": spec["engine"],
        **weights_of(spec["model"]["path"]),
    }
    result: dict[str, Any] = {"changed": False, "served": served, "answers": {}, "problem": "", "seconds": 0.0}
    if module.check_mode:
        return result
    key = releases.read_key(folder)
    service = Service(spec["endpoint"], key, spec["served_name"], given["top"], began + given["seconds"])
    try:
        served["max_model_len"] = limit_of(spec["endpoint"], key, spec["served_name"])
        served["template"] = template_of(service, given["template"]) if given["template"] else {}
        result["answers"] = ask_all(service, given["items"], given["load"])
        rows = given["items"][: given["sampling"]]
        served["own_sampling"] = own_sampling(service, rows, result["answers"]) if rows else ""
    except (Gone, NotYet) as problem:
        raise Refusal("service '%s' can't be judged: %s" % (name, problem)) from None
    served["fingerprint"] = service.fingerprint
    result.update(problem=service.problem, seconds=round(time.monotonic() - began, 1))
    return result


def main() -> None:
    spec = {
        "serving_root": {"type": "path", "required": True},
        "service": {"type": "str", "required": True},
        "items": {"type": "list", "elements": "dict", "required": True},
        "load": {"type": "int", "default": 1},
        "top": {"type": "int", "default": 20},
        "seconds": {"type": "int", "default": 300},
        "template": {"type": "list", "elements": "dict", "default": []},
        "sampling": {"type": "int", "default": 0},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
