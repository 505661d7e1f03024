"""What a model is: published models' sizes as data, through folders and both hubs' real clients, and what hubs say when they say no."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import shards
from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.answers import plain
from ansible.module_utils.serving.weights.asking import of_folder, of_hub, repo_of
from ansible.module_utils.serving.weights.card import front_matter, licence
from ansible.module_utils.serving.weights.choice import Wanted
from ansible.module_utils.serving.weights.hubs import HUBS
from ansible.module_utils.serving.weights.hubs.over_http import Line
from ansible.module_utils.serving.weights.kinds import TOOL_FORMATS, label_count
from ansible.module_utils.serving.weights.listing import SourceFailed
from ansible.module_utils.serving.weights.reading import Facts
from ansible.module_utils.serving.weights.shape import FIELDS, Shape
from configs import CASES, Case
from conftest import load
from hub import COMMIT, Hub
from hypothesis import given
from hypothesis import strategies as st

from planning.engine_models import engine_knows

KNOWN = engine_knows()
BLOCK = ("BF16", [2048], b"\0" * 4096)


def publish(folder: Path, case: Case, count: int = 1, dtype: str = "BF16", card: str = "license: apache-2.0") -> Path:
    """A repository with this model's small files, and shards of a few KiB."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(case.config))
    limit = (
        {"model_max_length": case.positions}
        if case.kind not in ("chat", "completion")
        else {"model_max_length": 10**30}
    )
    template = {"chat_template": case.template} if case.template else {}
    (folder / "tokenizer_config.json").write_text(json.dumps({**limit, **template}))
    task = f"\npipeline_tag: {case.task}" if case.task else ""
    (folder / "README.md").write_text(f"---\n{card}{task}\n---\n# A model\n")
    for name in case.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        kinds = ["Transformer", "Pooling", "Normalize"]
        rows: Any = [{"type": f"sentence_transformers.models.{kind}", "path": ""} for kind in kinds]
        text = (
            json.dumps(rows if name == "modules.json" else {"word_embedding_dimension": 1024})
            if name.endswith(".json")
            else "x = 1\n"
        )
        (folder / name).write_text(text)
    wide = {"BF16": 2, "F16": 2, "F32": 4}[dtype]
    places = {}
    for number in range(1, count + 1):
        name = f"model-{number:05}-of-{count:05}.safetensors" if count > 1 else "model.safetensors"
        shards.write(folder / name, {f"t{number}": (dtype, [2048], bytes(2048 * wide))})
        places[f"t{number}"] = name
    if count > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    return folder


DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}


@pytest.mark.parametrize("name", CASES)
def test_sizes_of_published_models(name: str) -> None:
    case = CASES[name]
    shape = Shape.of_config(case.config)
    assert shape.token_bytes() == case.token
    assert shape.max_position_embeddings == case.positions
    assert (shape.state_layers, shape.state_bytes, shape.mixed_layers) == case.states
    assert Shape.of_row(shape.row()) == shape and set(shape.row()) <= set(load("filter_plugins/plan.py").SHAPE)


def test_the_tables_take_every_field_of_a_shape() -> None:
    assert load("filter_plugins/plan.py").SHAPE == FIELDS


KEYS = sorted({key for case in CASES.values() for key in case.config} | {"num_kv_shared_layers", "global_head_dim", "hybrid_override_pattern", "attn_type_list",
               "attn_layer_indices", "linear_attn_config", "full_attn_idxs", "layer_group_size", "short_conv_kernel_size",
               "mamba_step", "layer_types", "sliding_window_pattern", "layers_block_type", "thinker_config"})  # fmt: skip
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**13)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["yarn", "linear", "sliding_attention", "mamba"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*KEYS, "type", "factor", "full_attn_layers"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=12), st.sampled_from(list(CASES)))
def test_no_configuration_makes_it_fail(junk: dict[str, Any], name: str) -> None:
    shape = Shape.of_config({**CASES[name].config, **junk})
    assert all(isinstance(value, int) and value > 0 for value in shape.row().values())
    tokens = shape.token_bytes(2, 4, 2)
    assert tokens is None or tokens >= 0
    assert (shape.sequence_bytes(1000) or 0) >= 0
    assert label_count(junk) > 0


def test_states_of_a_stranger_are_said_and_not_guessed(tmp_path: Path) -> None:
    config = {**CASES["Qwen3-8B"].config, "layer_types": ["linear_attention", "full_attention"] * 18}
    (publish(tmp_path / "m", CASES["Qwen3-8B"]) / "config.json").write_text(json.dumps(config))
    facts = of_folder(str(tmp_path / "m"), Wanted(), KNOWN)
    assert isinstance(facts, Facts) and (facts.shape.state_layers, facts.shape.state_bytes) == (18, 0)
    assert "the states that 18 of its layers keep are of unknown size and not counted" in facts.notes


def test_a_window_ends_what_a_layer_keeps() -> None:
    shape = Shape.of_config(CASES["gpt-oss-20b"].config)
    per_layer = 2 * 8 * 64 * 2
    assert shape.sequence_bytes(1000) == 12 * per_layer * 1000 + 12 * per_layer * 128
    assert shape.token_bytes(tensor=4) == 12 * per_layer // 4 and shape.token_bytes(tensor=16) == 12 * 2 * 64 * 2
    latent = Shape.of_config(CASES["DeepSeek-V3"].config)
    assert latent.token_bytes(tensor=8) == latent.token_bytes()  # whole on each device
    assert Shape.of_config({"architectures": ["Odd"]}).token_bytes() is None


@pytest.mark.parametrize("name", CASES)
def test_what_published_models_are(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    folder = publish(tmp_path / name.lower(), case, dtype=DTYPES[case.config.get("torch_dtype", "bfloat16")])
    if name.startswith("gte"):
        with pytest.raises(Refusal, match=r"code of another repository \(Alibaba-NLP/new-impl"):
            of_folder(str(folder), Wanted(), KNOWN)
        return
    facts = of_folder(str(folder), Wanted(), KNOWN)
    assert (facts.kind.name, facts.kind.tools, facts.kind.vision) == (case.kind, case.tools, case.vision)
    assert facts.kind.reasoning_parser == case.thoughts and facts.kind.reasoning is (case.thoughts is not None)
    assert facts.quantization == case.quantization and facts.shape.max_position_embeddings == case.positions
    assert facts.chat_template is (case.template is not None) and facts.license == "apache-2.0"
    assert facts.weight_bytes == (folder / "model.safetensors").stat().st_size and facts.dtype in DTYPES
    if case.kind == "embedding":
        assert facts.dimensions == 1024 and facts.normalized
    if "DeepSeek-V2" in name:
        assert set(facts.code) == {"modeling_deepseek.py", "configuration_deepseek.py"}


def test_a_reranker_that_says_yes_or_no_is_asked_as_one(tmp_path: Path) -> None:
    facts = of_folder(str(publish(tmp_path / "m", CASES["Qwen3-Reranker-0.6B"])), Wanted(), KNOWN)
    words = facts.kind.overrides["hf_overrides"]
    assert words["architectures"] == ["Qwen3ForSequenceClassification"] and words["classifier_from_token"] == [
        "no",
        "yes",
    ]


def test_every_parser_is_one_that_the_engine_has() -> None:
    have = engine_knows("0.32.0")
    assert {f"tools/{marker.parser}" for marker in TOOL_FORMATS} <= set(have)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(publish(tmp_path / "repo", CASES["Qwen3-8B"], 30))
    yield made
    made.close()


def ask(
    hub: Hub, kind: str = "huggingface", repo: str = "org/m", revision: str | None = None, token: str = ""
) -> Facts:
    found: Facts = of_hub(HUBS[kind](repo, revision, Wanted(), hub.url, token), KNOWN)
    return found


@pytest.mark.parametrize("kind", HUBS)
def test_thirty_shards_take_a_dozen_requests_at_most(hub: Hub, kind: str) -> None:
    facts = ask(hub, kind)
    assert (facts.source, facts.repo, facts.commit, facts.kind.name) == (kind, "org/m", COMMIT, "chat")
    assert len(hub.requests) <= 12, [path for _, path, _ in hub.requests]
    headers = [path for _, path, _ in hub.requests if ".safetensors" in path and "index" not in path]
    assert len(headers) <= 2
    assert facts.fetch_bytes == sum(path.stat().st_size for path in hub.folder.iterdir()) and facts.files == len(
        hub.names()
    )


@pytest.mark.parametrize("kind", HUBS)
def test_three_hundred_shards_take_no_more(tmp_path: Path, kind: str) -> None:
    made = Hub(publish(tmp_path / "repo", CASES["DeepSeek-V3"], 300))
    try:
        facts = ask(made, kind)
        assert len(made.requests) <= 12 and facts.files == len(made.names()) > 300
    finally:
        made.close()


def test_a_clients_own_statistics_are_not_asked_for() -> None:
    """Where huggingface.co can't be reached, each process waited 25 seconds for them."""
    line = Line("http://127.0.0.1:9", Limits())
    assert line.request("GET", "https://huggingface.co/api/agent-harnesses", {}).status == 404 and line.asked == {}


def test_a_long_header_is_read_in_two_ranges(tmp_path: Path) -> None:
    folder = publish(tmp_path / "repo", CASES["Qwen3-8B"])
    shards.write(
        folder / "model.safetensors", {f"model.layers.{i}.{'x' * 200}": ("BF16", [2], b"\0" * 4) for i in range(2000)}
    )
    made = Hub(folder)
    try:
        assert ask(made).dtype == "bfloat16"
        assert len([path for _, path, _ in made.requests if path.endswith("model.safetensors")]) == 2
    finally:
        made.close()


@pytest.mark.parametrize("kind", HUBS)
def test_a_model_under_a_new_name(hub: Hub, kind: str) -> None:
    hub.trouble.renamed, hub.trouble.about = "org/new", {"id": "org/new"}
    facts = ask(hub, kind, repo="org/old")
    assert (facts.repo, facts.renamed) == ("org/new", "org/old")


def test_a_model_that_a_hub_does_not_have(hub: Hub) -> None:
    hub.trouble.unknown, hub.trouble.found = True, ("Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2-7B", "other/thing")
    for kind in HUBS:
        with pytest.raises(
            Refusal,
            match=rf"{kind} has no model 'Qwen/Qwen2.5-7B-Instrct', or it is private .*did you mean 'Qwen/Qwen2.5-7B-Instruct'",
        ):
            ask(hub, kind, "Qwen/Qwen2.5-7B-Instrct")
    hub.trouble.dataset = True
    for kind in HUBS:
        with pytest.raises(Refusal, match=f"'org/m' is a data set on {kind}, no model"):
            ask(hub, kind)


def test_a_gated_model_says_where_its_licence_is(hub: Hub) -> None:
    hub.trouble.gated, hub.trouble.about = True, {"gated": "manual"}
    with pytest.raises(
        Refusal, match=rf"'org/m' is gated: accept its licence at {hub.url}/org/m, and set huggingface_token"
    ):
        ask(hub)


@pytest.mark.parametrize("kind", HUBS)
def test_a_private_model_needs_a_token(hub: Hub, kind: str) -> None:
    hub.token = "secret-of-mine"
    with pytest.raises(Refusal, match=f"needs a token \\({kind}_token\\)"):
        ask(hub, kind)
    assert ask(hub, kind, token="secret-of-mine").kind.name == "chat"


def test_an_empty_repository_and_an_unknown_revision(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="has no revision 'v9' of 'org/m'"):
        ask(hub, revision="v9")
    (tmp_path / "empty").mkdir()
    made = Hub(tmp_path / "empty")
    try:
        for kind in HUBS:
            with pytest.raises(Refusal, match=f"'org/m' on {kind} is empty"):
                ask(made, kind)
    finally:
        made.close()


def test_a_hub_that_goes_down_half_way(hub: Hub) -> None:
    hub.trouble.status, hub.trouble.statuses = 418, 100
    with pytest.raises((Refusal, SourceFailed), match="HTTP 418"):
        ask(hub)


def test_an_error_that_holds_others_is_said_in_their_words() -> None:
    inner = ConnectionResetError("Remote end closed connection without response")
    assert (
        plain(OSError("Connection aborted.", inner))
        == "Connection aborted, Remote end closed connection without response"
    )
    assert (
        plain(OSError(13, "Permission denied")) == "[Errno 13] Permission denied"
        and plain(TimeoutError()) == "TimeoutError"
    )


BAD: dict[str, tuple[dict[str, str | None], str]] = {
    "no architectures": ({"config.json": '{"model_type": "odd"}'}, r"names no architecture \(model_type: odd\)"),
    "config is no JSON": ({"config.json": "{"}, "config.json is no JSON"),
    "config is a list": ({"config.json": "[]"}, "config.json is no JSON object"),
    "gguf": ({"model.safetensors": None, "m.Q4_K_M.gguf": "GGUF" * 400}, "GGUF files alone: llama.cpp serves those, and SGLang.*made from org/base"),
    "pickled": ({"model.safetensors": None, "pytorch_model.bin": "x" * 2000}, r"pickled weights alone \(pytorch_model.bin\).*scripts/to_safetensors.py"),
    "no weights": ({"model.safetensors": None}, "has no weights that we know by name"),
    "diffusers": ({"config.json": None, "model_index.json": "{}"}, "a pipeline of diffusers"),
    "a draft": ({"config.json": '{"architectures": ["EAGLEModel"]}'}, "a draft for speculative decoding"),
    "a reward model": ({"config.json": '{"architectures": ["Qwen2ForRewardModel"]}'}, "a reward model"),
    "a cut shard": ({"model.safetensors": "x" * 3000}, "it is cut or no safetensors file"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_no_service_can_load_is_refused_with_what_would_help(tmp_path: Path, name: str) -> None:
    changes, words = BAD[name]
    folder = publish(tmp_path / "m", CASES["Qwen3-8B"], card="license: mit\nbase_model: org/base")
    for file, text in changes.items():
        if text is None:
            (folder / file).unlink()
        else:
            (folder / file).write_text(text)
    with pytest.raises(Refusal, match=words):
        of_folder(str(folder), Wanted(), KNOWN)


def test_templates_whose_names_are_none_stop_nothing(tmp_path: Path) -> None:
    folder = publish(tmp_path / "m", CASES["Qwen3-8B"])
    rows = [
        {"name": ["a"], "template": None},
        {"name": {}},
        "x",
        {"name": "default", "template": "{% if tools %}<tool_call></tool_call>"},
    ]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": rows}))
    facts = of_folder(str(folder), Wanted(), KNOWN)
    assert isinstance(facts, Facts) and facts.kind.tools == "hermes"


def test_headers_are_believed_before_a_configuration(tmp_path: Path) -> None:
    facts = of_folder(str(publish(tmp_path / "m", CASES["Qwen3-8B"], dtype="F32")), Wanted(), KNOWN)
    assert facts.dtype == "float32" and "config.json says bfloat16, its weights are float32" in facts.notes


@pytest.mark.parametrize(
    ("card", "name", "words"),
    [
        ({"license": "apache-2.0"}, "apache-2.0", None),
        ({"license": "Apache License 2.0"}, "apache-2.0", None),
        ({"license": ["mit", "apache-2.0"]}, "mit", None),
        ({"license": "cc-by-nc-4.0"}, "cc-by-nc-4.0", "forbids commercial use"),
        (
            {"license": "other", "license_name": "qwen-research", "license_link": "https://x/LICENSE"},
            "qwen-research",
            "forbids commercial use: https://x",
        ),
        ({"license": "llama3.1"}, "llama3.1", "terms of its own"),
        ({}, "unknown", "names no licence"),
        ({"license": 3}, "unknown", "names no licence"),
    ],
)
def test_licences(card: dict[str, Any], name: str, words: str | None) -> None:
    found, note = licence(card)
    assert found == name and (words in (note or "") if words else note is None)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# no front matter",
        "---\nlicense: [\n---\n",
        "---\n- a\n---\n",
        "---\nlicense: mit",
        "---\n" + "[" * 5000 + "\n---\n",
    ],
)
def test_no_card_stops_anything(text: str) -> None:
    assert front_matter(text)[0] == {}


def test_a_repository_by_the_address_of_its_page() -> None:
    for text in (
        "Qwen/Qwen3-8B",
        "https://huggingface.co/Qwen/Qwen3-8B",
        "https://www.modelscope.cn/models/Qwen/Qwen3-8B/summary",
        " Qwen/Qwen3-8B ",
    ):
        assert repo_of(text, "") == "Qwen/Qwen3-8B"
    for text in ("Qwen3-8B", "a/b/c", "-/x", "a b/c", "../etc"):
        with pytest.raises(Refusal, match="no repository such as"):
            repo_of(text, "")
