"""Upgrade, rollback, restart, prune: the small process in the row's container."""

from __future__ import annotations

import os
import re
import shutil
import signal
import tarfile
from typing import Any

import pytest
import testhosts
from conftest import ROOT
from runner import Host, flat, wait_for
from site_of_tests import Fleet, tree


def release(host: Host) -> str:
    return host.sh("basename $(readlink /srv/vllm/services/qwq-32b/current)")


def row(mode: str = "good", **more: Any) -> dict[str, Any]:
    return {"overrides": {"qwq-32b": testhosts.stub(mode, **more)}, "probe_timeout": 8}


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
    assert "NVIDIA H100" in texts["accelerators.json"] and "vllm-qwq-32b" in texts["tools/docker-ps-all.txt"]
    assert "foreground: starting release" in texts["services/qwq-32b/log.txt"]
    key = served.sh("cat /srv/vllm/services/qwq-32b/api_key")
    assert not any(key in text for text in texts.values())


@pytest.mark.parametrize(
    ("change", "words", "swapped"),
    [
        ({"image": testhosts.IMAGE.replace(":test", ":missing")}, "can't be had", False),
        ({"mode": "crash"}, "has no option engine_args.no_such_option", True),
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
    wait_for(process, "swap : Release and run")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert release(served) != old
    output = flat(served.run("playbooks/upgrade.yml", ok=False, **row("dies")))
    assert f"Release {old} serves again" in output and release(served) == old


def test_a_host_that_reboots_during_an_upgrade(served: Host) -> None:
    process = served.start("playbooks/upgrade.yml", **row(drain_timeout=4))
    wait_for(process, "swap : Release and run")
    testhosts.reboot("host", power_cut=True)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    served.until_ready("qwq-32b")  # by itself, though Docker still holds the port of before (moby issue 25981)
    served.run("playbooks/upgrade.yml", **row(drain_timeout=4))
    assert re.search(r"gpu +qwq-32b +ready ", served.status())


# A repository of the host's own with a kernel's package newer than any of the system's; the driver goes back to an older version of its branch.
OLD = r"""set -eu
mkdir -p /opt/kernel/1 /opt/kernel/2
for version in 1 2; do
    mkdir -p /opt/kernel/$version/DEBIAN
    printf 'Package: linux-image-amd64\nVersion: 99:%s\nArchitecture: amd64\nMaintainer: tests\nDescription: stand-in\n' $version \
        > /opt/kernel/$version/DEBIAN/control
    dpkg-deb --build -Zgzip --root-owner-group /opt/kernel/$version /opt/kernel/$version.deb
done
dpkg --install /opt/kernel/1.deb
{
    dpkg-deb --field /opt/kernel/2.deb
    echo Filename: ./2.deb
    echo Size: $(stat -c %s /opt/kernel/2.deb)
    echo SHA256: $(sha256sum < /opt/kernel/2.deb | cut -d' ' -f1)
} > /opt/kernel/Packages
echo 'deb [trusted=yes] file:/opt/kernel ./' > /etc/apt/sources.list.d/kernel.list
old=580.95.05-1
apt-get install -y --allow-downgrades --allow-change-held-packages nvidia-kernel-open-dkms=$old nvidia-driver-cuda=$old nvidia-persistenced=$old \
    nvidia-fabricmanager-580=$old
apt-mark hold nvidia-kernel-open-dkms nvidia-driver-cuda nvidia-persistenced nvidia-fabricmanager-580
"""


def test_maintenance_from_a_site_renews_kernel_and_driver_reboots_and_brings_the_service_back(
    served: Host, tmp_path_factory: pytest.TempPathFactory
) -> None:
    served.sh(OLD)
    testhosts.reboot("host")
    served.until_ready("qwq-32b")
    booted = served.sh("cat /proc/sys/kernel/random/boot_id")
    assert served.sh("cat /sys/module/nvidia/version") == "580.95.05"
    # By an operator who has a site of their own, beside a product that can't be written.
    fleet = Fleet(tmp_path_factory.mktemp("s"))  # ssh's socket lies below the home: 108 bytes for its whole path
    fleet.make()
    shutil.rmtree(fleet.folder / "inventory")
    shutil.copytree(served.inventory, fleet.folder / "inventory")
    settings = fleet.folder / "inventory/group_vars/testhosts.yml"
    settings.write_text(settings.read_text().replace("project_root", "checkout") + f"checkout: {ROOT}\n")
    work = {"driver": True, "kernel": True, "reboot": True}
    output = fleet.play("playbooks/maintenance.yml", "-l", served.group, extra=work)
    assert tree(fleet.product) == fleet.before
    assert "qwq-32b is ready at" in output and re.search(r"gpu +qwq-32b +ready ", served.status())
    assert served.sh("cat /proc/sys/kernel/random/boot_id") != booted
    assert served.sh("cat /sys/module/nvidia/version") == "580.159.04"
    assert served.sh("dpkg-query -W -f '${Version}' linux-image-amd64") == "99:2"
    assert "nvidia-kernel-open-dkms" in served.sh("apt-mark showhold").split()
    assert served.sh("ls /srv/vllm/maintenance.json", ok=False) == ""


def test_a_second_operator_is_told_by_whom_and_since_when(served: Host) -> None:
    process = served.start("playbooks/upgrade.yml", **row("hangs"))
    wait_for(process, "swap : Release and run")
    output = flat(served.run("playbooks/rollback.yml", ok=False, service="qwq-32b"))
    assert re.search(
        r"another deploy is running on this host: \S+, from controller \S+ since \d{4}-\d\d-\d\d", output
    ), output
    process.communicate(timeout=300)
    assert process.returncode != 0 and re.search(r"gpu +qwq-32b +ready ", served.status())


def test_prune_takes_the_image_that_nothing_names(served: Host) -> None:
    """A second image is served, then left; it stays for a rollback, and goes when no kept release names it."""
    second = testhosts.IMAGE.replace(":test", ":second")
    made = testhosts.docker("build", "--quiet", "-", text=f"FROM {testhosts.engine_image()}\nLABEL second=yes\n")
    testhosts.push(made, "second")
    images = "docker images --quiet --no-trunc | sort -u | wc -l"
    before = int(served.sh(images))
    served.run("playbooks/upgrade.yml", **row(image=second))
    assert int(served.sh(images)) == before + 1
    served.run("playbooks/upgrade.yml", **row(drain_timeout=5))
    served.run("playbooks/prune.yml", keep_releases=2)
    assert int(served.sh(images)) == before + 1  # the rollback's
    served.run("playbooks/upgrade.yml", **row(drain_timeout=6))
    output = flat(served.run("playbooks/prune.yml", keep_releases=2))
    assert "image registry.test:5000/flagrelease/flagrelease:second" in output and int(served.sh(images)) == before
    assert served.changed(served.run("playbooks/prune.yml", keep_releases=2)) == 0
    assert re.search(r"gpu +qwq-32b +ready ", served.status())
    served.run("playbooks/uninstall.yml", "-e", "keep_models=true", service="qwq-32b")
