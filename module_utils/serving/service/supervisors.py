"""The one owner of a service's process: systemd where it is PID 1, supervisord where it is not.

Both run foreground.py and nothing else, restart it after a crash with a limit, stop it with SIGTERM and time
to drain, and keep its output in a rotated place. A unit of ours is one file whose content is compared as text.
"""

from __future__ import annotations

import glob
import http.client
import os
import socket
import subprocess
import time
import xmlrpc.client
from typing import Any, Protocol

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import own_folder, remove_tree, write_atomic

STOP_MARGIN = 30  # seconds beyond the drain time for ending what the engine leaves behind
# A service starts with these and what its own start script sets: nothing of the deploying session's environment.
CLEAN = ("HOME", "LANG", "LC_ALL", "LOGNAME", "PATH", "USER", "TZ")


class Supervisor(Protocol):
    """What the service module asks of either of the two. States: running, starting, backoff, failed, stopped, absent."""

    kind: str

    def unit_path(self, name: str) -> str: ...
    def unit_text(self, name: str, command: list[str], folder: str, spec: dict[str, Any]) -> str: ...
    def apply(self, name: str) -> bool: ...
    def state(self, name: str) -> str: ...
    def start(self, name: str) -> None: ...
    def stop(self, name: str) -> None: ...
    def remove(self, name: str) -> None: ...
    def log_place(self, name: str) -> str: ...
    def log_tail(self, name: str, lines: int) -> list[str]: ...


def read_text(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as source:
            return source.read()
    except FileNotFoundError:
        return ""


def tail_file(path: str, lines: int) -> list[str]:
    """The last lines of a log, across one rotation."""
    found: list[str] = []
    for part in (path + ".1", path):
        try:
            with open(part, "rb") as source:
                source.seek(max(0, os.path.getsize(part) - 400 * max(lines, 50)))
                found += source.read().decode("utf-8", "replace").splitlines()
        except FileNotFoundError:
            continue
    return found[-lines:]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket; a supervisor that does not answer in 30 s counts as an error."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return UnixConnection(self.path)


class Supervisord:
    """supervisord of our own, one for each serving root, reached over its unix socket."""

    kind = "supervisord"
    STATES = {
        "RUNNING": "running",
        "STARTING": "starting",
        "BACKOFF": "backoff",
        "FATAL": "failed",
        "STOPPING": "stopping",
    }

    def __init__(self, root: str) -> None:
        self.home = os.path.join(root, "supervisor")
        self.logs = os.path.join(root, "logs")
        self.socket = os.path.join(self.home, "s.sock")
        self.config = os.path.join(self.home, "supervisord.conf")
        self.program = os.path.join(root, "tools", "bin", "supervisord")
        if len(self.socket) > 100:
            raise Refusal(
                "serving_root %s is too long: its socket's path has %d characters, the limit is 100; choose a shorter one"
                % (root, len(self.socket))
            )

    def unit_path(self, name: str) -> str:
        return os.path.join(self.home, "conf.d", name + ".conf")

    def unit_text(self, name: str, command: list[str], folder: str, spec: dict[str, Any]) -> str:
        lines = [
            "; Written by vllm-ansible. Changes are overwritten.",
            "[program:%s]" % name,
            "command=" + " ".join(command).replace("%", "%%"),
            "directory=" + folder.replace("%", "%%"),
            "autostart=true",
            "autorestart=true",
            "; A start counts as good after this time; the limit is for starts that end sooner.",
            "startsecs=%d" % max(300, spec["ready_timeout"]),
            "startretries=%d" % spec["restart_limit"],
            "stopsignal=TERM",
            "stopwaitsecs=%d" % (spec["drain_timeout"] + STOP_MARGIN),
            "stopasgroup=false",
            "killasgroup=true",
            "redirect_stderr=true",
            "stdout_logfile=" + self.log_path(name).replace("%", "%%"),
            "stdout_logfile_maxbytes=20MB",
            "stdout_logfile_backups=5",
        ]
        return "\n".join(lines) + "\n"

    def log_path(self, name: str) -> str:
        return os.path.join(self.logs, name + ".log")

    def log_place(self, name: str) -> str:
        return self.log_path(name)

    def log_tail(self, name: str, lines: int) -> list[str]:
        return tail_file(self.log_path(name), lines)

    def rpc(self) -> Any:
        return xmlrpc.client.ServerProxy("http://localhost/RPC2", transport=UnixTransport(self.socket)).supervisor

    def alive(self) -> bool:
        try:
            return bool(self.rpc().getState())
        except (OSError, http.client.HTTPException):
            return False
        except xmlrpc.client.Fault:  # it is ending, and answers so
            return True

    def ensure(self) -> None:
        """Start supervisord unless it runs."""
        if self.alive():
            return
        for folder in (self.home, os.path.dirname(self.unit_path("x")), self.logs):
            own_folder(folder)
        home = self.home.replace("%", "%%")
        lines = [
            "; Written by vllm-ansible.",
            "[supervisord]",
            "logfile=%s/supervisord.log" % home,
            "logfile_maxbytes=5MB",
            "logfile_backups=2",
            "pidfile=%s/supervisord.pid" % home,
            "childlogdir=%s" % home,
            "[unix_http_server]",
            "file=%s" % self.socket.replace("%", "%%"),
            "chmod=0700",
            "[rpcinterface:supervisor]",
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
            "[supervisorctl]",
            "serverurl=unix://%s" % self.socket.replace("%", "%%"),
            "[include]",
            "files=conf.d/*.conf",
        ]
        write_atomic(self.config, ("\n".join(lines) + "\n").encode())
        if not os.access(self.program, os.X_OK):
            raise Refusal("%s is missing; run deploy.yml --tags prepare" % self.program)
        env = {name: os.environ[name] for name in CLEAN if name in os.environ}
        done = subprocess.run(
            [self.program, "-c", self.config],
            env=env,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        until = time.monotonic() + 20
        while not self.alive():
            if done.returncode != 0 or time.monotonic() > until:
                raise Refusal(
                    "supervisord did not start: %s (log %s/supervisord.log)" % (done.stderr.strip()[-500:], self.home)
                )
            time.sleep(0.1)

    def apply(self, name: str) -> bool:
        """Make supervisord read its units; a changed one is stopped and started by it, which is returned, others are left alone."""
        self.ensure()
        added, changed, removed = self.rpc().reloadConfig()[0]
        for group in changed + removed:
            self.rpc().stopProcessGroup(group)
            self.rpc().removeProcessGroup(group)
        for group in added + changed:
            self.rpc().addProcessGroup(group)
        return name in added + changed

    def state(self, name: str) -> str:
        try:
            found = self.rpc().getProcessInfo(name)["statename"]
        except (OSError, http.client.HTTPException):
            return "stopped" if os.path.exists(self.unit_path(name)) else "absent"
        except xmlrpc.client.Fault:
            return "absent"
        return self.STATES.get(found, "stopped")

    def start(self, name: str) -> None:
        self.ensure()
        try:
            self.rpc().startProcess(name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise Refusal("supervisord does not start '%s': %s" % (name, fault.faultString)) from None

    def stop(self, name: str) -> None:
        try:
            self.rpc().stopProcess(name, False)
        except (OSError, xmlrpc.client.Fault):
            return  # neither supervisord nor the process is there
        while self.state(name) == "stopping":
            time.sleep(0.1)

    def remove(self, name: str) -> None:
        remove_tree(self.unit_path(name))
        if self.alive():
            self.apply(name)
        for path in glob.glob(glob.escape(self.log_path(name)) + "*"):
            os.unlink(path)
        if not glob.glob(os.path.join(glob.escape(os.path.dirname(self.unit_path(name))), "*.conf")):
            self.shutdown()

    def shutdown(self) -> None:
        """End supervisord: nothing is left for it to do."""
        if self.alive():
            self.rpc().shutdown()
            until = time.monotonic() + 30
            while self.alive() and time.monotonic() < until:
                time.sleep(0.1)


class Systemd:
    """A unit of the system's manager as root, of the user's own manager otherwise."""

    kind = "systemd"

    def __init__(self, root: str) -> None:
        self.root = root
        self.user = os.getuid() != 0
        if self.user:
            config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
            self.units = os.path.join(config, "systemd", "user")
        else:
            self.units = "/etc/systemd/system"

    def unit(self, name: str) -> str:
        return "vllm-%s.service" % name

    def unit_path(self, name: str) -> str:
        return os.path.join(self.units, self.unit(name))

    def unit_text(self, name: str, command: list[str], folder: str, spec: dict[str, Any]) -> str:
        # A container needs its engine, and the devices' CDI file, which a unit of NVIDIA's writes at boot.
        after = " docker.service nvidia-cdi-refresh.service" if spec.get("runtime") == "container" else ""
        lines = [
            "# Written by vllm-ansible. Changes are overwritten.",
            "[Unit]",
            "Description=LLM inference service %s" % name,
            "After=network-online.target" + after,
            "Wants=network-online.target" + (" docker.service" if after else ""),
            "StartLimitIntervalSec=3600",
            "StartLimitBurst=%d" % (spec["restart_limit"] + 1),
            "[Service]",
            "Type=exec",
            "ExecStart=" + " ".join('"%s"' % part.replace("%", "%%").replace('"', '\\"') for part in command),
            "WorkingDirectory=" + folder.replace("%", "%%"),
            "Restart=always",
            "RestartSec=5",
            "LimitNOFILE=65536",
            "KillMode=mixed",
            "TimeoutStopSec=%d" % (spec["drain_timeout"] + STOP_MARGIN),
            "[Install]",
            "WantedBy=" + ("default.target" if self.user else "multi-user.target"),
        ]
        return "\n".join(lines) + "\n"

    def systemctl(self, *words: str, check: bool = True) -> str:
        command = ["systemctl", *(["--user"] if self.user else []), *words]
        done = subprocess.run(command, env=systemd_environment(), capture_output=True, text=True, check=False)
        if check and done.returncode != 0:
            raise Refusal("%s failed: %s" % (" ".join(command), done.stderr.strip()[-500:]))
        return done.stdout

    def log_place(self, name: str) -> str:
        return "journalctl %s-u %s" % ("--user " if self.user else "", self.unit(name))

    def log_tail(self, name: str, lines: int) -> list[str]:
        command = [*self.log_place(name).split(), "-n", str(lines), "-o", "cat", "--no-pager"]
        done = subprocess.run(
            command, env=systemd_environment(), capture_output=True, text=True, errors="replace", check=False
        )
        return done.stdout.splitlines()[-lines:]

    def apply(self, name: str) -> bool:
        """Make systemd read its units; none is started by that."""
        self.systemctl("enable", "--quiet", self.unit(name))  # and this reads all units anew
        if self.user:  # services of a user end with the last session unless they may linger
            subprocess.run(["loginctl", "enable-linger"], capture_output=True, check=False)
        return False

    def state(self, name: str) -> str:
        if not os.path.exists(self.unit_path(name)):
            return "absent"
        show = self.systemctl("show", "-p", "ActiveState,SubState", self.unit(name), check=False)
        found = dict(line.split("=", 1) for line in show.splitlines() if "=" in line)
        if found.get("SubState") == "auto-restart":
            return "backoff"
        states = {"active": "running", "activating": "starting", "failed": "failed", "deactivating": "stopping"}
        return states.get(found.get("ActiveState", ""), "stopped")

    def start(self, name: str) -> None:
        self.systemctl("reset-failed", self.unit(name), check=False)  # an operator's start is no crash
        self.systemctl("start", self.unit(name))

    def stop(self, name: str) -> None:
        self.systemctl("stop", self.unit(name), check=False)
        self.systemctl("reset-failed", self.unit(name), check=False)

    def remove(self, name: str) -> None:
        self.systemctl("disable", "--quiet", self.unit(name), check=False)
        remove_tree(self.unit_path(name))
        self.systemctl("daemon-reload", check=False)


def systemd_environment() -> dict[str, str]:
    """The environment with the user manager's socket, which sudo and cron don't set."""
    env = dict(os.environ)
    env.setdefault("XDG_RUNTIME_DIR", "/run/user/%d" % os.getuid())
    return env


def systemd_usable() -> bool:
    """Is systemd PID 1, and does the manager that we would use answer?"""
    if not os.path.isdir("/run/systemd/system"):
        return False
    command = ["systemctl", *(["--user"] if os.getuid() else []), "show", "-p", "Version"]
    try:
        done = subprocess.run(command, env=systemd_environment(), capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def supervisor(root: str, wanted: str = "auto") -> Supervisor:
    """The owner of the services below `root`: `systemd`, `supervisord`, or `auto` for the one that fits the host."""
    if wanted == "auto":
        wanted = "systemd" if systemd_usable() else "supervisord"
    return Systemd(root) if wanted == "systemd" else Supervisord(root)
