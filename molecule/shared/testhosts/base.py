"""The image that test hosts boot from: Debian 12 with systemd, ssh and Python."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from testhosts.machine import HERE, docker, exists, run, say, tag_of

PACKAGES = (
    "systemd systemd-sysv dbus libpam-systemd openssh-server sudo python3 python3-venv python3-apt kmod pciutils "
    "iproute2 iptables ca-certificates procps libnuma1 gpgv"
)
DOCKERFILE = """\
FROM {raw}
COPY ca/ /usr/local/share/ca-certificates/
COPY units/ /etc/systemd/system/
COPY boot /usr/local/sbin/testhost-boot
RUN update-ca-certificates >/dev/null 2>&1 \\
 && systemctl mask systemd-udevd.service systemd-udev-trigger.service systemd-udevd-control.socket systemd-udevd-kernel.socket \\
    getty.target console-getty.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer \\
 && systemctl enable testhost-boot.service && rm -f /etc/ssh/ssh_host_* && : >/etc/machine-id \\
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
ExecStart=/usr/local/sbin/testhost-boot
[Install]
WantedBy=multi-user.target
"""


def base_image() -> str:
    """Debian 12 with systemd, ssh and Python: no container engine, no driver."""
    boot = (HERE / "fakes/boot").read_text()
    name = f"vllm-ansible-testhosts:base-{tag_of(PACKAGES, DOCKERFILE, BOOT, boot)}"
    if exists("image", name):
        return name
    say("making the base image (a minute)")
    if not shutil.which("mmdebstrap"):
        raise RuntimeError("the test hosts' base image is made with mmdebstrap: apt-get install mmdebstrap")
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
        (work / "units/testhost-boot.service").write_text(BOOT)
        (work / "boot").write_text(boot)
        (work / "boot").chmod(0o755)
        (work / "Dockerfile").write_text(DOCKERFILE.format(raw=raw))
        docker("build", "--quiet", "--tag", name, folder)
    return name
