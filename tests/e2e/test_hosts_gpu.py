"""deploy.yml on a test host with eight GPUs: systemd, ssh, an engine of its own, a registry and a hub outside; real FlagScale, real vLLM.

Where no model is needed a small process in the same image answers instead of vLLM (tests/fixtures/stub_engine.py).
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import engine
import pytest
import testhosts
from runner import Host, flat, wait_for

THREE = ["qwq-32b", "deepseek-r1-distill-qwen-32b", "qwen2.5-vl-32b-instruct"]


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
    assert (
        re.fullmatch(r"sha256:[0-9a-f]{64}", pins["images"][testhosts.IMAGE]) and pins["models"]["demo"]["modelscope"]
    )
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


# Stops the service as soon as it works on the request: a fast machine is done in two seconds.
LONG = """
import json, subprocess, threading, urllib.request
key = open('/srv/vllm/services/qwq-32b/api_key').readline().strip()
headers = {'Authorization': 'Bearer ' + key, 'Content-Type': 'application/json'}
body = json.dumps({'model': 'qwq-32b-flagos', 'prompt': 'What is 127 + 45?', 'max_tokens': 480, 'ignore_eos': True, 'n': 2}).encode()

def ask(path, body=None):
    return urllib.request.urlopen(urllib.request.Request('http://127.0.0.1:9010' + path, body, headers), timeout=120).read().decode()

answers, running = [], False
asking = threading.Thread(target=lambda: answers.append(json.loads(ask('/v1/completions', body))['usage']['completion_tokens']))
asking.start()
while asking.is_alive() and not running:
    rows = ask('/metrics').splitlines()
    running = any(row.startswith('vllm:num_requests_running') and not row.endswith(' 0.0') for row in rows)
subprocess.run(['systemctl', 'stop', 'vllm-qwq-32b'], check=True)
asking.join()
print(running, *answers)
"""


def test_a_restart_lets_the_request_in_flight_finish(gpu: Host) -> None:
    testhosts.put(gpu.inside, "/root/long.py", LONG)
    began = time.monotonic()
    try:
        assert gpu.sh("python3 /root/long.py") == f"True {2 * 480}" and time.monotonic() - began < 120
    finally:  # the next ones ask it
        gpu.sh("systemctl start vllm-qwq-32b")
        gpu.until_ready("qwq-32b")


def test_it_comes_back_after_the_engine_restarts(gpu: Host) -> None:
    gpu.sh("systemctl restart docker")
    gpu.until_ready("qwq-32b")
    assert gpu.sh("docker ps --format '{{.Names}}'").split() == ["vllm-qwq-32b"]


def test_it_comes_back_after_a_reboot(gpu: Host) -> None:
    """The caches lie on the host: compiled files of before are there after."""
    testhosts.reboot("host")
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
    testhosts.put(gpu.inside, "/etc/testhost/nvidia.json", json.dumps(state))
    try:
        output = flat(gpu.run("deploy.yml", ok=False))
        assert words in output and "TASK [Make the host ready]" not in output, output
    finally:
        testhosts.put(gpu.inside, "/etc/testhost/nvidia.json", "{}")


def test_a_driver_that_was_swapped_under_services_waits_for_the_operator(gpu: Host) -> None:
    """As after unattended upgrades: module and library on disk are newer than what is loaded; the service still runs."""
    for name in ("module", "library"):
        testhosts.put(gpu.inside, f"/etc/testhost/{name}-version", "580.173.02\n")
    try:
        output = flat(gpu.run("deploy.yml", ok=False))
        assert (
            "loaded module 580.159.04, module on disk 580.173.02" in output
            and "qwq-32b serve on it: stop them first" in output
        )
        assert re.search(r"gpu +qwq-32b +ready ", gpu.status())
    finally:
        for name in ("module", "library"):
            testhosts.put(gpu.inside, f"/etc/testhost/{name}-version", "580.159.04\n")


def test_flaggems_that_is_asked_for_and_not_active_is_a_failure(gpu: Host) -> None:
    row = {**json.loads(json.dumps(gpu.overrides()))["qwq-32b"], "env": {"FLAGOS_STAND_IN": "off"}}
    output = flat(gpu.run("deploy.yml", ok=False, overrides={"qwq-32b": row}))
    assert "FlagGems is asked for and not active" in output and "build_image.yml" in output


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("crash", ["its process ended with code", "has no option engine_args.no_such_option"]),
        ("dies", ["its process ended with code"]),
        ("hangs", ["no token within"]),
        ("garbage", ["over and over: damaged weights"]),
    ],
)
def test_an_engine_in_trouble_is_told_with_its_cause(gpu: Host, mode: str, words: list[str]) -> None:
    began = time.monotonic()
    output = flat(
        gpu.run(
            "deploy.yml",
            "--tags",
            "serve,verify",
            ok=False,
            overrides={"qwq-32b": testhosts.stub(mode)},
            probe_timeout=8,
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
    rows = {name: testhosts.stub("good", 9010 + i, mounts=[]) for i, name in enumerate(THREE)}
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
    name = "registry.nowhere.example/team/relayed:1"
    said = subprocess.run(
        ["docker", "import", "-", name], input=engine.tiny("relayed"), check=True, capture_output=True
    )
    ident = said.stdout.decode().strip()
    testhosts.docker("save", "--output", str(tmp_path / "image.tar"), name)
    testhosts.docker("rmi", name)
    gateway = gpu.sh("ip -4 route show default | cut -d' ' -f3").strip()
    address = gpu.sh(f"ip -4 route get {gateway} | grep -oP 'src \\K\\S+'").strip()
    values = {
        "image_relay": str(tmp_path / "relay"),
        "image_archives": {name: {"path": str(tmp_path / "image.tar"), "id": ident}},
        "weights_relay_address": gateway,
        "weights_peer_address": address,
        "overrides": {"qwq-32b": testhosts.stub("good", image=name)},
    }
    output = gpu.run("deploy.yml", "--tags", "prepare,fetch", **values)
    assert "Save on the controller what some host lacks" in output
    assert gpu.sh(f"docker image inspect --format '{{{{.Id}}}}' {name}") == ident
    assert gpu.sh("ls /srv/vllm/archives; ls /srv/vllm/peers/server.json 2>&1 || true").startswith("ls: cannot access")
    assert not list((tmp_path / "relay/.peers").glob("server.*id"))
    again = gpu.run("deploy.yml", "--tags", "prepare,fetch", **values)
    assert gpu.changed(again) == 0 and "Bring the archives" not in again
    gpu.sh(f"docker rmi {name}")
