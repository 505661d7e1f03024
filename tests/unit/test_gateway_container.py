"""HAProxy in a container, by role gateway and a real engine, and which form a host gets."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import engine as engines
import pytest
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.gateway import forms, runtime
from ansible.module_utils.serving.gateway.units import PROXY
from ansible.module_utils.serving.service.supervisors import Supervisord, Systemd
from conftest import load
from gate import BACKEND_KEY, KEY, Engine, record, until
from gated_role import ask, site_of
from images import needs_engine
from load import Load
from ports import free_port

Run = Callable[..., dict[str, Any]]

OLD = "#!/bin/sh\necho 'HAProxy version 2.4.24-0ubuntu0.22.04.1 2023/10/31 - https://haproxy.org/'\n"


def program(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("#!/bin/sh\n" * (not text.startswith("#!")) + text)
    (folder / name).chmod(0o755)


def inspected(box: str, shape: str) -> str:
    words = ["docker", "container", "inspect", "--format", shape, box]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()


def listening(port: int) -> set[str]:
    """Inodes of the sockets that listen on a port of this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port}


@pytest.fixture
def image(tmp_path: Path) -> Iterator[tuple[str, str, str]]:
    """(name, id, id of a later one) of images of this machine's HAProxy, with a container engine that has them."""
    with engines.engine(tmp_path) as client:
        name = f"vllm-ansible-haproxy:{os.getpid()}"
        root, later = engines.haproxy_root(), f"{name}-later"
        ids = [
            engines.import_image(client, root, name).id,
            engines.import_image(client, root, later, changes=["LABEL later=1"]).id,
        ]
        yield name, *ids
        for ident in ids:
            for one in client.containers.list(all=True, filters={"ancestor": ident}):
                one.remove(force=True)
        for one in (name, later):
            client.images.remove(one, force=True)


@needs_engine
def test_an_old_package_is_left_for_a_container_that_cuts_nothing(
    image: tuple[str, str, str],
    tmp_path: Path,
    tools: Path,
    playbook: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    name, ident, _ = image
    program(tmp_path / "old", "haproxy", OLD)
    monkeypatch.setenv("PATH", f"{tmp_path / 'old'}:{os.environ['PATH']}")
    with site_of(tmp_path, tools) as site:
        folder = site["root"] / "gateway"
        given = {**site["extra"], "gateway_image": name, "image_archives": {name: {"path": "/none", "id": ident}}}
        box = forms.name_of(str(folder))

        def run(*options: str, **more: Any) -> str:
            words = ("-i", str(site["inventory"]), "-e", json.dumps({**given, **more}), "-v", "--diff", *options)
            done = playbook("playbooks/gateway.yml", *words)
            text: str = done.stdout + done.stderr
            assert done.returncode == 0 and KEY not in text and BACKEND_KEY not in text, text
            return " ".join(text.split())

        def inside(shape: str) -> str:
            return inspected(box, shape)

        assert "serves demo" in run() and until(lambda: ask(site) == 200)
        assert inside("{{.Image}} {{.HostConfig.NetworkMode}} {{.HostConfig.ReadonlyRootfs}}") == f"{ident} host true"
        rights = inside("{{.HostConfig.CapDrop}} {{.HostConfig.CapAdd}}").replace("CAP_", "")
        assert sorted(re.findall(r"\w+", rights)) == ["ALL", "KILL", "SETGID", "SETUID"]
        master = inside("{{.State.Pid}}")
        worker = Path(f"/proc/{master}/task/{master}/children").read_text().split()[-1]
        status = Path(f"/proc/{worker}/status").read_text()
        assert re.search(rf"Uid:\s+{forms.NOBODY}\s+{forms.NOBODY}\s", status) and "CapEff:\t0000000000000000" in status
        assert "changed=0" in run()

        listens = listening(given["gateway_port"])
        other = "another-key-0123456789-abcdefgh"
        url = f"https://localhost:{given['gateway_port']}/v1/chat/completions"
        with Load(url, KEY, str(site["ca"]), rate=20, longest=8) as callers:
            until(lambda: len(callers.outcomes) > 10)
            assert "changed=1" in run(gateway_callers={"team": {"keys": [KEY, other]}})
        callers.whole()
        assert listens and listening(given["gateway_port"]) == listens  # the new worker has the old one's sockets
        assert ask(site, key=other) == 200 and inside("{{.State.Pid}}") == master

        assert "changed=1" in run(gateway_state="absent")
        assert inside("{{.Id}}") == "" and not folder.exists() and not (site["root"] / ".gateway.lock").exists()
        assert not list((site["root"] / "supervisor/conf.d").glob("gateway-*"))


@needs_engine
def test_another_form_is_told_and_a_killed_change_of_forms_heals(
    image: tuple[str, str, str], tmp_path: Path, tools: Path, run_module: Run
) -> None:
    root, folder, one = tmp_path / "s", tmp_path / "s/gateway", Engine("one")
    root.mkdir()
    (root / "tools").symlink_to(tools)
    settings = {"folder": str(folder), "address": "127.0.0.1", "port": free_port(), "http_port": 0, "body_bytes": 9999, "connections": 100,
                "reload_seconds": 60, "agent_port": free_port(), "tls": False, "user": str(forms.NOBODY)}  # fmt: skip
    plan = load("filter_plugins/gateway.py").gateway_plan(
        {"here": [record(one, "here")]}, "here", {}, {"team": {"keys": [KEY]}}, settings
    )
    given = {"folder": str(folder), "serving_root": str(root), "supervisor": "supervisord", "config": plan["config"], "maps": plan["maps"],
             "agent": "import time\ntime.sleep(600)\n", "agent_settings": plan["agent"], "backend_keys": {plan["pools"][0]["name"]: "k"},
             "pools": [plan["pools"][0]["name"]], "ports": {"gateway_port": settings["port"]}, "connections": 100, "image": image[1]}  # fmt: skip
    box, api = forms.name_of(str(folder)), str(folder / "admin.sock")

    def run(form: str, check: bool = False, **more: Any) -> dict[str, Any]:
        found = run_module("gateway", {**given, "runtime": form, **more}, check=check)
        assert not found["failed"], found
        return found

    def served() -> bool:
        with socket.create_connection(("127.0.0.1", settings["port"]), timeout=10) as caller:
            caller.sendall(b"GET /health HTTP/1.0\r\n\r\n")
            return b" 200 " in caller.recv(100)

    def settle(form: str, **more: Any) -> None:
        again = run(form, check=True, **more)
        assert (again["changed"], again["ended"]) == (False, "") and served()

    try:
        assert run("container", check=True)["changed"] and not folder.exists()
        assert run("package")["ended"] == "" and served()
        # A key that is gone is gone on kept connections, too, which a worker of before answers.
        kept = http.client.HTTPConnection("127.0.0.1", settings["port"], timeout=30)
        for maps, status in ((given["maps"], 200), ({**given["maps"], "callers.map": "0 nobody\n"}, 401)):
            run("package", maps=maps)
            kept.request("GET", "/v1/models", headers={"Authorization": f"Bearer {KEY}"})
            answer = kept.getresponse()
            assert (answer.status, answer.read() != b"") == (status, True)
        assert answer.headers["Connection"] == "close" and run("package")["reloaded"]
        assert run("container", check=True)["ended"] == "HAProxy of this host" and not (folder / forms.START).exists()
        assert run("container")["ended"] == "HAProxy of this host"
        settle("container")
        unit = Systemd(str(root)).unit_text(
            PROXY, forms.Container(image[1], str(folder), [], 9).command(), str(folder), forms.Container.spec
        )
        assert "Wants=network-online.target docker.service" in unit
        # A drain through the socket that the container has made; a reload keeps it.
        out = run_module("gateway_backend", {"folder": str(folder), "backend": "here.demo", "state": "drained"})
        assert out["changed"] and out["alone"] and not out["left"]
        run("container", config=plan["config"] + "# changed\n")
        states = {row["name"]: row["out"] for row in run_module("gateway_info", {"folder": str(folder)})["backends"]}
        assert run("container")["reloaded"] and states == {"here.demo": True}
        with pytest.MonkeyPatch.context() as patched:  # an engine that is not there now ends nothing
            patched.setattr(forms, "run_tool", lambda *_: (1, "", "Cannot connect to the Docker daemon"))
            silent = run_module("gateway", {**given, "runtime": "container"})
        assert silent["failed"] and "doesn't say whether" in silent["msg"] and served()
        # A low port needs a right that this container does not have.
        assert (
            "another image"
            in run("container", check=True, ports={"gateway_port": settings["port"], "gateway_http_port": 80})["ended"]
        )
        assert "another image" in run("container", check=True, image=image[2], replace=True)["ended"]
        later = run("container", image=image[2])
        assert (later["waits"], later["ended"], later["changed"]) == (True, "", False) and inspected(
            box, "{{.Image}}"
        ) == image[1]
        # The client of Docker is gone, as after a restart of Docker with live-restore: the container and its streams stay.
        began, pid = runtime.worker(api), Supervisord(str(root)).rpc().getProcessInfo(PROXY)["pid"]
        os.kill(pid, signal.SIGKILL)
        until(lambda: Supervisord(str(root)).rpc().getProcessInfo(PROXY)["pid"] not in (0, pid))
        settle("container")
        assert runtime.worker(api) == began and inspected(box, "{{.State.Running}}") == "true"
        run("container", image=image[2], replace=True)
        assert inspected(box, "{{.Image}}") == image[2]
        settle("container", image=image[2])
        # What a clean-up of images leaves: the one that it runs in.
        (root / "images").mkdir()
        for number, ident in enumerate(image[1:]):
            (root / f"images/{number}.json").write_text(json.dumps({"image": f"haproxy:{number}", "id": ident}))
        assert load("library/serving_prune.py").unneeded_images(str(root), str(folder), [], []) == {
            image[1]: "haproxy:0"
        }
        # A run that was killed after it wrote the files of the other form.
        assert run("package")["ended"] == "its container" and inspected(box, "{{.Id}}") == ""
        (folder / forms.START).write_text("exit 1")
        assert run("package")["ended"] == "" and not (folder / forms.START).exists()
        settle("package")
        bad = run_module("gateway", {**given, "runtime": "container", "config": plan["config"] + "  nonsense\n"})
        assert bad["failed"] and "HAProxy refuses the configuration" in bad["msg"] and "nonsense" in bad["msg"]
        none = run_module("gateway", {**given, "runtime": "container", "image": "sha256:" + "0" * 64})
        assert none["failed"] and "the container engine can't run the gateway's HAProxy" in none["msg"]
        many = run_module("gateway", {**given, "runtime": "container", "connections": 10**9})
        assert many["failed"] and "lower gateway_connections" in many["msg"]
        settle("package")
        assert set(run("package", check=True, state="absent")["files"]) > {str(folder)} and served()
    finally:
        gone = run("package", state="absent")
        one.stop()
    assert gone["changed"] and not folder.exists() and not run("package", state="absent")["changed"]


APT = "haproxy:\n  Installed: (none)\n  Candidate: {}\n  Version table:\n"
DNF = "Available Packages\nName         : haproxy\nVersion      : {}\nRelease      : 25.el9\n"
ENGINE = "echo '28.2.2 [name=apparmor name=seccomp,profile=builtin]'"


@pytest.mark.parametrize(
    ("family", "offer", "docker", "asked", "runtime_", "words"),
    [
        ("apt", "2.0.33-0ubuntu0.1", ENGINE, "auto", "container", ""),  # Ubuntu 20.04
        ("apt", "2.2.9-2+deb11u6", ENGINE, "auto", "container", ""),  # Debian 11
        ("apt", "2.4.24-0ubuntu0.22.04.1", ENGINE, "auto", "container", ""),  # Ubuntu 22.04
        ("apt", "2.6.12-1+deb12u4", "exit 1", "auto", "package", ""),  # Debian 12: no engine is asked for
        ("apt", "2.8.5-1ubuntu3", ENGINE, "container", "container", ""),
        ("apt", "(none)", ENGINE, "auto", "container", ""),
        ("dnf", "1.8.27", ENGINE, "auto", "container", ""),  # RHEL 8
        ("dnf", "2.4.22", ENGINE, "auto", "container", ""),  # RHEL 9
        ("dnf", "3.0.5", "exit 1", "auto", "package", ""),  # RHEL 10
        ("apt", "2.4.24-0ubuntu0.22.04.1", ENGINE, "package", "package", "offers HAProxy 2.4.24-0ubuntu0.22.04.1"),
        ("apt", "2.4.24", "echo 'permission denied' >&2; exit 1", "auto", "container", "offers 2.4.24, but no container engine answers (permission denied)"),
        (None, "", "echo '28.2.2 [name=rootless]'", "auto", "container", "rootless"),
        ("apt", "2.8.5", "exit 1", "container", "container", "gateway_runtime is container, but no container engine answers"),
    ],
)  # fmt: skip
def test_the_package_manager_is_asked_before_anything_is_installed(
    family: str | None,
    offer: str,
    docker: str,
    asked: str,
    runtime_: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tools = tmp_path / "bin"
    program(tools, "apt-cache", f"cat <<'END'\n{APT.format(offer)}END\n")
    program(tools, "dnf", f"cat <<'END'\n{DNF.format(offer)}END\n")
    program(tools, "docker", docker + "\n")
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    found = forms.choose(asked, "haproxy", "", str(tmp_path), family, True)
    assert found["runtime"] == runtime_ and found["unlisted"] == (offer == "(none)")
    assert words in found["problem"] and bool(words) == bool(found["problem"]) and "\n" not in found["problem"]


@pytest.mark.parametrize(
    ("asked", "haproxy", "there", "root", "started", "form"),
    [
        ("auto", "haproxy", "2.6.12", False, False, "package"),
        (
            "auto",
            "haproxy",
            "2.4.24",
            True,
            False,
            "container",
        ),  # whatever apt offers: who has it runs something with it
        ("auto", "haproxy", "2.8.1", True, True, "container"),  # it stays one: another form cuts streams
        ("package", "haproxy", "2.8.1", True, True, "package"),
        ("auto", "/opt/haproxy", "", True, True, "package"),  # the site has named one
        ("container", "/opt/haproxy", "2.8.1", True, False, "container"),
    ],
)
def test_what_is_there_decides_first(
    asked: str,
    haproxy: str,
    there: str,
    root: bool,
    started: bool,
    form: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program(tmp_path / "bin", "docker", ENGINE + "\n")
    program(tmp_path / "bin", "apt-cache", "exit 99\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    if started:
        (tmp_path / forms.START).write_text("")
    assert forms.choose(asked, haproxy, there, str(tmp_path), "apt", root)["runtime"] == form


def test_a_container_that_is_there_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "bin", "docker", "echo gone >&2; exit 1\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (tmp_path / forms.START).write_text("")
    problem = forms.choose("auto", "haproxy", "2.8.1", str(tmp_path), "apt", True)["problem"]
    assert (
        "the gateway runs in a container on this host, but no container engine answers (gone)" in problem
        and "gateway_runtime=package" in problem
    )


def test_an_engine_that_does_not_answer_is_no_fault_of_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "run_tool", lambda command, timeout: (None, "", "docker did not answer within 120 s"))
    for asked in (
        lambda: runtime.check(["docker", "run"], "/x"),
        lambda: runtime.version(["docker", "run"], "haproxy of image x"),
    ):
        with pytest.raises(
            Refusal, match="the container engine can't run the gateway's HAProxy: docker did not answer within 120 s"
        ):
            asked()


def test_connections_make_another_container_only_in_large_steps() -> None:
    numbers = [
        forms.Container("sha256:1", "/g", [8443], connections).number() for connections in (100, 2000, 20_000, 25_000)
    ]
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]


@pytest.mark.parametrize("place", ["gateway", "elsewhere/gateway"])
def test_the_image_of_a_gateway_that_is_stopped_is_kept(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_module: Run
) -> None:
    program(tmp_path / "bin", "docker", 'if [ "$1 $2" = "image inspect" ]; then shift 4; echo "$1"; fi\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    kept, other = (f"sha256:{digit * 64}" for digit in "12")
    root, folder = tmp_path / "s", tmp_path / "s" / place
    folder.mkdir(parents=True)
    (folder / forms.START).write_text(forms.Container(kept, str(folder), [8443], 100).files()[forms.START])
    (root / "images").mkdir()
    for number, digest in enumerate((kept, other)):
        (root / f"images/{number}.json").write_text(json.dumps({"image": f"acme/haproxy:{number}", "id": digest}))
    given = {"serving_root": str(root), "models_root": str(root / "models"), "keep_releases": 2}
    given.update({"gateway_folder": str(folder)} if "/" in place else {})
    found = run_module("serving_prune", given)
    assert [one for one in found["removed"] if one.startswith("image ")] == ["image acme/haproxy:1"]
    assert forms.image_of(str(folder)) == kept and forms.image_of(str(tmp_path)) == ""
    assert (root / "images/0.json").exists()  # by which the gateway knows an image of the controller's
    (folder / forms.START).unlink()
    run_module("serving_prune", given)
    assert not (root / "images").exists()
