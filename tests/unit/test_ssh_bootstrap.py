"""First contact over a real ssh connection, with a server in this process that runs commands in a home of its own."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest

Run = Callable[..., dict[str, Any]]
PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGhvdyBuaWNlIHRvIG1lZXQgeW91IGhlcmUhISEhIQ== ops@desk"


class Server(paramiko.ServerInterface):
    def __init__(self, home: Path) -> None:
        self.home, self.port, self.key = home, 0, paramiko.ECDSAKey.generate()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        while True:
            try:
                raw, _ = self.listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(raw)
            transport.add_server_key(self.key)
            transport.start_server(server=self)

    def check_auth_password(self, username: str, password: str) -> int:
        return paramiko.AUTH_SUCCESSFUL if (username, password) == ("ops", "secret") else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=self.execute, args=(channel, command.decode()), daemon=True).start()
        return True

    def execute(self, channel: paramiko.Channel, command: str) -> None:
        text = b""
        while data := channel.recv(65536):
            text += data
        env = {"HOME": str(self.home), "PATH": f"{self.home}/bin:/usr/bin:/bin"}
        done = subprocess.run(["sh", "-c", command], input=text, env=env, capture_output=True, check=False)
        channel.sendall(done.stdout + done.stderr)
        channel.send_exit_status(done.returncode)
        channel.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    home = tmp_path / "home"
    (home / "bin").mkdir(parents=True)
    # sudo as it behaves: without a rule it asks for the password on standard input
    (home / "bin/sudo").write_text(
        '#!/bin/sh\n[ "$1" = -n ] && { [ -e "$HOME/rule" ]; exit; }\nread -r given\n[ "$given" = secret ] || { echo "Sorry, try again." >&2; exit 1; }\n'
        'touch "$HOME/rule"\n'
    )
    (home / "bin/sudo").chmod(0o755)
    made = Server(home)
    yield made
    made.listener.shutdown(
        socket.SHUT_RDWR
    )  # or the thread in accept() would one day take another listener's callers, at the same number
    made.listener.close()


def contact(run: Run, server: Server, tmp_path: Path, check: bool = False, **more: Any) -> dict[str, Any]:
    given = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": "ops",
        "password": "secret",
        "identity": PUBLIC,
        "known_hosts": str(tmp_path / "known"),
    }
    return run("ssh_bootstrap", {**given, **more}, check=check)


def fingerprint(server: Server) -> str:
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", "/dev/stdin"],
        input=f"{server.key.get_name()} {server.key.get_base64()}\n",
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()[1]


def test_an_unknown_host_key_is_shown_and_nothing_is_sent(run_module: Run, server: Server, tmp_path: Path) -> None:
    result = contact(run_module, server, tmp_path)
    assert (
        result["failed"]
        and fingerprint(server) in result["msg"]
        and "compare it at the host's console" in result["msg"]
    )
    assert not (tmp_path / "known").exists() and not (server.home / ".ssh").exists()
    wrong = contact(run_module, server, tmp_path, fingerprint="SHA256:other")
    assert wrong["failed"] and "do not go on" in wrong["msg"]


def test_key_rule_and_pin_are_installed_once(run_module: Run, server: Server, tmp_path: Path) -> None:
    seen = fingerprint(server)
    check = contact(run_module, server, tmp_path, check=True, fingerprint=seen)
    assert len(check["reasons"]) == 3 and not (server.home / ".ssh").exists() and not (tmp_path / "known").exists()
    first = contact(run_module, server, tmp_path, fingerprint=seen)
    assert first["changed"] and first["fingerprint"] == seen and len(first["reasons"]) == 3
    keys = server.home / ".ssh/authorized_keys"
    assert keys.read_text() == PUBLIC + "\n" and keys.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "known").read_text().startswith(f"[127.0.0.1]:{server.port} ") and (
        server.home / "rule"
    ).exists()
    assert not contact(run_module, server, tmp_path)["changed"]
    assert keys.read_text().count("ssh-ed25519") == 1
    assert "secret" not in (tmp_path / "known").read_text() and sorted(p.name for p in tmp_path.iterdir()) == [
        "home",
        "known",
    ]


def test_keys_of_others_stay_whole(run_module: Run, server: Server, tmp_path: Path) -> None:
    (server.home / ".ssh").mkdir()
    (server.home / ".ssh/authorized_keys").write_text("ssh-rsa AAAA other")  # no newline at its end
    contact(run_module, server, tmp_path, accept_new=True)
    assert (server.home / ".ssh/authorized_keys").read_text() == f"ssh-rsa AAAA other\n{PUBLIC}\n"


def test_a_changed_host_key_is_refused_before_the_password_is_sent(
    run_module: Run, server: Server, tmp_path: Path
) -> None:
    contact(run_module, server, tmp_path, accept_new=True)
    server.key = paramiko.ECDSAKey.generate()
    result = contact(run_module, server, tmp_path, accept_new=True)
    assert (
        result["failed"]
        and "another host key than the one pinned" in result["msg"]
        and "ssh-keygen -R" in result["msg"]
    )


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"password": "wrong"}, "refuses this password for user ops"),
        ({"identity": "-----" + "BEGIN OPENSSH PRIVATE KEY-----"}, "no public key"),
        ({"port": 1}, "no ssh server answers"),
    ],
)
def test_what_can_go_wrong_is_said(
    run_module: Run, server: Server, tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    result = contact(run_module, server, tmp_path, accept_new=True, **more)
    assert result["failed"] and words in result["msg"] and "Traceback" not in result["msg"]


def test_a_user_without_sudo_is_told(run_module: Run, server: Server, tmp_path: Path) -> None:
    (server.home / "bin/sudo").write_text('#!/bin/sh\necho "ops is not in the sudoers file." >&2\nexit 1\n')
    os.chmod(server.home / "bin/sudo", 0o755)
    result = contact(run_module, server, tmp_path, accept_new=True)
    assert result["failed"] and "not in the sudoers file" in result["msg"] and "log in as root" in result["msg"]
