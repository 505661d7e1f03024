"""What a host with GPUs lacks: package names by system and branch, versions that belong together, holds, reboots."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.module_utils.serving.host import nvidia_host

READY = {
    "os": {"id": "debian", "key": "debian-12", "family": "apt", "codename": "bookworm"},
    "kernel": "6.1.0-28-amd64", "arch": "x86_64", "switches": 4, "loaded": "580.159.04", "on_disk": "580.159.04",
    "library": "580.159.04", "smi": "", "nouveau": False, "secure_boot": False, "toolkit": "1.20.0",
    "packages": {
        "nvidia-kernel-open-dkms": {"version": "580.159.04-1", "held": True},
        "nvidia-fabricmanager-580": {"version": "580.159.04-1", "held": True},
        "unattended-upgrades": {"version": "2.9", "held": False},
    },
    "units": {
        "nvidia-persistenced.service": {"active": "active", "enabled": "enabled"},
        "nvidia-fabricmanager.service": {"active": "active", "enabled": "enabled"},
        "nvidia-cdi-refresh.service": {"active": "inactive", "enabled": "enabled"},
        "nvidia-cdi-refresh.path": {"active": "active", "enabled": "enabled"},
    },
    "cdi": [*map(str, range(8)), "all"], "clock": True,
}  # fmt: skip
BARE = {
    **READY,
    "loaded": None,
    "on_disk": None,
    "library": None,
    "toolkit": None,
    "packages": {},
    "cdi": [],
    "smi": "nvidia-smi is not installed",
}
OPTIONS = {
    "branch": 580,
    "manage_driver": False,
    "upgrade": False,
    "renew": False,
    "origin": "auto",
    "containers": True,
    "count": 8,
}


def assessed(state: dict[str, Any], **options: Any) -> dict[str, Any]:
    return nvidia_host.assess(state, {**OPTIONS, **options})


def test_a_ready_host_lacks_nothing() -> None:
    found = assessed(READY)
    assert (
        found["problems"] == found["pending"] == found["packages"] == found["hold"] == []
        and not found["reboot_required"]
    )
    assert assessed(READY, manage_driver=True)["packages"] == []


def test_a_bare_host_is_told_or_made_ready() -> None:
    told = assessed(BARE)
    assert "set manage_driver: true" in told["problems"][0] and told["packages"] == []
    made = assessed(BARE, manage_driver=True)
    assert made["problems"] == [] and made["repository"] == "debian12" and made["origin"] == "nvidia"
    assert made["packages"] == [
        "linux-headers-6.1.0-28-amd64", "nvidia-kernel-open-dkms=580.*", "nvidia-driver-cuda=580.*", "nvidia-persistenced=580.*",
        "nvidia-fabricmanager-580=580.*", "nvidia-container-toolkit-base=1.20.0-1",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "family", "kernel", "branch", "switches", "expected"),
    [
        ("ubuntu-22.04", "apt", "5.15.0-130-generic", 580, 4,
         ["linux-modules-nvidia-580-server-open-generic", "nvidia-headless-no-dkms-580-server-open", "nvidia-utils-580-server",
          "nvidia-fabricmanager-580", "libnvidia-nscq-580"]),
        ("ubuntu-24.04", "apt", "6.8.0-1021-aws", 580, 0,
         ["linux-modules-nvidia-580-server-open-aws", "nvidia-headless-no-dkms-580-server-open", "nvidia-utils-580-server"]),
        ("debian-12", "apt", "6.1.0-28-amd64", 595, 4,
         ["linux-headers-6.1.0-28-amd64", "nvidia-driver-pinning-595", "nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced",
          "nvidia-fabricmanager"]),
        ("rocky-9", "dnf", "5.14.0-503.el9.x86_64", 580, 4,
         ["kernel-devel-5.14.0-503.el9.x86_64", "kernel-headers", "@nvidia-driver:580-open/fm"]),
        ("rocky-9", "dnf", "5.14.0-503.el9.x86_64", 580, 0,
         ["kernel-devel-5.14.0-503.el9.x86_64", "kernel-headers", "@nvidia-driver:580-open"]),
    ],
)  # fmt: skip
def test_names_follow_system_kernel_and_branch(
    key: str, family: str, kernel: str, branch: int, switches: int, expected: list[str]
) -> None:
    state = {**BARE, "os": {"key": key, "family": family}, "kernel": kernel, "switches": switches}
    assert assessed(state, manage_driver=True, branch=branch, containers=False)["packages"] == expected


def test_no_package_of_the_other_origin_is_ever_named() -> None:
    for key in nvidia_host.ORIGINS:
        state = {**BARE, "os": {"key": key, "family": "dnf" if "9" in key else "apt"}}
        names = " ".join(assessed(state, manage_driver=True)["packages"])
        assert ("server" in names) is (nvidia_host.ORIGINS[key] == "distribution")
        assert "fabricmanager" in names or "/fm" in names


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"library": "580.173.02"},
            "versions differ (loaded module 580.159.04, module on disk 580.159.04, user-space library 580.173.02)",
        ),
        ({"loaded": "575.57.08"}, "versions differ (loaded module 575.57.08"),
        ({"loaded": None, "library": None, "smi": "NVIDIA-SMI has failed"}, "installed and not loaded"),
        ({"nouveau": True}, "nouveau is loaded"),
    ],
)
def test_versions_that_differ_mean_a_reboot(changes: dict[str, Any], words: str) -> None:
    found = assessed({**READY, **changes})
    assert found["reboot_required"] and any(words in text for text in found["pending"]) and found["packages"] == []


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"packages": {"nvidia-fabricmanager-580": {"version": "580.95.05-0ubuntu1", "held": True}}}, {}, "nvidia-fabricmanager is 580.95.05 and the driver"),
        ({"units": {**READY["units"], "nvidia-fabricmanager.service": {"active": "failed", "enabled": "enabled"}}}, {}, "nvidia-fabricmanager is failed"),
        ({"packages": {**READY["packages"], "nvidia-kernel-open-dkms": {"version": "580.159.04-1", "held": False}}}, {}, "unattended-upgrades may swap"),
        ({"toolkit": "1.17.3"}, {}, "lets containers escape"),
        ({"toolkit": None, "cdi": []}, {}, "nvidia-container-toolkit is not installed"),
        ({"cdi": ["0", "1", "2", "3", "4", "5", "6"]}, {}, "CDI does not name GPU 7"),
        ({"clock": False}, {}, "clock is not synchronised"),
        ({"library": None, "smi": "Unable to determine the device handle for GPU 0000:18:00.0: Unknown Error"}, {}, "nvidia-smi does not answer"),
    ],
)  # fmt: skip
def test_each_fault_is_named_with_its_remedy(changes: dict[str, Any], options: dict[str, Any], words: str) -> None:
    [problem] = assessed({**READY, **changes}, **options)["problems"]
    assert words in problem and ";" in problem


# What `systemctl show -p ExecStart` prints of Ubuntu's unit, and of one that keeps the GPUs initialised.
IDLE = (
    "ExecStart={ path=/usr/bin/nvidia-persistenced ; argv[]=/usr/bin/nvidia-persistenced --user nvidia-persistenced "
    "--no-persistence-mode --verbose ; ignore_errors=no ; start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0 }"
)
KEEPS = IDLE.replace("--no-persistence-mode", "--persistence-mode")
DISABLED = {**READY["units"], "nvidia-persistenced.service": {"active": "inactive", "enabled": "disabled"}}
ABSENT = {**READY["units"], "nvidia-persistenced.service": {"active": "inactive", "enabled": "absent"}}


@pytest.mark.parametrize(
    ("changes", "idle"),
    [({"persistence": IDLE}, True), ({"units": DISABLED}, True), ({"persistence": KEEPS}, False), ({"units": ABSENT, "persistence": ""}, False)],
)  # fmt: skip
def test_persistence_mode_is_a_setting_that_the_role_sees_to(changes: dict[str, Any], idle: bool) -> None:
    told, kept = assessed({**READY, **changes}), assessed({**READY, **changes}, manage_driver=True)
    assert told["problems"] == kept["problems"] == [] and told["persist"] is False and kept["persist"] is idle


def test_the_drop_in_replaces_what_keeps_persistence_mode_off() -> None:
    wanted = "/usr/bin/nvidia-persistenced --user nvidia-persistenced --persistence-mode --verbose"
    assert assessed({**READY, "persistence": IDLE}, manage_driver=True)["persist_command"] == wanted
    for shown in (KEEPS, "", "ExecStart=", "ExecStart={ path=/usr/bin/sleep ; argv[]=/usr/bin/sleep infinity ; }"):
        assert nvidia_host.persist_command(shown) == ""


def test_secure_boot_refuses_modules_that_are_built_here_and_not_signed_ones() -> None:
    assert "mokutil --import" in assessed({**BARE, "secure_boot": True}, manage_driver=True)["problems"][0]
    ubuntu = {**BARE, "secure_boot": True, "os": {"key": "ubuntu-24.04", "family": "apt"}}
    assert assessed(ubuntu, manage_driver=True)["problems"] == []


def test_a_pcie_board_needs_no_fabric_manager() -> None:
    units = {**READY["units"], "nvidia-fabricmanager.service": {"active": "inactive", "enabled": "absent"}}
    assert assessed({**READY, "switches": 0, "units": units})["problems"] == []


def test_a_driver_of_another_branch_is_left_alone_until_an_upgrade_is_asked_for() -> None:
    assert assessed(READY, branch=595, manage_driver=True)["packages"] == []
    assert "nvidia-driver-pinning-595" in assessed(READY, branch=595, manage_driver=True, upgrade=True)["packages"]


def test_a_driver_of_the_branch_is_renewed_where_that_is_asked_for() -> None:
    found = assessed(READY, manage_driver=True, renew=True)
    assert "nvidia-kernel-open-dkms=580.*" in found["packages"] and found["problems"] == []
    assert "driver 580.159.04 is to become the newest of branch 580" in found["pending"]
    assert not [name for name in found["packages"] if "toolkit" in name]  # the one that is there may be newer
    assert assessed(READY, renew=True)["packages"] == []  # the site manages its drivers


def test_what_is_installed_gets_held() -> None:
    loose = {**READY["packages"], "libnvidia-compute-580": {"version": "580.159.04-1", "held": False}}
    assert assessed({**READY, "packages": loose}, manage_driver=True)["hold"] == ["libnvidia-compute-580"]


def test_without_containers_nobody_asks_for_cdi() -> None:
    assert assessed({**READY, "toolkit": None, "cdi": []}, containers=False)["problems"] == []


def test_files_of_a_host(tmp_path: Any) -> None:
    (tmp_path / "etc/cdi").mkdir(parents=True)
    (tmp_path / "etc/cdi/nvidia.yaml").write_text(
        "---\ncdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n    - name: \"0\"\n      containerEdits: {}\n"
        "    - name: GPU-00000000-0000-0000-0000-000000000000\n    - name: all\n"
    )  # fmt: skip
    (tmp_path / "etc/cdi/other.yaml").write_text('kind: vendor.com/nic\ndevices:\n- name: "3"\n')
    assert nvidia_host.cdi_devices(str(tmp_path)) == ["0", "all"]
    efi = tmp_path / "sys/firmware/efi/efivars"
    assert nvidia_host.secure_boot(str(tmp_path)) is None
    efi.mkdir(parents=True)
    (efi / "SecureBoot-8be4df61").write_bytes(b"\x06\0\0\0\x01")
    assert nvidia_host.secure_boot(str(tmp_path)) is True
