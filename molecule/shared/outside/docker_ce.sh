# Makes Docker's own packages: the real names around Debian's builds of Docker 26.
set -eu
export DEBIAN_FRONTEND=noninteractive
work=$(mktemp -d)
cd "$work"
chmod 755 "$work"
apt-get update -qq
mkdir -p lists/partial
echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main' > trixie.list
newer="-o Dir::Etc::SourceList=$work/trixie.list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$work/lists -o APT::Sandbox::User=root"
apt-get $newer update -qq
apt-get $newer download -qq docker.io docker-cli
apt-get -o APT::Sandbox::User=root download -qq containerd runc tini
mkdir ce cli io
dpkg-deb -x docker.io_*.deb ce
dpkg-deb -x tini_*.deb ce
dpkg-deb -x docker-cli_*.deb cli
dpkg-deb -x containerd_*.deb io
dpkg-deb -x runc_*.deb io
mv ce/usr/sbin ce/usr/sbin.all && mkdir -p ce/usr/bin && mv ce/usr/sbin.all/* ce/usr/bin/ && rmdir ce/usr/sbin.all
[ -e ce/usr/bin/docker-init ] || ln -s /usr/bin/tini-static ce/usr/bin/docker-init
mkdir -p ce/lib/systemd/system
sed -i 's,/usr/sbin/dockerd,/usr/bin/dockerd,' $(find ce -name docker.service)
make() { # name version folder depends
    mkdir -p "$3/DEBIAN"
    printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: tests\n' "$1" "$2" > "$3/DEBIAN/control"
    printf 'Depends: %s\nDescription: stand-in for tests\n' "$4" >> "$3/DEBIAN/control"
    dpkg-deb --build -Znone --root-owner-group "$3" "/outside/packages/debian/pool/$1_$2_amd64.deb" >/dev/null
}
mkdir -p /outside/packages/debian/pool
cat > /tmp/postinst <<'END'
#!/bin/sh
getent group docker >/dev/null || groupadd --system docker
systemctl daemon-reload
systemctl enable --now containerd.service docker.socket docker.service
END
mkdir -p ce/DEBIAN && install -m 755 /tmp/postinst ce/DEBIAN/postinst
make containerd.io 1.6.20-1 io 'libc6, libseccomp2'
make docker-ce-cli 5:26.1.5-1~debian.12~bookworm cli libc6
make docker-ce 5:26.1.5-1~debian.12~bookworm ce 'containerd.io, docker-ce-cli, iptables, libsystemd0'
rm -rf "$work"
