# Sets up what lies outside of the test hosts: certificates, registries, hub, package repositories.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends docker-registry gnupg apt-utils >/dev/null
mkdir -p /outside/registry /outside/packages /outside/certificates
cd /outside/certificates
openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 3650 -subj '/CN=test CA' 2>/dev/null
openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj '/CN=registry.test' 2>/dev/null
printf 'subjectAltName=DNS:registry.test,DNS:private.test,DNS:hub.test,DNS:packages.test,IP:127.0.0.1\n' > san
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 3650 -extfile san 2>/dev/null
gpg --batch --quiet --passphrase '' --quick-generate-key 'test packages' rsa2048 sign never
gpg --export --armor > /outside/packages/key.asc
printf '%s\n' "$1" > /outside/htpasswd
chown -R docker-registry /outside/registry /outside/certificates /outside/htpasswd
systemctl disable --now docker-registry
systemctl daemon-reload
systemctl enable --now outside-registry outside-private outside-hub outside-packages
