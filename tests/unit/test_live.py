"""Adapters that come and go while the engine runs: planned, released, behind the guard's own door, and without another process."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.serving.gateway import drains
from ansible.module_utils.serving.service import live, probe
from conftest import FIXTURES, ROOT, load
from gate import BACKEND_KEY, KEY, Engine, Gate, record
from load import Load
from services import Host, Result, host_fixture, loaded, until
from swapped import swapped
from test_adapters import RELEASE, planned

host = pytest.fixture(host_fixture)
LIVE = {"load": "/v1/load_lora_adapter", "unload": "/v1/unload_lora_adapter", "line": "lora-modules", "seen": None}
ROOTS = {"serving": "/srv", "models": "/m", "environment": None}
PLACE = {"names": [0], "cdi": [], "cores": []}


def made(
    rows: dict[str, Any], runtime: str = "container", uid: int = 0, roots: dict[str, Any] = ROOTS, **service: Any
) -> tuple[dict[str, Any], Any]:
    record = planned(rows, adapters_at_runtime=True, **service)["services"][0]
    weights = {"path": f"{roots['models']}/m@1", "revision": "1", "identity": "aa", "problems": []}
    found = {
        "weights": weights, "image": {"id": "sha256:ab", "digest": "d", "uid": uid}, "inputs": {},
        "adapters": {name: {**weights, "path": f"{roots['models']}/{name}@7"} for name in rows},
    }  # fmt: skip
    return record, RELEASE.release({**record, "runtime": runtime, "native_env": "/env"}, found, PLACE, roots)


def test_an_engine_starts_ready_for_adapters_although_it_has_none() -> None:
    record = planned({}, adapters_at_runtime=True)["services"][0]
    assert record["engine_args"] == {"enable_lora": True} and record["env"] == {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1"}
    assert "live" not in RELEASE.spec_of(
        planned({})["services"][0], {"weights": {"revision": 1, "identity": 1}, "image": None}, PLACE, "/m", None
    )


def test_the_first_adapter_changes_no_option_that_needs_a_restart() -> None:
    def options(rank: int) -> dict[str, Any]:
        found = planned({"sql": {"base": "m", "rank": rank}}, adapters_at_runtime=True)["services"][0]["engine_args"]
        return {name: value for name, value in found.items() if name != "lora_modules"}

    assert options(8) == options(16) == {"enable_lora": True}  # as without adapters
    assert options(17) == {"enable_lora": True, "max_lora_rank": 32}


def test_a_container_sees_copies_that_may_come_after_its_start() -> None:
    record, release = made({"sql": {"base": "m"}})
    assert release["seen"]["adapters"] == {"sql": "/adapters/sql@7"} and release["adapter_paths"] == {}
    assert release["spec"]["live"] == {**LIVE, "seen": "/adapters"}
    assert "guard/vllm_ansible_owner.py" in release["files"]
    arguments = load("filter_plugins/container.py").container_arguments(
        record, "c", "/m/m@1", release["key_seen"], PLACE, "", release["adapter_paths"], release["live"]
    )
    assert "--mount=type=bind,source=/srv/services/s/adapters,target=/adapters,readonly" in arguments
    assert "--mount=type=bind,source=/srv/services/s/owner_key,target=/run/owner_key,readonly" in arguments
    other, _ = made({"sql": {"base": "m"}, "chat": {"base": "m"}}), None
    assert other[1]["live"] == release["live"]  # one more adapter changes nothing of how it is started
    _, native = made({"sql": {"base": "m"}}, "native")
    assert native["seen"]["adapters"] == {"sql": "/m/sql@7"} and native["spec"]["live"] == LIVE
    assert made({}, uid=1000)[1]["live"]["key_seen"] == "$here/../../tmp/owner_key"


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"engine": "sglang", "image": "docker.io/lmsysorg/sglang:v0.5.23"}, "engine 'sglang' takes adapters at its start alone"),
        ({"engine_args": {"lora_modules": ["x=/y"]}}, "names adapters that nobody could give up"),
    ],
)  # fmt: skip
def test_where_it_cannot_be_is_a_sentence(row: dict[str, Any], says: str) -> None:
    assert any(says in fault for fault in planned({}, adapters_at_runtime=True, **row)["faults"])


@pytest.mark.parametrize(
    ("changes", "files", "same"),
    [
        (
            {"adapters": {"b": {}}, "check": {"adapters": ["b"], "prompt": "x"}},
            {"serve.yaml": "port: 1\nlora-modules: [b]\n"},
            True,
        ),
        ({"adapters": {}, "check": {"prompt": "x"}}, {"serve.yaml": "port: 1\n"}, True),
        ({}, {"serve.yaml": "port: 2\nlora-modules: [a]\n"}, False),
        ({"check": {"adapters": ["a"], "prompt": "y"}}, {}, False),
        ({"live": None}, {}, False),
        ({"model": 2}, {}, False),
        ({}, {"more": ""}, False),
    ],
)
def test_when_a_process_stays(changes: dict[str, Any], files: dict[str, str], same: bool) -> None:
    old = {"live": LIVE, "model": 1, "adapters": {"a": {}}, "check": {"adapters": ["a"], "prompt": "x"}}
    before = {"start": "exec\n", "serve.yaml": "port: 1\nlora-modules: [a]\n"}
    assert live.same_but_adapters(old, {**old, **changes}, before, {**before, **files}) is same


def test_what_python_compiled_is_no_part_of_a_release(tmp_path: Path) -> None:
    for name in (
        "start",
        "spec.json",
        "plugin/guard.py",
        "plugin/__pycache__/guard.cpython-311.pyc",
        "inputs/chat.jinja",
        "plugin/inputs/x",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\xff" if path.suffix == ".pyc" else name.encode())
    assert live.texts_of(str(tmp_path)) == {name: name for name in ("start", "plugin/guard.py", "plugin/inputs/x")}


def test_the_second_door_is_for_the_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "owner").write_text("owner-key-0123456789\n")
    (tmp_path / "keys").write_text("right\n")
    for name, value in {
        "GUARD_OWNER_KEYS": str(tmp_path / "owner"), "GUARD_OWNER_PATHS": "/v1/load_lora_adapter /v1/unload_lora_adapter",
        "GUARD_KEYS": str(tmp_path / "keys"), "GUARD_PATHS": "/v1/models", "VLLM_API_KEY": "inner",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(str(ROOT / "templates/guard"))
    owner = importlib.import_module("vllm_ansible_owner")
    reached: list[dict[str, Any]] = []
    sent: list[dict[str, Any]] = []

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        reached.append(scope)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    middle = owner.Guard(application)

    def ask(path: str, method: str, key: str | None) -> Any:
        """The scope that the application saw, or the status of the refusal."""
        reached.clear()
        sent.clear()
        headers = [(b"Authorization", b"Bearer " + key.encode())] if key else []
        asyncio.run(
            middle({"type": "http", "path": path, "root_path": "", "method": method, "headers": headers}, None, send)
        )
        return reached[0] if reached else sent[0]["status"]

    assert ask("/v1/load_lora_adapter", "POST", "owner-key-0123456789")["path"] == "/v1/load_lora_adapter"
    headers = dict(ask("/v1/unload_lora_adapter", "POST", "owner-key-0123456789")["headers"])
    assert headers[b"authorization"] == b"Bearer inner"
    assert [ask("/v1/load_lora_adapter", "POST", key) for key in (None, "wrong", "right")] == [401, 401, 404]
    assert ask("/v1/load_lora_adapter", "GET", "owner-key-0123456789") == 401
    assert ask("/v1/models", "POST", "owner-key-0123456789") == 401  # it opens nothing else
    assert ask("/v1/models", "GET", "right")["path"] == "/v1/models"


class Loading(Host):
    """The service `demo` of a stand-in that loads adapters, with the options of a start in a file of its own."""

    def given(self, *names: str, **spec: Any) -> Result:
        """What a deploy gives to module inference_service."""
        adapters = {name: str(self.root / f"models/{name}@1") for name in names}
        for path in adapters.values():
            Path(path).mkdir(parents=True, exist_ok=True)
        words = json.dumps([f"{name}={path}" for name, path in adapters.items()])
        lines = f"lora-modules: {words}\n" if names else ""
        start = f"#!/bin/sh\nexec {sys.executable} {FIXTURES}/lora_engine.py {self.port} {self.folder} serve.yaml\n"
        return {
            "python": sys.executable, "api_key": BACKEND_KEY,
            "runner": (ROOT / "roles/serve/files/foreground.py").read_text(), "files": {"start": start, "serve.yaml": f"port: 1\n{lines}"},
            "spec": {
                "endpoint": f"http://127.0.0.1:{self.port}", "drain_timeout": 2, "ready_timeout": 30, "restart_limit": 2, "api_key": True,
                "adapters": {name: {"path": path} for name, path in adapters.items()}, "check": {"adapters": list(names)}, "live": LIVE, **spec,
            },
        }  # fmt: skip

    def deploy(self, *names: str, dry: bool = False, restarts: bool = True, **spec: Any) -> Result:
        place = {"name": "demo", "serving_root": str(self.root), "supervisor": "supervisord", "restarts": restarts}
        return self.run("inference_service", {**place, **self.given(*names, **spec)}, check=dry)

    def has(self) -> dict[str, str]:
        return loaded(self.port, self.folder)


@pytest.fixture
def loading(host: Host) -> Loading:
    found = Loading(host.root, host.run)
    found.port = host.port
    return found


@pytest.mark.slow
def test_adapters_come_and_go_and_the_process_stays(loading: Loading) -> None:
    first = loading.deploy("sql")
    assert set(loading.has()) == {"sql"} and (loading.folder / "owner_key").stat().st_mode & 0o777 == 0o600
    before = loading.process()
    assert before

    dry = loading.deploy("sql", "chat", dry=True)
    assert dry["changed"] and dry["stays"] and live.LOADS in dry["reasons"] and set(loading.has()) == {"sql"}
    done = loading.deploy("sql", "chat")
    assert done["release"] != first["release"] and "adapter 'chat' was loaded, the process stays" in done["reasons"]
    after = loading.process()
    assert after and after == {**before, "release": done["release"]} and set(loading.has()) == {"sql", "chat"}
    assert not loading.deploy("sql", "chat")["changed"]

    back = loading.run(
        "inference_service",
        {"name": "demo", "serving_root": str(loading.root), "state": "rolled_back", "supervisor": "supervisord"},
    )
    assert back["changed"] and back["release"] == first["release"] and set(loading.has()) == {"sql"}
    now = loading.process()
    assert now and now == {**before, "release": first["release"]}

    # A process that is restarted has the adapters of its release.
    loading.run(
        "inference_service",
        {"name": "demo", "serving_root": str(loading.root), "state": "restarted", "supervisor": "supervisord"},
    )
    assert set(loading.has()) == {"sql"}


@pytest.mark.slow
def test_what_was_loaded_half_way_is_mended_and_what_is_refused_is_one_restart(loading: Loading) -> None:
    loading.deploy("sql")
    before = loading.process()
    assert before and loading.has()
    owner = (loading.folder / "owner_key").read_text().strip()
    for name in ("chat", "old"):  # of a run that was killed before it wrote what runs
        (loading.root / f"models/{name}@1").mkdir()
        body = {"lora_name": name, "lora_path": str(loading.root / f"models/{name}@1")}
        assert probe.ask(f"http://127.0.0.1:{loading.port}", "POST", LIVE["load"], owner, body)[0] == 200
    done = loading.deploy("sql", "chat")
    assert "adapter 'old' was given up" in done["reasons"] and not any(
        "'chat' was loaded" in one for one in done["reasons"]
    )
    assert set(loading.has()) == {"sql", "chat"} and (loading.process() or {})["pid"] == before["pid"]

    other = loading.deploy("sql", drain_timeout=3)  # more than adapters
    assert other["changed"] and (loading.process() or {})["pid"] != before["pid"] and set(loading.has()) == {"sql"}


@pytest.mark.slow
def test_an_adapter_that_the_engine_refuses_costs_the_swap_that_it_always_did(loading: Loading) -> None:
    loading.deploy("sql")
    before = loading.process()
    assert before and loading.has()
    (loading.root / "models").rename(loading.root / "models-broken")
    (loading.root / "models").symlink_to("models-broken")
    adapters = {"sql": {"path": str(loading.root / "models/sql@1")}, "bad": {"path": "/x/broken"}}
    stays = loading.deploy("sql", restarts=False, adapters=adapters, check={"adapters": ["sql", "bad"]})
    assert stays["changed"] and "for adapter 'bad' with 400" in stays["refused"] and loading.process() == before
    done = loading.deploy("sql", adapters=adapters, check={"adapters": ["sql", "bad"]})
    assert done["refused"] is None and done["endpoint"] == f"http://127.0.0.1:{loading.port}"
    assert any("for adapter 'bad' with 400" in one and "it is restarted" in one for one in done["reasons"])
    assert (loading.process() or {})["pid"] != before["pid"] and set(loading.has()) == {"sql"}


@pytest.mark.slow
def test_behind_a_gateway_it_leaves_its_pool_before_that(loading: Loading, tmp_path: Path) -> None:
    """Whether it has to is known only when the engine has refused: role swap."""
    loading.deploy("sql")
    before, other = loading.process(), Engine("two")
    assert before and loading.has()
    row: Any = SimpleNamespace(port=loading.port, model="demo")
    rows = [{**record(row, "here"), "gateway": {"concurrent": 200}}, record(other, "here", service="two")]
    gate = Gate(tmp_path / "g", rows, {"team": {"keys": [{"key": KEY}], "requests_per_minute": 100_000}})
    adapters = {"bad": {"path": "/x/broken"}}
    try:
        until(lambda: {gate.status("here.demo"), gate.status("here.two")} == {"UP"})
        with Load(gate.url, KEY, rate=25, longest=2) as load:
            done = swapped(
                tmp_path, loading.root, [gate], swap_state="started", swap_stays_out=True,
                swap_release=loading.given(adapters=adapters, check={"adapters": ["bad"]}),
            )  # fmt: skip
        assert done.returncode == 0 and "demo has to be restarted" in done.stdout, done.stdout + done.stderr
        assert (loading.process() or {})["pid"] != before["pid"] and set(drains.read(str(gate.folder))[0]) == {
            "here.demo"
        }
        load.whole()
    finally:
        gate.close()
        other.stop()


def test_copies_for_a_container_are_whole_and_go_when_no_release_names_them(tmp_path: Path) -> None:
    folder, source = tmp_path / "services/s", tmp_path / "models/sql@1"
    (source / "more").mkdir(parents=True)
    (source / "adapter_config.json").write_text("{}")
    (source / "more/x").write_text("x")
    spec = {"live": {**LIVE, "seen": "/adapters"}, "adapters": {"sql": {"path": str(source)}}}
    live.prepared(str(folder), spec)
    (folder / "adapters/left@0.partial").mkdir()
    live.prepared(str(folder), spec)
    assert live.seen(spec) == {"sql": "/adapters/sql@1"} and (folder / "adapters/sql@1/more/x").read_text() == "x"
    assert [one.name for one in (folder / "adapters").iterdir()] == ["sql@1"]
    live.prepared(str(folder), {**spec, "adapters": {}})
    assert not list((folder / "adapters").iterdir())
