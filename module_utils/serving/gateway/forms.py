"""The two forms of the gateway's HAProxy: a program of this host, or a container of an image. Which one it is, `choose` says.

Both read the same files at the same paths and make the same sockets, so whoever asks HAProxy need not know its form.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable
from typing import Any, NamedTuple

from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.files import digest, remove_tree
from ansible.module_utils.serving.gateway import runtime
from ansible.module_utils.serving.gateway.units import SPEC
from ansible.module_utils.serving.host.system import numbers, run_tool
from ansible.module_utils.serving.service.supervisors import read_text

START = "start"  # what the supervisor runs in a container's form: a file of the gateway's folder
LABEL = "vllm-ansible.gateway"
# Whom HAProxy's workers run as in a container that root starts: a number that neither distributions nor systemd give to anybody.
NOBODY = 61099
SPARE_FILES = 4096  # open files beside two for each connection: checks of backends, threads, listeners
PACKAGES_SECONDS = 300  # dnf may fetch its lists first


# Which form


class Found(NamedTuple):
    """What decides the form on a host."""

    wanted: str  # auto, package or container
    there: str  # the version of HAProxy that the host has; empty where it has none
    offered: (
        str  # the version that its package manager would install; empty where that decides nothing, or it knows none
    )
    family: str | None  # of its package manager
    root: bool  # may packages be installed?
    kept: bool  # a container that runs, or is to, while nobody asks for something else


def offered(family: str | None) -> str:
    """The version of haproxy that the package manager would install; empty where it knows none."""
    if family == "apt":
        text = run_tool(["apt-cache", "policy", "haproxy"])[1]
        found = re.findall(r"^\s*Candidate: (\S*\d\S*)", text, re.M)
    elif family == "dnf":
        text = run_tool(["dnf", "-q", "info", "haproxy"], PACKAGES_SECONDS)[1]
        found = re.findall(r"^Version\s*: (\S+)", text, re.M)
    else:
        found = []
    return max(found, key=numbers, default="")


def engine_problem() -> str:
    """Why no container of ours can run here; empty where one can."""
    code, out, error = run_tool(["docker", "info", "--format", "{{.ServerVersion}} {{.SecurityOptions}}"])
    version, _, options = out.strip().partition(" ")
    if code != 0 or not version:
        return "no container engine answers (%s)" % (" ".join(error.split())[:200] or "docker info says nothing")
    if "name=rootless" in options:
        return "its container engine is rootless, so a container can't have the host's network"
    return ""


def choose(wanted: str, program: str, there: str, folder: str, family: str | None, root: bool) -> dict[str, Any]:
    """{runtime, offered, unlisted, problem}: the form that the gateway has on this host, and why that can't be.

    `wanted`: auto, package or container. `there`: the version of `program`, empty where it is missing. `offered` is asked for only where it decides.
    A container stays one while nobody asks for something else: another form cuts streams.
    """
    kept = wanted == "auto" and os.path.exists(os.path.join(folder, START))
    asked = wanted != "container" and program == "haproxy" and not there and not kept
    version = offered(family) if asked else ""
    enough = numbers(there)[:2] >= runtime.LEAST or (root and numbers(version)[:2] >= runtime.LEAST)
    package = wanted == "package" or (wanted == "auto" and (program != "haproxy" or (enough and not kept)))
    form = "package" if package else "container"
    return {
        "runtime": form,
        "offered": version,
        "unlisted": asked and not version and family == "apt",
        "problem": problem_of(form, Found(wanted, there, version, family, root, kept and not package)),
    }


def problem_of(form: str, found: Found) -> str:
    """Why HAProxy can't have this form here, with the remedy; empty where it can."""
    offers = bool(found.offered) and numbers(found.offered)[:2] >= runtime.LEAST
    if form == "package":
        if found.offered and not offers:
            return (
                "this host's distribution offers HAProxy %s, but the gateway needs 2.6 or later; set gateway_runtime to auto, "
                "which runs it in a container, or install a later one and say in gateway_haproxy where it lies"
                % found.offered
            )
        return ""
    engine = engine_problem()
    if not engine:
        return ""
    if found.kept:
        return (
            "the gateway runs in a container on this host, but %s; start Docker, or take HAProxy of this host: gateway_runtime=package"
            % engine
        )
    least = "haproxy 2.6 or later"
    why = "gateway_runtime is container"
    if found.wanted == "auto":
        offer = ", and %s" % (
            "its distribution offers %s" % found.offered
            if found.offered
            else "its distribution is not known to offer one"
        )
        why = "this host has %s" % ("HAProxy %s" % found.there if found.there else "no haproxy" + offer)
    install = {"apt": "apt-get install haproxy", "dnf": "dnf install haproxy"}.get(
        found.family or "", "install " + least
    )
    if found.wanted == "auto" and not found.root and offers:
        return "%s, user id %d may not install it, and %s; have root do it (%s), then run this again" % (
            why, os.getuid(), engine, install,
        )  # fmt: skip
    return "%s, but %s; start or install Docker, or install %s and say in gateway_haproxy where it lies" % (
        why, engine, least,
    )  # fmt: skip


# The forms


def name_of(folder: str) -> str:
    """The container's name: an engine is one for all users and gateways of a host."""
    return "vllm-gateway-%s" % digest(folder)[:8]


def running(folder: str, what: str) -> str:
    """Something of the container that runs for this gateway, as a template of Docker's; empty where none does.

    Raises Refusal where the engine doesn't say: what runs would be ended for it.
    """
    if not os.path.exists(os.path.join(folder, START)):
        return ""
    shape = "{{if .State.Running}}{{%s}}{{end}}" % what
    code, out, error = run_tool(["docker", "container", "inspect", "--format", shape, name_of(folder)])
    if code != 0 and not re.search(r"no such container|is not installed", error, re.I):
        raise Refusal(
            "the container engine doesn't say whether the gateway's container runs (%s); look at docker info, then run this again"
            % " ".join(error.split())[:300]
        )
    return str(out.strip())


def runs_as(folder: str) -> str:
    """Its label: what it is made of."""
    return running(folder, 'index .Config.Labels "%s"' % LABEL)


def end_container(folder: str) -> None:
    """End what its supervisor no longer owns."""
    if os.path.exists(os.path.join(folder, START)):
        run_tool(["docker", "rm", "--force", name_of(folder)], runtime.ENGINE_SECONDS)


def image_of(folder: str) -> str:
    """The id of the image in which this gateway's HAProxy runs, or starts again once it is stopped; empty where no image is needed."""
    found = re.search(r"\bsha256:[0-9a-f]{64}\b", read_text(os.path.join(folder, START)))
    return found.group() if found else ""


class Program:
    """HAProxy of this host."""

    spec = SPEC

    def __init__(self, program: str, folder: str) -> None:
        self.program = self.named = program
        self.folder = folder

    def version(self) -> str:
        return str(runtime.version([self.program], self.program))

    def check(self, config: str) -> None:
        runtime.check([self.program], config)

    def files(self) -> dict[str, str]:
        return {}

    def command(self) -> list[str]:
        """What the supervisor runs."""
        return [
            *runtime.started_as(self.program),
            *arguments(self.folder),
            "-p",
            os.path.join(self.folder, "haproxy.pid"),
        ]

    def replaces(self) -> str:
        """What runs in this one's place, in words; empty where nothing does."""
        return "its container" if runs_as(self.folder) else ""

    def settled(self) -> None:
        """It runs: nothing of the other form is needed."""
        remove_tree(os.path.join(self.folder, START))


class Container:
    """HAProxy of an image, in the foreground of `docker run`, as its supervisor wants it.

    It has the host's network and the gateway's folder, and nothing else: a read-only root, no new privileges. Where root starts it, the master
    process is root without any capability but to drop to NOBODY and to signal who runs as that one; else it is the user who starts it.
    """

    spec = {**SPEC, "runtime": "container"}

    def __init__(self, image: str, folder: str, ports: Iterable[int], connections: int) -> None:
        self.image = self.named = image  # empty in check mode alone, where it is not there yet
        self.folder = folder
        self.low = any(0 < port < 1024 for port in ports)
        # A power of two: a few connections more are no other container, whose start would cut streams.
        self.files_open = 1 << (2 * connections + SPARE_FILES - 1).bit_length()

    def options(self) -> list[str]:
        """Of `docker run`, for HAProxy and for its own check of a configuration."""
        rights = [] if os.getuid() else ["SETUID", "SETGID", "KILL", *(["NET_BIND_SERVICE"] if self.low else [])]
        return [
            "--pull=never", "--network=host", "--userns=host", "--ipc=private", "--read-only", "--cap-drop=ALL",
            *("--cap-add=%s" % right for right in rights), "--security-opt=no-new-privileges", "--user=%d:%d" % (os.getuid(), os.getgid()),
            "--volume=%s:%s:z" % (self.folder, self.folder),  # z: SELinux lets it, and changes nothing elsewhere
            *(["--volume=/etc/localtime:/etc/localtime:ro"] if os.path.exists("/etc/localtime") else []),  # the access log's hours
            "--ulimit=nofile=%d:%d" % (self.files_open, self.files_open), "--entrypoint=haproxy",
        ]  # fmt: skip

    def version(self) -> str:
        command = [
            "docker",
            "run",
            "--rm",
            "--pull=never",
            "--network=none",
            "--log-driver=none",
            "--entrypoint=haproxy",
            self.image,
        ]
        return str(runtime.version(command, "haproxy of image %s" % self.image[:19]))

    def check(self, config: str) -> None:
        runtime.check(["docker", "run", "--rm", "--log-driver=none", *self.options(), self.image], config)

    def number(self) -> str:
        """Of what runs: another one is another container."""
        return str(digest([self.image, self.options(), arguments(self.folder)])[:12])

    def files(self) -> dict[str, str]:
        run = ["docker", "run", "--rm", "--name=" + name_of(self.folder), "--label=%s=%s" % (LABEL, self.number()), "--log-driver=none",
               "--stop-signal=SIGTERM", *self.options(), self.image, *arguments(self.folder)]  # fmt: skip
        lines = [
            "#!/bin/sh",
            "# The gateway's HAProxy: its container in the foreground. Written by vllm-ansible; changes are overwritten.",
            "# A Docker that was restarted may have left it running (live-restore), and its streams with it.",
            "shape='{{if .State.Running}}{{index .Config.Labels \"%s\"}}{{end}}'" % LABEL,
            'if [ "$(docker container inspect --format "$shape" %s 2>/dev/null)" = %s ]; then' % (name_of(self.folder), self.number()),
            "  exec docker attach --no-stdin %s" % name_of(self.folder),
            "fi",
            "docker rm --force %s >/dev/null 2>&1" % name_of(self.folder),
            "exec " + " \\\n  ".join(shlex.quote(word) for word in run),
        ]  # fmt: skip
        return {START: "\n".join(lines) + "\n"}

    def command(self) -> list[str]:
        return ["/bin/sh", os.path.join(self.folder, START)]

    def replaces(self) -> str:
        runs = runs_as(self.folder)
        if runs == self.number():
            return ""
        return "a container of other options or of another image" if runs else "HAProxy of this host"

    def settled(self) -> None:
        remove_tree(os.path.join(self.folder, "haproxy.pid"))  # of this host's HAProxy, which ended


def arguments(folder: str) -> list[str]:
    """HAProxy's own, in either form."""
    return ["-W", "-S", os.path.join(folder, "master.sock"), "-f", os.path.join(folder, "haproxy.cfg")]


def form_of(given: dict[str, Any]) -> Program | Container:
    """The form that the options of module `gateway` ask for. A container that runs keeps its image unless `replace` says otherwise."""
    if given["runtime"] == "container":
        image = ("" if given["replace"] else running(given["folder"], ".Image")) or given["image"]
        return Container(image, given["folder"], map(int, given["ports"].values()), given["connections"])
    return Program(given["haproxy"], given["folder"])
