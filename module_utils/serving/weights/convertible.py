"""Can a model be converted to fp16, as far as its small files tell?"""

from __future__ import annotations

import json
import re
from typing import Any, Iterable

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.choice import WEIGHTS, Read, is_object

# Files beside config.json that say that a model is quantised, as older tools and Nvidia's write them.
QUANTISED = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
# The same of Ascend's ModelSlim: one scale of its models is made for the type that the model was quantised from.
DESCRIPTION = re.compile(r"quant_model_description(_\w+)?\.json")


def configuration(read: Read, name: str) -> dict[str, Any]:
    """A JSON object; empty where it is none."""
    text = read(name)
    return json.loads(text.decode("utf-8-sig")) if is_object(text) else {}


def check_convertible(kept: Iterable[str], read: Read) -> None:
    """Refuse a conversion to fp16 that would change nothing, or that would break a quantised model."""
    names = set(kept)
    if not any(name.endswith(".safetensors") for name in names):
        weights = sorted(name for name in names if WEIGHTS.fullmatch(name))
        raise Refusal(
            "nothing to convert; it has no safetensors%s: take a revision that has them, or set convert: false "
            "and let the engine cast" % (" but %s" % weights[0] if weights else "")
        )
    config = configuration(read, "config.json") if "config.json" in names else {}
    nested = [value for value in config.values() if isinstance(value, dict)]
    for node in [config, *nested]:
        for key in ("quantization_config", "compression_config"):
            about = node.get(key)
            if about:
                method = str(about.get("quant_method") or "unnamed") if isinstance(about, dict) else "unnamed"
                raise Refusal(quantised("config.json has %s (%s)" % (key, method[:40])))
    for name in sorted(names):
        if name in QUANTISED or DESCRIPTION.fullmatch(name):
            raise Refusal(quantised("it has %s" % name))


def quantised(why: str) -> str:
    return (
        "nothing to convert; the model is quantised: %s, and its tensors stay as their publisher made them; "
        "set convert: false, or take the model that isn't quantised" % why
    )
