"""The hubs that weights come from. Another one is a file like these and its name in this table."""

from __future__ import annotations

from ansible.module_utils.serving.weights.hubs.hub import Hub
from ansible.module_utils.serving.weights.hubs.huggingface import HuggingFace
from ansible.module_utils.serving.weights.hubs.modelscope import ModelScope

HUBS: dict[str, type[Hub]] = {hub.kind: hub for hub in (ModelScope, HuggingFace)}
