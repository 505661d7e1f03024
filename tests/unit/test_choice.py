"""What is taken of a model and what is left out, on listings as they are found in the world."""

from __future__ import annotations

import json
from typing import NamedTuple

import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.choice import LFS, Choice, Wanted, choose, words
from ansible.module_utils.serving.weights.convertible import check_convertible

BIG, TINY = 5_000_000_000, 700
TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "generation_config.json"]
LITTER = [
    ".gitattributes",
    ".DS_Store",
    "._config.json",
    "__pycache__/modeling.cpython-311.pyc",
    ".cache/huggingface/x.lock",
]
INDEX = "model.safetensors.index.json"


def shards(count: int, stem: str = "model", end: str = ".safetensors", first: int = 1) -> list[str]:
    return [f"{stem}-{number:05}-of-{count:05}{end}" for number in range(first, first + count)]


class Layout(NamedTuple):
    """A repository: what is taken of it, what is left out, what its indexes name, what models.yml says."""

    taken: list[str]
    left: list[str] = []
    indexes: dict[str, list[str]] = {}
    wanted: Wanted = Wanted()


# fmt: off
LAYOUTS = {
    # One safetensors file, as Qwen2.5-0.5B has it; the author's desktop was uploaded too.
    "one file": Layout(["config.json", "model.safetensors", *TOKENIZER, "README.md", "LICENSE"]),
    # Llama 3.1: shards with an index, and the same weights as Meta has trained them.
    "llama": Layout(
        ["config.json", INDEX, *shards(4), *TOKENIZER],
        ["original/consolidated.00.pth", "original/params.json", "original/tokenizer.model"],
        {INDEX: shards(4)},
    ),
    # Mistral 7B Instruct v0.3: both forms in one folder.
    "mistral, both forms": Layout(
        ["config.json", INDEX, *shards(3), "params.json", "tokenizer.model.v3", *TOKENIZER],
        ["consolidated.safetensors"],
        {INDEX: shards(3)},
    ),
    # Mistral's own form alone: then these are the weights.
    "mistral, own form": Layout(["params.json", "consolidated.safetensors", "tekken.json", "README.md"]),
    "mistral large, own form": Layout(
        ["params.json", "consolidated.safetensors.index.json", *shards(5, "consolidated"), "tekken.json"],
        [],
        {"consolidated.safetensors.index.json": shards(5, "consolidated")},
    ),
    "mistral large, both forms": Layout(
        ["config.json", INDEX, *shards(10), "params.json", "tekken.json"],
        ["consolidated.safetensors.index.json", *shards(5, "consolidated")],
        {INDEX: shards(10), "consolidated.safetensors.index.json": shards(5, "consolidated")},
    ),
    # Pickled shards beside safetensors, as in many models of 2023.
    "bin beside safetensors": Layout(
        ["config.json", INDEX, *shards(2), *TOKENIZER],
        ["pytorch_model.bin.index.json", *shards(2, "pytorch_model", ".bin"), "training_args.bin"],
        {INDEX: shards(2)},
    ),
    # A classic: one model in seven formats.
    "gpt2": Layout(
        ["config.json", "model.safetensors", "merges.txt", "vocab.json", *TOKENIZER],
        [
            "64.tflite", "64-8bits.tflite", "flax_model.msgpack", "pytorch_model.bin", "rust_model.ot", "tf_model.h5",
            "onnx/decoder_model.onnx", "onnx/decoder_model_merged.onnx", "onnx/config.json", "onnx/merges.txt",
        ],
    ),
    # An older one that has no safetensors: its one form is taken.
    "bin only": Layout(["config.json", "pytorch_model.bin", "vocab.txt", "tokenizer_config.json"]),
    "bin shards only": Layout(
        ["config.json", "pytorch_model.bin.index.json", *shards(3, "pytorch_model", ".bin"), "tokenizer.model"],
        ["flax_model.msgpack", "pytorch_model.bin"],
        {"pytorch_model.bin.index.json": shards(3, "pytorch_model", ".bin")},
    ),
    # all-MiniLM: a sentence transformer with the exports of three other engines.
    "sentence transformer": Layout(
        ["1_Pooling/config.json", "config.json", "config_sentence_transformers.json", "model.safetensors", "modules.json"],
        [
            "onnx/model.onnx", "onnx/model_O1.onnx", "onnx/model_quint8_avx2.onnx", "openvino/openvino_model.bin",
            "openvino/openvino_model.xml", "pytorch_model.bin", "rust_model.ot", "tf_model.h5",
        ],
    ),
    # EmbeddingGemma and LaBSE: dense layers in folders of their own, one of them only pickled.
    "dense parts": Layout(
        [
            "1_Pooling/config.json", "2_Dense/config.json", "2_Dense/model.safetensors", "3_Dense/config.json",
            "3_Dense/model.safetensors", "4_Dense/config.json", "4_Dense/pytorch_model.bin", "config.json",
            "model.safetensors", "modules.json",
        ],
        ["2_Dense/pytorch_model.bin", "pytorch_model.bin"],
    ),
    # A static embedding: no config.json at the top.
    "static embedding": Layout(["0_StaticEmbedding/model.safetensors", "0_StaticEmbedding/tokenizer.json", "modules.json"]),
    # Stable Diffusion XL: parts in folders, variants, and everything again in one file.
    "diffusers": Layout(
        [
            "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
            "text_encoder/model.safetensors", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
            "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
        ],
        [
            "sd_xl_base_1.0.safetensors", "text_encoder/model.fp16.safetensors", "text_encoder/model.onnx",
            "text_encoder/flax_model.msgpack", "unet/diffusion_pytorch_model.fp16.safetensors", "unet/model.onnx",
            "unet/model.onnx_data", "unet/diffusion_pytorch_model.bin", "vae/diffusion_pytorch_model.non_ema.safetensors",
        ],
    ),
    # FLUX: sharded transformer in a folder with an index of its own.
    "flux": Layout(
        [
            "model_index.json", "transformer/config.json", "transformer/diffusion_pytorch_model.safetensors.index.json",
            *("transformer/" + n for n in shards(3, "diffusion_pytorch_model")), "vae/config.json",
            "vae/diffusion_pytorch_model.safetensors",
        ],
        ["ae.safetensors", "flux1-dev.safetensors"],
        {"transformer/diffusion_pytorch_model.safetensors.index.json": shards(3, "diffusion_pytorch_model")},
    ),
    # gpt-oss: the publisher's form and one for Apple's accelerators.
    "gpt-oss": Layout(
        ["config.json", INDEX, *shards(3, first=0), "chat_template.jinja", *TOKENIZER],
        ["metal/model.bin", "original/config.json", "original/dtypes.json", "original/model.safetensors"],
        {INDEX: shards(3, first=0)},
    ),
    # DeepSeek-V3: 163 shards and code.
    "deepseek": Layout(
        ["config.json", "configuration_deepseek.py", "modeling_deepseek.py", INDEX, *shards(163), "inference/model.py"],
        [],
        {INDEX: shards(163)},
    ),
    # Shards named `model.safetensors-00001-of-00003.safetensors`, as some newer models have them.
    "doubled ending": Layout(
        ["config.json", INDEX, *shards(3, "model.safetensors")], [], {INDEX: shards(3, "model.safetensors")}
    ),
    # Phi-4 multimodal: adapters in folders.
    "adapters in folders": Layout(
        [
            "config.json", INDEX, *shards(3), "speech-lora/adapter_config.json", "speech-lora/adapter_model.safetensors",
            "vision-lora/adapter_config.json", "vision-lora/adapter_model.safetensors",
        ],
        [],
        {INDEX: shards(3)},
    ),
    # A merged model whose trainer has left the adapter beside it: vLLM reads all safetensors of a folder without an index.
    "an adapter beside the model": Layout(
        ["adapter_config.json", "config.json", "model.safetensors", *TOKENIZER], ["adapter_model.safetensors", "adapter_model.bin"]
    ),
    "an adapter beside pickled shards": Layout(
        ["adapter_config.json", "config.json", "pytorch_model.bin.index.json", *shards(2, "pytorch_model", ".bin")],
        ["adapter_model.bin"],
        {"pytorch_model.bin.index.json": shards(2, "pytorch_model", ".bin")},
    ),
    "an adapter that an index leaves to its own": Layout(
        ["adapter_config.json", "adapter_model.safetensors", "config.json", INDEX, *shards(2)], [], {INDEX: shards(2)}
    ),
    "an adapter in safetensors beside a pickled model": Layout(
        ["adapter_config.json", "config.json", "pytorch_model.bin"], ["adapter_model.safetensors"]
    ),
    # LLaVA's adapters bring the model's config.json.
    "an adapter with more than its matrices": Layout(
        ["adapter_config.json", "adapter_model.bin", "config.json", "non_lora_trainables.bin"]
    ),
    # A pipeline's file beside a model that transformers loads.
    "a model beside parts of a pipeline": Layout(
        ["config.json", "model.safetensors", "model_index.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors"]
    ),
    # BERTs of 2020 in every form but safetensors. vLLM reads every .bin of the folder.
    "bin in many forms": Layout(
        ["config.json", "pytorch_model.bin", "vocab.txt"],
        [
            "flax_model.msgpack", "onnx/model.onnx", "openvino_model.bin", "openvino_model.xml", "optimizer.pt", "rust_model.ot", "tf_model.h5",
            "training_args.bin",
        ],
    ),
    "an adapter alone": Layout(
        ["adapter_config.json", "adapter_model.safetensors", *TOKENIZER], ["adapter_model.bin", "optimizer.pt"]
    ),
    # A fine-tune with what its trainer has left.
    "checkpoints of a trainer": Layout(
        ["config.json", "model.safetensors", "trainer_state.json", *TOKENIZER],
        [
            "checkpoint-500/config.json", "checkpoint-500/model.safetensors", "checkpoint-500/optimizer.pt",
            "optimizer.pt", "rng_state_0.pth", "scheduler.pt", "training_args.bin",
        ],
    ),
    # A merged shard that the index doesn't know.
    "a shard that the index does not name": Layout(
        ["config.json", INDEX, *shards(2)], ["model-extra.safetensors", "model.safetensors"], {INDEX: shards(2)}
    ),
    "the same in one file and in shards without an index": Layout(["config.json", "model.safetensors"], shards(2)),
    # bartowski's quantisations: one file is asked for.
    "one gguf of many": Layout(
        ["README.md", "model-Q4_K_M.gguf", "mmproj-model-f16.gguf"],
        ["model-IQ2_M.gguf", "model-Q8_0.gguf", *shards(2, "model-f32", ".gguf")],
        wanted=Wanted(("*Q4_K_M*",)),
    ),
    "split gguf": Layout([f"BF16/{n}" for n in shards(2, "DeepSeek-R1-BF16", ".gguf")] + ["config.json"]),
    # Quantised: AWQ with its own configuration, GPTQ in one file.
    "awq": Layout(["config.json", "quant_config.json", INDEX, *shards(2)], [], {INDEX: shards(2)}),
    # Qwen2.5-Omni needs a pickled table of voices, Whisper has both forms.
    "a pickle that is no weights": Layout(["config.json", INDEX, *shards(5), "spk_dict.pt"], [], {INDEX: shards(5)}),
    "whisper": Layout(
        ["config.json", "model.safetensors", "normalizer.json", "preprocessor_config.json"],
        ["flax_model.msgpack", "model.fp32.safetensors", "pytorch_model.bin", "pytorch_model.fp32-00001-of-00002.bin"],
    ),
    # ModelScope's client marks its folders.
    "modelscope": Layout(["config.json", "configuration.json", "model.safetensors", *TOKENIZER], ["x.safetensors.incomplete"]),
    # What models.yml says.
    "include": Layout(
        ["config.json", "model.safetensors", "original/consolidated.00.pth", "original/params.json"],
        ["pytorch_model.bin"],
        wanted=Wanted(("original/",)),
    ),
    "exclude wins": Layout(
        ["config.json", "model.safetensors"],
        ["README.md", "figures/a.png", "pytorch_model.bin"],
        wanted=Wanted(("*.bin",), ("*.bin", "figures/*", "README.md")),
    ),
    "a stale index is left out": Layout(["config.json", "model.safetensors"], [INDEX], wanted=Wanted((), (INDEX,))),
}
# fmt: on


def choice(layout: Layout, more: list[str] | None = None, local: bool = False, read: list[str] | None = None) -> Choice:
    names = [*layout.taken, *layout.left, *(more or [])]
    sizes = {n: BIG if n.endswith((".safetensors", ".bin", ".pth", ".gguf")) else TINY for n in names}

    def content(name: str) -> bytes:
        if read is not None:
            read.append(name)
        named = layout.indexes.get(name)
        return json.dumps({"weight_map": {f"layer.{i}": n for i, n in enumerate(named)}}).encode() if named else b"{}"

    return choose(sizes, content, layout.wanted, local)


@pytest.mark.parametrize("local", [False, True], ids=["hub", "folder"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_of_the_world(name: str, local: bool) -> None:
    """The same choice for hubs and folders; litter changes nothing."""
    layout = LAYOUTS[name]
    found = choice(layout, LITTER, local)
    assert sorted(found.kept) == sorted(layout.taken)
    assert sorted(found.left_out) == sorted(layout.left)
    assert all(found.left_out.values())


def test_a_hub_is_asked_for_an_index_only_where_it_can_leave_something_out() -> None:
    asked: list[str] = []
    choice(LAYOUTS["deepseek"], read=asked)
    assert asked == []
    choice(LAYOUTS["a shard that the index does not name"], read=asked)
    assert asked == [INDEX]


@pytest.mark.parametrize(
    ("names", "wanted", "says"),
    [
        (["model.safetensors", *TOKENIZER], Wanted(), "no config.json"),
        (["model.safetensors", "config.json"], Wanted((), ("config.json",)), r"left out: excluded by 'config.json'"),
        (["Qwen/config.json", "Qwen/model.safetensors"], Wanted(), "is its subfolder Qwen the model"),
        (["config.json", *shards(3)[::2]], Wanted(), r"one of 3 shards, of which 2 are there \(number 2 is missing\)"),
        (["config.json", *shards(3)[1:]], Wanted(), r"number 1 is missing"),
        (["config.json", *shards(3)[:2]], Wanted(), r"number 3 is missing"),
        (["config.json", *shards(2, "pytorch_model", ".bin")[:1]], Wanted(), "one of 2 shards"),
        (["a-Q8/" + shards(3, "a", ".gguf")[0]], Wanted(), "one of 3 shards"),
        (
            ["config.json", INDEX, *shards(3)[::2]],
            Wanted(),
            "names model-00002-of-00003.safetensors, which is no shard",
        ),
        (["config.json", INDEX, *shards(3)], Wanted((), ("*00002*",)), "which is left out .excluded by"),
        (["config.json", *shards(2), *shards(3)], Wanted(), "begin two sets of shards, and no index says"),
        (
            ["config.json", *(f"model-{n:05}-of-00002.safetensors" for n in range(3))],
            Wanted(),
            "there are 2 shards, and 3 are there",
        ),
    ],
)
@pytest.mark.parametrize("local", [False, True], ids=["hub", "folder"])
def test_what_is_no_whole_model_is_refused_with_a_remedy(
    names: list[str], wanted: Wanted, says: str, local: bool
) -> None:
    with pytest.raises(Refusal, match=says):
        choice(Layout(names, [], {INDEX: shards(3)}, wanted), local=local)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json", INDEX])
def test_a_git_lfs_pointer_is_refused_whatever_it_stands_for(name: str) -> None:
    text = LFS + b"v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n"
    sizes = {"config.json": 2, "a.pt": BIG, name: len(text)}
    with pytest.raises(Refusal, match=name + " is a Git LFS pointer"):
        choose(sizes, lambda asked: text if asked == name else b"{}", local=True)


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"<html>", b"\xff\xfe{", b"[" * 100_000])
def test_a_config_that_no_engine_can_read_is_refused(text: bytes) -> None:
    sizes = {"config.json": len(text), "model.safetensors": BIG}
    with pytest.raises(Refusal, match=r"config\.json is no JSON object"):
        choose(sizes, lambda name: text, local=True)


def test_weights_without_a_byte_are_refused_before_anything_is_fetched() -> None:
    with pytest.raises(Refusal, match=r"model\.safetensors is empty"):
        choose({"config.json": 2, "model.safetensors": 0}, lambda name: b"{}")


def test_many_gguf_models_are_named_with_their_size() -> None:
    found = choice(Layout(["a-Q4_K_M.gguf", "a-Q8_0.gguf", *shards(2, "a-f16", ".gguf")]))
    assert len(found.kept) == 4 and "3 GGUF models, 18.6 GiB" in found.notes[0]


def test_weights_where_vllm_does_not_look_pass_with_a_word() -> None:
    layout = Layout(["config.json", INDEX, "parts/a.safetensors"], [], {INDEX: ["parts/a.safetensors"]})
    assert choice(layout).notes == (
        "its weights lie in subfolders alone (parts/a.safetensors), where vLLM does not look",
    )
    assert choice(LAYOUTS["diffusers"]).notes == choice(LAYOUTS["split gguf"]).notes == ()


def test_a_model_without_weights_passes_with_a_word() -> None:
    found = choice(Layout(["config.json", "model.safetensors"], wanted=Wanted((), ("*.safetensors",))))
    assert "no weights that we know" in found.notes[0] and "model.safetensors (4.7 GiB: excluded" in found.notes[0]


@pytest.mark.parametrize(
    ("shard", "says"),
    [("pytorch_model.bin", r"which is no \.safetensors file"), ("a\nb.safetensors", r"names a file 'a\\nb"), ("\ud800", r"names a file '\\ud800")],
)  # fmt: skip
def test_an_index_of_safetensors_names_safetensors(shard: str, says: str) -> None:
    with pytest.raises(Refusal, match=says):
        choice(Layout(["config.json", INDEX, "model.safetensors", "pytorch_model.bin"], [], {INDEX: [shard]}))


def test_statistics_of_a_quantisation_are_no_gguf_model() -> None:
    assert choice(Layout(["m-Q4_K_M.gguf", "imatrix.gguf", "mmproj-m-f16.gguf"])).notes == ()


@pytest.mark.parametrize("pattern", ["extra", "extra/", "extra/a[1].json"])
def test_a_pattern_may_be_a_folder_or_a_name_with_brackets(pattern: str) -> None:
    found = choice(Layout(["config.json", "model.safetensors", "extra/a[1].json"], wanted=Wanted((), (pattern,))))
    assert list(found.left_out) == ["extra/a[1].json"] and found.notes == ()


def test_an_exclude_that_matches_nothing_is_said() -> None:
    found = choice(LAYOUTS["one file"]._replace(wanted=Wanted((), ("orignal/", ".gitattributes"))))
    assert "exclude 'orignal/' of models.yml matches no file" in found.notes and len(found.notes) == 1


def test_an_include_that_matches_nothing_is_said() -> None:
    assert (
        "'orignal/*' of models.yml matches no file"
        in choice(LAYOUTS["one file"]._replace(wanted=Wanted(("orignal/*",)))).notes[0]
    )


def test_the_words_have_names_sizes_and_reasons() -> None:
    layout = LAYOUTS["gpt2"]
    found = choice(layout)
    lines = words(found.left_out, dict.fromkeys(found.left_out, 1 << 30))
    assert "onnx/ (4 files, 4.0 GiB: for another engine)" in lines
    assert "pytorch_model.bin (1.0 GiB: another form of the safetensors beside it)" in lines


@pytest.mark.parametrize(
    ("names", "config", "says"),
    [
        (["config.json", "pytorch_model.bin"], {}, "no safetensors but pytorch_model.bin"),
        (["a.gguf"], {}, "no safetensors but a.gguf"),
        (["config.json", "model.safetensors"], {"quantization_config": {"quant_method": "awq", "bits": 4}}, r"\(awq\)"),
        (["config.json", "model.safetensors"], {"text_config": {"quantization_config": {}, "x": 1},
                                                "compression_config": {"format": "x"}}, "compression_config"),
        (["config.json", "model.safetensors", "hf_quant_config.json"], {}, "hf_quant_config.json"),
        (["quant_model_weight_w8a8.safetensors", "quant_model_description_w8a8.json"], {}, "description_w8a8.json"),
        (["quant_model_weights.safetensors", "quant_model_description.json"], {}, "it has quant_model_description.json"),
    ],
)  # fmt: skip
def test_what_can_not_be_converted_is_refused(names: list[str], config: dict[str, object], says: str) -> None:
    with pytest.raises(Refusal, match="nothing to convert; .*" + says):
        check_convertible(names, lambda _: json.dumps(config).encode())
