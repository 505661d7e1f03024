"""Release cards as vendors write them: the five vendor documents give the catalogue's rows, and what contradicts itself is a question."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from ansible.module_utils.serving.service.cards import Draft, read_card
from conftest import FIXTURES, load
from tables import BOARDS, CATALOGUE, REFERENCES

DOCUMENTS = {path.stem: path for path in sorted((FIXTURES / "documents").glob("*.md"))}
TABLES = {**CATALOGUE, "references": REFERENCES}
ROWS = {row["document"]: (name, row) for name, row in TABLES["services"].items() if "document" in row}
# Where docs/architecture.md says that we changed a document's value: {document: {key: what the draft has}}.
CHANGED: dict[str, dict[str, Any]] = {
    "Qwen2.5-VL-32B-Instruct-FlagOS-Nvidia": {"limit_mm_per_prompt": "image=18"},
    "QwQ-32B-Atlas-300I-Duo-vLLM-MindSpore": {},
}


def draft(name: str) -> Draft:
    found: Draft = read_card(DOCUMENTS[name].read_text(), name)
    return found


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_give_the_rows_of_the_catalogue(name: str) -> None:
    card, (service, row) = draft(name), ROWS[name]
    ours, changed = row.get("undocumented", []), CHANGED.get(name, {})
    for key, value in row["engine_args"].items():
        if key not in ours:
            assert card.service["engine_args"][key] == changed.get(key, value), key
    assert not set(card.service["engine_args"]) - set(row["engine_args"])
    for key in ("port", "served_name"):
        assert card.service[key] == (None if key in ours else row[key]), key
    assert card.service["flaggems"] is row.get("flaggems", False)
    board = BOARDS[row["boards"][0]]
    assert card.service["image"] == row.get("image", board["engines"][row["engine"]]["image"])
    sources = TABLES["models"][row["model"]]["sources"]
    if card.model["sources"]:
        assert card.model["sources"]["modelscope"]["repo"] == sources["modelscope"]["repo"]
    for key, value in (row.get("env") or {}).items():
        if key != "MINDFORMERS_MODEL_CONFIG":
            assert card.service["env"][key] == value, key
    reference = TABLES["references"].get(service)
    if reference and card.reference:
        assert card.reference["reference_stack"] == reference["reference_stack"]
        scale = 100 if "shares of one" in reference["source"] else 1
        for metric, values in reference["metrics"].items():
            found = card.reference["metrics"][metric]
            assert {key: None if v is None else pytest.approx(v * scale) for key, v in found.items()} == values, metric


@pytest.mark.parametrize(
    ("name", "rules", "questions"),
    [
        (
            "QwQ-32B-FlagOS-Nvidia",
            {"rights-beyond-least", "tag-without-digest", "image-of-another-model", "trust-remote-code"},
            [],
        ),
        ("DeepSeek-R1-Distill-Qwen-32B-FlagOS-NVIDIA", {"path-without-mount"}, ["is no valid YAML"]),
        ("Qwen2.5-VL-32B-Instruct-FlagOS-Nvidia", {"other-model", "image-of-another-model"}, []),
        ("Qwen2-7B-FlagOS-Arm", {"gpu-flag-on-cpu"}, ["is it that model?", "engine_args: the card has no settings"]),
        (
            "QwQ-32B-Atlas-300I-Duo-vLLM-MindSpore",
            {"path-without-mount"},
            ["MODE: the card says 'AIV' and 'AI_CPU'", "model: the card doesn't say"],
        ),
    ],
)
def test_what_the_documents_contradict(name: str, rules: set[str], questions: list[str]) -> None:
    card = draft(name)
    assert rules <= {row["rule"] for row in card.findings}
    for words in questions:
        assert any(words in text for text in card.questions), card.questions


SETTINGS = """\
- serve_id: vllm_model
  engine: vllm
  engine_args:
    model: /nfs/Foo-7B
    served_model_name: foo
    port: 9000
    max_model_len: 4096"""
NESTED = """\
experiment:
  envs: {A: 1}
serve:
  - serve_id: x
    engine_args: {model: /nfs/Foo-7B, served_model_name: foo, port: 1}
    engine_args_specific:
      vllm: {max_model_len: 8}"""


def written(**parts: str) -> str:
    """A card of our own; each part can be another one."""
    given = {
        "title": "# Foo-7B-FlagOS-Nvidia\n\nThis package runs Foo-7B on Nvidia GPUs.",
        "fetch": "modelscope download --model org/Foo-7B --local_dir /nfs/Foo-7B",
        "run": "docker pull reg.example.com/a/foo:1\ndocker run -itd --gpus all -v /nfs:/nfs reg.example.com/a/foo:1 bash",
        "settings": SETTINGS,
        "table": "| Metrics | Foo-CUDA | Foo-FlagOS |\n|---|---|---|\n| GSM8K | 70.0 | 69.5 |",
        "licence": "Licensed under the Apache License 2.0.",
        **parts,
    }  # fmt: skip
    code = "\n".join(f"```bash\n{given[key]}\n```" for key in ("fetch", "run", "settings"))
    return "\n\n".join([given["title"], code, given["table"], given["licence"]])


def test_a_good_card_leaves_no_question() -> None:
    card = read_card(written(), "x")
    assert card.questions == [] and card.model == {
        "sources": {"modelscope": {"repo": "org/Foo-7B", "revision": None}},
        "license": "apache-2.0",
    }
    assert (
        card.service["engine_args"] == {"max_model_len": 4096}
        and card.service["port"] == 9000
        and card.service["vendor"] == "nvidia"
    )
    assert card.reference["metrics"] == {"GSM8K": {"reference": 70.0, "document": 69.5}}


ODD: list[tuple[dict[str, str], str, str]] = [
    ({"run": "docker run --gpus all busybox:1 sh"}, "", ""),
    ({"run": "nothing to pull"}, "image: the card doesn't say", "image"),
    ({"run": "docker pull <your-image>"}, "image: the card has the placeholder '<your-image>'", "image"),
    ({"run": "docker pull ${IMAGE}"}, "has the placeholder '${IMAGE}'", "image"),
    ({"run": "docker pull a.example/x:1\ndocker run b.example/y:2 sh"}, "image: the card says 'a.example/x:1' and 'b.example/y:2'", "image"),
    ({"fetch": "modelscope download --model a/Bar-9B\nmodelscope download --model a/Baz-9B"}, "model: the card says 'a/Bar-9B' and 'a/Baz-9B'", ""),
    ({"fetch": "modelscope download --model other/Bar-9B"}, "is it that model?", ""),
    ({"licence": "本模型以MIT协议开源, 代码为Apache 2.0许可。"}, "license: the card says 'apache-2.0' and 'mit'", ""),
    ({"licence": "MIT License. Apache License 2.0."}, "license: the card says 'apache-2.0' and 'mit'", ""),
    ({"licence": "The weights are based on org/Bar-9B and open-sourced under Apache 2.0."}, "it is stated of 'org/Bar-9B'", ""),
    ({"settings": "engine_args:\n  a: 1\n b: ["}, "is no valid YAML", ""),
    ({"settings": "vllm serve /nfs/Foo-7B --port 1 --served-model-name foo --max-model-len=1\nexport A=1\nexport A=2"}, "env.A: the card says '1' and '2'", ""),
    ({"settings": "export B=$HOME_OF_NOBODY/x\nvllm serve /nfs/Foo-7B --port 1 --served-model-name foo"}, "uses a variable that the card doesn't set", ""),
    ({"title": "# Foo-7B-FlagOS-Ascend\n\nThis package runs on Nvidia GPUs."}, "for which board is it?", ""),
    ({"title": "# Foo-7B-FlagOS-MTT"}, "names none", "vendor"),
    ({"table": "| Metrics | one | two |\n|---|---|---|\n| A | 1 | 2 |"}, "which is the reference", ""),
]  # fmt: skip


@pytest.mark.parametrize(("parts", "question", "null"), ODD, ids=[row[1] or "fine" for row in ODD])
def test_what_a_card_leaves_open_is_a_question_and_a_null(parts: dict[str, str], question: str, null: str) -> None:
    card = read_card(written(**parts), "x")
    assert any(question in text for text in card.questions) if question else not card.questions, card.questions
    if null:
        assert card.service[null] is None


def test_a_page_that_people_are_sent_to_for_the_weights() -> None:
    words = "# Foo-7B-FlagOS-Nvidia\n\n从 [此处](https://huggingface.co/org/Foo-7B/tree/main) 下载模型权重"
    card = read_card(written(fetch="true", title=words), "x")
    assert card.model["sources"] == {"huggingface": {"repo": "org/Foo-7B", "revision": None}}


def test_other_dialects() -> None:
    card = read_card(written(settings=NESTED), "x")
    assert card.service["engine_args"] == {"max_model_len": 8} and card.service["env"] == {"A": "1"}
    table = "<table><tr><th>评测指标</th><th>Foo-CUDA</th><th>Foo-FlagOS</th></tr><tr><td>C-Eval</td><td>80&nbsp;%</td><td><b>79.5</b></td></tr></table>"
    assert read_card(written(table=table), "x").reference["metrics"] == {
        "C-Eval": {"reference": 80.0, "document": 79.5}
    }
    page = written().replace("```bash\n", "<pre><code>").replace("\n```", "</code></pre>")
    assert read_card(page, "x").service["engine_args"] == {"max_model_len": 4096}
    assert (
        read_card(written(licence="本模型权重来源于 org/Foo-7B, 以apache2.0协议开源。"), "x").model["license"]
        == "apache-2.0"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# x",
        "```\n",
        "---\nlicense: [\n---\n",
        "|" * 5000,
        "```\n" + "[" * 3000 + "\n```",
        "engine_args:\n" * 500,
        "\0\ufffd",
    ],
)
def test_no_card_makes_it_fail(text: str) -> None:
    card = read_card(text, "x")
    assert card.questions and json.dumps(card.model)


def test_the_module_shows_it_all(run_module: Any, tmp_path: Any) -> None:
    found = run_module("release_card", {"path": str(DOCUMENTS["QwQ-32B-FlagOS-Nvidia"])})
    assert (
        found["title"] == "QwQ-32B-FlagOS-Nvidia"
        and "add_model.yml -e model=Qwen/QwQ-32B -e hub=modelscope" in found["text"]
    )
    rows = yaml.safe_load(found["text"].split("\n\nQuestions")[0].split("\n\nNo questions")[0])
    assert rows["services"]["qwq-32b-flagos-nvidia"]["engine_args"]["tensor_parallel_size"] == 8
    assert run_module("release_card", {"path": str(tmp_path / "none.md")})["failed"]
    (tmp_path / "x.md").write_bytes(b"\0\1")
    assert "is no text" in run_module("release_card", {"path": str(tmp_path / "x.md")})["msg"]
    assert load("library/release_card.py").main


def test_what_a_card_says_twice_is_asked_under_whichever_name() -> None:
    """An option by its short name, twice on one line; two licences, of which YAML takes the last; fewer devices than ranks; placeholders."""
    text = (
        "---\nlicense: apache-2.0\nlicense: mit\n---\n# Qwen3-4B-FlagOS-Nvidia\n```bash\n"
        "modelscope download --model Qwen/Qwen3-4B --local_dir /share\nexport IMAGE=<your-image>\nexport CUDA_VISIBLE_DEVICES=0,1\n"
        "vllm serve /share --served-model-name q -pp 1 --port 9010 --tensor-parallel-size {} --tp {} "
        "--gpu-memory-utilization=0.9 --gpu-memory-utilization=.95\n```\n"
    )
    draft = read_card(text.format(2, 4), "x")
    args = draft.service["engine_args"]
    assert args == {"pipeline_parallel_size": 1, "tensor_parallel_size": None, "gpu_memory_utilization": None}
    assert draft.model["license"] is None and draft.service["env"]["IMAGE"] is None
    for words in (
        "tensor_parallel_size: the card says '2' and '4'", "gpu_memory_utilization: the card says '0.9' and '0.95'",
        "license: the card says 'mit' and 'apache-2.0'", "env.IMAGE: the card has the placeholder '<your-image>'",
    ):  # fmt: skip
        assert any(words in one for one in draft.questions), draft.questions
    more = read_card(text.format(4, 4), "x")
    assert any("is 4, and env.CUDA_VISIBLE_DEVICES names 2 devices" in one for one in more.questions)
    assert more.service["engine_args"]["tensor_parallel_size"] is None


REQUEST = """import openai
openai.base_url = "http://<server_ip>:{port}/v1/"
model = "{name}"
response = openai.chat.completions.create(model=model, messages=[])"""
TWO_FILES = """# config_foo.yaml configuration:
vim config_foo.yaml
defaults:
  - _self_
experiment:
  envs: {{A: 1}}

vim serve/foo.yaml
{settings}"""


def test_a_request_that_it_shows_tells_port_and_name() -> None:
    """Most cards have their settings in an image, and an example of a request; where both speak, they must agree."""
    shown = read_card(written(settings=REQUEST.format(port=8100, name="foo-nvidia-flagos")), "x")
    assert (shown.service["port"], shown.service["served_name"]) == (8100, "foo-nvidia-flagos")
    curl = 'curl http://ip:8000/v1/chat/completions -d \'{"model": "foo", "messages": []}\''
    assert read_card(written(settings=curl), "x").service["port"] == 8000
    path = read_card(written(settings=REQUEST.format(port=8100, name="/nfs/Foo-7B/")), "x")
    assert path.service["served_name"] is None and any(
        "asks for the path '/nfs/Foo-7B/'" in one for one in path.questions
    )
    both = read_card(written(settings=SETTINGS + "\n```\n```python\n" + REQUEST.format(port=9001, name="foo")), "x")
    assert both.service["port"] is None and both.service["served_name"] == "foo"
    assert both.questions == ["port: the card says '9000' and '9001'; which is it?"]


def test_two_files_in_one_block_are_read_one_by_one() -> None:
    card = read_card(written(settings=TWO_FILES.format(settings=SETTINGS)), "x")
    assert (
        card.questions == []
        and card.service["engine_args"] == {"max_model_len": 4096}
        and card.service["env"] == {"A": "1"}
    )


@pytest.mark.parametrize(
    ("title", "vendor", "asks"),
    [
        ("# Foo-7B-FlagOS\n\nBased on this, the **Foo-7B-FlagOS** model is adapted for the Metax GPU using it, on Nvidia's terms.", "metax", False),
        ("# Foo-7B-hygon-FlagOS\n\nBased on this, the model is adapted for the Nvidia GPU using the FlagOS software stack.", None, True),
        ("# Foo-7B-FlagOS\n\n本模型已适配昇腾 910B 芯片。", "ascend", False),
        ("# Foo-7B-FlagOS\n\nIt runs on many boards.", None, True),
    ],
)  # fmt: skip
def test_whose_board_it_is_for(title: str, vendor: str | None, asks: bool) -> None:
    card = read_card(written(title=title), "x")
    assert card.service["vendor"] == vendor and any(one.startswith("boards:") for one in card.questions) is asks


def test_flagscales_own_fetch_and_options_in_a_variable() -> None:
    pull = "flagscale pull --image docker pull reg.example.com/a/foo:1 --ckpt https://www.modelscope.cn/models/org/Foo-7B.git --ckpt-path /nfs/Foo-7B"
    card = read_card(
        written(fetch=pull, run="docker run -itd ${DEVICES} -v /nfs:/nfs reg.example.com/a/foo:1 bash"), "x"
    )
    assert card.model["sources"] == {"modelscope": {"repo": "org/Foo-7B", "revision": None}}
    assert card.service["image"] == "reg.example.com/a/foo:1"
    assert card.questions == ["options of docker run: '${DEVICES}' is a variable that the card doesn't set"]
    bare = read_card(
        written(fetch="flagscale pull --image <IMAGE> --ckpt org/Foo-7B --ckpt-path /nfs/Foo-7B", run="true"), "x"
    )
    assert bare.model["sources"] is None and bare.questions == [
        "model: the card doesn't say from which hub 'org/Foo-7B' comes",
        "image: the card has the placeholder '<IMAGE>'; which image is it?",
    ]


def test_a_variable_that_the_card_sets_itself_is_no_question() -> None:
    serve = "vllm serve /nfs/Foo-7B --port 1 --served-model-name foo"
    card = read_card(written(settings=f"export ROOT=/opt/x\nexport LIBS=$ROOT/lib\nexport PATH=$PATH:/y\n{serve}"), "x")
    assert card.service["env"] == {"ROOT": "/opt/x", "LIBS": "/opt/x/lib", "PATH": None}
    assert card.questions == ["env.PATH: '$PATH:/y' uses a variable that the card doesn't set"]
