"""The same host with two Atlas 300I Duo in its slots."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import time
from typing import Any

import pytest
import testhosts
import yaml
from conftest import ROOT
from runner import Host, flat, wait_for


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
    testhosts.put(npu.inside, "/etc/testhost/ascend", trouble)
    output = flat(npu.run("deploy.yml", "--tags", "preflight,prepare", ok=False))
    assert words in output and "item=firmware" not in output.split("Run the installers")[1]
    assert installed(npu) == []


def test_atlas_power_cut_while_an_installer_runs(npu: Host) -> None:
    testhosts.put(npu.inside, "/etc/testhost/ascend", "slow")
    process = npu.start("deploy.yml", "--tags", "preflight,prepare")
    wait_for(process, "Copy the packages")
    until = time.monotonic() + 60
    while "sleep 600" not in npu.sh("ps axo args"):
        assert time.monotonic() < until
        time.sleep(0.5)
    time.sleep(1)
    testhosts.reboot("host", power_cut=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert installed(npu) == [] and npu.sh("test -e /etc/ascend_install.info && echo there") == "there"
    testhosts.put(npu.inside, "/etc/testhost/ascend", "")


def test_atlas_from_no_driver_to_an_answer(npu: Host) -> None:
    """Driver, firmware, reboot, fp16 weights, the vendor document's command line, four NPUs; the server is a CPU's."""
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
        ("| 1       1                     | 0000:01:00.0    | 0            1322 / 43693", None, "4 NPUs are on the PCI bus and npu-smi lists 3"),
        ("| 32      310P3                 | OK   ", "| 32      310P3                 | Alarm", "NPU 32 chip 0 (davinci2) is in health Alarm"),
        (" / 44278", " / 21527", "the weights and what runs beside them take"),
    ],
)  # fmt: skip
def test_atlas_npus_in_trouble_stop_the_deploy_before_anything_is_done(
    npu: Host, old: str, new: str | None, words: str
) -> None:
    table = testhosts.npu_table(4)
    lines = table.splitlines()
    at = next(i for i, line in enumerate(lines) if old in line)
    if new is None:
        del lines[at - 1 : at + 1]
    testhosts.put(
        npu.inside, "/etc/testhost/npu-smi.txt", "\n".join(lines) + "\n" if new is None else table.replace(old, new)
    )
    values = {"models": big(npu)} if "21527" in (new or "") else {}
    try:
        output = flat(npu.run("deploy.yml", "--tags", "preflight,prepare", ok=False, **values))
        assert words in output and "TASK [Make the host ready]" not in output, output
    finally:
        testhosts.put(npu.inside, "/etc/testhost/npu-smi.txt", table)


def big(host: Host) -> dict[str, Any]:
    """The site's rows with a demo that says it is as large as QwQ-32B."""
    row = yaml.safe_load((ROOT / "catalogue/models.yml").read_text())["catalogue_models"]["qwq-32b"]
    return {"demo": {**row, "sources": {**row["sources"], "directory": None}, "check": {}}}


def test_atlas_an_npu_that_another_container_holds(npu: Host) -> None:
    npu.run("playbooks/uninstall.yml", "-e", "keep_models=true", service="qwq-32b-atlas")
    image = npu.sh("docker images --quiet --no-trunc").splitlines()[0]
    npu.sh(f"docker run --detach --rm --name foreign --device /dev/davinci1 {image} sleep 300")
    output = flat(npu.run("deploy.yml", "--tags", "preflight,prepare", ok=False))
    assert "its device" not in output and "/dev/davinci1 is held by container foreign" in output
    npu.sh("docker rm --force foreign")


def test_atlas_an_upgrade_takes_the_firmware_first(npu: Host) -> None:
    folder = ROOT / "build/testhosts/ascend"
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
