"""Module gateway under a real supervisord: runs that are killed between their files and their reload, and what others change."""

from __future__ import annotations

import http.client
import json
import re
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.gateway import runtime
from ansible.module_utils.serving.gateway.units import AGENT, PROXY
from ansible.module_utils.serving.service.supervisors import Supervisord
from conftest import ROOT, load, start_module
from gate import KEY, OTHER, Engine, record, until
from ports import free_port

Run = Callable[..., dict[str, Any]]

# HAProxy that ends who has its configuration checked: all files are written then, and nothing has read them.
KILLS = '#!/bin/sh\ncase " $* " in *" -c "*) kill -9 "$PPID"; exit 1 ;; esac\nexec haproxy "$@"\n'


class Killed(BaseException):
    """No module reports it, and nothing that it would do afterwards happens."""


class Caller:
    """One connection that a caller keeps."""

    def __init__(self, port: int, key: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self.key = key

    def asks(self, model: str = "") -> tuple[int, str]:
        """(status, what becomes of the connection: close or nothing) of a question to the gateway, or to a model's engine."""
        path, body = ("/v1/chat/completions", json.dumps({"model": model})) if model else ("/v1/models", None)
        self.connection.request("POST" if model else "GET", path, body, {"Authorization": f"Bearer {self.key}"})
        answer = self.connection.getresponse()
        answer.read()
        return answer.status, answer.headers.get("Connection", "")


class Site:
    """A gateway of one service on this machine, run by its module under a real supervisord."""

    def __init__(self, root: Path, tools: Path, run_module: Run) -> None:
        self.root, self.folder, self.module, self.port = root, root / "gateway", run_module, free_port()
        self.engine = Engine("one")
        root.mkdir()
        (root / "tools").symlink_to(tools)
        (root / "kills").write_text(KILLS)
        (root / "kills").chmod(0o755)
        self.agent_port = free_port()

    def given(self, *keys: str, backend_key: str = "k", **more: Any) -> dict[str, Any]:
        """The module's options with which these callers may ask."""
        settings = {"folder": str(self.folder), "address": "127.0.0.1", "port": self.port, "http_port": 0, "body_bytes": 9999, "connections": 100,
                    "reload_seconds": 600, "agent_port": self.agent_port, "tls": False}  # fmt: skip
        callers = {f"caller-{number}": {"keys": [key]} for number, key in enumerate(keys)}
        plan = load("filter_plugins/gateway.py").gateway_plan(
            {"here": [record(self.engine, "here")]}, "here", {}, callers, settings
        )
        pool = plan["pools"][0]["name"]
        return {"folder": str(self.folder), "serving_root": str(self.root), "supervisor": "supervisord", "config": plan["config"],
                "maps": plan["maps"], "agent": "import time\ntime.sleep(600)\n", "agent_settings": plan["agent"], "backend_keys": {pool: backend_key},
                "pools": [pool], "ports": {"gateway_port": self.port}, **more}  # fmt: skip

    def run(self, *keys: str, **more: Any) -> dict[str, Any]:
        found = self.module("gateway", self.given(*keys, **more))
        assert not found["failed"], found
        return found

    def killed_before_its_reload(self, *keys: str, **more: Any) -> None:
        process = start_module("gateway", self.given(*keys, haproxy=str(self.root / "kills"), **more))
        assert process.wait(60) == -signal.SIGKILL, process.communicate()

    def killed_after_its_reload(self, *keys: str, **more: Any) -> None:
        def reload(*words: Any) -> None:
            real(*words)
            raise Killed

        real = runtime.reload
        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(runtime, "reload", reload)
            self.module("gateway", self.given(*keys, **more))

    def killed_in(self, part: type, name: str, does: Callable[..., Any], **more: Any) -> None:
        """A run that ends in this function, which has done no more than `does`."""

        def ends(*words: Any) -> None:
            does(*words)
            raise Killed

        with pytest.MonkeyPatch.context() as patch, pytest.raises(Killed):
            patch.setattr(part, name, ends)
            self.module("gateway", self.given(KEY, **more))

    def other_program(self) -> str:
        path = self.root / "other"
        path.write_text('#!/bin/sh\nexec haproxy "$@"\n')
        path.chmod(0o755)
        return str(path)

    def caller(self, key: str) -> Caller:
        found = Caller(self.port, key)
        assert found.asks()[0] == 200
        return found

    def status(self, key: str) -> int:
        return Caller(self.port, key).asks()[0]


@pytest.fixture
def site(tmp_path: Path, tools: Path, run_module: Run) -> Iterator[Site]:
    found = Site(tmp_path / "s", tools, run_module)
    try:
        yield found
    finally:
        found.run(KEY, state="absent")
        Supervisord(str(found.root)).shutdown()
        found.engine.stop()


def test_a_revoked_key_ends_on_kept_connections_with_the_run_after_the_killed_one(site: Site) -> None:
    site.run(KEY, OTHER)
    asked, waiting = site.caller(OTHER), site.caller(OTHER)
    good = site.caller(KEY)
    site.killed_before_its_reload(KEY)
    # Its files are there, and nothing has read them.
    assert "caller-1" not in (site.folder / "callers.map").read_text() and asked.asks() == (200, "")
    again = site.run(KEY)
    assert again["changed"] and again["reloaded"] and again["files"] == []
    assert waiting.asks() == (401, "close") and asked.asks() == (401, "close") and site.status(OTHER) == 401
    assert good.asks() == (200, "close") and site.status(KEY) == 200
    assert not site.run(KEY)["changed"]


def test_a_run_that_was_killed_after_its_reload_has_its_old_workers_told(site: Site) -> None:
    site.run(KEY, OTHER)
    kept, good = site.caller(OTHER), site.caller(KEY)
    site.killed_after_its_reload(KEY, backend_key="another")
    again = site.run(KEY, backend_key="another")
    assert again["reloaded"] and kept.asks() == (401, "close")
    assert good.asks("demo") == (200, "close")  # by an old worker, with the engine's key of now
    assert site.engine.seen[-1]["headers"]["authorization"] == "Bearer another"


def test_what_a_killed_run_had_read_is_not_taken_for_what_an_earlier_one_recorded(site: Site) -> None:
    """A key is let in, the run is killed; the operator thinks better of it, and that run is killed, too."""
    site.run(KEY)
    site.killed_after_its_reload(KEY, OTHER)
    assert site.status(OTHER) == 200
    site.killed_before_its_reload(KEY)
    kept = site.caller(OTHER)
    assert site.run(KEY)["reloaded"] and site.status(OTHER) == 401 and kept.asks() == (401, "close")


def test_a_file_that_somebody_has_changed_comes_back_with_a_reload(site: Site) -> None:
    site.run(KEY)
    path = site.folder / "callers.map"
    text = path.read_text()
    path.write_text("")
    runtime.reload(str(site.folder / "admin.sock"), str(site.folder / "master.sock"))
    assert site.status(KEY) == 401
    healed = site.run(KEY)
    assert healed["changed"] and healed["reloaded"] and healed["files"] == ["callers.map"]
    assert path.read_text() == text and site.status(KEY) == 200


def test_a_configuration_that_is_refused_leaves_the_record_with_the_files(site: Site) -> None:
    good = site.given(KEY)
    site.run(KEY)
    record_of = (site.folder / "loaded.json").read_text()
    bad = site.module("gateway", {**good, "config": good["config"] + "  nonsense\n"})
    assert bad["failed"] and "nonsense" in bad["msg"] and (site.folder / "loaded.json").read_text() == record_of
    assert json.loads(record_of)["files"] and not site.run(KEY)["changed"]


def test_a_host_that_loses_its_last_service_keeps_its_gateway(site: Site) -> None:
    site.run(KEY)
    (site.root / "cache").mkdir()
    given = {"serving_root": str(site.root), "models_root": str(site.root / "models")}
    gone = site.module("serving_prune", given)
    assert gone["removed"] == [str(site.root / "cache")] and "gateway_state=absent ends it" in " ".join(gone["kept"])
    assert site.status(KEY) == 200 and not site.run(KEY)["changed"]
    site.run(KEY, state="absent")
    site.module("serving_prune", given)
    assert sorted(path.name for path in site.root.iterdir()) == ["kills"]  # the test's own


def test_a_program_that_was_just_started_is_not_ended_at_once(site: Site) -> None:
    """Its supervisor would wait for half a minute: a signal before it is a program of its own is lost."""

    def told(word: str) -> list[str]:
        return re.findall(rf"{word}: '?(gateway-\w+)", (site.root / "supervisor/supervisord.log").read_text())

    assert not site.run(KEY)["reloaded"]
    assert sorted(told("spawned")) == [AGENT, PROXY] and told("stopped") == []
    more = {"agent": "import time\n# another one\ntime.sleep(600)\n"}
    assert site.run(KEY, **more)["changed"] and not site.run(KEY, **more)["changed"]
    assert sorted(told("spawned")) == [AGENT, AGENT, PROXY] and told("stopped") == [AGENT]


def agent_says(port: int, ident: str) -> str:
    try:
        with socket.create_connection(("127.0.0.1", port), 5) as agent:
            agent.sendall(ident.encode() + b"\n")
            return agent.makefile().read().strip()
    except OSError:
        return ""


@pytest.mark.parametrize("kill", [Site.killed_before_its_reload, Site.killed_after_its_reload])
def test_the_agent_watches_what_a_killed_run_has_added(site: Site, kill: Callable[..., None]) -> None:
    agent = (ROOT / "roles/gateway/files/agent.py").read_text()
    site.run(KEY, agent=agent)
    settings = json.loads(site.given(KEY)["agent_settings"])
    new = {**settings["backends"][0], "id": settings["backends"][0]["pool"] + "/there.demo"}
    more = {
        "agent": agent,
        "agent_settings": json.dumps({"port": free_port(), "backends": [*settings["backends"], new]}),
    }
    kill(site, KEY, **more)
    again = site.run(KEY, **more)
    assert again["changed"] and again["files"] == []
    until(lambda: agent_says(json.loads(more["agent_settings"])["port"], new["id"]) == "up", 60)
    assert not site.run(KEY, **more)["changed"]


def test_an_agent_that_does_not_run_is_a_change(site: Site) -> None:
    site.run(KEY)
    Supervisord(str(site.root)).stop(AGENT)
    assert site.module("gateway", site.given(KEY), check=True)["changed"]
    assert site.run(KEY)["changed"] and not site.run(KEY)["changed"]


def test_a_run_that_was_killed_before_supervisord_read_its_unit_is_made_good(site: Site) -> None:
    Supervisord(str(site.root)).ensure()
    site.killed_in(Supervisord, "apply", lambda *words: None)
    assert site.run(KEY)["changed"] and site.status(KEY) == 200 and not site.run(KEY)["changed"]


def test_a_run_that_was_killed_while_supervisord_changed_its_unit_is_made_good(site: Site) -> None:
    def removes(owner: Supervisord, name: str) -> None:
        for group in owner.rpc().reloadConfig()[0][1]:
            owner.rpc().stopProcessGroup(group)
            owner.rpc().removeProcessGroup(group)

    site.run(KEY)
    more = {"haproxy": site.other_program()}
    site.killed_in(Supervisord, "apply", removes, **more)
    assert Supervisord(str(site.root)).state(PROXY) == "absent"
    assert site.run(KEY, **more)["changed"] and site.status(KEY) == 200 and not site.run(KEY, **more)["changed"]


def test_another_program_ends_the_one_that_runs_and_says_so(site: Site) -> None:
    site.run(KEY)
    more = {"haproxy": site.other_program()}
    told = site.module("gateway", site.given(KEY, **more), check=True)
    assert told["changed"] and told["ended"] == "HAProxy of another unit" and site.status(KEY) == 200
    found = site.run(KEY, **more)
    assert (found["changed"], found["ended"], found["files"]) == (True, told["ended"], []) and site.status(KEY) == 200
    again = site.run(KEY, **more)
    assert (again["changed"], again["ended"]) == (False, "")


def test_an_old_worker_that_says_nothing_is_told_by_the_next_run(site: Site) -> None:
    def silent(master: str, text: str) -> str:
        if text.startswith("@!"):
            raise TimeoutError("timed out")
        return real(master, text)

    site.run(KEY, OTHER)
    kept, real = site.caller(OTHER), runtime.of_master
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime, "of_master", silent)
        found = site.module("gateway", site.given(KEY))
    assert found["failed"] and "does not answer" in found["msg"] and not (site.folder / "loaded.json").exists()
    assert site.run(KEY)["reloaded"] and kept.asks() == (401, "close")
