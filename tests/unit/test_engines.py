"""Rows of engines.yml: what they may say, what a service gets of them, a new engine from a row and templates alone, and SGLang's container."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine as docker_engine
import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.module_utils.serving.service.supervisors import Supervisord
from conftest import FIXTURES, ROOT, load
from folders_of_models import fetch, parts
from ports import free_port
from services import RUNNER, Result
from site_of_tests import Fleet, tree
from tables import BOARDS, TABLES
from test_catalogue import findings, record
from test_containers import needs_engine

load("filter_plugins/plan.py")
from planning import engines  # noqa: E402
from planning.rows import Checked, Faults  # noqa: E402

release = load("filter_plugins/release.py")
FOUND = {
    "weights": {"path": "/m/x@1", "revision": "1", "identity": "i"},
    "image": {"id": "sha256:" + "ab" * 32, "digest": "sha256:cd", "uid": 0},
    "inputs": {},
}
PLACE = {"names": [0], "cdi": None, "cores": None}
ROOTS = {"serving": "/srv/vllm", "models": "/srv/vllm/models", "environment": None}
SGLANG: dict[str, Any] = {
    "engine": "sglang", "engine_version": "0.5.23", "flaggems": False,
    "engine_args": {"gpu_memory_utilization": None, "enforce_eager": None, "enable_chunked_prefill": None},
}  # fmt: skip


def made(service: str, found: dict[str, Any] | None = None, **override: Any) -> dict[str, Any]:
    return dict(release.release(record(service, **override), found or FOUND, PLACE, ROOTS))


@pytest.mark.parametrize("name", sorted(TABLES["engines"]))
def test_every_template_of_a_row_is_there(name: str) -> None:
    row = engines.check_engine(name, TABLES["engines"][name])
    files = [row["flaggems"]["files"], *row["files"].values(), *(v["files"] for v in row["versions"].values())]
    for template in [one for table in files for one in table.values()] + list(
        release.RUNTIME_FILES["container"].values()
    ):
        assert (ROOT / "templates" / template).is_file(), template
    if table := row["options"]["table"]:
        assert (ROOT / f"planning/{table}_options.json").is_file()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"flies": {}}, "unknown key 'flies'; did you mean 'files'?"),
        ({"files": {"docker": {}}}, "'files' is 'docker'"),
        ({"files": {"container": {"../run": "x/run.j2"}}}, "paths below the release and templates/"),
        ({"files": {"container": {"run": "/etc/passwd"}}}, "paths below the release and templates/"),
        ({"image": "x/y:1"}, "must have {version}"),
        ({"image_version": "v("}, "no regular expression"),
        ({"image_version": "v1"}, "must have 1 group"),
        ({"stop_signal": "TERM"}, "a name such as SIGTERM"),
        ({"traits": ["odd"]}, "'traits' is 'odd'"),
        ({"paths": ["v1"]}, "must list whole paths"),
        ({"options": {"nmes": {}}}, "did you mean 'names'?"),
        ({"options": {"names": {"max_model_len": 1}}}, "must be text"),
        ({"probe": {"stages": {"loading {0}": "x"}}}, "must have 1 group"),
        ({"versions": {"1": {"supported": False}}}, "says no reason"),
        ({"versions": {"1": 5}}, "must be a mapping"),
    ],
)
def test_a_bad_row_is_a_sentence(changes: dict[str, Any], words: str) -> None:
    row = {"files": {"container": {"run": "x/run.j2"}}, **changes}
    with pytest.raises(Faults) as error:
        engines.check_engine("mine", row)
    assert words in str(error.value) and "engines.yml: engine 'mine'" in str(error.value)
    assert any(
        words in fault for fault in engines.faults(Checked({**TABLES["engines"], "mine": row}, engines.check_engine))
    )


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ({"engine": "flagscale", "engine_version": "layout-3"}, "did you mean 'layout-"),
        ({"engine_version": None}, "set engine_version: layout-1 or layout-2"),
        ({"runtime": "native"}, "engine 'flagscale' has no runtime 'native'; there are: container"),
        ({**SGLANG, "engine_args": {}}, "set mem_fraction_static"),
    ],
)
def test_what_a_row_asks_of_its_engine_and_there_is_not_is_refused(override: dict[str, Any], words: str) -> None:
    with pytest.raises(AnsibleFilterError) as error:
        record("qwq-32b", **override)
    assert words in str(error.value)


def test_another_engine_does_not_get_what_belongs_to_the_boards() -> None:
    """A board's image, version and `activate` are of its own engine."""
    row = record("qwq-32b", engine="vllm", engine_version="0.33.0", flaggems=False)
    assert (row["image"], row["activate"]) == ("docker.io/vllm/vllm-openai:v0.33.0", None)
    assert row["device_access"] == "cdi" and row["shm_bytes"] == BOARDS["h100-sxm"]["shm_bytes"]
    given = record("qwq-32b", engine="vllm", image="mine/vllm-openai:v0.9.2", flaggems=False)
    assert record("qwq-32b", engine="vllm", engine_version="v0.33.0", flaggems=False)["options_version"] == "0.33.0"
    assert given["image"] == "mine/vllm-openai:v0.9.2" and given["options_version"] == "0.9.2"


@pytest.mark.parametrize(
    ("override", "warns"),
    [
        ({"engine_version": "0.33.0"}, False), ({"engine_version": "v0.33.0"}, False), ({"engine_version": "0.99.0"}, True),
        ({"image": "docker.io/vllm/vllm-openai:nightly"}, True), ({"image": "mirror/vllm-openai:v0.9.2"}, False),
    ],
)  # fmt: skip
def test_a_stock_image_of_any_version_plans_and_an_unknown_one_warns(override: dict[str, Any], warns: bool) -> None:
    found = {
        f["rule"] for f in findings("qwq-32b", engine="vllm", flaggems=False, **override) if f["severity"] == "warning"
    }
    assert ("unknown-version" in found) == warns


@pytest.mark.parametrize("name", ["h100-sxm", "atlas300iduo", "graviton4"])
def test_an_entry_point_that_is_the_server_is_replaced(name: str) -> None:
    arguments = load("filter_plugins/container.py").container_arguments
    row = next(row for row, about in TABLES["services"].items() if name in about.get("boards", ()))
    assert "--entrypoint=" not in arguments(record(row), "c", "/m", "/k")
    if name == "h100-sxm":
        assert "--entrypoint=" in arguments(record(row, engine="vllm", engine_version="0.33.0"), "c", "/m", "/k")


def test_sizes_have_one_name_for_all_engines() -> None:
    own = record(
        "qwq-32b",
        **{**SGLANG, "engine_args": {**SGLANG["engine_args"], "max_num_seqs": None, "max_running_requests": "8"}},
    )
    assert own["engine_args"]["max_num_seqs"] == 8 and own["widths"]["devices"] == 8
    shared = {**SGLANG["engine_args"], "dp_size": 8, "enable_dp_attention": True}
    assert record("qwq-32b", **{**SGLANG, "engine_args": shared})["widths"]["devices"] == 8
    assert record("qwq-32b", **{**SGLANG, "engine_args": {**SGLANG["engine_args"], "tp": 4, "dp_size": 2}})[
        "devices"
    ] == list(range(8))


def test_a_release_is_where_the_record_and_the_host_say() -> None:
    native = made("demo", {**FOUND, "image": None})
    assert native["spec"]["image"] is None and native["spec"]["container"] is None
    assert set(native["files"]) == {"start", "serve.yaml", "guard/vllm_ansible_guard.py"}
    assert native["seen"] == {"model": "/m/x@1", "host": "127.0.0.1", "adapters": {}}
    held = made("qwq-32b", {**FOUND, "image": {**FOUND["image"], "uid": 1000}})
    assert held["key_seen"] == "$here/../../tmp/api_key" and held["user"] == 1000
    assert held["cache"] == "/srv/vllm/cache/" + "ab" * 6 + "-h100-sxm-flaggems"
    assert held["seen"] == {"model": "/models/qwq-32b", "host": "0.0.0.0", "adapters": {}}
    assert held["spec"]["flaggems"] is True and "probe" not in held["spec"] and "inputs" not in held["spec"]
    assert (
        made("qwen2.5-vl-32b-instruct")["spec"]["flaggems"] is False
    )  # its image has the switch, so that it is off is proved
    assert made("qwq-32b-atlas")["spec"]["flaggems"] is None
    bare = made("qwq-32b", {"weights": {"path": None, "revision": None, "identity": None}, "image": None})  # check mode
    assert bare["model_path"] == "/srv/vllm/models/qwq-32b@<revision>" and bare["image"] is None
    assert "/srv/vllm/cache/image-h100" in bare["cache"]
    assert made("qwq-32b", **SGLANG)["spec"]["probe"]["tokens"] == "sglang:generation_tokens_total"


def test_a_fetch_that_is_to_come_is_seen_in_check_mode() -> None:
    row = record("qwq-32b-atlas")
    assert release.fetch_is_pending(row, {"would_publish_qwq_2d_32b_2b_float16": True})
    assert not release.fetch_is_pending(row, {"would_publish_qwq_2d_32b": True})
    assert release.fetch_is_pending(row, {"would_publish_qwq_2d_32b": True}, keep_source=True)


def test_what_a_fetch_would_do_is_told_of_that_model_alone(
    run_module: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """Names that differ in their dashes and dots are those of different models: what is said of one must not stand for another."""
    source, row = parts(tmp_path / "source"), record("qwq-32b")
    fetch(run_module, source, tmp_path / "models", name="a.b-c")
    facts: dict[str, Any] = {}
    names = ("a-b-c", "a.b-c", "a_b.c", "a.b.c")
    for name in names:
        facts.update(fetch(run_module, source, tmp_path / "models", name=name, check=True)["ansible_facts"])
    assert len(facts) == len(names) and all(name.isidentifier() for name in facts)
    rows = [{**row, "model": {**row["model"], "name": name}} for name in names]
    assert [release.fetch_is_pending(one, facts) for one in rows] == [True, False, True, True]


IMAGINARY = {
    "title": "Imaginary",
    "files": {"container": {"run": "imaginary/run.j2"}},
    "image": "registry.example/imaginary:{version}",
    "any_version": True,
    "keep_entrypoint": False,
    "stop_signal": "SIGINT",
    "options": {"names": {"max_model_len": "ctx", "tensor_parallel_size": "gpus"}},
    "paths": ["/v1/models", "/v1/chat/completions", "/metrics"],
    "probe": {"tokens": "imaginary_tokens"},
}


RUN = """set -eu
. /config/environment
{% include 'imaginary/greeting.j2' %}
exec imagine {{ service | command_line | sum(start=[]) | map('quote') | join(' ') }}
"""


def test_a_new_engine_is_a_row_and_its_templates_in_the_site_alone(tmp_path: Path) -> None:
    """A site adds it beside a product that nobody may write: it is planned, checked and rendered."""
    fleet = Fleet(tmp_path)
    fleet.make()
    tables = "fleet/inventory/group_vars/all"
    row = {"model": "qwq-32b", "boards": ["h100-sxm"], "engine": "imaginary", "engine_version": "7.1", "port": 9000,
           "engine_args": {"tp": 2, "max_model_len": "32k", "anything": [1, 2]}}  # fmt: skip
    fleet.write(f"{tables}/engines.yml", yaml.safe_dump({"engines": {"imaginary": IMAGINARY}}))
    fleet.write(f"{tables}/services.yml", yaml.safe_dump({"services": {"mine": row}}))
    host = {"ansible_connection": "local", "board": "h100-sxm", "runs": ["mine"]}
    fleet.write("fleet/inventory/hosts.yml", yaml.safe_dump({"accelerators": {"hosts": {"gpu-01": host}}}))
    missing = fleet.folder / "templates/imaginary/run.j2"
    told = fleet.play("playbooks/validate.yml", ok=False)
    assert f"engine 'imaginary': its template 'imaginary/run.j2' is not there; write it as {missing}" in told
    fleet.write("fleet/templates/imaginary/run.j2", RUN)
    fleet.write(
        "fleet/templates/imaginary/greeting.j2", "echo {{ service.service }} starts\n{% include 'devices.j2' %}\n"
    )
    for name in ("render.yml", "render_row.yml"):
        fleet.write(f"fleet/{name}", (ROOT / "tests" / name).read_text())
    fleet.play("render.yml", "-l", "gpu-01", extra={"out": str(fleet.home), "mine": ["mine"]})
    files = json.loads((fleet.home / "mine.json").read_text())
    assert set(files) == {"start", "stop", "environment", "run", "guard/vllm_ansible_guard.py"}
    assert "echo mine starts\n" in files["run"] and files["run"].endswith(
        "exec imagine --anything 1 2 --ctx=32000 --gpus=2\n"
    )
    assert "--stop-signal=SIGINT" in files["start"] and "--entrypoint= " in files["start"]
    assert "GUARD_PATHS='/v1/models /v1/chat/completions /metrics'" in files["environment"]
    assert "VLLM_API_KEY" not in files["environment"]  # it asks for no key itself: the guard does
    assert tree(fleet.product) == fleet.before


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"mine/run.j2": "{% if %}"}, "is no Jinja: line 1: "),
        ({"mine/run.j2": "\udcff"}, "can't be read: "),
        ({"mine/run.j2": "x", "vllm/run.j2": "x"}, None),
        ({"mine/run.j2": "x", "container/start.j2": "x"}, "has the name of one of the product's; give it a folder"),
        ({}, "its template 'mine/run.j2' is not there; write it as "),
    ],
)
def test_a_template_that_cannot_be_rendered_is_a_sentence(
    tmp_path: Path, files: dict[str, str], words: str | None
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode(errors="surrogateescape"))
    service = {
        "engine": "e",
        "runtime": "container",
        "group": None,
        "adapters_at_runtime": False,
        "engine_facts": {"files": {"run": "mine/run.j2"}},
    }
    found = release.template_faults([service, service], str(ROOT / "templates"), str(tmp_path))
    assert len(found) == bool(words) and (not words or (found[0].startswith("engine 'e': ") and words in found[0]))
    if not words:  # the example site's templates are the product's
        service["engine_facts"] = {"files": {"run": "vllm/run.j2"}}
        assert release.template_faults([service], str(ROOT / "templates"), str(ROOT / "templates")) == []


def test_nothing_outside_of_rows_and_templates_names_an_engine() -> None:
    """What rules and code want to know of an engine is a key of its row."""
    quoted = re.compile(rf"""['"]({"|".join(TABLES["engines"])})['"]""")
    for folder in ("planning", "filter_plugins", "library", "action_plugins", "module_utils", "roles", "playbooks"):
        for path in sorted((ROOT / folder).rglob("*")):
            # Failure hints are rows about engines' own words, and files of roles are programs and locks.
            if path.suffix in (".py", ".yml") and path.is_file() and path.parent.name not in ("hints", "files"):
                assert not quoted.findall(path.read_text()), path


@pytest.fixture(scope="module")
def sglang_image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, str]]:
    """An image with the stand-in of SGLang, whose entry point is another program, as in images that are servers themselves."""
    data = io.BytesIO(docker_engine.python_root())
    with tarfile.open(fileobj=data, mode="a") as out:
        for path in sorted((FIXTURES / "sglang_stand_in").rglob("*.py")):
            out.add(str(path), arcname=f"opt/site/{path.relative_to(FIXTURES / 'sglang_stand_in')}")
    with docker_engine.engine(tmp_path_factory.mktemp("c")) as client:
        name = f"vllm-ansible-sglang:{os.getpid()}"
        changes = ["ENV PYTHONPATH=/opt/site", "ENV PATH=/usr/bin:/bin", 'ENTRYPOINT ["/no/such/server"]']
        docker_engine.import_image(client, data.getvalue(), name, changes=changes)
        yield client, name
        client.images.remove(name, force=True)


@needs_engine
def test_sglangs_container_answers_behind_the_guard_and_ends(
    sglang_image: tuple[Any, str],
    tools: Path,
    run_module: Callable[..., Result],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The release as it is rendered, under the real supervisor, container engine, guard and probe; SGLang alone is a stand-in."""
    client, image = sglang_image
    root, port = tmp_path_factory.mktemp("s"), free_port()
    (root / "tools").symlink_to(tools)
    (root / "model").mkdir()
    folder = FIXTURES / "rendered/stock-sglang"
    files = {path.name: path.read_text() for path in folder.iterdir()}
    for name in ("vllm_ansible_guard.py", "guarded.py"):
        files[f"guard/{name}"] = (ROOT / "templates/guard" / name).read_text()
    changes = {
        "/srv/vllm/models/qwq-32b@0123456789ab": f"{root}/model", "/srv/vllm": str(root), "sha256:" + "ab" * 32: image, "9013": str(port),
        "vllm-stock-sglang": f"vllm-sglang-{port}", "--enable-p2p-check": "--dtype=auto",
    }  # fmt: skip
    for name in ("start", "stop", "run"):
        for old, new in changes.items():
            files[name] = files[name].replace(old, new)
        files[name] = re.sub(r"  --device=nvidia.com\S+ \\\n|  --shm-size=\S+ \\\n", "", files[name])
    row = record("qwq-32b", **{**SGLANG, "port": port})
    spec = {**release.release(row, FOUND, PLACE, ROOTS)["spec"], "served_name": "stock-sglang", "service": "stock-sglang", "reasoning": False,
            "ready_timeout": 40, "drain_timeout": 5, "container": f"vllm-sglang-{port}",
            "check": {"prompt": "What is 127 + 45?", "expect": "172"}}  # fmt: skip
    args: Result = {"name": "stock-sglang", "serving_root": str(root), "supervisor": "supervisord"}
    run_module(
        "inference_service",
        {**args, "state": "started", "python": sys.executable, "runner": RUNNER, "files": files, "spec": spec},
    )
    try:
        result = run_module(
            "endpoint_probe",
            {"serving_root": str(root), "names": ["stock-sglang"], "supervisor": "supervisord", "wait": 40},
        )
        assert not result["failed"], result
        [found] = result["services"]
        assert found["answer"] == "172" and found["counted"] is True  # by sglang:generation_tokens_total
        assert found["exposure"]["open"] == [] and found["exposure"]["asked"] > 20
        key = (root / "services/stock-sglang/api_key").read_text().strip()
        [container] = client.containers.list(filters={"name": f"vllm-sglang-{port}"})
        assert key not in json.dumps(container.attrs) and key not in json.dumps(container.top())
        run_module("inference_service", {**args, "state": "stopped"})
        assert client.containers.list(all=True, filters={"name": f"vllm-sglang-{port}"}) == []
    finally:
        owner = Supervisord(str(root))
        owner.stop("stock-sglang")
        owner.shutdown()
        subprocess.run(["docker", "rm", "--force", f"vllm-sglang-{port}"], capture_output=True, check=False)
