"""What a release is made of beside weights and image: files of the controller, files of the host, and what `--check` says of them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.service import releases
from conftest import load
from tables import TABLES, small

from planning import inputs, options

i = load("filter_plugins/inputs.py")
p = load("filter_plugins/plan.py")
Run = Callable[..., dict[str, Any]]


def row(**changes: Any) -> dict[str, Any]:
    facts = {"options": TABLES["engines"]["vllm"]["options"]}
    base = {
        "service": "demo", "runtime": "container", "engine_args": {}, "env": {}, "mounts": [], "files": {}, "engine_facts": facts,
    }  # fmt: skip
    return {**base, "model": {"name": "qwq"}, **changes}


# What a row may name


def test_files_and_folders_are_found_below_the_project_or_anywhere(tmp_path: Path) -> None:
    (tmp_path / "site/lora/sub").mkdir(parents=True)
    (tmp_path / "site/lora/adapter.bin").write_bytes(b"\0\1")
    (tmp_path / "site/lora/sub/config.json").write_text("{}")
    (tmp_path / "site/lora/.git").mkdir()
    (tmp_path / "site/lora/.git/HEAD").write_text("x")
    (tmp_path / "chat.jinja").write_text("{{ x }}")
    found = i.input_files(
        row(files={"lora": "lora", "chat.jinja": str(tmp_path / "chat.jinja")}), str(tmp_path / "site")
    )
    assert found == {
        "inputs/chat.jinja": str(tmp_path / "chat.jinja"),
        "inputs/lora/adapter.bin": str(tmp_path / "site/lora/adapter.bin"),
        "inputs/lora/sub/config.json": str(tmp_path / "site/lora/sub/config.json"),
    }
    assert i.input_files(row(), "/") == {}


def test_links_in_a_circle_end_in_words(tmp_path: Path) -> None:
    """Two links of a folder to itself have 2^40 folders below it."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter.bin").write_bytes(b"x")
    (tmp_path / "a/to-b").symlink_to("../b")
    assert sorted(i.input_files(row(files={"x": "a"}), str(tmp_path))) == [
        "inputs/x/adapter.bin",
        "inputs/x/to-b/adapter.bin",
    ]
    for link, target in (("b/to-a", "../a"), ("a/again", "."), ("a/and-again", ".")):
        (tmp_path / link).symlink_to(target)
        with pytest.raises(AnsibleFilterError, match=r"files.x: .* is a link to a folder above it"):
            i.input_files(row(files={"x": "a"}), str(tmp_path))


def test_json_that_is_nested_too_deep_is_no_crash() -> None:
    text = "[" * 200_000
    assert list(i.paths_in(text)) == [] and list(i.configured(text)) == []


def test_options_of_files_are_options_that_a_row_may_have() -> None:
    for engine, row in TABLES["engines"].items():
        given = row["options"]
        for name in (*given["files"], *given["paths"]):
            assert not any(fnmatchcase(name, pattern) for pattern in given["reserved"]), (engine, name)


# Options that sound like files to read and are none: what is written, what callers may read, a name.
NO_INPUTS = {"file_storage_path", "modelopt_checkpoint_save_path", "modelopt_export_path", "mm_encoder_fp8_scale_save_path", "allowed_local_media_path",
             "io_processor_plugin"}  # fmt: skip


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_options_that_sound_like_files_are_known_as_such(engine: str) -> None:
    """A new version of the engine brings new ones: each is an input of a release, reserved, or none."""
    given = TABLES["engines"][engine]["options"]
    known = {*given["files"], *given["paths"], *NO_INPUTS}
    table = options.table_of(given["table"]).options
    sounds = {name for name, rows in table.items() if {row[0] for row in rows} & {"value", "list", "json"}}
    sounds = {name for name in sounds if re.search(r"_(paths?|file|template|plugin|map|lora|draft_model)$", name)}
    lacking = {one for one in sounds - known if not any(fnmatchcase(one, pattern) for pattern in given["reserved"])}
    assert lacking - {"reasoning_effort_map"} == set() and len(sounds) > 5
    assert {*given["files"], *given["paths"]} <= set(table)


def test_a_template_of_the_engine_has_a_name_and_one_of_a_row_is_a_file() -> None:
    facts = {"options": TABLES["engines"]["sglang"]["options"]}

    def said(**args: Any) -> str:
        return "".join(i.input_problems([row(engine_args=args, engine_facts=facts)], "/"))

    assert (
        said(
            chat_template="llama-2", completion_template="deepseek_coder", tool_server="demo", tokenizer_path="org/name"
        )
        == ""
    )
    assert "chat_template names 'mine.jinja', which is none" in said(chat_template="mine.jinja")
    assert said(chat_template="/config/inputs/mine.jinja") == ""
    args = {"chat_template": "/t/c.json", "speculative_token_map": "/t/map.pt", "tool_server": "10.0.0.1:80"}
    found = i.host_inputs(row(engine_args=args, engine_facts=facts, mounts=["/srv/t:/t:rw"]))
    assert {one["path"]: one["content"] for one in found} == {
        "/srv/t": False,
        "/srv/t/c.json": True,
        "/srv/t/map.pt": True,
    }


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jinja", None, "does not exist on the controller"),
        ("a.jinja", "", "is empty"),
        ("a.jinja", "$ANSIBLE_VAULT;1.1;AES256\n", "is encrypted with vault"),
        ("a.jinja", "version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("../a", "x", "a name may have"),
        ("/etc/x", "x", "a name may have"),
        ("a b", "x", "a name may have"),
        ("-a", "x", "a name may have"),
    ],
)
def test_what_can_not_be_an_input_is_said_in_one_sentence(
    tmp_path: Path, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / "f").write_text(content)
    with pytest.raises(AnsibleFilterError, match=re.escape(words)) as error:
        i.input_files(row(files={name: "f"}), str(tmp_path))
    assert "service 'demo': files." in str(error.value) and "\n" not in str(error.value)
    assert i.input_problems([row(files={name: "f"})], str(tmp_path)) == [str(error.value)]


def test_an_empty_file_of_a_folder_is_part_of_it(tmp_path: Path) -> None:
    """A package of Python has its `__init__.py`."""
    (tmp_path / "parsers").mkdir()
    (tmp_path / "parsers/__init__.py").write_text("")
    (tmp_path / "parsers/mine.py").write_text("x = 1")
    found = i.input_files(row(files={"parsers": "parsers"}), str(tmp_path))
    assert sorted(found) == ["inputs/parsers/__init__.py", "inputs/parsers/mine.py"]
    folder = str(tmp_path / "demo")
    os.makedirs(folder + "/releases")
    spec = {"inputs": {name: "sha256:" + releases.sha256_file(path) for name, path in found.items()}}
    number, _ = releases.write_release(folder, spec, {"start": "x"}, found)
    assert Path(folder, "releases", number, "inputs/parsers/__init__.py").read_bytes() == b""


@pytest.mark.parametrize("name", [b"caf\xe9.txt", b"a\nb.txt", "a\u202eb".encode()])
def test_a_name_that_no_text_can_show_is_refused(tmp_path: Path, name: bytes) -> None:
    (tmp_path / "d").mkdir()
    with open(os.fsencode(tmp_path / "d") + b"/" + name, "wb") as out:
        out.write(b"x")
    with pytest.raises(
        AnsibleFilterError, match=r"files.d: .* has a name that is not readable text; rename it"
    ) as error:
        i.input_files(row(files={"d": "d"}), str(tmp_path))
    assert str(error.value).isprintable() and str(error.value).encode()
    (tmp_path / "e").mkdir()
    (tmp_path / "e/名前 1.txt").write_text("x")
    assert list(i.input_files(row(files={"e": "e"}), str(tmp_path))) == ["inputs/e/名前 1.txt"]


@pytest.mark.parametrize("given", [3, None, "", "  ", ["x"], {"path": "x"}])
def test_a_path_that_is_none_is_refused(given: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="must be a path on the controller"):
        i.input_files(row(files={"a": given}), "/")


def test_a_pipe_an_empty_folder_and_too_much_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    (tmp_path / "big").write_bytes(b"x" * 100)
    monkeypatch.setattr(i, "LIMIT", 99)
    for name, words in (("pipe", "neither a file nor a folder"), ("empty", "is empty"), ("big", "and into mounts")):
        with pytest.raises(AnsibleFilterError, match=words):
            i.input_files(row(files={"a": name}), str(tmp_path))


@pytest.mark.parametrize(
    ("value", "want"),
    [
        ("chat.jinja", "IN/chat.jinja"),
        ("lora/sub", "IN/lora/sub"),
        ("other.jinja", "other.jinja"),
        ("mychat.jinja", "mychat.jinja"),
        ("sql=lora", "sql=IN/lora"),
        (["sql=lora", "x=/abs"], ["sql=IN/lora", "x=/abs"]),
        ([{"name": "sql", "path": "lora"}], [{"name": "sql", "path": "IN/lora"}]),
        ('{"name": "sql", "path": "lora"}', '{"name": "sql", "path": "IN/lora"}'),
        ('{"cudagraph":  "x"}', '{"cudagraph":  "x"}'),  # untouched, blanks and all
        ("{{ not json", "{{ not json"),
        (3, 3),
        (True, True),
        (None, None),
    ],
)
def test_options_name_inputs_by_their_names(value: Any, want: Any) -> None:
    assert inputs.with_files(value, ("chat.jinja", "lora"), "IN/") == want


def test_the_plan_says_where_the_engine_sees_an_input() -> None:
    models = {"m": {"sources": {"directory": {"path": "/x"}}, "bytes": 1, "license": "x"}}
    board = {"vendor": "cpu", "engine": "vllm", "runtime": "native", "image": "r.example/a:1"}
    service = {
        "model": "m",
        "port": 1,
        "files": {"c.jinja": "c.jinja"},
        "engine_args": {"chat_template": "c.jinja"},
    }
    for runtime, place in (("native", "inputs/c.jinja"), ("container", "/config/inputs/c.jinja")):
        [record] = p.plan(["s"], **small({"s": {**service, "runtime": runtime}}, models, board), host="box")
        assert record["engine_args"]["chat_template"] == place
        assert i.input_problems([{**record, "files": {}}], "/") == []
    [record] = p.plan(
        ["s"], **small({"s": service}, models, board), overrides={"s": {"files": {"c.jinja": None}}}, host="box"
    )
    assert record["files"] == {} and "names 'c.jinja', which is none" in i.input_problems([record], "/")[0]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"chat_template": "chat.jinja"}, "engine_args.chat_template names 'chat.jinja'"),
        ({"tool-parser-plugin": "p.py"}, "engine_args.tool-parser-plugin names 'p.py'"),
        ({"lora_modules": ["a=/ok", "b=adapters/x"]}, "engine_args.lora_modules names 'adapters/x'"),
        ({"lora_modules": '[{"name": "b", "path": "adapters/x"}]'}, "engine_args.lora_modules names 'adapters/x'"),
        ({"chat_template": "{% for m in messages %}{{ m }}{% endfor %}"}, None),
        ({"chat_template": "inputs/chat.jinja"}, None),
        ({"max_model_len": 5, "dtype": "auto"}, None),
    ],
)
def test_an_option_that_names_a_file_which_is_nowhere(args: dict[str, Any], words: str | None) -> None:
    found = i.input_problems([row(engine_args=args, runtime="native")], "/")
    assert len(found) == (words is not None) and (not words or words in found[0])


# What travels


def test_a_release_carries_its_inputs_whole_or_not_at_all(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"\0\xff binary")
    content = "sha256:" + releases.sha256_file(str(source))
    spec = {"inputs": {"inputs/lora/a.bin": content, "/srv/x": "sha256:1"}}
    folder = str(tmp_path / "demo")
    os.makedirs(folder + "/releases")
    number, new = releases.write_release(folder, spec, {"start": "x"}, {"inputs/lora/a.bin": str(source)})
    inside = Path(folder, "releases", number, "inputs/lora/a.bin")
    assert new and inside.read_bytes() == source.read_bytes() and inside.stat().st_mode & 0o777 == 0o644
    assert releases.write_release(folder, spec, {"start": "x"}) == (number, False)
    assert releases.source_of(folder, "inputs/lora/a.bin", content) == str(inside)
    inside.write_bytes(b"edited by hand")
    assert releases.source_of(folder, "inputs/lora/a.bin", content) is None
    assert releases.write_release(folder, spec, {"start": "x"}, {"inputs/lora/a.bin": str(source)}) == (number, True)
    assert inside.read_bytes() == source.read_bytes()
    source.write_bytes(b"changed on the way")
    with pytest.raises(Refusal, match="arrived with other content"):
        releases.write_release(folder, {**spec, "more": 1}, {"start": "x"}, {"inputs/lora/a.bin": str(source)})
