# Sets up what lies outside of the bed's hosts: certificates, registries, hub, package repositories.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends docker-registry gnupg apt-utils >/dev/null
mkdir -p /bed/registry /bed/packages /bed/certificates
cd /bed/certificates
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 3650 -subj '/CN=bed CA' 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj '/CN=registry.bed' 2>/dev/null
printf 'subjectAltName=DNS:registry.bed,DNS:private.bed,DNS:hub.bed,DNS:packages.bed,IP:127.0.0.1\n' > san
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 3650 -extfile san 2>/dev/null
gpg --batch --quiet --passphrase '' --quick-generate-key 'bed packages' rsa2048 sign never
gpg --export --armor > /bed/packages/key.asc
printf '%s\n' "$1" > /bed/htpasswd
chown -R docker-registry /bed/registry /bed/certificates /bed/htpasswd
systemctl disable --now docker-registry
systemctl daemon-reload
systemctl enable --now bed-registry bed-private bed-hub bed-packages
