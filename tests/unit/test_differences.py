"""What differs between two releases, as an operator reads it."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.serving.service.differences import input_reasons, spec_reasons

DEMO = {"name": "demo", "revision": "98be0aea6c4d", "identity": "98be", "path": "/srv/models/demo@98be0aea6c4d"}
LARGE = {"name": "large", "revision": None, "identity": None, "path": "/srv/models/large@<revision>"}


@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        ({"model": DEMO}, {"model": LARGE}, ["model: demo@98be0aea6c4d -> large@<revision>"]),
        ({"model": DEMO}, {"model": {**DEMO, "path": "/data/demo@98be0aea6c4d"}}, ["model.path: /srv/models/demo@98be0aea6c4d -> /data/demo@98be0aea6c4d"]),
        ({"check": {"prompt": "2+2", "expect": "4"}}, {"check": {"prompt": "hi", "expect": ""}}, ['check.expect: 4 -> ""', "check.prompt: 2+2 -> hi"]),
        ({"devices": ["GPU-a"]}, {"devices": ["GPU-b", "GPU-c"]}, ["devices: GPU-a -> GPU-b, GPU-c"]),
        ({"devices": None, "cores": []}, {"devices": [0, 1], "cores": [2]}, ["cores: [] -> 2", "devices: none -> 0, 1"]),
        ({"image": None}, {"image": {"name": "vllm/vllm-openai:v0.25.1", "digest": "sha256:1", "id": "sha256:2"}}, ["image: none -> vllm/vllm-openai:v0.25.1"]),
        ({"image": {"name": "a:1", "digest": "sha256:1"}}, {"image": {"name": "a:1", "digest": "sha256:2"}}, ["image.digest: sha256:1 -> sha256:2"]),
        ({"api_key": True, "flaggems": None}, {"api_key": False, "flaggems": True}, ["api_key: true -> false", "flaggems: none -> true"]),
        ({"adapters": {"a": DEMO}}, {"adapters": {"a": {**DEMO, "revision": "0123"}, "b": LARGE}},
         ["adapters.a: demo@98be0aea6c4d -> demo@0123", "adapters.b: none -> large@<revision>"]),
        ({"old": 1}, {"old": 1, "group": {"hosts": [{"a": 1}]}}, ['group: none -> {"hosts": [{"a": 1}]}']),
        ({"env": {"X": "1"}}, {"env": {"X": 1}}, ['env.X: "1" -> 1']),
        ({"probe": {"a": 1}}, {"probe": {"a": 1, "b": None}}, ['probe: {"a": 1} -> {"a": 1, "b": null}']),
        ({"ready_timeout": 150}, {"ready_timeout": 400, "inputs": {"t.jinja": "1"}}, ["ready_timeout: 150 -> 400", "t.jinja is a new input"]),
    ],
)  # fmt: skip
def test_each_difference_is_a_line(old: dict[str, Any], new: dict[str, Any], lines: list[str]) -> None:
    assert spec_reasons(old, new) == lines
    assert spec_reasons(new, new) == spec_reasons(None, new) == []


def test_inputs_by_name() -> None:
    assert input_reasons({"a": "1", "b": "1"}, {"a": "2", "c": "1"}) == ["a has other content", "b is no input any more", "c is a new input"]  # fmt: skip
