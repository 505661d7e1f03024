"""A gateway's certificate by ACME: settings, and a real certbot with Pebble, the test server of Let's Encrypt."""

from __future__ import annotations

import http.client
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.gateway import runtime
from conftest import load
from gate import KEY, until
from ports import free_port
from test_gateway import certificate
from test_gateway_role import site  # noqa: F401 - a fixture

from planning.acme import acme_plan, dns_names
from planning.rows import Faults

NAME = "llm.example.test"
AGREED = {"agree_tos": True, "email": "ops@example.org"}
SECRET = "hmac-secret-0123456789"


def test_names_that_a_server_gives_certificates_for() -> None:
    names = ["gw-01", "10.0.0.4", "fd00::1", "llm.example.org", "llm.example.org", "*.example.org", "a_b.example.org"]
    assert dns_names(names) == ["llm.example.org"]


def test_certbot_s_file_says_what_was_asked() -> None:
    found = acme_plan({**AGREED, "eab_kid": "k", "eab_hmac_key": SECRET}, ["gw-01", NAME], "/srv/g", 80, 8792)
    assert {f"domains = {NAME}", "email = ops@example.org", f"eab-hmac-key = {SECRET}", "agree-tos = true"} <= set(
        found["ini"].splitlines()
    )
    assert SECRET not in json.dumps(found["settings"])
    trial = acme_plan({**AGREED, "server": "https://trial.example.org/d"}, [NAME], "/srv/g", 80, 8792)
    assert trial["settings"]["live"] != found["settings"]["live"]


@pytest.mark.parametrize(
    ("given", "names", "port", "words"),
    [
        ({}, [NAME], 80, ["agree_tos: true"]),
        (AGREED, [NAME], 0, ["gateway_http_port", "80"]),
        (AGREED, ["gw-01", "10.0.0.4"], 80, ["gateway_names", "gw-01, 10.0.0.4"]),
        ({**AGREED, "mail": "x"}, [NAME], 80, ["'mail'", "email"]),
        ({**AGREED, "email": "a\nserver = b"}, [NAME], 80, ["gateway_acme.email", "line break"]),
        (AGREED, ["*.example.org"], 80, ["gateway_names", "*.example.org"]),
        ({**AGREED, "dns_auth": "/opt/set dns"}, [NAME], 0, ["gateway_acme.dns_auth", "space"]),
        ({**AGREED, "dns_cleanup": "/opt/x"}, [NAME], 80, ["dns_cleanup without dns_auth"]),
        ({**AGREED, "eab_kid": "k"}, [NAME], 80, ["both eab_kid and eab_hmac_key"]),
    ],
)
def test_what_can_not_work_is_a_sentence(given: dict[str, Any], names: list[str], port: int, words: list[str]) -> None:
    with pytest.raises(Faults) as refused:
        acme_plan(given, names, "/srv/g", port, 8792)
    assert all(word in str(refused.value) for word in words), refused.value


@pytest.fixture
def pebble(tmp_path: Path, run_module: Any) -> Iterator[dict[str, Any]]:
    """An ACME server that asks a port of this machine: {directory, ca, root, http_port, records}. `root`: what its certificates come from, as text."""
    ports = {name: free_port() for name in ("acme", "management", "http", "tls", "dns", "records")}
    own = certificate(run_module, tmp_path / "pebble-ca")
    text = Path(own["certificate_file"]).read_text()
    config = {
        "listenAddress": f"127.0.0.1:{ports['acme']}", "managementListenAddress": f"127.0.0.1:{ports['management']}",
        "certificate": str(tmp_path / "pebble.crt"), "privateKey": str(tmp_path / "pebble.key"), "httpPort": ports["http"], "tlsPort": ports["tls"],
        "ocspResponderURL": "", "externalAccountBindingRequired": False,
    }  # fmt: skip
    key = text.index("-----BEGIN PRIVATE")
    (tmp_path / "pebble.crt").write_text(text[:key])
    (tmp_path / "pebble.key").write_text(text[key:])
    (tmp_path / "pebble.json").write_text(json.dumps({"pebble": config}))
    off = [word for name in ("http01", "https01", "tlsalpn01", "defaultIPv6") for word in (f"-{name}", "")]
    names = ["pebble-challtestsrv", *off, "-dns01", f":{ports['dns']}", "-management", f"127.0.0.1:{ports['records']}"]
    server = ["pebble", "-config", str(tmp_path / "pebble.json"), "-dnsserver", f"127.0.0.1:{ports['dns']}"]
    environment = {**os.environ, "PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0"}
    with (tmp_path / "pebble.log").open("w") as log:
        processes = [subprocess.Popen(words, stdout=log, stderr=log, env=environment) for words in (names, server)]
    trusted = ssl.create_default_context(cafile=own["ca_file"])

    def root() -> str:
        try:
            with urllib.request.urlopen(
                f"https://localhost:{ports['management']}/roots/0", timeout=10, context=trusted
            ) as answer:
                return str(answer.read().decode())
        except OSError:
            assert all(process.poll() is None for process in processes), (tmp_path / "pebble.log").read_text()
            return ""

    text = until(root)

    def stop() -> None:
        for process in processes:
            process.terminate()
            process.wait(20)

    address = f"https://localhost:{ports['acme']}/dir"
    yield {
        "directory": address,
        "ca": own["ca_file"],
        "root": text,
        "http_port": ports["http"],
        "records": ports["records"],
        "stop": stop,
    }
    stop()


@pytest.mark.slow
def test_a_site_s_program_proves_names_by_dns_and_no_port_is_asked(pebble: dict[str, Any], tmp_path: Path) -> None:
    """A wildcard, too, which HTTP can't prove. `records` are where the stand-in of the site's DNS takes orders."""
    hooks = {}
    for name, order, value in (("dns_auth", "set-txt", ', "value": "%s"'), ("dns_cleanup", "clear-txt", "")):
        said = '{"host": "_acme-challenge.%s."' + value + "}"
        words = ["$CERTBOT_DOMAIN", *(["$CERTBOT_VALIDATION"] if value else [])]
        hooks[name] = tmp_path / name
        hooks[name].write_text(
            f"#!/bin/sh\nprintf '{said}' {' '.join(words)} | curl -fsS --data @- http://127.0.0.1:{pebble['records']}/{order}\n"
        )
        hooks[name].chmod(0o755)
    given = {
        **AGREED,
        "server": pebble["directory"],
        "ca_file": pebble["ca"],
        **{name: str(path) for name, path in hooks.items()},
    }
    found = acme_plan(given, [NAME, f"*.{NAME}"], str(tmp_path / "g"), 0, free_port())
    ini = Path(found["settings"]["ini"])
    ini.parent.mkdir(parents=True)
    ini.write_text(found["ini"])
    assert load("roles/gateway/files/renew.py").ask(found["settings"], False) == ""
    end = subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", f"{found['settings']['live']}/fullchain.pem"],
        capture_output=True, text=True, timeout=30, check=True,
    )  # fmt: skip
    assert f"DNS:*.{NAME}" in end.stdout and f"DNS:{NAME}" in end.stdout


def shown(port: int, root: str) -> bytes:
    """The certificate that callers see, in DER, once they have checked it."""
    context = ssl.create_default_context(cadata=root)
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)
    connection.sock = context.wrap_socket(socket.create_connection(("127.0.0.1", port), 30), server_hostname=NAME)
    try:
        return bytes(connection.sock.getpeercert(True) or b"")
    finally:
        connection.close()


@pytest.mark.slow
def test_a_certificate_by_acme_is_renewed_under_a_stream(
    site: dict[str, Any],  # noqa: F811
    pebble: dict[str, Any],
    playbook: Callable[..., Any],
) -> None:
    folder, port = site["root"] / "gateway", site["extra"]["gateway_port"]
    acme = {"agree_tos": True, "server": pebble["directory"], "ca_file": pebble["ca"]}
    extra = {
        **site["extra"],
        "gateway_names": [NAME],
        "gateway_http_port": pebble["http_port"],
        "gateway_acme": acme,
        "gateway_acme_port": free_port(),
    }

    def run(**more: Any) -> Any:
        return playbook(
            "playbooks/gateway.yml", "-i", str(site["inventory"]), "-e", json.dumps({**extra, **more}), "-v", "--diff"
        )

    refused = run(gateway_acme={**acme, "server": pebble["directory"] + "/no-such"})
    assert refused.returncode != 0 and "the gateway goes on with the one that it has" in refused.stdout + refused.stderr
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    first = shown(port, pebble["root"])
    assert all(path.stat().st_mode & 0o077 == 0 for path in (folder / "acme").iterdir() if path.is_file())
    http_answer = http.client.HTTPConnection("127.0.0.1", pebble["http_port"], timeout=30)
    http_answer.request("GET", "/v1/models", headers={"Host": NAME})
    assert http_answer.getresponse().status == 308  # all else is led to HTTPS

    until(lambda: all(row["status"].startswith("UP") for row in runtime.servers(str(folder / "admin.sock"))), 90)
    engine, worker = site["engine"], runtime.worker(str(folder / "admin.sock"))
    engine.hold.clear()
    context = ssl._create_unverified_context()  # the stream is what matters here
    caller = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, context=context)
    body = json.dumps({"model": "demo", "messages": [{"role": "user", "content": "x"}], "stream": True, "pieces": 4})
    caller.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {KEY}"})
    answer = caller.getresponse()
    assert b"one 0" in answer.readline()
    words = [sys.executable, str(folder / "acme/renew.py"), str(folder / "acme/acme.json"), "--once", "--anew"]
    renewed = subprocess.run(words, capture_output=True, text=True, timeout=120, check=True)
    assert json.loads(renewed.stdout) == {"changed": True, "problem": ""}, renewed.stdout
    second = shown(port, pebble["root"])
    assert second != first and runtime.worker(str(folder / "admin.sock")) == worker  # nothing was reloaded
    threading.Timer(0.2, engine.hold.set).start()
    assert b"one 3" in answer.read()  # the stream of before ends whole
    pebble["stop"]()
    assert "changed=0" in run().stdout  # what renewed by itself is no change, and a server that is down stops no run
    assert shown(port, pebble["root"]) == second
