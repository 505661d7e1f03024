# (Re)makes the signed index of one package repository: dists/bookworm over pool/.
set -eu
cd "/outside/packages/$1"
cp ../key.asc gpg
mkdir -p dists/bookworm/stable/binary-amd64
apt-ftparchive packages pool > dists/bookworm/stable/binary-amd64/Packages
cd dists/bookworm
rm -f Release InRelease
release=APT::FTPArchive::Release
apt-ftparchive -o $release::Suite=bookworm -o $release::Codename=bookworm -o "$release::Origin=$1" -o $release::Components=stable \
    -o $release::Architectures=amd64 release . > /tmp/Release
mv /tmp/Release Release
gpg --batch --yes --clearsign -o InRelease Release
