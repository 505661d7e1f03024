"""deploy.yml on a host of the bed: systemd, ssh, an engine of its own, a registry and a hub outside; real FlagScale, real vLLM.

The tests run in the order in which they stand and share one host: an image takes minutes to make and a server half a minute to
start. Where no model is needed a small process in the same image answers instead of vLLM (tests/fixtures/stub_engine.py).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, ansible_environment
from test_local import wait_for

sys.path.insert(0, str(ROOT / "molecule/shared"))
import bed

NEEDS = ("dockerd", "docker", "mmdebstrap")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        not os.environ.get("CI") and (os.getuid() != 0 or not all(shutil.which(tool) for tool in NEEDS)),
        reason=f"needs root and {', '.join(NEEDS)}",
    ),
]
THREE = ["qwq-32b", "deepseek-r1-distill-qwen-32b", "qwen2.5-vl-32b-instruct"]


class Host:
    """One host of the bed in one inventory group, and ansible-playbook runs against it."""

    def __init__(self, scenario: str, name: str, folder: Path) -> None:
        self.name, self.group, self.inside = name, scenario, bed.container("host")
        variables = bed.connection("host")
        self.inventory = bed.inventory(scenario, {scenario: {name: variables}}, folder / scenario)
        self.reports = Path(f"{self.inventory}-reports")

    def start(self, playbook: str, *options: str, **values: Any) -> subprocess.Popen[str]:
        command = [
            "ansible-playbook",
            "-i",
            str(self.inventory),
            playbook,
            "-l",
            self.group,
            "-e",
            json.dumps(values),
            *options,
        ]
        return subprocess.Popen(
            command, cwd=ROOT, env=ansible_environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def run(self, playbook: str, *options: str, ok: bool = True, **values: Any) -> str:
        process = self.start(playbook, *options, **values)
        output, _ = process.communicate(timeout=900)
        assert "Traceback" not in output and "Skipping plugin" not in output, output
        assert (process.returncode == 0) is ok, output
        return output

    def changed(self, output: str) -> int:
        return int(re.findall(rf"{self.name} +: ok=\d+ +changed=(\d+)", output)[-1])

    def sh(self, command: str, ok: bool = True) -> str:
        return bed.docker("exec", self.inside, "sh", "-c", command, ok=ok)

    def status(self) -> str:
        return self.run("playbooks/status.yml")

    def until_ready(self, service: str, seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while not re.search(rf"{self.name} +{re.escape(service)} +ready ", status := self.status()):
            assert time.monotonic() < until, status
            time.sleep(2)


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    import engine

    with engine.engine(tmp_path_factory.mktemp("engine")):
        bed.remove("host")
        bed.bare("host", "h100")
        yield Host("h100", "gpu", tmp_path_factory.mktemp("bed"))
        bed.remove("host")


@pytest.fixture(scope="module")
def arm(gpu: Host) -> Host:
    """The same host as one without GPUs."""
    return Host("graviton4", "arm", gpu.inventory.parent)


@pytest.fixture(scope="module")
def npu(gpu: Host) -> Host:
    """The same host with two Atlas 300I Duo in its slots."""
    bed.npus("host")
    return Host("atlas300iduo", "npu", gpu.inventory.parent)


def flat(output: str) -> str:
    return " ".join(output.split())


def test_check_mode_on_a_bare_host_says_what_would_be_done(gpu: Host) -> None:
    output = gpu.run("deploy.yml", "--check", "--diff")
    assert gpu.changed(output) >= 4 and '"cdi": true' in output
    assert gpu.sh("ls -d /etc/docker /srv/vllm 2>/dev/null || true") == ""


@pytest.mark.parametrize(
    "words",
    [
        "Write daemon.json",
        "container_engine : Install it",
        "Make the tools environment",
        "gpu: flagrelease: pulling",
        "weights : Publish",
        "Release and run",
        "gpu: qwq-32b: ",
    ],
)
def test_killed_in_every_phase(gpu: Host, words: str) -> None:
    """kill -9 of the playbook; each next run starts from what the one before has left, and the last one must succeed."""
    process = gpu.start("deploy.yml")
    wait_for(process, words)
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert process.returncode != 0


def test_the_driver_is_installed_paired_and_held(gpu: Host) -> None:
    """What the killed runs have brought so far: one version of everything, held, loaded after a reboot, named by CDI."""
    gpu.run("deploy.yml", "--tags", "preflight,prepare")
    versions = dict(
        line.split() for line in gpu.sh("dpkg-query -W -f '${Package} ${Version}\\n' 'nvidia-*'").splitlines()
    )
    assert {versions[name] for name in versions if "toolkit" not in name} == {"580.159.04-1"} and len(versions) == 5
    assert set(gpu.sh("apt-mark showhold").split()) >= set(versions)
    assert gpu.sh("cat /sys/module/nvidia/version") == "580.159.04" and "install nouveau" not in gpu.sh(
        "cat /etc/modprobe.d/vllm-ansible-nouveau.conf"
    )
    assert "Before=docker.service" in gpu.sh("systemctl cat nvidia-cdi-refresh")
    assert gpu.sh("systemctl is-active nvidia-fabricmanager nvidia-persistenced").split() == ["active", "active"]
    assert gpu.changed(gpu.run("deploy.yml", "--tags", "preflight,prepare")) == 0


def test_the_next_run_serves_through_flagscale_and_proves_it(gpu: Host) -> None:
    output = gpu.run("deploy.yml")
    assert "qwq-32b is ready at http://127.0.0.1:9010/v1" in output and re.search(r"answered +172", output)
    assert "FlagGems  3 operators run: addmm, rms_norm, silu_and_mul" in output
    [row] = json.loads((gpu.reports / "gpu/report.json").read_text())["services"]
    assert row["engine"] == "flagscale" and row["runtime"] == "container" and row["counted"] is True
    assert row["flaggems"]["asked"] and row["supervisor"] == "systemd"
    pins = json.loads(Path(f"{gpu.inventory}-pins.json").read_text())["pins"]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", pins["images"][bed.IMAGE]) and pins["models"]["demo"]["modelscope"]
    processes = gpu.sh("docker top vllm-qwq-32b -o pid,args")
    assert "flagscale/serve/run_inference_engine.py" in processes and "vllm serve" in processes


def test_a_second_run_changes_nothing_pinned_or_not(gpu: Host) -> None:
    started = gpu.sh("docker inspect --format '{{.State.StartedAt}}' vllm-qwq-32b")
    assert gpu.changed(gpu.run("deploy.yml")) == 0
    assert gpu.changed(gpu.run("deploy.yml", "--check")) == 0
    assert gpu.changed(gpu.run("deploy.yml", "-e", f"@{gpu.inventory}-pins.json", require_pins=True)) == 0
    assert gpu.sh("docker inspect --format '{{.State.StartedAt}}' vllm-qwq-32b") == started


def test_the_container_has_the_least_rights_and_the_key_shows_nowhere(gpu: Host) -> None:
    about = json.loads(gpu.sh("docker inspect vllm-qwq-32b"))[0]
    host = about["HostConfig"]
    assert host["CapDrop"] == ["ALL"] and not host["CapAdd"] and host["ReadonlyRootfs"] and not host["Privileged"]
    assert host["SecurityOpt"] == ["no-new-privileges"] and host["IpcMode"] == "private" and host["ShmSize"] == 16 << 30
    assert host["PortBindings"] == {"9010/tcp": [{"HostIp": "127.0.0.1", "HostPort": "9010"}]}
    assert gpu.sh("docker exec vllm-qwq-32b sh -c 'ls /dev/nvidia*'").split() == ["/dev/nvidia0", "/dev/nvidiactl"]
    assert all(not m["RW"] for m in about["Mounts"] if m["Destination"] != "/cache")
    key = gpu.sh("cat /srv/vllm/services/qwq-32b/api_key")
    assert len(key) >= 32 and key not in json.dumps(about)
    assert key not in gpu.sh("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; journalctl --no-pager -u 'vllm-*'")
    assert key not in (gpu.reports / "gpu/report.json").read_text() + (gpu.reports / "gpu/report.html").read_text()
    asked = (
        "curl"
        if gpu.sh("command -v curl || true")
        else "python3 -c 'import urllib.request as u; u.urlopen(\"http://127.0.0.1:9010/v1/models\")'"
    )
    assert "401" in gpu.sh(f"{asked} 2>&1 || true")


LONG = """
import json, urllib.request
key = open('/srv/vllm/services/qwq-32b/api_key').readline().strip()
body = json.dumps({'model': 'qwq-32b-flagos', 'prompt': 'What is 127 + 45?', 'max_tokens': 480, 'ignore_eos': True}).encode()
headers = {'Authorization': 'Bearer ' + key, 'Content-Type': 'application/json'}
answer = json.load(urllib.request.urlopen(urllib.request.Request('http://127.0.0.1:9010/v1/completions', body, headers), timeout=120))
print(answer['usage']['completion_tokens'])
"""


RUNNING = """python3 -c "
import urllib.request
key = open('/srv/vllm/services/qwq-32b/api_key').readline().strip()
asked = urllib.request.Request('http://127.0.0.1:9010/metrics', headers={'Authorization': 'Bearer ' + key})
rows = urllib.request.urlopen(asked).read().decode().splitlines()
print(any(row.startswith('vllm:num_requests_running') and not row.endswith(' 0.0') for row in rows))"
"""


def test_a_restart_lets_the_request_in_flight_finish(gpu: Host) -> None:
    bed.put(gpu.inside, "/tmp/long.py", LONG)
    asking = subprocess.Popen(
        ["docker", "exec", gpu.inside, "python3", "/tmp/long.py"], stdout=subprocess.PIPE, text=True
    )
    until = time.monotonic() + 30
    while gpu.sh(RUNNING) != "True":
        assert asking.poll() is None and time.monotonic() < until
    began = time.monotonic()
    gpu.sh("systemctl stop vllm-qwq-32b")
    assert asking.communicate(timeout=60)[0].strip() == "480" and time.monotonic() - began < 60
    gpu.sh("systemctl start vllm-qwq-32b")
    gpu.until_ready("qwq-32b")


def test_it_comes_back_after_the_engine_restarts(gpu: Host) -> None:
    gpu.sh("systemctl restart docker")
    gpu.until_ready("qwq-32b")
    assert gpu.sh("docker ps --format '{{.Names}}'").split() == ["vllm-qwq-32b"]


def test_it_comes_back_after_a_reboot(gpu: Host) -> None:
    """The caches lie on the host: compiled files of before are there after."""
    bed.reboot("host")
    gpu.until_ready("qwq-32b")
    assert gpu.changed(gpu.run("deploy.yml")) == 0


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"elements": {"current_mig": "Enabled"}}, "GPU 0 is split into MIG slices"),
        ({"count": 7}, "8 NVIDIA GPUs are on the PCI bus and the driver lists 7"),
        (
            {"elements": {"remapped_row_pending": "Yes"}, "at": 1},
            "GPU 1 (00000000:11:00.0) has memory rows that wait to be remapped",
        ),
        (
            {"fails": "Unable to determine the device handle for GPU0000:18:00.0: Unknown Error", "code": 255},
            "nvidia-smi does not answer",
        ),
    ],
)
def test_a_gpu_in_trouble_stops_the_deploy_before_anything_is_done(
    gpu: Host, state: dict[str, Any], words: str
) -> None:
    bed.put(gpu.inside, "/etc/bed/nvidia.json", json.dumps(state))
    try:
        output = flat(gpu.run("deploy.yml", ok=False))
        assert words in output and "TASK [Make the host ready]" not in output, output
    finally:
        bed.put(gpu.inside, "/etc/bed/nvidia.json", "{}")


def test_a_driver_that_was_swapped_under_services_waits_for_the_operator(gpu: Host) -> None:
    """As after unattended upgrades: module and library on disk are newer than what is loaded; the service still runs."""
    for name in ("module", "library"):
        bed.put(gpu.inside, f"/etc/bed/{name}-version", "580.173.02\n")
    try:
        output = flat(gpu.run("deploy.yml", ok=False))
        assert (
            "loaded module 580.159.04, module on disk 580.173.02" in output
            and "qwq-32b serve on it: stop them first" in output
        )
        assert re.search(r"gpu +qwq-32b +ready ", gpu.status())
    finally:
        for name in ("module", "library"):
            bed.put(gpu.inside, f"/etc/bed/{name}-version", "580.159.04\n")


def test_flaggems_that_is_asked_for_and_not_active_is_a_failure(gpu: Host) -> None:
    row = {**json.loads(json.dumps(overrides(gpu)))["qwq-32b"], "env": {"FLAGOS_STAND_IN": "off"}}
    output = flat(gpu.run("deploy.yml", ok=False, overrides={"qwq-32b": row}))
    assert "FlagGems is asked for and not active" in output and "build_image.yml" in output


def overrides(host: Host) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load((ROOT / f"molecule/{host.group}/host_vars/{host.name}.yml").read_text())[
        "overrides"
    ]
    return found


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("crash", ["its process ended with code", "the engine does not know an option"]),
        ("dies", ["its process ended with code"]),
        ("hangs", ["no token within"]),
        ("garbage", ["over and over: damaged weights"]),
    ],
)
def test_an_engine_in_trouble_is_told_with_its_cause(gpu: Host, mode: str, words: list[str]) -> None:
    began = time.monotonic()
    output = flat(
        gpu.run(
            "deploy.yml", "--tags", "serve,verify", ok=False, overrides={"qwq-32b": bed.stub(mode)}, probe_timeout=8
        )
    )
    assert "is not ready" in output and "gpu is NOT" not in output
    for word in words:
        assert word in output, output
    assert time.monotonic() - began < 300  # with the way back to the release that answered


def test_a_taken_port_is_named_before_anything_is_done(gpu: Host) -> None:
    gpu.run("playbooks/uninstall.yml", "-e", "keep_models=true", service="qwq-32b")
    holder = "import socket,time; s=socket.socket(); s.bind(('127.0.0.1',9010)); s.listen(); time.sleep(60)"
    subprocess.run(["docker", "exec", "--detach", gpu.inside, "python3", "-c", holder], check=True)
    time.sleep(1)
    output = flat(gpu.run("deploy.yml", ok=False))
    assert "port 9010 is taken by process" in output and "TASK [serve" not in output
    gpu.sh("pkill -f '[9]010'")


def test_three_services_share_the_host_without_overlap(gpu: Host) -> None:
    rows = {name: bed.stub("good", 9010 + i, mounts=[]) for i, name in enumerate(THREE)}
    values = {"runs": THREE, "overrides": rows}
    gpu.run("deploy.yml", **values)
    seen = [gpu.sh(f"docker exec vllm-{name} sh -c 'ls /dev/nvidia[0-9]'") for name in THREE]
    assert seen == ["/dev/nvidia0", "/dev/nvidia1", "/dev/nvidia2"]
    proofs = json.loads((gpu.reports / "gpu/report.json").read_text())["devices"]
    assert {name: (row["verdict"], row["devices"]) for name, row in proofs.items()} == {
        name: ("proven", [f"GPU-00000000-0000-0000-0000-{i:012d}"]) for i, name in enumerate(THREE)
    }, proofs
    assert gpu.changed(gpu.run("deploy.yml", **values)) == 0
    one = gpu.run("deploy.yml", runs=THREE[1:2], overrides=rows)
    assert f"{THREE[1]} is ready" in one and f"{THREE[0]} is ready" not in one
    assert len(re.findall(r"gpu +\S+ +ready ", gpu.run("playbooks/status.yml", **values))) == 3
    for name in THREE:
        gpu.run("playbooks/uninstall.yml", "-e", "keep_models=true", service=name)
    assert gpu.sh("docker ps -aq") == ""


def test_an_image_comes_through_the_controller(gpu: Host, tmp_path: Path) -> None:
    """No registry has it, and the host has no file: the controller's is taken once, served, loaded and removed."""
    import engine

    name = "registry.nowhere.example/team/relayed:1"
    said = subprocess.run(
        ["docker", "import", "-", name], input=engine.tiny("relayed"), check=True, capture_output=True
    )
    ident = said.stdout.decode().strip()
    bed.docker("save", "--output", str(tmp_path / "image.tar"), name)
    bed.docker("rmi", name)
    gateway = gpu.sh("ip -4 route show default | cut -d' ' -f3").strip()
    address = gpu.sh(f"ip -4 route get {gateway} | grep -oP 'src \\K\\S+'").strip()
    values = {
        "image_relay": str(tmp_path / "relay"),
        "image_archives": {name: {"path": str(tmp_path / "image.tar"), "id": ident}},
        "weights_relay_address": gateway,
        "weights_peer_address": address,
        "overrides": {"qwq-32b": bed.stub("good", image=name)},
    }
    output = gpu.run("deploy.yml", "--tags", "prepare,fetch", **values)
    assert "Save on the controller what some host lacks" in output
    assert gpu.sh(f"docker image inspect --format '{{{{.Id}}}}' {name}") == ident
    assert gpu.sh("ls /srv/vllm/archives; ls /srv/vllm/peers/server.json 2>&1 || true").startswith("ls: cannot access")
    assert not list((tmp_path / "relay/.peers").glob("server.*id"))
    again = gpu.run("deploy.yml", "--tags", "prepare,fetch", **values)
    assert gpu.changed(again) == 0 and "Bring the archives" not in again
    gpu.sh(f"docker rmi {name}")


# -- upgrade and rollback: the small process in the row's container ----------------------------------------------------------


@pytest.fixture(scope="module")
def served(gpu: Host) -> Host:
    """One service that answers, by deploy.yml."""
    gpu.run("deploy.yml", overrides={"qwq-32b": bed.stub("good")})
    return gpu


def release(host: Host) -> str:
    return host.sh("basename $(readlink /srv/vllm/services/qwq-32b/current)")


def row(mode: str = "good", **more: Any) -> dict[str, Any]:
    return {"overrides": {"qwq-32b": bed.stub(mode, **more)}, "probe_timeout": 8}


def test_an_upgrade_swaps_and_a_rollback_returns_and_returns_again(served: Host) -> None:
    old = release(served)
    output = served.run("playbooks/upgrade.yml", **row(drain_timeout=3))
    new = release(served)
    assert new != old and "qwq-32b is ready at" in output
    assert served.changed(served.run("playbooks/upgrade.yml", **row(drain_timeout=3))) == 0
    output = flat(
        served.run("playbooks/rollback.yml", service="qwq-32b", services={})
    )  # the tables may be broken meanwhile
    assert f"serves release {old} again (before: {new})" in output and release(served) == old
    served.run("playbooks/rollback.yml", service="qwq-32b")
    assert release(served) == new and re.search(r"gpu +qwq-32b +ready ", served.status())


def test_stop_start_restart_and_a_bundle_for_whoever_helps(served: Host) -> None:
    served.run("playbooks/stop.yml", service="all")
    assert served.sh("docker ps -q") == "" and re.search(r"gpu +qwq-32b +stopped ", served.status())
    assert "qwq-32b is ready" in served.run("playbooks/start.yml", service="qwq-32b")
    before = served.sh("docker inspect --format '{{.Id}}' vllm-qwq-32b")
    assert "qwq-32b is ready" in served.run("playbooks/restart.yml", service="all")
    assert served.sh("docker inspect --format '{{.Id}}' vllm-qwq-32b") != before
    served.run("playbooks/support_bundle.yml")
    [path] = (served.reports / "support").iterdir()
    with tarfile.open(path) as archive:
        texts = {name.partition("/")[2]: archive.extractfile(name).read().decode() for name in archive.getnames()}  # type: ignore[union-attr]
    assert "NVIDIA H100" in texts["chips.json"] and "vllm-qwq-32b" in texts["tools/docker-ps-all.txt"]
    assert "foreground: starting release" in texts["services/qwq-32b/log.txt"]
    key = served.sh("cat /srv/vllm/services/qwq-32b/api_key")
    assert not any(key in text for text in texts.values())


@pytest.mark.parametrize(
    ("change", "words", "swapped"),
    [
        ({"image": bed.IMAGE.replace(":bed", ":missing")}, "can't be had", False),
        ({"mode": "crash"}, "the engine does not know an option", True),
        ({"mode": "garbage"}, "over and over: damaged weights", True),
    ],
)
def test_an_upgrade_that_fails_leaves_the_service_as_it_was(
    served: Host, change: dict[str, Any], words: str, swapped: bool
) -> None:
    old = release(served)
    started = served.sh("docker inspect --format '{{.State.StartedAt}}' vllm-qwq-32b")
    output = flat(served.run("playbooks/upgrade.yml", ok=False, **row(**{"mode": "good", **change})))
    assert words in output and release(served) == old, output
    assert (f"Release {old} serves again and answered 172" in output) is swapped
    assert (served.sh("docker inspect --format '{{.State.StartedAt}}' vllm-qwq-32b") == started) is not swapped
    assert re.search(r"gpu +qwq-32b +ready ", served.status())


def test_an_upgrade_that_is_killed_after_the_swap_is_mended_by_the_next(served: Host) -> None:
    """Killed while the bad release starts; another bad one is tried next; what comes back is what has answered."""
    old = release(served)
    process = served.start("playbooks/upgrade.yml", **row("hangs"))
    wait_for(process, "Release and run")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert release(served) != old
    output = flat(served.run("playbooks/upgrade.yml", ok=False, **row("dies")))
    assert f"Release {old} serves again" in output and release(served) == old


def test_a_host_that_reboots_during_an_upgrade(served: Host) -> None:
    process = served.start("playbooks/upgrade.yml", **row(drain_timeout=4))
    wait_for(process, "Release and run")
    bed.reboot("host", power_cut=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    served.until_ready("qwq-32b")  # by itself, though Docker still holds the port of before (moby issue 25981)
    served.run("playbooks/upgrade.yml", **row(drain_timeout=4))
    assert re.search(r"gpu +qwq-32b +ready ", served.status())


def test_a_second_operator_is_told_by_whom_and_since_when(served: Host) -> None:
    process = served.start("playbooks/upgrade.yml", **row("hangs"))
    wait_for(process, "Release and run")
    output = flat(served.run("playbooks/rollback.yml", ok=False, service="qwq-32b"))
    assert re.search(
        r"another deploy is running on this host: \S+, from controller \S+ since \d{4}-\d\d-\d\d", output
    ), output
    process.communicate(timeout=300)
    assert process.returncode != 0 and re.search(r"gpu +qwq-32b +ready ", served.status())


def test_prune_takes_the_image_that_nothing_names(served: Host) -> None:
    """A second image is served, then left; it stays for a rollback, and goes when no kept release names it."""
    second = bed.IMAGE.replace(":bed", ":second")
    made = bed.docker("build", "--quiet", "-", text=f"FROM {bed.engine_image()}\nLABEL second=yes\n")
    bed.push(made, "second")
    images = "docker images --quiet --no-trunc | sort -u | wc -l"
    before = int(served.sh(images))
    served.run("playbooks/upgrade.yml", **row(image=second))
    assert int(served.sh(images)) == before + 1
    served.run("playbooks/upgrade.yml", **row(drain_timeout=5))
    served.run("playbooks/prune.yml", keep_releases=2)
    assert int(served.sh(images)) == before + 1  # the rollback's
    served.run("playbooks/upgrade.yml", **row(drain_timeout=6))
    output = flat(served.run("playbooks/prune.yml", keep_releases=2))
    assert "image registry.bed:5000/flagrelease/flagrelease:second" in output and int(served.sh(images)) == before
    assert served.changed(served.run("playbooks/prune.yml", keep_releases=2)) == 0
    assert re.search(r"gpu +qwq-32b +ready ", served.status())
    served.run("playbooks/uninstall.yml", "-e", "keep_models=true", service="qwq-32b")


def test_graviton4_serves_with_a_memory_limit(arm: Host) -> None:
    output = arm.run("deploy.yml")
    assert "qwen2-7b-instruct is ready at http://127.0.0.1:8000/v1" in output
    limit = int(arm.sh("docker inspect --format '{{.HostConfig.Memory}}' vllm-qwen2-7b-instruct"))
    assert limit == 2_911_000 + 268_435_456 + 2_500_000_000
    assert arm.sh("docker inspect --format '{{.HostConfig.DeviceRequests}}' vllm-qwen2-7b-instruct") in (
        "[]",
        "<no value>",
    )
    assert arm.changed(arm.run("deploy.yml")) == 0


def test_a_service_that_outgrows_its_memory_is_killed_and_told(arm: Host) -> None:
    row = {**overrides(arm)["qwen2-7b-instruct"], "overhead_bytes": 1_000_000}
    output = flat(arm.run("deploy.yml", "--tags", "serve,verify", ok=False, overrides={"qwen2-7b-instruct": row}))
    assert "the kernel killed the engine (SIGKILL) for lack of memory" in output, output


PYTHON39 = """
set -e
echo 'deb http://deb.debian.org/debian bullseye main' > /etc/apt/sources.list.d/bullseye.list
apt-get -qq update
apt-get -qq install --yes --no-install-recommends python3.9-minimal libpython3.9-stdlib >/dev/null
rm /etc/apt/sources.list.d/bullseye.list
"""


def test_a_host_whose_own_python_is_3_9(arm: Host) -> None:
    """As on Rocky 9: modules run on 3.9, the tools environment on a newer one that is there, and without one it is said."""
    arm.sh(PYTHON39)
    # Another port: the service of the test before is started again and again, and holds its own now and then.
    row = {**overrides(arm)["qwen2-7b-instruct"], "port": 8001}
    values = {
        "ansible_python_interpreter": "/usr/bin/python3.9",
        "serving_root": "/srv/other",
        "overrides": {"qwen2-7b-instruct": row},
    }
    output = arm.run("deploy.yml", "--tags", "preflight,prepare", **values)
    assert "Make the tools environment" in output
    assert arm.sh("/srv/other/tools/bin/python --version").startswith("Python 3.11")
    assert arm.changed(arm.run("deploy.yml", "--tags", "preflight,prepare", **values)) == 0
    arm.sh("rm -rf /srv/other")
    output = flat(
        arm.run("deploy.yml", "--tags", "preflight,prepare", ok=False, tools_python="/usr/bin/python3.9", **values)
    )
    assert "/usr/bin/python3.9 is Python 3.9" in output and "tools_python" in output, output
    arm.sh("rm -rf /srv/other")


def test_uninstall_leaves_no_container_and_no_unit(arm: Host) -> None:
    arm.run("playbooks/uninstall.yml", service="qwen2-7b-instruct")
    assert arm.sh("docker ps -aq; ls /etc/systemd/system/ | grep vllm- || true; ls /srv/vllm 2>/dev/null || true") == ""


def installed(host: Host) -> list[str]:
    return re.findall(r"^Version=(.*)$", host.sh("cat /usr/local/Ascend/*/version.info 2>/dev/null || true"), re.M)


def test_atlas_check_mode_on_a_host_without_driver(npu: Host) -> None:
    output = npu.run("deploy.yml", "--check", "--diff")
    assert "driver 25.2.0" in output and "firmware 7.7.0.6.236" in output
    assert installed(npu) == [] and npu.sh("getent passwd HwHiAiUser || true") == ""


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        ("fail", "install gcc, make, dkms and the headers of the running kernel"),
        ("lie", "version.info says nothing instead of 25.2.0"),
    ],
)
def test_atlas_an_installer_that_fails(npu: Host, trouble: str, words: str) -> None:
    bed.put(npu.inside, "/etc/bed/ascend", trouble)
    output = flat(npu.run("deploy.yml", "--tags", "preflight,prepare", ok=False))
    assert words in output and "item=firmware" not in output.split("Run the installers")[1]
    assert installed(npu) == []


def test_atlas_power_cut_while_an_installer_runs(npu: Host) -> None:
    bed.put(npu.inside, "/etc/bed/ascend", "slow")
    process = npu.start("deploy.yml", "--tags", "preflight,prepare")
    wait_for(process, "Copy the packages")
    until = time.monotonic() + 60
    while "sleep 600" not in npu.sh("ps axo args"):
        assert time.monotonic() < until
        time.sleep(0.5)
    time.sleep(1)
    bed.reboot("host", power_cut=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert installed(npu) == [] and npu.sh("test -e /etc/ascend_install.info && echo there") == "there"
    bed.put(npu.inside, "/etc/bed/ascend", "")


def test_atlas_from_no_driver_to_an_answer(npu: Host) -> None:
    """Driver, firmware, reboot, fp16 weights, the document's command line, four chips; the server is a CPU's."""
    output = npu.run("deploy.yml")
    assert "qwq-32b-atlas is ready at http://127.0.0.1:8000/v1" in output and re.search(r"answered +172", output)
    assert output.index("(item=driver)") < output.index("(item=firmware)")
    assert installed(npu) == ["25.2.0", "7.7.0.6.236"]
    assert set(npu.sh("apt-mark showhold").split()) >= {f"linux-headers-{os.uname().release}"}
    about = json.loads(npu.sh("docker inspect vllm-qwq-32b-atlas"))[0]["HostConfig"]
    nodes = {row["PathOnHost"] for row in about["Devices"]}
    assert nodes == {f"/dev/davinci{i}" for i in range(4)} | {"/dev/davinci_manager", "/dev/devmm_svm", "/dev/hisi_hdc"}
    assert not about["Privileged"] and about["CapDrop"] == ["ALL"]
    command = npu.sh("docker top vllm-qwq-32b-atlas -o pid,args")
    assert "vllm_mindspore.entrypoints vllm.entrypoints.openai.api_server --model=/models/demo" in command
    assert npu.changed(npu.run("deploy.yml")) == 0


def test_atlas_a_server_that_ends_with_0_is_started_again(npu: Host) -> None:
    """The entry point loses its child's exit code; the supervisor does not care."""
    before = npu.sh("docker inspect --format '{{.State.StartedAt}}' vllm-qwq-32b-atlas")
    npu.sh("docker exec vllm-qwq-32b-atlas pkill -KILL -f '[k]v-cache-memory-bytes'")
    npu.until_ready("qwq-32b-atlas")
    assert npu.sh("docker inspect --format '{{.State.StartedAt}}' vllm-qwq-32b-atlas") != before


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("| 1       1                     | 0000:01:00.0    | 0            1322 / 43693", None, "4 chips are on the PCI bus and npu-smi lists 3"),
        ("| 32      310P3                 | OK   ", "| 32      310P3                 | Alarm", "NPU 32 chip 0 (davinci2) is in health Alarm"),
        (" / 44278", " / 21527", "raise tensor_parallel_size, or lower max_model_len"),
    ],
)  # fmt: skip
def test_atlas_chips_in_trouble_stop_the_deploy_before_anything_is_done(
    npu: Host, old: str, new: str | None, words: str
) -> None:
    table = bed.npu_table(4)
    lines = table.splitlines()
    at = next(i for i, line in enumerate(lines) if old in line)
    if new is None:
        del lines[at - 1 : at + 1]
    bed.put(npu.inside, "/etc/bed/npu-smi.txt", "\n".join(lines) + "\n" if new is None else table.replace(old, new))
    values = {"models": big(npu)} if "21527" in (new or "") else {}
    try:
        output = flat(npu.run("deploy.yml", "--tags", "preflight,prepare", ok=False, **values))
        assert words in output and "TASK [Make the host ready]" not in output, output
    finally:
        bed.put(npu.inside, "/etc/bed/npu-smi.txt", table)


def big(host: Host) -> dict[str, Any]:
    """The site's rows with a demo that says it is as large as QwQ-32B."""
    import yaml

    row = yaml.safe_load((ROOT / "catalogue/models.yml").read_text())["catalogue_models"]["qwq-32b"]
    return {"demo": {**row, "sources": {**row["sources"], "directory": None}, "check": {}}}


def test_atlas_a_chip_that_another_container_holds(npu: Host) -> None:
    npu.run("playbooks/uninstall.yml", "-e", "keep_models=true", service="qwq-32b-atlas")
    image = npu.sh("docker images --quiet --no-trunc").splitlines()[0]
    npu.sh(f"docker run --detach --rm --name foreign --device /dev/davinci1 {image} sleep 300")
    output = flat(npu.run("deploy.yml", "--tags", "preflight,prepare", ok=False))
    assert "its chip" not in output and "/dev/davinci1 is held by container foreign" in output
    npu.sh("docker rm --force foreign")


def test_atlas_an_upgrade_takes_the_firmware_first(npu: Host) -> None:
    folder = ROOT / "build/bed/ascend"
    digest = hashlib.sha256((ROOT / "molecule/shared/fakes/ascend.run").read_bytes()).hexdigest()
    packages = {
        "driver": {"path": str(folder / "Ascend-hdk-310p-npu-driver_25.5.1_linux-x86-64.run"), "sha256": digest},
        "firmware": {"path": str(folder / "Ascend-hdk-310p-npu-firmware_7.8.0.6.201.run"), "sha256": digest},
    }
    tags = ("deploy.yml", "--tags", "preflight,prepare")
    npu.run(*tags)
    npu.run(*tags, ascend_packages=packages)
    assert installed(npu) == ["25.2.0", "7.7.0.6.236"]  # an installed pair stays
    assert npu.changed(npu.run(*tags, ascend_packages=packages)) == 0
    output = npu.run(*tags, ascend_packages=packages, upgrade_driver=True)
    assert output.index("(item=firmware)") < output.index("(item=driver)") and "Reboot and wait" in output
    assert installed(npu) == ["25.5.1", "7.8.0.6.201"]
    assert npu.changed(npu.run(*tags, ascend_packages=packages, upgrade_driver=True)) == 0
