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
from ansible.module_utils.serving.host import host_inputs
from ansible.module_utils.serving.service import releases
from conftest import load
from tables import TABLES, small

from planning import inputs

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


def test_where_a_path_of_the_engine_lies_on_the_host() -> None:
    mounts = ["/srv/t:/templates:ro", "/srv/deep:/templates/deep:ro,z", "/var/rw:/rw"]
    args = {
        "chat_template": "/templates/a.jinja",
        "tool_parser_plugin": "/templates/deep/p.py",
        "lora_modules": ["x=/models/qwq/lora", "y=/opt/in/the/image", "z=/rw/l"],
        "ssl_keyfile": "/config/inputs/key",
    }
    found = {row.get("path") or row["in_model"]: row for row in i.host_inputs(row(mounts=mounts, engine_args=args))}
    assert {path: one["content"] for path, one in found.items()} == {
        "/srv/t": True, "/srv/deep": True, "/var/rw": False, "/srv/t/a.jinja": True, "/srv/deep/p.py": True, "lora": False,
        "/rw/l".replace("/rw", "/var/rw"): True,
    }  # fmt: skip
    native = row(
        runtime="native", mounts=mounts, engine_args={"chat_template": "/srv/c.jinja", "tool_parser_plugin": "x"}
    )
    assert [one["path"] for one in i.host_inputs(native)] == ["/srv/c.jinja"]


@pytest.mark.parametrize("mount", ["/srv/t:/t", "/srv/t:/t:rw", "/srv/t/:/t/", "//srv//t:/t:rw,z", "/srv/t:/t:ro"])
@pytest.mark.parametrize(
    "names",
    [
        {"engine_args": {"chat_template": "/t"}},
        {"engine_args": {"lora_modules": [{"name": "a", "path": "/t/"}]}},
        {"engine_args": {"hf_config_path": "/t"}},
        {"env": {"VLLM_TUNED_CONFIG_FOLDER": "/t"}},
        {"env": {"VLLM_MODEL_REDIRECT_PATH": "/t"}},
    ],
)
def test_what_is_mounted_and_named_counts_by_its_content_once(mount: str, names: dict[str, Any]) -> None:
    """The service reads it, although it could write to it."""
    found = i.host_inputs(row(mounts=[mount], **names))
    assert [(one["where"], one["content"], "may_lack" in one) for one in found] == [("mounts", True, False)]


def test_folders_and_files_that_variables_of_engines_name(tmp_path: Path) -> None:
    env = {
        "VLLM_TUNED_CONFIG_FOLDER": "/srv/moe",
        "VLLM_MODEL_REDIRECT_PATH": "/srv/names",
        "SGLANG_MOE_CONFIG_DIR": "relative/moe",
        "NCCL_TOPO_FILE": "/srv/topo.xml",
        "SSL_CERT_FILE": "/srv/ca.pem",
        "VLLM_CACHE_ROOT": "/srv/cache",
    }
    found = i.host_inputs(row(runtime="native", env=env))
    assert [one["path"] for one in found] == ["/srv/moe", "/srv/names", "/srv/topo.xml", "/srv/ca.pem"]
    assert all(one["content"] and one["may_lack"] for one in found)


def test_other_options_and_variables_count_where_they_name_configuration(tmp_path: Path) -> None:
    args = {
        "speculative_config": {"model": "/drafts/eagle", "num_speculative_tokens": 3},
        "tokenizer": "org/name",
        "additional_config": '{"eplb": {"map": "/srv/map.json"}, "log": "/var/log/x.log"}',
        "download_dir": "/var/cache",
    }
    env = {"VLLM_LOGGING_CONFIG_PATH": "/srv/logging.json", "HF_HOME": "/srv/hf", "N": 3}
    native = row(runtime="native", engine_args=args, env=env)
    rows = i.host_inputs(native)
    assert {one["path"]: one.get("may_lack", False) for one in rows} == {
        "/drafts/eagle": False,
        "/srv/map.json": True,
        "/srv/logging.json": True,
    }
    assert i.input_problems([native], "/") == []
    found, problems = host_inputs.host_inputs(rows, None)
    assert found == {} and len(problems) == 1 and "engine_args.speculative_config names /drafts/eagle" in problems[0]


# What lies on the host


def test_content_is_known_by_bytes_or_by_its_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, folder = tmp_path / "f", tmp_path / "d"
    file.write_text("one")
    (folder / "sub").mkdir(parents=True)
    (folder / "sub/x").write_text("1")
    seen = [host_inputs.content_of(str(file)), host_inputs.content_of(str(folder))]
    os.utime(file, (1, 1))
    assert host_inputs.content_of(str(file)) == seen[0] and seen[0].startswith("sha256:")
    (folder / "sub/x").write_text("22")
    assert host_inputs.content_of(str(folder)) != seen[1]
    seen[1] = host_inputs.content_of(str(folder))
    (folder / "link").symlink_to("/a")
    assert host_inputs.content_of(str(folder)) != seen[1]
    seen[1] = host_inputs.content_of(str(folder))
    (folder / "link").unlink()
    (folder / "link").symlink_to("/b")
    assert host_inputs.content_of(str(folder)) != seen[1]
    monkeypatch.setattr(host_inputs, "COUNT_LIMIT", 1)
    monkeypatch.setattr(host_inputs, "READ_LIMIT", 1)
    assert host_inputs.content_of(str(folder)) == "folder" and host_inputs.content_of(str(file)).startswith("list:")
    os.mkfifo(tmp_path / "pipe")
    assert host_inputs.content_of(str(tmp_path / "pipe")) == "special" == host_inputs.content_of("/dev/null")


def test_a_link_to_a_file_counts_with_what_it_leads_to(tmp_path: Path) -> None:
    """An adapter's folder may be links alone, and who edits the file behind one changes what is served."""
    store, folder = tmp_path / "store", tmp_path / "adapter"
    store.mkdir()
    folder.mkdir()
    (store / "weights").write_text("one")
    (folder / "adapter_model.safetensors").symlink_to("../store/weights")
    (folder / "gone").symlink_to("../store/nothing")
    (folder / "folder").symlink_to("../store")
    before = host_inputs.content_of(str(folder))
    assert host_inputs.content_of(str(folder)) == before
    (store / "weights").write_text("other bytes")
    assert host_inputs.content_of(str(folder)) != before


def test_what_is_not_there_is_said(tmp_path: Path, run_module: Run) -> None:
    model = tmp_path / "qwq@1"
    model.mkdir()
    (model / "there").write_text("")
    rows = [
        {"where": "mounts", "path": str(tmp_path / "gone"), "content": True},
        {"where": "engine_args.chat_template", "in_model": "there", "content": False},
        {"where": "engine_args.chat_template", "in_model": "nowhere", "content": False},
        {"where": "mounts", "path": str(model / "there"), "content": False},
    ]
    found, problems = host_inputs.host_inputs(rows, str(model))
    assert found == {} and [text[:20] for text in problems] == [
        "mounts names " + str(tmp_path)[:7],
        "engine_args.chat_tem",
    ]
    assert "not in the model's folder" in problems[1] and host_inputs.host_inputs(rows, None)[1] == problems[:1]
    args = {"model": "qwq", "models_root": str(tmp_path), "paths": rows, "required": False}
    assert run_module("artifact_info", args, check=True)["inputs"] == {}


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
