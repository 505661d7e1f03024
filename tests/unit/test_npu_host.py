"""Hosts with Ascend NPUs: what is missing, in which order it is installed, and installers that fail in their own ways."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.serving.host import npu_host
from conftest import start_module

ROOT = Path(__file__).resolve().parent.parent.parent
INSTALLER = ROOT / "molecule/shared/fakes/ascend.run"
DRIVER, FIRMWARE = "Ascend-hdk-310p-npu-driver_25.2.0_linux-aarch64.run", "Ascend-hdk-310p-npu-firmware_7.7.0.6.236.run"
SHA = "0" * 64
PACKAGES = {"driver": {"path": DRIVER, "sha256": SHA}, "firmware": {"path": FIRMWARE, "sha256": SHA}}
GIVEN = {"packages": PACKAGES, "manage_driver": True, "upgrade": False, "devices": {0: "qwq", 1: "qwq"},
         "pairs": {"25.2.0": "7.7.0.6.236", "25.5.1": "7.8.0.6.201"}}  # fmt: skip
READY: dict[str, Any] = {
    "os": {"id": "openeuler", "key": "openeuler-24.03", "family": "dnf"},
    "kernel": "6.6.0-28.oe2403.aarch64", "arch": "aarch64", "cards": 2,
    "driver": {"Version": "25.2.0", "compatible_version_fw": "[6.4.0,6.4.99],[7.0.0,7.7.99]"},
    "firmware": {"Version": "7.7.0.6.236", "compatible_version_drv": "[25.0,25.9.]"},
    "interrupted": [], "reboot_asked": [], "loaded": ["drv_davinci_intf_host"], "nodes": ["davinci0", "davinci1", "davinci2", "davinci3"],
    "account": {"uid": 1000, "gid": 1000, "group": True, "taken_by": None}, "build_missing": [],
    "packages": {"kernel": {"version": "6.6.0-28.oe2403", "held": True}}, "holders": {}, "clock": True,
}  # fmt: skip
BARE = {**READY, "driver": {}, "firmware": {}, "loaded": [], "nodes": [], "build_missing": ["gcc"],
        "account": {"uid": None, "gid": None, "group": False, "taken_by": None}}  # fmt: skip


def test_a_ready_host_needs_nothing() -> None:
    found = npu_host.assess(READY, GIVEN)
    assert (found["steps"], found["problems"], found["pending"], found["hold"]) == ([], [], [], [])


def test_the_driver_goes_first_and_over_a_pair_the_firmware() -> None:
    first = npu_host.assess(BARE, GIVEN)
    assert first["steps"] == ["driver", "firmware"] and first["build"] == ["gcc"] and first["user_missing"]
    newer = {
        "driver": {"path": DRIVER.replace("25.2.0", "25.5.1"), "sha256": SHA},
        "firmware": {"path": FIRMWARE.replace("7.7.0.6.236", "7.8.0.6.201"), "sha256": SHA},
    }
    assert npu_host.assess(READY, {**GIVEN, "packages": newer})["steps"] == []
    second = npu_host.assess(READY, {**GIVEN, "packages": newer, "upgrade": True})
    assert second["steps"] == ["firmware", "driver"] and second["notes"] == []
    other = npu_host.assess(READY, {**GIVEN, "packages": newer, "upgrade": True, "pairs": {"25.5.1": "7.8.0.7.220"}})
    assert "driver 25.5.1 is seen with firmware 7.8.0.7.220, not with 7.8.0.6.201" in other["notes"][0]
    half = npu_host.assess({**BARE, "firmware": READY["firmware"]}, GIVEN)
    assert half["steps"] == ["driver"]  # the firmware is there already


def test_nothing_is_installed_without_leave() -> None:
    found = npu_host.assess(BARE, {**GIVEN, "manage_driver": False})
    assert found["steps"] == [] and "set manage_driver: true and ascend_packages" in found["problems"][0]


@pytest.mark.parametrize(
    ("state", "given", "words"),
    [
        (BARE, {"packages": {}}, "hiascend.com, product Atlas 300I Duo"),
        (BARE, {"packages": {"driver": {"path": FIRMWARE, "sha256": SHA}}}, "whose name is not that of a driver"),
        (BARE, {"packages": {"driver": {"path": DRIVER, "sha256": ""}}}, "sha256sum Ascend-hdk-310p-npu-driver"),
        (BARE, {"packages": {"driver": {"path": DRIVER.replace("aarch64", "x86-64"), "sha256": SHA}}}, "is for x86_64, this host is aarch64"),
        (BARE, {"packages": {"driver": {"path": DRIVER.replace("310p", "910b"), "sha256": SHA}}}, "is not for the 310P"),
        ({**READY, "firmware": {}}, {"packages": {}}, "no firmware is installed beside driver 25.2.0"),
        ({**READY, "firmware": {}}, {"packages": {"firmware": {"path": FIRMWARE.replace("7.7.0.6.236", "7.8.0.6.201"), "sha256": SHA}}},
         "driver 25.2.0 and firmware 7.8.0.6.201 do not belong together"),
        ({**READY, "driver": {}}, {"packages": {"driver": {"path": DRIVER.replace("25.2.0", "26.1.0"), "sha256": SHA}}},
         "the firmware takes [25.0,25.9.]"),
        ({**READY, "nodes": ["davinci2", "davinci3"]}, {}, "its device /dev/davinci0 is not there (there are davinci2, davinci3)"),
        ({**READY, "holders": {"davinci1": "old-qwq"}}, {}, "/dev/davinci1 is held by container old-qwq"),
    ],
)  # fmt: skip
def test_faults_are_named_with_their_remedy(state: dict[str, Any], given: dict[str, Any], words: str) -> None:
    problems = npu_host.assess(state, {**GIVEN, **given})["problems"]
    assert any(words in problem for problem in problems), problems


def test_an_interrupted_installation_is_not_believed() -> None:
    found = npu_host.assess({**READY, "interrupted": ["driver"]}, GIVEN)
    assert found["steps"] == ["firmware", "driver"][1:] and "interrupted" in found["pending"][0]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"loaded": [], "nodes": []}, "driver 25.2.0 is installed and not loaded"),
        ({"reboot_asked": ["driver", "firmware"]}, "the installer of the driver and of the firmware asks for a reboot"),
        ({"stale": True}, "npu-smi does not reach driver 25.2.0 (ret is -8005), as after an upgrade"),
    ],
)
def test_what_a_reboot_mends(state: dict[str, Any], words: str) -> None:
    found = npu_host.assess({**READY, **state}, GIVEN)
    assert found["reboot_required"] and found["pending"] == [words] and found["problems"] == []


def test_a_taken_uid_is_told() -> None:
    account = {"uid": None, "gid": None, "group": False, "taken_by": "ops"}
    found = npu_host.assess({**BARE, "account": account}, GIVEN)
    assert found["user_uid"] is None and "belongs to ops" in found["notes"][0]


def test_the_running_kernel_is_held() -> None:
    rows = {name: {"version": "1", "held": name == "linux-image-arm64"} for name in
            ("linux-image-6.1.0-28-arm64", "linux-image-arm64", "linux-image-6.1.0-25-arm64", "linux-headers-arm64")}  # fmt: skip
    state = {**READY, "os": {"family": "apt"}, "kernel": "6.1.0-28-arm64", "packages": rows}
    assert npu_host.assess(state, GIVEN)["hold"] == ["linux-headers-arm64", "linux-image-6.1.0-28-arm64"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        (DRIVER, ("driver", "25.2.0", "aarch64")),
        (FIRMWARE, ("firmware", "7.7.0.6.236", None)),
        ("Ascend-hdk-310p-npu-driver_24.1.rc2_linux-x86-64.run", ("driver", "24.1.rc2", "x86_64")),
        ("A300i-duo-npu-driver_23.0.rc2_linux-x86_64.run", ("driver", "23.0.rc2", "x86_64")),
    ],
)
def test_names_of_packages(name: str, found: tuple[str, str, str | None]) -> None:
    row = npu_host.parse_name(name)
    assert (row["kind"], row["version"], row["arch"]) == found
    assert npu_host.parse_name("Ascend-cann-toolkit_8.3.RC1_linux-aarch64.run") == {}


# -- the installer, as a process of its own ---------------------------------------------------------------------------------


class Machine:
    """A file system of its own, and the installers' stand-in on it."""

    def __init__(self, folder: Path, run_module: Any) -> None:
        self.folder, self.root, self.run_module = folder, folder / "root", run_module
        for name in ("etc/testhost", "usr/local/Ascend", "proc/sys/kernel/random", "var/lib"):
            (self.root / name).mkdir(parents=True)
        (self.root / "etc/passwd").write_text("HwHiAiUser:x:1000:1000::/home/HwHiAiUser:/bin/bash\n")
        (self.root / "proc/sys/kernel/random/boot_id").write_text("boot-1\n")

    def arguments(self, name: str, trouble: str) -> dict[str, Any]:
        path = self.folder / name
        shutil.copy(INSTALLER, path)
        (self.root / "etc/testhost/ascend").write_text(trouble)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return {
            "kind": "firmware" if "firmware" in name else "driver",
            "path": str(path),
            "sha256": digest,
            "root": str(self.root),
        }

    def install(self, name: str = DRIVER, trouble: str = "", check: bool = False, **more: Any) -> dict[str, Any]:
        return dict(self.run_module("ascend_package", {**self.arguments(name, trouble), **more}, check))

    def look(self) -> dict[str, Any]:
        return npu_host.look(str(self.root))


@pytest.fixture
def host(tmp_path: Path, run_module: Any, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path, run_module)
    monkeypatch.setenv("FAKE_ROOT", str(machine.root))
    return machine


def test_installing_and_again(host: Machine) -> None:
    assert host.install(check=True)["changed"] and host.look()["driver"] == {}
    found = host.install()
    assert found["changed"] and found["version"] == "25.2.0" and found["reboot_required"]
    assert host.install()["changed"] is False
    state = host.look()
    assert state["driver"]["Version"] == "25.2.0" and state["reboot_asked"] == ["driver"] and state["interrupted"] == []
    (host.root / "proc/sys/kernel/random/boot_id").write_text("boot-2\n")
    assert host.look()["reboot_asked"] == []
    assert host.install(FIRMWARE)["version"] == "7.7.0.6.236"


@pytest.mark.parametrize(
    ("trouble", "more", "words"),
    [
        ("fail", {}, "headers of the running kernel"),
        ("full", {}, "free some disk space"),
        ("lie", {}, "ended with exit code 0, but version.info says nothing instead of 25.2.0"),
        ("", {"sha256": SHA}, "is not the file that was meant, nothing was run"),
    ],
)
def test_an_installer_that_fails_is_told_and_tried_again(
    host: Machine, trouble: str, more: dict[str, Any], words: str
) -> None:
    assert words in host.install(trouble=trouble, **more)["msg"]
    assert host.install()["version"] == "25.2.0"


def test_a_missing_user(host: Machine) -> None:
    (host.root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    assert "must exist before: groupadd" in host.install()["msg"]


def test_killed_while_an_installer_runs(host: Machine) -> None:
    """The installer goes on without us and keeps the lock; the next run waits for it, and does not believe it."""
    arguments = host.arguments(DRIVER, "slow")
    process = start_module("ascend_package", arguments)
    mark = host.root / "var/lib/vllm-ansible/ascend/driver.json"
    until = time.monotonic() + 30
    while not (mark.exists() and "installing" in (mark.parent / "driver.log").read_text()):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.1)
    process.kill()
    process.wait()
    assert "is being worked on by" in host.install(wait=1)["msg"]
    state = host.look()
    assert state["interrupted"] == ["driver"] and state["driver"] == {}
    # The installer that was left is ended, as a power cut would; then the next run installs.
    left = subprocess.run(["pgrep", "-f", f"sh {arguments['path']}"], capture_output=True, text=True, check=True)
    for pid in left.stdout.split():
        subprocess.run(["pkill", "-KILL", "-P", pid], check=False)
        subprocess.run(["kill", "-KILL", pid], check=False)
    assert host.install()["version"] == "25.2.0"
