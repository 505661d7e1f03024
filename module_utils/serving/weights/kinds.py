"""What a model is for, from its config.json, its file names, its chat template and the group that vLLM has its architecture in.

A kind is what a service of the model is asked: chat, completion, embedding, rerank, classify or transcription. Seeing and hearing are traits of
a kind. Formats of tool calls and of thoughts are named as vLLM's parsers are. Standard library; reads no file and no network.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Container, Mapping, NamedTuple

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.shape import text_part

KINDS = ("chat", "completion", "embedding", "rerank", "classify", "transcription")
# What vLLM makes of an architecture's name that it doesn't have, by its ending (vllm/config/model.py, _SUFFIX_TO_DEFAULTS).
ENDINGS = (
    ("ForCausalLM", "text"),
    ("ForConditionalGeneration", "text"),
    ("ChatModel", "text"),
    ("LMHeadModel", "text"),
    ("ForTextEncoding", "embedding"),
    ("EmbeddingModel", "embedding"),
    ("ForSequenceClassification", "classify"),
    ("ForTokenClassification", "token_classify"),
    ("ClassificationModel", "classify"),
    ("ForRewardModeling", "reward"),
    ("RewardModel", "reward"),
    ("Model", "embedding"),
)
# Groups that this project has no question for, and what to do with such a model.
UNASKED = {
    "draft": "a draft for speculative decoding, no service of its own: name it in engine_args.speculative_config of the service that it helps",
    "reward": "a reward model, which this version can't check",
    "token_classify": "a model that labels single tokens, which this version can't check",
    "late_interaction": "a late interaction model (one vector a token), which this version can't check",
}
HEARS = re.compile(r"whisper|speech|asr|audio|voxtral", re.I)
SEES = (
    "vision_config", "visual", "vision_tower", "mm_vision_tower", "vision_model_config", "vit_config", "image_token_id", "image_token_index",
    "img_processor",
)  # fmt: skip
AUDIO = ("audio_config", "audio_processor", "audio_token_id", "audio_token_index", "audio_tower")
POOLINGS = ("modules.json", "1_Pooling/config.json")  # of the library sentence-transformers


class Marker(NamedTuple):
    """A parser of vLLM, the texts that all stand in the chat template of a model which needs it, and of which architectures."""

    parser: str
    texts: tuple[str, ...]
    architecture: str = ".*"


CALL = "<\uff5ctool\u2581call\u2581begin\uff5c>"  # DeepSeek's own bars and blanks
# The first that fits counts.
TOOL_FORMATS = (
    Marker("openai", (), "GptOss.*"),
    Marker("glm45", ("<arg_key>",)),
    Marker("qwen3_coder", ("<tool_call>", "<function=")),
    Marker("minimax_m2", ("<minimax:tool_call>",)),
    Marker("seed_oss", ("<seed:tool_call>",)),
    Marker("kimi_k2", ("<|tool_calls_section_begin|>",)),
    Marker("deepseek_v3", (CALL, "```json")),
    Marker("deepseek_v31", (CALL,)),
    Marker("step3", ("<\uff5ctool_call_begin\uff5c>",)),
    Marker("lfm2", ("<|tool_call_start|>",), "Lfm2.*"),
    Marker("longcat", ("<longcat_tool_call>",)),
    Marker("dots", ("<dots_function_call>",)),
    Marker("apertus", ("<|tools_prefix|>",)),
    Marker("olmo3", ("<function_calls>",), "Olmo.*"),
    Marker("gemma4", ("<|tool_call>",), "Gemma4.*"),
    Marker("granite4", ("<tool_call>", "</tool_call>"), "GraniteMoeHybrid.*"),
    Marker("ernie45", ("<tool_call>", "</tool_call>"), "Ernie4_5.*"),
    Marker("hermes", ("<tool_call>", "</tool_call>")),
    Marker("mistral", ("[TOOL_CALLS]",)),
    Marker("llama4_pythonic", ("<|python_start|>",)),
    Marker("llama3_json", ("<|start_header_id|>ipython",)),
    Marker("llama3_json", ("<|python_tag|>",)),
    Marker("granite", ("<|tool_call|>",)),
    Marker("phi4_mini_json", ("<|tool|>",)),
    Marker("internlm", ("<|plugin|>",)),
    Marker("jamba", ("<tool_calls>",), "Jamba.*"),
    Marker("hunyuan_a13b", ("<tool_calls>",)),
)
THOUGHT_FORMATS = (
    Marker("openai_gptoss", (), "GptOss.*"),
    Marker("glm45", ("<think>",), "Glm4.*"),
    Marker("minimax_m2", ("<think>",), "MiniMaxM2.*"),
    Marker("seed_oss", ("<seed:think>",)),
    Marker("mistral", ("[THINK]",)),
    Marker("granite", ("Here is my thought process",)),
    Marker("hunyuan_a13b", ("<think>", "<answer>")),
    Marker("qwen3", ("enable_thinking",), "Qwen3.*"),
    Marker("deepseek_r1", ("<think>",)),
)


@dataclasses.dataclass(frozen=True)
class Kind:
    """What a model is for."""

    name: str
    vision: bool = False
    audio: bool = False
    reasoning: bool = False
    reasoning_parser: str | None = None
    tools: str | None = None  # vLLM's parser of its tool calls
    labels: int = 0  # of a classifier
    overrides: Mapping[str, Any] = dataclasses.field(
        default_factory=dict
    )  # engine options without which vLLM takes it for another kind


def group_of(architecture: str, known: Mapping[str, str]) -> str | None:
    """The group of an architecture: the registry's, else by its ending as vLLM does where it adapts a model; None for a stranger.

    `known`: {architecture: group}, of one version or of all.
    """
    if architecture in known:
        return known[architecture]
    for ending, group in ENDINGS:
        if architecture.endswith(ending):
            stem = architecture[: -len(ending)]
            same = any(stem + other in known for other, _ in ENDINGS)
            return group if same else None
    return None


def first(markers: tuple[Marker, ...], template: str, architecture: str) -> str | None:
    """The parser of the first marker that fits."""
    for marker in markers:
        if re.fullmatch(marker.architecture, architecture) and all(text in template for text in marker.texts):
            return marker.parser
    return None


def thinks(template: str, architecture: str) -> bool:
    """Does it think before it answers unless a caller says otherwise?"""
    if architecture.startswith("GptOss") or "enable_thinking" in template or "[THINK]" in template:
        return True
    return "<think>" in template.rpartition("add_generation_prompt")[2] and "add_generation_prompt" in template


def label_count(config: Mapping[str, Any]) -> int:
    """Labels of a classifier; 2 where its config.json names none, as transformers has it."""
    labels = config.get("id2label")
    if isinstance(labels, Mapping) and labels:
        return len(labels)
    count = config.get("num_labels")
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 2


def reranks_by_words(config: Mapping[str, Any], architecture: str, repo: str, purpose: str) -> bool:
    """Is it a causal model that says «yes» or «no» about a passage, as Qwen3-Reranker is published?"""
    named = bool(re.search(r"rerank", repo, re.I)) or purpose in ("text-ranking", "sentence-similarity-reranking")
    return named and architecture.endswith("ForCausalLM") and str(config.get("model_type", "")).startswith("qwen3")


def kind_of(
    config: Mapping[str, Any],
    architecture: str,
    group: str | None,
    names: Container[str],
    template: str | None,
    purpose: str = "",
    repo: str = "",
) -> Kind:
    """What a model is for. `template`: its chat template; `purpose`: the hub's word for its task, such as text-generation.

    Refusal for what no service of ours can be: drafts, reward models and the like.
    """
    if group in UNASKED:
        raise Refusal("%s (%s) is %s" % (repo, architecture, UNASKED[group]))
    part = text_part(config)
    if HEARS.search(architecture) and (str(config.get("model_type")) == "whisper" or "speech-recognition" in purpose):
        return Kind("transcription", audio=True)
    if group == "classify":
        labels = label_count(config)
        return Kind("rerank" if labels == 1 else "classify", labels=labels)
    if reranks_by_words(config, architecture, repo, purpose):
        words = {"architectures": [architecture.replace("ForCausalLM", "ForSequenceClassification")],
                 "classifier_from_token": ["no", "yes"], "is_original_qwen3_reranker": True}  # fmt: skip
        return Kind("rerank", labels=1, overrides={"runner": "pooling", "hf_overrides": words})
    audio = any(name in config for name in AUDIO) or bool(HEARS.search(architecture))
    # Some families' config.json names no tower, but the engine has them among those that see or hear.
    vision = any(name in config for name in SEES) or isinstance(part.get("vision_config"), Mapping)
    vision = vision or (group == "multimodal" and not audio)
    pooled = any(name in names for name in POOLINGS)
    if group == "embedding" or pooled:
        more = {} if pooled or group == "embedding" else {"runner": "pooling"}
        return Kind("embedding", vision=vision, overrides=more)
    if purpose in ("feature-extraction", "sentence-similarity") and not template:
        return Kind("embedding", vision=vision, overrides={"runner": "pooling", "convert": "embed"})
    if template is None:
        return Kind("completion", vision=vision, audio=audio)
    return Kind(
        "chat",
        vision=vision,
        audio=audio,
        reasoning=thinks(template, architecture),
        reasoning_parser=first(THOUGHT_FORMATS, template, architecture) if thinks(template, architecture) else None,
        tools=first(TOOL_FORMATS, template, architecture) if "tools" in template or "GptOss" in architecture else None,
    )
