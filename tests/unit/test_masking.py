"""Secrets in the forms in which logs, configurations and command lines carry them, and ordinary text that has to stay."""

from __future__ import annotations

import base64
import json
import random
import string
import time
import urllib.parse

import pytest
from ansible.module_utils.serving import known_secrets
from ansible.module_utils.serving.masking import masked
from ansible.module_utils.serving.url_secrets import MASK

S = "Zq7vR2kX9mT4wL8p"  # what must not be seen
B = base64.b64encode(f"user:{S}".encode()).decode()
BODY = "\n".join("MIIEowIBAAKCAQEA" + str(n) * 48 for n in range(5))
PEM = f"-----{'BEGIN'} RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----"

FORMS = [
    # command lines
    f"vllm serve m --api-key {S}", f"vllm serve m --api-key={S} --port 8000", f"--api-key '{S}'", f'--hf-token "{S}"', f"--token {S}",
    f"--password {S} --port 1", f"--secret-key={S}", f"argv: ['vllm', '--api-key', '{S}']", f'["--api-key","{S}"]', f"--db-pass {S}",
    f'Cmd: ["serve", "--auth-token", "{S}"]', f"curl -u admin:{S} http://h/", f"curl --user 'admin:{S}' h", f"--proxy-user u:{S}",
    f"sshpass -p {S} ssh h", f"sshpass -p'{S}' ssh h", f"docker login -u me -p {S} reg.example", f"mysql -uroot -p{S} db",
    f"skopeo copy --src-creds me:{S} a b",
    f"vllm serve --api-key {S} {S}2 --port 1", f"redis-cli -h x -a {S}", f"htpasswd -bB f u {S}", f"echo {S} | docker login -u x --password-stdin",
    f"setenv HF_TOKEN {S}", f"curl -u:{S} http://h", f"HF_TOKEN=$'{S}' vllm", f"api_key=SecretStr('{S}')", f'api_key = os.environ.get("K", "{S}")',
    f"OPENAI_API_KEY \u2192 {S}", f"api_key -> {S}", f"api_key\xa0=\xa0{S}", f"api_key\uff1d{S}", f"api key ({S})", f"my password was {S}", f"pw={S}",
    f"https://hooks.slack.com/services/T000/B000/{S}",
    # what people write
    f'key "{S}" is wrong: invalid api key', f"key '{S}' was refused (401)", f"the key `{S}` is not authorised", f"key `{S}` was rejected",
    f'the key "{S}" has been revoked',
    f"password is {S}", f"the api key is {S}", f"Token {S}", f"smtp_pass {S}", f"password\t{S}", f"key={S}", f"psk={S}",
    f"token: !!str {S}", f"REDISCLI_AUTH={S}", f"signature={S}", f"<Password value='{S}'/>", f"bind_pw: {S}",
    # headers
    f"Authorization: Basic {B}", f"Authorization: Bearer {S}", f"authorization: bearer {S}", f"Authorization: Token {S}",
    f"Proxy-Authorization: Basic {B}", f"curl -H 'Authorization: Bearer {S}' http://h", f'"Authorization": "Bearer {S}"',
    f"{{'authorization': 'Basic {B}'}}", f"(b'authorization', b'Bearer {S}')", f"[('Authorization', 'ApiKey {S}')]",
    f"Authorization: AWS4-HMAC-SHA256 Credential=x, Signature={S}", f'Authorization: Digest username="u", response="{S}"',
    f"got Bearer {S} from caller", f"sent Basic {B}", f"Cookie: a=1; session={S}", f"Set-Cookie: sid={S}; HttpOnly", f'"cookie": "s={S}"',
    f"X-Api-Key: {S}", f"x-auth-token: {S}", f"('x-api-key', '{S}')", f"X-Amz-Security-Token: {S}", f"api-key: {S}", f"PRIVATE-TOKEN: {S}",
    # environments
    f"export HF_TOKEN='{S}'", f"export VLLM_API_KEY={S}", f"HF_TOKEN={S}", f'"Env": ["HF_TOKEN={S}", "A=b"]', f"docker run -e API_KEY={S} i",
    f"environ({{'OPENAI_API_KEY': '{S}'}})", f"os.environ['HF_TOKEN'] = '{S}'", f"AWS_SECRET_ACCESS_KEY={S}", f"DB_PASS={S}", f"MYSQL_PWD={S}",
    f"OPENAI_KEY={S}", f"ENCRYPTION_KEY={S}", f"TOKEN_2={S}", f"ENV HF_TOKEN {S}", f"set API_TOKEN={S}", f"Environment=HF_TOKEN={S}",
    f'Environment="HF_TOKEN={S}"', f"PASSWORD_OLD={S}", f"SECRET_THING={S}", f"mySecretStuff: {S}",
    # YAML, JSON, ini, XML, Python
    f"password: {S}", f"password: '{S}'", f'password: "{S}"', f"password = {S}", f"passwd={S}", f"passphrase: {S} and {S}", f"pwd: {S}",
    f"client_secret: {S}", f"clientSecret: {S}", f'"clientSecret":"{S}"', f'{{"password": "a\\"{S}"}}', f'{{\\"api_key\\": \\"{S}\\"}}',
    f"'{{\\\\\"token\\\\\": \\\\\"{S}\\\\\"}}'", f"password: |\n  {S}\nnext: 1", f"password: >-\n    {S}\n", f"- name: API_KEY\n  value: {S}",
    f'{{"name": "API_KEY", "value": "{S}"}}', f"<password>{S}</password>", f'<login password="{S}"/>', f"<ApiToken>{S}</ApiToken>",
    f"Namespace(api_key='{S}', port=1)", f"non-default args: {{'api_key': ['{S}'], 'port': 1}}", f"api_key=['{S}', '{S}']",
    f"apikey: {S}", f"accessKey => {S}", f"access key: {S}", f"API key = {S}", f"token := {S}", f"AccountKey={S};Endpoint=x",
    f"secret_id: {S}", f"vault.token={S}", f"spring.datasource.password={S}", f"hf.token: {S}", f"refresh_token={S}", f"id_token={S}",
    f"admin_token: {S}", f"data_token: {S}", f"api_tokens: {S}", f"Api_Key:{S}", f"credentials: {S}", f"registry_password: {S}",
    # URLs
    f"http://user:{S}@host:3128/", f"https://user:pa/{S}@host/x", f"http://user:p@{S}@host", f"http://u:a/{S}@b@host/", f"redis://:{S}@h:6379/0",
    f"postgresql+asyncpg://u:{S}@h/db", f"https://{S}@github.com/o/r", f"https://oauth2:{S}@gitlab.com/x.git", f"HTTPS_PROXY=http://u:{S}@p:1",
    f"http_proxy=u:{S}@proxy:3128", f"http:\\/\\/u:{S}@h", f"https://h/x?token={S}&a=1", f"https://h/x?a=1&api_key={S}", f"https://h/?sig={S}&x=1",
    f"https://h/?X-Amz-Signature={S}", f"https://h/?key={S}", f"index-url = https://u:{S}@pypi.example/simple", f"ftp://a:it's{S}@h/",
    f"GET /x?h=Authorization%3A%20Bearer%20{S}&a=1", f"Authorization%3A{S}", f"q=api_key%3D{S}", f"authorization%3a+Basic+{B}",
    f"%7B%22password%22%3A%22{S}%22%7D", f"x-api-key%3A%20{S}",
    # files of tools
    f"login admin {S}", f"> LOGIN root {S}",
    f"machine h login u password {S}", f'"auths": {{"r": {{"auth": "{B}"}}}}', f'"identitytoken": "{S}"', f"_authToken={S}", f"_auth={B}",
    f"//registry.npmjs.org/:_authToken={S}", f"requirepass {S}", f"masterauth {S}", f"root:$6$saltsalt${S}:19000:", f"me:$2y$05${S}{S}",
    f"me:$apr1$x${S}", f"CREATE USER u IDENTIFIED BY '{S}'", f"ALTER ROLE u WITH PASSWORD '{S}'", f"basic_auth: me:{S}", f"auth: me:{S}",
    # escapes, domains, other tongues
    f"password\\u003d{S}", f'{{"q": "api_key\\u003A{S}"}}', f"http://CORP\\user:{S}@proxy:3128",
    # pairs, sentences, tools with options of one letter, hooks of messengers
    f"os.environ.setdefault('HF_TOKEN', '{S}')", f'("api_key", "{S}")', f"VLLM_API_KEY is set to {S}", f"Incorrect API key provided: {S}.",
    f"ipmitool -H h -U root -P {S} power", f"openssl enc -k {S}", f"ldapsearch -x -D cn=a -w {S}", f"snmpwalk -v3 -u u -A {S}", f"wandb login {S}",
    f"curl -b 'session={S}' h", f"wpa_passphrase net {S}", f"mc alias set m http://h minio {S}", f"smbclient -U user%{S}",
    f"https://open.feishu.cn/open-apis/bot/v2/hook/{S}", f"https://api.telegram.org/bot123456:{S}/sendMessage",
    f"https://discord.com/api/webhooks/123/{S}",
    # written to a file of secrets, piped to a tool that reads one, given to it by the shell
    f"printf {S} > api_key", f"printf '%s' '{S}' > /srv/vllm/services/demo/api_key", f'printf "%s\\n" "{S}" >> ~/.hf_token', f"echo {S} > db_password",
    f"echo -n '{S}' | sudo tee /etc/vllm/token", f"echo {S} | tee -a /root/.netrc", f"echo {S} > token.txt", f"tee /etc/api_token <<< {S}",
    f"cat > /etc/vllm/api_key <<EOF\n{S}\nEOF", f"cat <<'END' > token\n{S}\nEND", f"echo root:{S} | chpasswd", f"echo {S} | passwd --stdin root",
    f"echo {S} | sudo -S reboot", f"echo {S} | cryptsetup luksOpen /dev/x y", f"echo -n {S} | docker secret create k -", f"chpasswd <<< root:{S}",
    f"gh auth login --with-token <<< {S}", f"sudo -S id <<< '{S}'",
    # more options of one letter, and tools that take a secret by its place
    f"redfish -u root -p {S} get", f"redfishtool -r 10.0.0.1 -u root -p {S} Systems", f"racadm -r 10.0.0.2 -u root -p {S} getsysinfo",
    f"ilorest login 10.0.0.3 -u admin -p {S}", f"SMCIPMITool 10.0.0.4 ADMIN {S} ipmi power", f"mongosh -u a -p {S} h", f"cqlsh -u a -p {S}",
    f"oc login -u a -p {S} https://h", f"helm registry login r -u a -p {S}", f"az login -u a -p {S}", f"useradd -p {S} me", f"usermod -p '{S}' me",
    f"zip -P {S} a.zip b", f"7z x -p{S} a.7z", f"lftp -u me,{S} h", f"rpcclient -U u%{S} h", f"xfreerdp /u:a /p:{S} /v:h", f"rdesktop -u a -p {S} h",
    f"net use x: \\\\h\\s {S} /user:u", f"snmpwalk -v2c -c {S} h", f"rocommunity {S}", f"com2sec ro default {S}", f"createUser me SHA {S} AES {S}",
    f"vault login {S}", f"vault operator unseal {S}", f"npm config set _auth {S}", f"kubectl create secret generic x --from-literal=hf={S}",
    f"keytool -storepass {S} -keypass {S}", f"openssl rsa -passin pass:{S}", f"subscription-manager register --activationkey={S}",
    # names, headers, tables, other tongues
    f"sas={S}", f"pin_code={S}", f"client-key-data: {S}", f"seed_phrase={S}", f"creds: u/{S}", f"unlock_key={S}", f"X-JFrog-Art-Api: {S}",
    f"X-Registry-Auth: {B}", f"Authentication: {S}", f"[password] {S}", f"| api_key | {S} |", f"api_key,{S}", f"token({S})", f"token[{S}]", f"api-key/{S}",
    f"Password (root): {S}",
    f"password for root is {S}", f"new password is: {S}", f"mot de passe: {S}", f"contrase\u00f1a: {S}", f"\u30d1\u30b9\u30ef\u30fc\u30c9: {S}", f"密码是{S}",
    f"\ube44\ubc00\ubc88\ud638: {S}", f"\u043f\u0430\u0440\u043e\u043b\u044c: {S}", f"wachtwoord: {S}", f"senha: {S}",
    # programs, SQL, XML, addresses
    f"auth=('u', '{S}')", f"HTTPBasicAuth('u', '{S}')", f'basic_auth=("u", "{S}")', f"login('u', '{S}')", f"set_password('{S}')",
    f"SET PASSWORD FOR 'u' = PASSWORD('{S}')", f'GRANT ALL TO u IDENTIFIED BY "{S}"', f'<param name="password">{S}</param>',
    f"<password><![CDATA[{S}]]></password>", f"<password>{S}]x</password>", f'echo "{S}>{S}" | docker login --password-stdin',
    f"echo '{S}|x' | passwd --stdin", f"echo it's{S} | chpasswd", f"echo {S} | sudo -u root -S reboot", f"10.0.0.1:5432:app:me:{S}",
    f'<entry key="db.password">{S}</entry>', f"DSN=u:{S}@tcp(h:3306)/x",
    f"https://x.webhook.office.com/webhookb2/{S}@y/IncomingWebhook/{S}/z", f"https://hooks.zapier.com/hooks/catch/123/{S}/",
    f"scp me:{S}@h:/x .", f"scp -P 22 x me:{S}@10.0.0.5:", f"rsync -a x me:{S}@h:y", f"ssh me:{S}@h id", f"sftp me:{S}@h", f"SSHPASS={S} sshpass -e ssh h",
    f"mstsc /v:h /u:me /p:{S}", f"prog /p:{S} /user:me", f"sqlcmd -S h -U sa -P {S}", f"openssl passwd -6 {S}", f"openssl passwd -salt ab -1 {S}",
    f"htpasswd -nbB me {S}", f"net use x: \\\\h\\s /user:me {S}", f"net rpc user -U me%{S}", f"mount -t cifs -o user=me%{S},ro //h/s /m",
    f"snmp-server community {S} RO", f"rf_power_reset.py -u root -p {S} -r h", f"salt={S}", f'"password_salt": "{S}"', f"SharedAccessSignature={S}",
    f"sqlcmd -U sa -P{S}", f"bcp t out f -U sa -P{S}", f"rf_sensors -u root -p{S}", f"htpasswd -n -b me {S}", f"htpasswd -nb -C 10 me {S}",
    f"openssl passwd -6 -- {S}", f"openssl passwd -in f -6 {S}", f"scp 'me:{S}@h:/x' .", f"ssh me:pa/ss{S}@h", f"ssh -p 22 -o A=b me:{S}@h uptime",
    f"ssh -J jump@bastion root:{S}@h", f"ssh -oStrictHostKeyChecking=no root:{S}@h", f'ssh -o "ProxyCommand=nc %h %p" root:{S}@h',
    f"lftp --norc root:{S}@h", f'lftp -e "a; b" root:{S}@h', f"rsync x root:{S}@main-gpu:/srv", f"tool /u:me /p:Hun={S}", f"scp x root:{S}@main:/srv",
    f"snmp-server host 10.0.0.1 version 2c {S}", f"snmp-server host 10.0.0.1 {S}", f"snmp-server user u g v3 auth sha {S}",
    f"snmp-server user u g v3 auth sha {S} priv aes 128 {S}",
    f"Bearer: {S}", f"密码\uff1a{S}", f"登录口令={S}", f"密钥: {S}", f"API令牌\uff1a{S}",
]  # fmt: skip
LETTERS = "aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789aBcDeF"
PREFIXED = [
    "hf_aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH", "ms-0a1b2c3d-0a1b-4c2d-8e3f-0a1b2c3d4e5f", "ghp_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789",
    "github_pat_11ABCDEFG0aBcDeFgHiJkL_mNoPqRsTuVwX", "glpat-aBcDeFgHiJkLmNoPqRsT", "sk-" + "aBcDeFgHiJkLmNoPqRsTuVwX", "sk-proj-a1B2c3D4e5F6g7H8i9J0",
    "sk-ant-" + "api03-a1B2c3D4e5F6g7H8",
    "AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "AIzaSyA1bcdefghijklmnopqrstuvwxyz012345", "xoxb-123456789012-abcdefABCDEF",
    "npm_aBcDeFgHiJkLmNoPqRsTuVwXyZ0123456789", "pypi-AgEIcHlwaS5vcmcCJGFiY2RlZg", "dckr_pat_aBcDeFgHiJkLmNoPqRsTuVwXyZ", "nvapi-aBcDeFgHiJkLmNoPqRsTuV",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9", "LTAI5tAbCdEfGhIjKlMnOpQr", "hvs.CAESIAbCdEfGhIjKlMnOp",
    *(name + LETTERS for name in ("glsa_", "glc_", "ATATT3", "lin_api_", "ntn_12345678901", "pplx-", "pscale_tkn_", "tskey-auth-", "dp.pt.", "jina_", "csk-",
      "fw_", "wandb_v1_", "fo1_", "ABSK", "hf_oauth_", "HRKU-AA", "EAAC", "tfp_", "sq0atp-", "GR1348941", "lsv2_pt_", "bce-v3/ALTAK-", "hf_", "sgp_")),
    *(name + "0a1b2c3d4e5f60718293a4b5c6d7e8f9" for name in ("dapi", "shpat_", "gloas-", "rubygems_01234567", "sntryu_", "pul-01234567", "doo_v1_")),
    "NRAK-ABCDEFGHIJKLMNOPQRSTUVWXYZ0", "PMAK-0a1b2c3d4e5f60718293a4b5-0a1b2c3d4e5f60718293a4b5c6d7e8f901", "A3-ASWWYB-798JRYLJVD4-23DC2-86TVM-H43EB",
    "sha256~" + LETTERS + "0", "123456789:AA" + LETTERS[:33], "aBc8Q~" + LETTERS[:34], "dt0c01." + LETTERS[:26].upper() + "." + LETTERS[:26].upper(),
    "gsk_aBcDeFgHiJkLmNoPqRsTuVwX", "r8_aBcDeFgHiJkLmNoPqRsTuVwX", "rk_live_aBcDeFgHiJkL", "ya29.a0AfH6SMBx_aBcDeFgHiJkL", "glptt-0123456789abcdef0123",
]  # fmt: skip
ORDINARY = [
    "max_tokens: 16", "generated 120 tokens", '"api_key": true', "tokenizer: Qwen2Tokenizer", "prompt_tokens=38", "tokens: 1,024",
    "GPU KV cache size: 299,593 tokens", "--max-num-batched-tokens 2048 --tokenizer /models/x", "eos_token: <|im_end|>", "eos_token_id=151645",
    '"pad_token": "<|endoftext|>", "bos_token": null', "image_token='<|image_pad|>'", "time_per_output_token=0.02", "first token after 0.1 s",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "commit 0a1b2c3d4e5f60718293a4b5c6d7e8f901234567",
    "image: quay.io/ascend/vllm-ascend:v0.23.0@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "GPU-8f3c1b9e-1c2d-4e5f-8a9b-0c1d2e3f4a5b", "request id cmpl-0a1b2c3d4e5f60718293a4b5c6d7e8f9", "/srv/vllm/models/qwq-32b@0123456789ab+float16",
    "http://127.0.0.1:8000/models/demo@0123456789ab", "https://pypi.org/simple/", "git@github.com:org/repo.git", "ssh://git@github.com/o/r",
    "https://registry.example:5000/v2/x", "http://[::1]:8000/v1/@x", "api_key: false", "api_key=None", "password: null", "token: ''",
    "key_file: /srv/vllm/services/demo/api_key", "api_key_file=/run/api_key", "token_url: https://h/token", "--password-file /etc/x",
    "Authorization failed", "Bearer authentication is required", "Basic authentication", "invalid token in line 5", "no token given",
    "sort_key: name", "cache_key=abcdef0123456789", "public_key: ssh-ed25519 AAAA", "the secret of success", "keys: 5", "PWD=/home/me",
    "hf_hub_download(repo_id='x')", "hf_overrides={}", "HF_HUB_OFFLINE=1", "ms-marco-MiniLM-L-6-v2", "sk-learn 1.5", "sklearn", "ms-swift",
    "INFO 11-25 12:00:01 [core.py:58] Initializing a V1 LLM engine (v0.32.0) with config: model='/models/demo'", "author: me@example.com",
    "torch==2.13.0 --hash=sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "NCCL_SOCKET_IFNAME=eth0",
    "-----BEGIN CERTIFICATE-----\nMIIDdzCCAl+gAwIBAgIEAgAAuTANBgkq\n-----END CERTIFICATE-----", "from 10.0.0.5:41234 - GET /v1/models 200",
    "export CUDA_VISIBLE_DEVICES=0,1", "docker run -p 127.0.0.1:8000:8000 x", "docker run -p 8000:8000 x", "--token-budget 5", "passed 5 tests",
    "compass: north", "bypass=on", "Deploy key is missing", "allow_credentials=True", "use_auth_token=False", "--skip-tokenizer-init",
    "eyJ is how a JWT begins", "AKIA is a prefix", "cudagraph_capture_sizes=[1, 2, 4]", "2026-11-25T12:00:00Z", "a=b; c=d", "LOGIN: yes",
    "login to gpu-node-17 failed", "Login from Host 10.0.0.5", "docker login -u me registry", "title%3A%20The%20Token", "max_tokens%3D16",
    "key=0a1b2c3d4e5f60718293a4b5c6d7e8f9", "invalid api key", "token 151643 is new",
    "secret is safe", "api_key is not set", "['api_key', 'served_model_name']", "openssl version -a", "curl -b", "wandb login --relogin",
    "https://discord.com/channels/1/2", "the token is set to eos", "mc alias list",
    "printf '%s' ok > status", "echo 5 > /sys/block/x/queue/depth", "echo $TOKEN > token", "echo done > tokenizer.json", "echo 16 | tee max_tokens",
    "cat > config.yml <<EOF\nmodel: demo\nEOF", "a <<< b", "<<<<<<< HEAD", "ssh login -p 2222 h", "mkdir -p /srv/vllm/models", "vault login failed",
    "zip -r a.zip b", "tar -czP x", "net use is gone", "Password:\nLogin incorrect", "Password:\nwelcome", "secret:\nname", "password:\nport: 1",
    "sas: 4", "SAS: Broadcom HBA", "pin_memory=True", "fw_version: 7.5.0.8.220", "creds: ok", "Authentication: required", "user_data: x",
    "token (151643)", "tokens/s", "tokens, 16 blocks", "token | count |", "10.0.0.1:8000:running", "<a href='/reset-password'>Forgot</a>", "auth=('u')",
    "login('u')", "HTTPBasicAuth is used", "rank:0:node:gpu:1", "sha256:9f86 of htdigest", "create role u", "gloo-0 store", "EAAC", "a3-highgpu-8g",
    "set HF_TOKEN=<token> in the inventory", "special tokens: <image_token> 151655, <x>", "aa:11:bb:cc:dd:ee", "2001:4860:4860:0:0:0:0:8888",
    "2026-11-27T12:34:56:123:45", "engine.py:1234:foo:bar:baz", "no API key for model Qwen3-8B was given", "token for request chatcmpl-9f8a7b6c",
    "snmp_exporter -c /etc/x.yml", "wandb login failed: no key",
    "scp host:Qwen2-7B@main .", "scp h:models/qwq-32b@0123456789ab+float16 /srv", "rsync -a me@h:x y", "scp -3 a@h:x b@g:y", "ssh -p 22 root@h",
    "ssh -J a@b:22 c@d", "ssh -L 8000:127.0.0.1:8000 me@h", "ssh to node:22@rack1 failed", "msbuild /p:Configuration=Release", "salt=16",
    "salt 'gpu*' test.ping", "saltenv=base", "net use * /delete", "openssl passwd -help", "mount -t cifs -o user=me //h/s", "user=a%20b",
    "SSHPASS is not set", "snmp-server is up", "scp host:Qwen2-7B@main:latest .", "scp reg:tag@sha256:abcd .", "ssh to gpu-01:worker@rack2 failed",
    "ssh error at engine:init@worker 3", "msbuild x.sln /u:me /p:Configuration=Release", "a /p:1 b /u:2", "openssl passwd is missing",
    "snmp-server community is not set", "net ads join -U admin%s", "mount: user=me%h in /etc/fstab", "htpasswd -n -b is wrong",
    "rf_detr.py -profile on", "rf_model train -pretrained weights",
    "bcp -Path /x", "snmp-server host is down",
    "secret:\n  name: demo\n  port: 1", "tokens:\n  - a", "pwm: 4", "secret_name: demo", "password_file=/etc/x",
]  # fmt: skip


def test_there_are_enough_of_them() -> None:
    assert len({*FORMS, *PREFIXED}) >= 150 and len(ORDINARY) >= 70


AROUND = ["{}", "INFO 12:00:01 [a.py:1] {}\nnext line", '2026-11-25 {} ({{"port": 8000}})']
AT_THE_START = ("ENV ", "requirepass", "masterauth", "cat ", "10.0.0.1:")  # of a line, or they are no such form


@pytest.mark.parametrize(
    ("around", "text"),
    [(around, text) for text in FORMS for around in AROUND if around == "{}" or not text.startswith(AT_THE_START)],
)
def test_no_form_shows_its_secret(text: str, around: str) -> None:
    found = masked(around.format(text))
    assert S not in found and B not in found and MASK in found, found
    assert around == "{}" or "12:00:01" in found or "8000" in found or "2026-11-25" in found
    assert masked(found) == found, "masking what is masked changes nothing"


@pytest.mark.parametrize("secret", PREFIXED)
@pytest.mark.parametrize("around", ["{}", "using {} now", "'{}'", "x={}", "[{}]", "https://h/{}/x", "key:{},"])
def test_a_prefix_gives_a_secret_away(secret: str, around: str) -> None:
    assert secret not in masked(around.format(secret)) and secret[8:] not in masked(around.format(secret))


@pytest.mark.parametrize("text", [f"password:\n  {S}\nport: 1", f"a:\n    token: \n      {S}", f"api_key:\n\t{S}\n"])
def test_a_value_alone_below_its_name_is_its_value(text: str) -> None:
    assert masked(text) == text.replace(S, MASK)


@pytest.mark.parametrize("before", ["Password:", "root@h's password: ", "Enter passphrase:", "INFO the new password:"])
@pytest.mark.parametrize("after", ["", "\nLast login: today"])
def test_what_was_typed_below_a_prompt_goes(before: str, after: str) -> None:
    assert masked(f"{before}\n{S}{after}") == f"{before}\n{MASK}{after}"


@pytest.mark.parametrize("line", ["h:5432:db:me:{}", "*:*:*:me:{}", "> AUTH default {}", "auth {}"])
def test_lines_of_files_that_hold_a_secret(line: str) -> None:
    assert masked(f"a\n{line.format(S)}\nb") == f"a\n{line.format(MASK)}\nb"


def test_digests_and_short_codes_of_logins_go() -> None:
    digest = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
    assert masked(f"htdigest: me:realm:{digest}") == f"htdigest: me:realm:{MASK}"
    for text in ("pin_code=123456", "PIN code: 839201", "passcode: 839201"):
        assert masked(text).endswith(MASK)


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("number", ["12345", "0", "1234567890", "3.14"])
@pytest.mark.parametrize(
    "form", ["password: {}", '"password": {}', "DB_PASSWORD={}", "pwd={}", "--password {}", "client_secret: {}"]
)
def test_a_password_of_digits_is_a_password(number: str, form: str) -> None:
    assert masked(form.format(number)) == form.format(MASK)


def test_words_of_a_process_end_where_the_next_begins() -> None:
    found = masked(f"vllm\0serve\0--api-key\0{S}\0--port\08000\0VLLM_API_KEY={S}\0HF_HUB_OFFLINE=1\0")
    assert S not in found and "--port 8000" in found and "HF_HUB_OFFLINE=1" in found


@pytest.mark.parametrize(
    "text", [f"/login?next=Bearer%20{S}", f"Basic%20{B}", "GITEA_AUTH=Zk9QwErTy7", "REDISCLI_AUTH='aB3$xyz!'"]
)
def test_short_passwords_of_variables_and_schemes_of_urls_go(text: str) -> None:
    found = masked(text)
    assert not [secret for secret in (S, B, "Zk9QwErTy7", "aB3$xyz!") if secret in found] and MASK in found, found


@pytest.mark.parametrize(
    "text", ["PROXY_AUTH=basic", "ENABLE_AUTH=true", "Bearer%20authentication", "SUDO_AUTH=required"]
)
def test_words_of_variables_and_schemes_stay(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize("form", ["--api-key {}", '"api_key": {}', "VLLM_API_KEY={}", "access key: {}", "密码\uff1a{}"])
def test_a_key_of_digits_is_no_count(form: str) -> None:
    assert masked(form.format("839201")) == form.format(MASK)


def test_a_token_in_place_of_a_user_goes_from_a_url_and_a_user_stays() -> None:
    assert masked("git clone https://Zq7vR2kX9mT4@github.com/o/r") == f"git clone https://{MASK}@github.com/o/r"
    assert masked("https://oauth2@gitlab.com/x") == "https://oauth2@gitlab.com/x"


@pytest.mark.parametrize(
    "text",
    [PEM, PEM.replace("\n", "\\n"), "x " + PEM + " y", PEM.replace("RSA ", ""), PEM.replace("RSA ", "OPENSSH "), PEM.replace("RSA ", "ENCRYPTED "),
     "\n".join("INFO log: " + line for line in PEM.splitlines()), PEM.rpartition("\n")[0], PEM.partition("\n")[2], f"key: |\n  {PEM}",
     json.dumps({"tls.key": PEM}), json.dumps(json.dumps({"k": PEM})), PEM.replace("\n", "\r\n"), PEM + "\n" + PEM],
)  # fmt: skip
def test_private_keys_go_and_what_is_around_stays(text: str) -> None:
    found = masked(f"before\n{text}\nafter")
    assert "MIIEowIB" not in found and found.startswith("before\n") and found.endswith("\nafter"), found


@pytest.mark.parametrize(
    "secret",
    [
        "pa ss\"wo'rd\\/&<>",
        "pässwörd-ß",
        "hunter2",
        "line1-secret\nline2-secret",
        "a+b/c=d%e?f#g",
        "x" * 300,
        "短い秘密のことば",
    ],
)
@pytest.mark.parametrize(
    "form",
    [str, json.dumps, lambda s: json.dumps(s, ensure_ascii=False), lambda s: json.dumps(json.dumps(s)), urllib.parse.quote, urllib.parse.quote_plus,
     lambda s: urllib.parse.quote(s, safe="").lower(), repr, lambda s: base64.b64encode(s.encode()).decode(),
     lambda s: base64.b64encode(b"user:" + s.encode()).decode(), lambda s: base64.urlsafe_b64encode(b"u:" + s.encode() + b":x").decode(),
     lambda s: s.encode().hex(), ascii, lambda s: repr(s.encode())[1:]],
)  # fmt: skip
def test_a_known_secret_goes_in_every_spelling(secret: str, form) -> None:  # type: ignore[no-untyped-def]
    text = form(secret)
    found = masked(f"a {text} b", [secret])
    assert MASK in found
    core = text.strip("'\"")
    pieces = core.splitlines() if "\n" in core else [core[4:-4]]
    assert not any(piece and piece in found for piece in pieces), found


def test_a_short_known_secret_is_a_word_of_its_own() -> None:
    assert (
        masked("demo demonstrates /models/demo-vision demo", ["demo"])
        == f"{MASK} demonstrates /models/demo-vision {MASK}"
    )
    assert masked("true is true, none is none", ["true", "none", "a", ""]) == "true is true, none is none"


def test_values_of_a_structure_that_are_secrets() -> None:
    given = {
        "env": {"HF_TOKEN": "t-1", "A": "b"},
        "x": ["http://u:p%40w@h"],
        "password": 123456,
        "api_keys": {"demo": "k"},
        "max_tokens": 5,
    }
    assert set(known_secrets.known_secrets(given)) == {"t-1", "p@w", "123456", "k"}


WORDS = ["a", "key", "echo ", "<<A\n", "<<< ", "token,", "Password:\n", "createUser a ", "<a name=", "token=", 'password="', "'", "://a:", "@", "eyJ-", "eyJa.",
         "-----" + "BEGIN PRIVATE KEY-----\n", "-----END PRIVATE KEY-----", "--api-key ", " ", "\t", "\\", "\\\"", "name: ", "bearer ",
         "ssh a:", "ssh -o ", "ssh -a b ", "-o \"a ", "scp ", "htpasswd -n -b ", "snmp-server user ", "/p:", "/u: ", "salt=", "openssl passwd -1 ",
         "hf_", "sk-", "auth ", "x:y@", "docker -p", "<password>", "http://", "=", "$6$", "'\"", "\n"]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("lead", ["", "password='", "docker run ", "http://u:"])
def test_a_long_word_takes_no_minutes(word: str, lead: str) -> None:
    """Linear work on 40,000 characters takes 0.05 s of this process; quadratic work takes a minute."""
    text = lead + word * (40_000 // len(word))
    began = time.process_time()
    masked(text, ["known-secret-1"])
    assert time.process_time() - began < 10


def test_megabytes_are_read_in_one_go() -> None:
    rng = random.Random(3)
    line = "INFO 11-25 12:00:01 [core.py:58] prompt_tokens=38 id=%s path=/srv/vllm/x"
    text = "\n".join(line % "".join(rng.choices(string.hexdigits, k=32)) for _ in range(20_000))
    assert len(text) > 2_000_000
    assert masked(text + "\nHF_TOKEN=" + S).removesuffix(MASK) == text + "\nHF_TOKEN="
