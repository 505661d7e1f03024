#!/usr/bin/python
"""Module model_info: what is a model, before a byte of its weights has moved?"""

from __future__ import annotations

DOCUMENTATION = r"""
module: model_info
short_description: Read what a model is from its hub or its folder
description:
  - Reads a listing and small files alone (C(config.json), C(tokenizer_config.json), the card and the like) and the headers of two safetensors files at
    most. About a dozen requests, whatever the number of shards. Changes nothing.
  - Says what will be fetched, type and quantisation, sizes that decide what a KV cache costs, what the model is for, formats of tool calls and thoughts,
    licence and commit, and makes the model's row for the site's tables.
  - An adapter (LoRA) is told apart from a model by its files; what it adapts is said by name alone, since the tables know which row that is.
  - Fails for what can't be served, with what could be done - an unknown, private, gated or empty repository, a data set, GGUF or pickled weights
    alone, a config.json without an architecture. Code in a model's repository is refused unless O(trust_remote_code).
options:
  model:
    description: A repository, such as C(Qwen/Qwen2.5-7B-Instruct), the address of its page, or the absolute path of a folder.
    type: str
    required: true
  hubs:
    description: Hubs to ask, in this order. The first that has the model counts.
    type: list
    elements: str
    choices: [modelscope, huggingface]
    default: [modelscope, huggingface]
  revision: {description: "Branch, tag or commit, empty: the hub's default branch.", type: str, default: ''}
  name: {description: "Name of the row, empty: made from the repository's.", type: str, default: ''}
  known: {description: "Architectures and parsers that the engine has, as C(planning/vllm_models.json) lists them: {name: group}.", type: dict, required: true}
  trust_remote_code: {description: "May the engine run Python of the model's repository, where it has no class of its own?", type: bool, default: false}
  include: {description: Patterns of files to take although they would be left out., type: list, elements: str, default: []}
  exclude: {description: Patterns of files to leave out., type: list, elements: str, default: []}
  modelscope_endpoint: {description: "Address of the hub, empty: MODELSCOPE_ENDPOINT, else ModelScope itself.", type: str, default: ''}
  modelscope_token: {description: "Token of the hub, empty: MODELSCOPE_API_TOKEN.", type: str, default: ''}
  huggingface_endpoint: {description: "Address of the hub, empty: HF_ENDPOINT, else Hugging Face itself.", type: str, default: ''}
  huggingface_token: {description: "Token of the hub, empty: HF_TOKEN.", type: str, default: ''}
requirements: [huggingface-hub, modelscope, urllib3, PyYAML]
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: Read a model
  model_info:
    model: Qwen/Qwen2.5-7B-Instruct
    hubs: [huggingface]
    known: "{{ '' | engine_knows }}"
  delegate_to: localhost
"""
RETURN = r"""
name: {description: Name of the row., returned: always, type: str}
row: {description: The model's row for models.yml., returned: always, type: dict}
kind:
  description: What it is for - name, vision, audio, reasoning, parsers, options without which the engine takes it for something else.
  returned: always
  type: dict
facts: {description: "Source, repository, commit, files and bytes to fetch, architecture, licence, gated.", returned: always, type: dict}
adapts: {description: "Of an adapter, the model it is made for - names, revision and width, as its files say.", returned: for an adapter, type: dict}
notes: {description: What an operator should know, in sentences., returned: always, type: list, elements: str}
"""

import dataclasses
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.service.proposal import name_of
from ansible.module_utils.serving.weights.adapter_info import AdapterFacts
from ansible.module_utils.serving.weights.asking import of_folder, of_hub, repo_of
from ansible.module_utils.serving.weights.choice import Wanted
from ansible.module_utils.serving.weights.hubs import HUBS
from ansible.module_utils.serving.weights.listing import COMMIT, SourceFailed, guarded
from ansible.module_utils.serving.weights.reading import Facts


def ask(given: dict[str, Any], wanted: Wanted) -> Facts | AdapterFacts:
    """What the first hub that has the model says. Refusal with what each of them said, where none has it."""
    known = {str(name): str(group) for name, group in given["known"].items()}
    if given["model"].startswith(("/", "~")):
        if given["revision"]:
            raise Refusal("a folder has no revision; leave -e revision out, its content is its identity")
        return of_folder(os.path.expanduser(given["model"]), wanted, known)
    words = []
    for name in given["hubs"]:
        token, endpoint = given[name + "_token"], given[name + "_endpoint"]
        repo = repo_of(given["model"], endpoint)
        try:
            with guarded():
                return of_hub(HUBS[name](repo, given["revision"] or None, wanted, endpoint, token), known)
        except Refusal as refusal:
            words.append(str(refusal))
        except SourceFailed as failure:
            words.append("%s on %s could not be read: %s; nothing was written" % (repo, name, failure))
    raise Refusal("\n".join(words))


def sources_of(facts: Facts | AdapterFacts) -> dict[str, Any]:
    source = {"path": facts.repo} if facts.source == "directory" else {"repo": facts.repo, "revision": facts.commit}
    return {facts.source: source}


def adapter(facts: AdapterFacts, given: dict[str, Any]) -> dict[str, Any]:
    """What the module says of an adapter: its row lacks `base`, which depends on the tables."""
    listed = dataclasses.asdict(facts)
    row = {"sources": sources_of(facts), "rank": facts.rank, "bytes": facts.weight_bytes, "license": facts.license}
    row.update({key: list(given[key]) for key in ("include", "exclude") if given[key]})
    return {
        "changed": False,
        "name": given["name"] or name_of(given["model"]),
        "row": row,
        "kind": {"name": "adapter"},
        "adapts": {"names": list(listed.pop("bases")), "revision": facts.base_revision, "width": facts.width},
        "facts": {key: value for key, value in listed.items() if key != "notes"},
        "notes": [*facts.notes, *found_notes(facts)],
    }


def found_notes(facts: Facts | AdapterFacts) -> list[str]:
    """What is to be known of where it was found."""
    notes = []
    if facts.renamed:
        notes.append("'%s' is called '%s' now; its row fetches it by the new name" % (facts.renamed, facts.repo))
    if facts.gated:
        notes.append(
            "it is gated: each host needs a token of an account that accepted its licence (%s_token)" % facts.source
        )
    if facts.source != "directory" and not COMMIT.fullmatch(facts.commit):
        notes.append("%s names no commit for it, so its listing's digest is pinned" % facts.source)
    return notes


def row_of(facts: Facts, given: dict[str, Any]) -> dict[str, Any]:
    """The model's row; what it does not have is left out."""
    kind = facts.kind
    row: dict[str, Any] = {
        "sources": sources_of(facts),
        "bytes": facts.weight_bytes,
        "license": facts.license,
        "dtype": facts.dtype,
        "architecture": facts.architecture,
    }
    more = {
        "include": list(given["include"]),
        "exclude": list(given["exclude"]),
        "quantization": facts.quantization,
        "kind": kind.name if kind.name != "chat" else None,
        "reasoning": kind.reasoning,
        "vision": kind.vision,
        "tools": kind.tools,
        "dimensions": facts.dimensions,
        "normalized": facts.normalized,
        "labels": kind.labels if kind.name == "classify" else 0,
        "code": dict(facts.code) if given["trust_remote_code"] else None,
        "shape": facts.shape.row(),
    }
    row.update({key: value for key, value in more.items() if value})
    return row


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    facts = ask(given, Wanted(tuple(given["include"]), tuple(given["exclude"])))
    if isinstance(facts, AdapterFacts):
        return adapter(facts, given)
    notes = list(facts.notes)
    if facts.code and not given["trust_remote_code"]:
        if facts.architecture not in given["known"]:
            raise Refusal(
                "'%s' brings code of its own (%s), which the engine would run with the service's rights: read it, and allow it by "
                "-e trust_remote_code=true, which pins these files in its row. Nothing was written"
                % (facts.repo, ", ".join(facts.code))
            )
        notes.append(
            "it brings code of its own (%s), which is not run: the engine has a class for it" % ", ".join(facts.code)
        )
    notes += found_notes(facts)
    listed = dataclasses.asdict(facts)
    kind = listed.pop("kind")
    if given["trust_remote_code"] and facts.code:
        kind["overrides"] = {**kind["overrides"], "trust_remote_code": True}
    for key in ("notes", "shape", "code"):
        listed.pop(key)
    name = given["name"] or name_of(given["model"])
    return {"changed": False, "name": name, "row": row_of(facts, given), "kind": kind, "facts": listed, "notes": notes}


def main() -> None:
    text: dict[str, Any] = {"type": "str", "default": ""}
    spec = {
        "model": {"type": "str", "required": True},
        "hubs": {
            "type": "list",
            "elements": "str",
            "choices": ["modelscope", "huggingface"],
            "default": ["modelscope", "huggingface"],
        },
        "revision": text,
        "name": text,
        "known": {"type": "dict", "required": True},
        "trust_remote_code": {"type": "bool", "default": False},
        "include": {"type": "list", "elements": "str", "default": []},
        "exclude": {"type": "list", "elements": "str", "default": []},
        "modelscope_endpoint": text,
        "modelscope_token": {**text, "no_log": True},
        "huggingface_endpoint": text,
        "huggingface_token": {**text, "no_log": True},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
