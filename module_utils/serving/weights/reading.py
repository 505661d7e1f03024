"""What a model is, read from a source's listing and its small files alone: no weights move.

Of safetensors only headers are read, of two files at most. `read` is pure but for its two readers, so folders, hubs and tests share it.
"""

from __future__ import annotations

import dataclasses
import json
import posixpath
import struct
from typing import Any, Callable, Mapping

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.adapter_info import AdapterFacts, is_adapter, read_adapter
from ansible.module_utils.serving.weights.card import front_matter, licence, word
from ansible.module_utils.serving.weights.choice import PICKLED, WEIGHTS
from ansible.module_utils.serving.weights.code import AT_THE_TOP, digest
from ansible.module_utils.serving.weights.convertible import QUANTISED
from ansible.module_utils.serving.weights.headers import DTYPE_BITS, HEADER_LIMIT, parse_header
from ansible.module_utils.serving.weights.kinds import Kind, group_of, kind_of
from ansible.module_utils.serving.weights.listing import Entry, Listing
from ansible.module_utils.serving.weights.shape import Shape, text_part

HEAD = 256 << 10  # bytes of a safetensors file that are asked for first: the header of most shards
SMALL = 16 << 20  # bytes of a small file
DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}
NO_LIMIT = 10**9  # tokenizers say 10**30 where they have no limit
POOLING = "1_Pooling/config.json"
TRUE_FORMS = (".safetensors", ".gguf")

Read = Callable[[str], bytes]  # a small file of the listing, by name
Head = Callable[[Entry, int, int], bytes]  # bytes [begin, end) of a file


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a model is. `notes` are sentences about what an operator should know, or what can't be known from here."""

    source: str
    repo: str
    commit: str
    renamed: str | None  # the name under which it was asked for, where the hub led to another one
    files: int
    fetch_bytes: int
    weight_bytes: int
    architecture: str
    group: str | None  # in vLLM's registry
    dtype: str
    quantization: str | None
    shape: Shape
    kind: Kind
    chat_template: bool
    dimensions: int  # of an embedding
    normalized: bool
    license: str
    gated: bool
    code: Mapping[
        str, str
    ]  # files of Python that the model's config.json asks the engine to run -> digest of their content
    notes: tuple[str, ...]


def as_object(data: bytes, name: str) -> dict[str, Any]:
    """A JSON object of a model's file. Refusal for anything else: an engine could not read it either."""
    try:
        found = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise Refusal("%s is no JSON (%s); the model can't be loaded as it is" % (name, reason[:120])) from None
    if not isinstance(found, dict):
        raise Refusal("%s is no JSON object; the model can't be loaded as it is" % name)
    return found


class Reader:
    """Reads one listing. `known`: {architecture: group} of all versions of the engine that are known."""

    def __init__(self, listing: Listing, small: Read, head: Head, known: Mapping[str, str]) -> None:
        self.listing, self.small, self.head, self.known = listing, small, head, known
        self.files = {entry.name: entry for entry in listing.files}
        self.notes: list[str] = []
        self.kept: dict[str, dict[str, Any]] = {}

    def object(self, name: str) -> dict[str, Any]:
        """A JSON file of the model; empty where it has none."""
        if name not in self.files or self.files[name].size > SMALL:
            return {}
        if name not in self.kept:
            self.kept[name] = as_object(self.small(name), name)
        return self.kept[name]

    def text(self, name: str) -> str:
        if name not in self.files or self.files[name].size > SMALL:
            return ""
        return self.small(name).decode("utf-8", "replace")

    def facts(self) -> Facts:
        weights = [name for name in self.files if WEIGHTS.fullmatch(posixpath.basename(name))]
        self.check_form(weights)
        config = self.object("config.json")
        architecture = self.architecture(config)
        card, fault = front_matter(self.text("README.md"))
        self.notes += [fault] if fault else []
        about = self.listing.about
        name, words = licence(card, about.get("license"))
        self.notes += [words] if words else []
        template = self.template()
        purpose = word(card.get("pipeline_tag")) or word(about.get("pipeline_tag")) or word(card.get("tasks"))
        group = group_of(architecture, self.known)
        kind = kind_of(config, architecture, group, self.files, template, purpose, self.listing.repo)
        shape = self.bounded(Shape.of_config(config))
        if not shape.known and kind.name in ("chat", "completion"):
            self.notes.append(
                "its config.json doesn't say what its KV cache costs a token, so only its weights are counted"
            )
        if shape.state_layers and not shape.state_bytes:
            self.notes.append(
                "the states that %d of its layers keep are of unknown size and not counted" % shape.state_layers
            )
        dimensions, normalized = self.embedding(shape) if kind.name == "embedding" else (0, False)
        quantization = self.quantization(config)
        canonical = str(about.get("id") or self.listing.repo)
        return Facts(
            source=self.listing.kind,
            repo=canonical,
            commit=self.listing.revision,
            renamed=self.listing.repo if canonical != self.listing.repo else None,
            files=len(self.files),
            fetch_bytes=self.listing.bytes,
            weight_bytes=sum(self.files[name].size for name in weights),
            architecture=architecture,
            group=group,
            dtype=self.dtype(config, weights, quantization),
            quantization=quantization,
            shape=shape,
            kind=kind,
            chat_template=template is not None,
            dimensions=dimensions,
            normalized=normalized,
            license=name,
            gated=bool(about.get("gated")),
            code=self.code(config),
            notes=(*self.listing.notes, *self.notes),
        )

    def check_form(self, weights: list[str]) -> None:
        """Refuse what no service of ours can load, and say what would."""
        card, _ = (
            front_matter(self.text("README.md")) if not any(w.endswith(".safetensors") for w in weights) else ({}, None)
        )
        base = word(card.get("base_model"))
        other = "; it was made from %s, which may have them" % base if base else ""
        if not weights:
            raise Refusal(
                "%s has no weights that we know by name (*.safetensors, *.bin, *.gguf)%s" % (self.listing.repo, other)
            )
        if any(name.endswith(".gguf") for name in weights) and not any(
            name.endswith(".safetensors") for name in weights
        ):
            raise Refusal(
                "%s has GGUF files alone: llama.cpp serves those, and SGLang, vLLM before 0.24 and later ones with vllm-gguf-plugin read them "
                "(a row by hand); rows made here take safetensors%s" % (self.listing.repo, other)
            )
        if "config.json" not in self.files:
            kind = (
                "a pipeline of diffusers"
                if "model_index.json" in self.files
                else "no model that transformers and vLLM know"
            )
            raise Refusal("%s has no config.json: it is %s" % (self.listing.repo, kind))
        pickled = [name for name in weights if PICKLED.fullmatch(posixpath.basename(name))]
        if pickled and not any(name.endswith(TRUE_FORMS) for name in weights):
            raise Refusal(
                "%s has pickled weights alone (%s), which can run code when they are loaded: take a revision with safetensors (many "
                "repositories have one as refs/pr/N) or another repository of the same model, or fetch it into a folder, convert it there with "
                "scripts/to_safetensors.py, and add that folder" % (self.listing.repo, pickled[0])
            )

    def architecture(self, config: Mapping[str, Any]) -> str:
        names = config.get("architectures")
        if isinstance(names, list) and names and all(isinstance(one, str) and one for one in names):
            return str(names[0])
        raise Refusal(
            "config.json of %s names no architecture (model_type: %s), so an engine can't know its class; ask its publisher, or copy it into a "
            "folder and add `architectures` to its config.json"
            % (self.listing.repo, str(config.get("model_type"))[:40])
        )

    def template(self) -> str | None:
        """The chat template, wherever it lies; None without one."""
        for name in ("chat_template.jinja", "additional_chat_templates/default.jinja"):
            if name in self.files:
                return self.text(name)
        for name in ("tokenizer_config.json", "chat_template.json", "processor_config.json"):
            found = self.object(name).get("chat_template")
            if isinstance(found, list):  # several, by name
                rows = {str(row.get("name")): row.get("template") for row in found if isinstance(row, dict)}
                found = "\n".join(str(rows[key]) for key in sorted(rows, key=lambda key: key != "default"))
            if isinstance(found, str) and found:
                return found
        if "tekken.json" in self.files:  # Mistral's own tokenizer has its template built in
            return "[TOOL_CALLS] tools"
        return None

    def bounded(self, shape: Shape) -> Shape:
        """With the limit of its tokenizer or of sentence-transformers, where that is lower: vLLM refuses a longer context."""
        limits = [shape.max_position_embeddings]
        most = self.object("tokenizer_config.json").get("model_max_length")
        own = self.object("sentence_bert_config.json").get("max_seq_length")
        limits += [
            int(n) for n in (most, own) if isinstance(n, (int, float)) and not isinstance(n, bool) and 0 < n < NO_LIMIT
        ]
        least = min([n for n in limits if n] or [0])
        return dataclasses.replace(shape, max_position_embeddings=least)

    def embedding(self, shape: Shape) -> tuple[int, bool]:
        """(dimensions, is its norm 1?) of what an embedding model returns."""
        modules = self.kept_list("modules.json")
        kinds = [str(row.get("type", "")).rpartition(".")[2] for row in modules]
        size = self.object(POOLING).get("word_embedding_dimension")
        for row in modules:
            if str(row.get("type", "")).endswith(".Dense"):
                size = self.object("%s/config.json" % row.get("path")).get("out_features") or size
        good = isinstance(size, int) and not isinstance(size, bool) and size > 0
        return (int(size) if good and size else shape.hidden_size), "Normalize" in kinds if modules else True

    def kept_list(self, name: str) -> list[dict[str, Any]]:
        """A JSON list of objects; empty where it is none."""
        if name not in self.files or self.files[name].size > SMALL:
            return []
        try:
            found = json.loads(self.small(name).decode("utf-8-sig"))
        except (ValueError, RecursionError):
            return []
        return [row for row in found if isinstance(row, dict)] if isinstance(found, list) else []

    def quantization(self, config: Mapping[str, Any]) -> str | None:
        """The method by which it is quantised, in vLLM's words."""
        for node in (config, text_part(config)):
            for key in ("quantization_config", "compression_config"):
                found = node.get(key)
                if isinstance(found, Mapping) and found:
                    older = "bitsandbytes" if found.get("load_in_4bit") or found.get("load_in_8bit") else "unnamed"
                    method = str(found.get("quant_method") or older).lower()
                    algorithm = str(found.get("quant_algo") or "")
                    return "modelopt_fp4" if method == "modelopt" and "FP4" in algorithm.upper() else method
        for name in QUANTISED:
            if name in self.files:
                found = self.object(name)
                inner = found.get("quantization")
                about: dict[str, Any] = inner if isinstance(inner, dict) else found
                algorithm = str(about.get("quant_algo") or "").upper()
                if "hf_quant" in name:
                    return "modelopt_fp4" if "FP4" in algorithm else "modelopt"
                return str(about.get("quant_method") or ("gptq" if name == "quantize_config.json" else "awq")).lower()
        return None

    def dtype(self, config: Mapping[str, Any], weights: list[str], quantization: str | None) -> str:
        """Type of the published weights: config.json's word, unless two headers show that it isn't so."""
        part = text_part(config)
        places = (part.get("torch_dtype"), part.get("dtype"), config.get("torch_dtype"), config.get("dtype"))
        stated = next((str(one) for one in places if one), "")
        stated = stated.replace("torch.", "")
        counts = self.types([name for name in weights if name.endswith(".safetensors")])
        plain = {DTYPES[key]: count for key, count in counts.items() if key in DTYPES}
        seen = max(plain, key=lambda key: plain[key]) if plain else ""
        narrow = {key for key in counts if DTYPE_BITS.get(key, 16) < 16 or key.startswith(("I", "U"))}
        if quantization is None and counts and narrow and sum(counts[key] for key in narrow) > sum(plain.values()):
            self.notes.append(
                "most of its weights are %s, and config.json names no quantisation: an engine may refuse them"
                % ", ".join(sorted(narrow))
            )
        if seen and quantization is None and stated and stated != seen:
            self.notes.append("config.json says %s, its weights are %s" % (stated[:20], seen))
            return seen
        if stated in DTYPES.values():
            return stated
        return seen or "bfloat16"

    def types(self, names: list[str]) -> dict[str, int]:
        """Bytes of each type of tensor, in the first and the last of these files."""
        counts: dict[str, int] = {}
        for name in sorted({names[0], names[-1]}) if names else []:
            for tensor in self.header(self.files[name]).values():
                if isinstance(tensor, dict) and "dtype" in tensor:
                    begin, end = tensor["data_offsets"]
                    counts[tensor["dtype"]] = counts.get(tensor["dtype"], 0) + end - begin
        return counts

    def header(self, entry: Entry) -> dict[str, Any]:
        """The header of a safetensors file. Refusal if it is cut or nonsense."""
        begun = self.head(entry, 0, min(HEAD, entry.size))
        length = struct.unpack("<Q", begun[:8])[0] if len(begun) >= 8 else 0
        whole = 8 + min(length, HEADER_LIMIT)
        if len(begun) < whole <= entry.size:
            begun += self.head(entry, len(begun), whole)
        header: dict[str, Any] = parse_header(begun[:whole] if len(begun) >= whole else begun, entry.size, entry.name)
        return header

    def code(self, config: Mapping[str, Any]) -> dict[str, str]:
        """{file: digest} of the Python that `auto_map` names. Refusal where it lies in another repository: it can't be pinned."""
        found = config.get("auto_map")
        named = (
            [one for value in found.values() for one in (value if isinstance(value, list) else [value])]
            if isinstance(found, Mapping)
            else []
        )
        code: dict[str, str] = {}
        for one in named:
            if not isinstance(one, str):
                continue
            if "--" in one:
                if self.known.get(self.architecture(config)):
                    continue  # the engine has a class of its own
                raise Refusal(
                    "config.json of %s asks for code of another repository (%s), which this model's commit can't pin; copy both into a folder, "
                    "and add that" % (self.listing.repo, one[:80])
                )
            file = one.rpartition(".")[0].replace(".", "/") + ".py"
            if file in self.files:
                code[file] = ""
        code.update({name: "" for name in self.files if code and AT_THE_TOP.fullmatch(name)})
        for name in code:  # a folder states no digest
            code[name] = self.files[name].content or digest(self.small(name))
        return dict(sorted(code.items()))


def read(listing: Listing, small: Read, head: Head, known: Mapping[str, str]) -> Facts | AdapterFacts:
    """What the model or the adapter of a listing is. Refusal for what can't be served, with what could be done."""
    reader = Reader(listing, small, head, known)
    return read_adapter(reader) if is_adapter(reader.files) else reader.facts()
