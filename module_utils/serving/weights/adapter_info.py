"""What an adapter (LoRA) is: from adapter_config.json, the card and the header of one file. No weights move.

The refusals are those of vLLM 0.32 (vllm/lora/peft_helper.py), told before anything is fetched.
"""

from __future__ import annotations

import dataclasses
import posixpath
import re
from typing import Any, Iterable, Mapping

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.card import front_matter, licence, word
from ansible.module_utils.serving.weights.choice import TRAINING, WEIGHTS

CONFIG = "adapter_config.json"
TENSORS = "adapter_model.safetensors"
# Ways to begin training that leave the model's own weights alone; others change them when the adapter is loaded.
HARMLESS_STARTS = ("gaussian", "eva", "orthogonal", "mica", "lora_ga")
# Parts of a model that a classifier's adapter may replace as a whole.
WHOLE_PARTS = ("classifier", "score")
# Modules that read the hidden state itself: their first factor is as wide as the model.
READS_HIDDEN = re.compile(r".*\.(q_proj|k_proj|v_proj|qkv_proj|gate_proj|up_proj)\.lora_A(\.\w+)?\.weight")
FIRST_FACTOR = re.compile(r".*\.lora_(A|embedding_A)(\.\w+)?(\.weight)?")
CACHED = re.compile(r".*models--([^/]+)--([^/]+)(?:/snapshots/([0-9a-f]{40}))?.*")


@dataclasses.dataclass(frozen=True)
class AdapterFacts:
    """What an adapter is. `bases`: names that its publisher gives the model it adapts, its own file's first."""

    source: str
    repo: str
    commit: str
    renamed: str | None
    files: int
    fetch_bytes: int
    weight_bytes: int
    bases: tuple[str, ...]
    base_revision: str  # a commit of that model, or empty
    rank: int
    width: int  # hidden size of the model that it was made for; 0: not known
    license: str
    gated: bool
    notes: tuple[str, ...]


def is_adapter(names: Iterable[str]) -> bool:
    """Are these files an adapter's, and no whole model's? Some trainers leave a config.json of the base beside it."""
    found = set(names)
    bases = [posixpath.basename(name) for name in found]
    weights = [base for base in bases if WEIGHTS.fullmatch(base) and not TRAINING.fullmatch(base)]
    return CONFIG in found and ("config.json" not in found or all(base.startswith("adapter_") for base in weights))


def base_name(given: Any) -> tuple[str, str]:
    """(name, commit) of a model as adapter_config.json has it: a repository, an address, a path, a place in a hub's cache."""
    text = word(given).rstrip("/")
    cached = CACHED.fullmatch(text)
    if cached:
        return "%s/%s" % (cached[1], cached[2]), cached[3] or ""
    address = re.fullmatch(r"https?://[^/]+/(?:models/)?([^/]+/[^/]+)(?:/.*)?", text)
    return (address[1], "") if address else (text, "")


def refuse_unserved(repo: str, config: Mapping[str, Any]) -> None:
    """Refuse what no engine here can load beside a model, and say what could be done."""
    kind = str(config.get("peft_type") or "LORA").upper()
    if kind != "LORA":
        raise Refusal(
            "%s is an adapter of type %s, and engines load LoRA alone; merge it into its model, and add that"
            % (repo, kind[:40])
        )
    start, parts = config.get("init_lora_weights", True), config.get("modules_to_save") or []
    whole = [part for part in parts if part not in WHOLE_PARTS] if isinstance(parts, list) else [parts]
    for wrong, what in (
        (config.get("use_dora"), "DoRA (use_dora)"),
        (config.get("lora_bias") or config.get("bias", "none") not in ("none", None), "biases of its own (bias)"),
        (whole, "whole parts of the model (modules_to_save: %s)" % ", ".join(str(part)[:40] for part in whole[:5])),
        (isinstance(start, str) and start.lower() not in HARMLESS_STARTS,
         "changes of the model's own weights (init_lora_weights: %s)" % str(start)[:40]),
        (config.get("alora_invocation_tokens"), "activation by tokens (alora_invocation_tokens)"),
        (config.get("layer_replication"), "repeated layers (layer_replication)"),
        (config.get("use_bdlora"), "block-diagonal LoRA (use_bdlora)"),
        (config.get("use_qalora"), "QALoRA (use_qalora)"),
    ):  # fmt: skip
        if wrong:
            raise Refusal(
                "%s has %s, which vLLM does not load beside a model; merge it into its model, and add that"
                % (repo, what)
            )


def ranks_of(config: Mapping[str, Any]) -> list[int]:
    """The ranks that adapter_config.json states, of single modules too."""
    pattern = config.get("rank_pattern")
    stated = [config.get("r"), *(pattern.values() if isinstance(pattern, Mapping) else ())]
    return [rank for rank in stated if isinstance(rank, int) and not isinstance(rank, bool) and rank > 0]


def sizes_of(header: Mapping[str, Any]) -> tuple[int, int]:
    """(largest rank, hidden size) by the shapes of its tensors; 0 where they don't tell."""
    rank = width = 0
    for name, tensor in header.items():
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        if not shape or len(shape) != 2 or not FIRST_FACTOR.fullmatch(name):
            continue
        rank = max(rank, min(shape))
        if READS_HIDDEN.fullmatch(name):
            width = shape[1]
    return rank, width


def read_adapter(reader: Any) -> AdapterFacts:
    """What the adapter of a reader's listing is. Refusal for one that can't be served."""
    listing, files, notes = reader.listing, reader.files, reader.notes
    config = reader.object(CONFIG)
    refuse_unserved(listing.repo, config)
    weights = sorted(name for name in files if posixpath.basename(name).startswith("adapter_model."))
    if TENSORS not in files:
        there = "only %s, which is pickled" % weights[0] if weights else "no weights"
        raise Refusal(
            "%s is an adapter (LoRA) with %s: it needs %s; save it anew with a peft of 0.7 or later, or take a revision that has it"
            % (listing.repo, there, TENSORS)
        )
    rank, width = sizes_of(reader.header(files[TENSORS]))
    stated = max(ranks_of(config) or [0])
    if not rank and not stated:
        raise Refusal("%s names no rank (`r`) in %s, and its tensors show none" % (listing.repo, CONFIG))
    if rank and stated and rank > stated:
        notes.append("%s says rank %d, its tensors have %d" % (CONFIG, stated, rank))
    card, fault = front_matter(reader.text("README.md"))
    notes += [fault] if fault else []
    name, words = licence(card, listing.about.get("license"))
    notes += [words] if words else []
    own, commit = base_name(config.get("base_model_name_or_path"))
    revision = config.get("revision")
    if isinstance(revision, str) and re.fullmatch(r"[0-9a-f]{40}", revision):
        commit = revision
    others = [base_name(card.get("base_model"))[0]]
    canonical = str(listing.about.get("id") or listing.repo)
    return AdapterFacts(
        source=listing.kind,
        repo=canonical,
        commit=listing.revision,
        renamed=listing.repo if canonical != listing.repo else None,
        files=len(files),
        fetch_bytes=listing.bytes,
        weight_bytes=sum(files[one].size for one in weights),
        bases=tuple(dict.fromkeys(one for one in (own, *others) if one)),
        base_revision=commit,
        rank=max(rank, stated),
        width=width,
        license=name,
        gated=bool(listing.about.get("gated")),
        notes=(*listing.notes, *notes),
    )
