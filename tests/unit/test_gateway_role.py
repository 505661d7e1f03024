"""Role gateway on this machine, as an operator runs it: a real HAProxy before a stand-in engine."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gate import BACKEND_KEY, KEY, until
from gated_role import ask, site_of
from ports import free_port


@pytest.fixture
def site(tmp_path: Path, tools: Path) -> Iterator[dict[str, Any]]:
    with site_of(tmp_path, tools) as found:
        yield found


def handshake(site: dict[str, Any], *protocols: str) -> tuple[str | None, str | None]:
    """(TLS version, protocol) that the gateway chooses."""
    context = ssl.create_default_context(cafile=str(site["ca"]))
    context.set_alpn_protocols(list(protocols))
    with (
        socket.create_connection(("127.0.0.1", site["extra"]["gateway_port"]), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        return secure.version(), secure.selected_alpn_protocol()


def test_the_role_runs_changes_and_heals(site: dict[str, Any], playbook: Callable[..., Any]) -> None:
    def run(*options: str, **more: Any) -> str:
        done = playbook(
            "playbooks/gateway.yml",
            "-i",
            str(site["inventory"]),
            "-e",
            json.dumps({**site["extra"], **more}),
            "-v",
            "--diff",
            *options,
        )
        text: str = done.stdout + done.stderr
        assert KEY not in text and BACKEND_KEY not in text
        assert done.returncode == 0, text
        return text

    folder = site["root"] / "gateway"
    assert "serves demo" in run()
    assert until(lambda: ask(site) == 200)
    assert ask(site, key="x" * 30) == 401
    assert handshake(site, "h2", "http/1.1") == ("TLSv1.3", "http/1.1")
    with pytest.raises(http.client.HTTPException):  # plain HTTP is refused
        urllib.request.urlopen(f"http://127.0.0.1:{site['extra']['gateway_port']}/health", timeout=30)
    assert site["engine"].seen[-1]["headers"]["authorization"] == f"Bearer {BACKEND_KEY}"
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.glob("*.map")) and folder.stat().st_mode & 0o077 == 0
    assert "changed=0" in run()

    (folder / "loaded.json").unlink()  # as after a run that was killed before its reload
    assert "changed=1" in run("--check")
    (site["root"] / "services/demo/api_key").unlink()  # a host that can't be read keeps the key that the gateway has
    # Its release of before has returned, at another port than its row says.
    other, engine = "another-key-0123456789-abcdefgh", site["engine"]
    engine.stop()
    engine.port = free_port()
    engine.start()
    release = site["root"] / "services/demo/releases/a"
    release.mkdir(parents=True)
    (release / "spec.json").write_text(json.dumps({"endpoint": f"http://127.0.0.1:{engine.port}"}))
    (release.parent.parent / "current").symlink_to("releases/a")
    run(gateway_callers={"team": {"keys": [other]}})
    assert until(lambda: ask(site, key=other) == 200) and ask(site) == 401
    assert f":{engine.port} " in (folder / "haproxy.cfg").read_text()

    before = (folder / "haproxy.cfg").read_text()
    bad = {**site["extra"], "gateway_address": "no address"}
    done = playbook("playbooks/gateway.yml", "-i", str(site["inventory"]), "-e", json.dumps(bad))
    assert done.returncode != 0 and "HAProxy refuses the configuration" in done.stdout + done.stderr
    assert (folder / "haproxy.cfg").read_text() == before and ask(site, key=other) == 200


def test_a_gateway_that_is_gone_does_not_keep_the_other_one_from_its_news(
    site: dict[str, Any], playbook: Callable[..., Any]
) -> None:
    rows = json.loads(site["inventory"].read_text())
    rows["gateways"]["hosts"] = {"gone": {"ansible_host": "127.0.0.1", "ansible_port": 1}, "localhost": {}}
    site["inventory"].write_text(json.dumps(rows))
    done = playbook("playbooks/gateway.yml", "-i", str(site["inventory"]), "-e", json.dumps(site["extra"]))
    assert done.returncode != 0 and "gone can't be reached and knows what an earlier run told it" in done.stdout
    assert until(lambda: ask(site) == 200)


def test_a_gateway_without_callers_is_refused(site: dict[str, Any], playbook: Callable[..., Any]) -> None:
    done = playbook(
        "playbooks/gateway.yml",
        "-i",
        str(site["inventory"]),
        "-e",
        json.dumps({**site["extra"], "gateway_callers": {}}),
    )
    assert done.returncode != 0 and "gateway_callers names nobody" in done.stdout + done.stderr


def test_a_gateway_to_try_has_a_caller_of_its_own(site: dict[str, Any], playbook: Callable[..., Any]) -> None:
    """`-e gateway=true` on a machine that no inventory calls a gateway, and nobody is named who may ask."""
    rows = json.loads(site["inventory"].read_text())
    site["inventory"].write_text(json.dumps({"accelerators": rows["accelerators"]}))
    given = {key: value for key, value in site["extra"].items() if key not in ("gateway_callers", "gateway_address")}
    done = playbook("playbooks/gateway.yml", "-i", str(site["inventory"]), "-e", json.dumps({**given, "gateway": True}))
    assert done.returncode == 0, done.stdout + done.stderr
    key = (site["ca"].parent / "demo-caller.key").read_text().strip()
    assert f"cat {site['ca'].parent}/demo-caller.key" in done.stdout and key not in done.stdout
    assert until(lambda: ask(site, key=key) == 200)
    assert "bind 127.0.0.1:" in (site["root"] / "gateway/haproxy.cfg").read_text()
