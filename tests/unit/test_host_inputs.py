"""Inputs of a release that lie on the host: where they lie, which count by their content, what their content is."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.files import digest
from ansible.module_utils.serving.host import host_inputs
from ansible.module_utils.serving.service.differences import input_reasons
from test_inputs import i, row

Run = Callable[..., dict[str, Any]]


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


def test_what_the_shell_line_of_a_container_sources_below_a_mount_counts() -> None:
    line = ". /data/env.sh && export PATH=/data/bin:$PATH; source '/data/b.sh' >/data/log.txt || if . /data/c.sh; then :; fi"
    found = i.host_inputs(row(activate=line + "; source /opt/conda/bin/activate", mounts=["/srv/d:/data"]))
    assert {one["path"]: one["content"] for one in found} == {
        "/srv/d": False, "/srv/d/env.sh": "file", "/srv/d/b.sh": "file", "/srv/d/c.sh": "file",
    }  # fmt: skip
    assert i.host_inputs(row(activate=line, runtime="native")) == []


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("FOO=1 . /data/env.sh", "env.sh"),
        ("A='x y' B=\"1 2\" C= source /data/env.sh", "env.sh"),
        ("cd /work && builtin source /data/env.sh", "env.sh"),
        ("command . /data/env.sh", "env.sh"),
        ("\\. /data/env.sh; true", "env.sh"),
        ("if source -- /data/env.sh; then :; fi", "env.sh"),
        ('. "/data/my env.sh"', "my env.sh"),
        ("source '/data/my env.sh' >/dev/null", "my env.sh"),
        (". /data/my\\ env.sh", "my env.sh"),
        ('. /data/"my env".sh', "my env.sh"),
        ("(. /data/env.sh)", "env.sh"),
        ('. "/data/$NAME/env.sh"', None),
        (". /data/$NAME", None),
        ("echo . /data/env.sh", None),
        ("FOO=. /data/env.sh", None),
    ],
)
def test_what_is_sourced_is_read_as_a_shell_reads_it(line: str, file: str | None) -> None:
    found = [one["path"] for one in i.host_inputs(row(activate=line, mounts=["/srv/d:/data"]))]
    assert found == ["/srv/d", *([f"/srv/d/{file}"] if file else [])]


@pytest.mark.parametrize(
    ("mount", "line"),
    [
        ("/root/.cache", "export VLLM_CACHE_ROOT=/root/.cache/vllm"),
        ("/root/.cache", "export HF_HOME=/root/.cache XDG_CACHE_HOME=/root/.cache"),
        ("/work", "cd /work"),
        ("/work", "mkdir -p /work/logs && touch /work/logs/a"),
        ("/work", "exec > /work/log.txt 2>>/work/err.txt"),
        ("/work", "export PYTHONPATH=/work/lib; cp -r /opt/x/. /work/x"),
        ("/work", "source /work"),
    ],
)
def test_what_the_shell_line_may_write_to_restarts_nothing(tmp_path: Path, mount: str, line: str) -> None:
    """A cache or a log is never the same again: a deploy would restart the service because it ran."""
    for name in ("vllm", "logs", "lib", "x"):
        (tmp_path / name).mkdir()
    for name in ("log.txt", "err.txt", "vllm/kernel", "logs/a"):
        (tmp_path / name).write_text("1")
    found = i.host_inputs(row(activate=line, mounts=[f"{tmp_path}:{mount}"]))
    assert host_inputs.host_inputs(found, None) == ({}, [])


@pytest.mark.parametrize("mount", ["{}/env.sh:/env.sh", "{}/env.sh:/env.sh:ro"])
def test_a_file_that_is_mounted_and_sourced_counts_as_a_file(tmp_path: Path, mount: str) -> None:
    (tmp_path / "env.sh").write_text("export A=1")
    found = i.host_inputs(row(activate=". /env.sh", mounts=[mount.format(tmp_path)]))
    assert list(host_inputs.host_inputs(found, None)[0]) == [f"{tmp_path}/env.sh"]


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
    assert [one["path"] for one in found] == ["/srv/moe", "/srv/names", "/srv/topo.xml"]
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


def noted_before(folder: Path) -> str:
    """As version 0.1 noted a folder: of links the links alone."""
    rows = [
        [
            str(one.relative_to(folder)),
            one.lstat().st_size,
            one.lstat().st_mtime_ns,
            os.readlink(one) if one.is_symlink() else "",
        ]
        for one in sorted(folder.iterdir())
    ]
    return f"list:{digest(rows)}"


@pytest.mark.parametrize(("links", "kind"), [(True, "list2:"), (False, "list:")])
def test_a_folder_noted_by_an_earlier_version_is_compared_in_its_way(tmp_path: Path, links: bool, kind: str) -> None:
    """A rollback to such a release said that the folder had other content, and nothing had changed."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    (tmp_path / "weights").write_text("one")
    (folder / "config.json").write_text("{}")
    if links:
        (folder / "adapter.safetensors").symlink_to("../weights")
    old, new = noted_before(folder), host_inputs.content_of(str(folder))
    assert (old == new) is not links and new.startswith(kind)
    assert host_inputs.edited({str(folder): old}) == [] == host_inputs.edited({str(folder): new})
    os.utime(folder / "config.json", (1, 1))
    said = [f"{folder} has other sizes or times than that release had; put the old one back if that is meant"]
    assert host_inputs.edited({str(folder): old}) == said == host_inputs.edited({str(folder): new})


def test_a_file_that_appears_behind_a_link_is_told(tmp_path: Path) -> None:
    """The link led nowhere when the release was made: it is no folder that an earlier version noted."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter.safetensors").symlink_to("../weights")
    noted = {str(folder): host_inputs.content_of(str(folder))}
    assert host_inputs.edited(noted) == []
    (tmp_path / "weights").write_text("one")
    assert len(host_inputs.edited(noted)) == 1


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("sha256:1", "sha256:2", "has other content"),
        ("list:1", "list:2", "has other sizes or times"),
        ("list2:1", "list2:2", "has other sizes or times"),
        ("list:1", "list2:2", "now also covers the files that its links point to, or has other sizes or times"),
        ("list:1", "sha256:2", "has other sizes or times"),
    ],
)
def test_of_a_list_nothing_is_said_of_content(old: str, new: str, words: str) -> None:
    assert input_reasons({"/srv/a": old}, {"/srv/a": new}) == [f"/srv/a {words}"]


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
