# Makes stand-ins of NVIDIA's packages with the real names, relations and files that an operator sees: two versions of branch 580,
# one of 595 (whose names carry no branch), the container toolkit. The driver counts as loaded from the next boot on.
set -eu
kernel=$1
cuda=/outside/packages/cuda/debian12/x86_64
toolkit=/outside/packages/toolkit/stable/deb/amd64
mkdir -p "$cuda" "$toolkit"
work=$(mktemp -d)

make() { # folder name version depends; files and scripts of the package lie in $work/files
    root="$work/files"
    mkdir -p "$root/DEBIAN"
    printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: tests\n' "$2" "$3" > "$root/DEBIAN/control"
    [ -z "$4" ] || printf 'Depends: %s\n' "$4" >> "$root/DEBIAN/control"
    printf 'Description: stand-in for tests\n' >> "$root/DEBIAN/control"
    dpkg-deb --build -Zgzip --root-owner-group "$root" "$1/$2_$3_amd64.deb" >/dev/null
    rm -rf "$root"
}
file() { # path mode, text on stdin
    mkdir -p "$work/files/$(dirname "$1")"
    cat > "$work/files/$1"
    chmod "$2" "$work/files/$1"
}
unit() { # package name of the unit; the program sleeps
    file "usr/lib/systemd/system/$1" 644 <<END
[Unit]
Description=stand-in
ConditionPathExists=/sys/module/nvidia/version
[Service]
ExecStart=/usr/bin/sleep infinity
[Install]
WantedBy=multi-user.target
END
    file DEBIAN/postinst 755 <<END
#!/bin/sh
systemctl daemon-reload
END
}
driver() { # version suffix-of-fabricmanager extra-dependency
    version=$1-1
    file etc/testhost/module-version 644 <<END
$1
END
    make "$cuda" nvidia-kernel-open-dkms "$version" "linux-headers-$kernel${3:+, $3}"
    file etc/testhost/library-version 644 <<END
$1
END
    file usr/bin/nvidia-smi 755 < /outside/fakes/nvidia-smi
    make "$cuda" nvidia-driver-cuda "$version" "nvidia-kernel-open-dkms (= $version)"
    unit nvidia-persistenced.service
    make "$cuda" nvidia-persistenced "$version" ''
    unit nvidia-fabricmanager.service
    make "$cuda" "nvidia-fabricmanager$2" "$version" ''
}
driver 580.95.05 -580 ''
driver 580.159.04 -580 ''
driver 595.10.02 '' nvidia-driver-pinning-595
file etc/apt/preferences.d/nvidia-driver-pinning 644 <<END
Package: nvidia-*
Pin: version 595.*
Pin-Priority: 1001
END
make "$cuda" nvidia-driver-pinning-595 1 ''
make "$cuda" "linux-headers-$kernel" 1 ''
mkdir -p "$work/files/usr/share/keyrings"
gpg --export > "$work/files/usr/share/keyrings/cuda-archive-keyring.gpg"
make "$cuda" cuda-keyring 1.1-1 ''
mv "$cuda/cuda-keyring_1.1-1_amd64.deb" "$cuda/cuda-keyring_1.1-1_all.deb"

file usr/bin/nvidia-ctk 755 <<'END'
#!/bin/sh
case $1 in
--version) echo 'NVIDIA Container Toolkit CLI version 1.20.0' ;;
cdi)
    mkdir -p /var/run/cdi
    {
        printf 'cdiVersion: "0.5.0"\nkind: nvidia.com/gpu\ndevices:\n'
        for i in 0 1 2 3 4 5 6 7; do
            for name in $i "GPU-00000000-0000-0000-0000-00000000000$i"; do
                printf -- '    - name: "%s"\n      containerEdits:\n        deviceNodes:\n            - path: /dev/nvidia%s\n' $name $i
            done
        done
        printf 'containerEdits:\n    deviceNodes:\n        - path: /dev/nvidiactl\n'
    } > /var/run/cdi/nvidia.yaml ;;
esac
END
file usr/lib/systemd/system/nvidia-cdi-refresh.service 644 <<'END'
[Unit]
ConditionPathExists=/sys/module/nvidia/version
[Service]
Type=oneshot
ExecStart=/usr/bin/nvidia-ctk cdi generate
[Install]
WantedBy=multi-user.target
END
file usr/lib/systemd/system/nvidia-cdi-refresh.path 644 <<'END'
[Path]
PathChanged=/lib/modules
[Install]
WantedBy=multi-user.target
END
make "$toolkit" nvidia-container-toolkit-base 1.20.0-1 ''
make "$toolkit" nvidia-container-toolkit-base 1.17.3-1 ''
cp /outside/packages/key.asc /outside/packages/toolkit/gpgkey
for folder in "$cuda" "$toolkit"; do
    cd "$folder"
    rm -f Release InRelease
    apt-ftparchive packages . > Packages
    apt-ftparchive release . > /tmp/Release
    mv /tmp/Release Release
    gpg --batch --yes --clearsign -o InRelease Release
done
rm -rf "$work"
