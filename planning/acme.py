"""A gateway's certificate from an ACME server: certbot's configuration from a site's settings. Pure: settings in, text out."""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable
from typing import Any

from planning.rows import Key, Row, check_row, fail, plain

# Keys of `gateway_acme`.
ACME: dict[str, Key] = {
    "agree_tos": Key("bool", False, "You agree to the terms of the server; nothing is asked without it."),
    "server": Key("str", "https://acme-v02.api.letsencrypt.org/directory", "Directory of the ACME server."),
    "email": Key("str", None, "Whom the server may write to."),
    "ca_file": Key("path", None, "File on the gateway with the CA of the server itself, where it isn't a public one."),
    "eab_kid": Key("str", None, "Key identifier of external account binding, where the server wants it."),
    "eab_hmac_key": Key("str", None, "Its key; keep it in a vault."),
}
CERTBOT = "certbot"


def dns_names(names: Iterable[str]) -> list[str]:
    """Names for which a server gives certificates: neither addresses nor names without a dot."""
    found = []
    for name in dict.fromkeys(names):
        try:
            ipaddress.ip_address(name)
        except ValueError:
            if re.fullmatch(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*", name):
                found.append(name)
    return found


def acme_plan(given: Any, names: Iterable[str], folder: str, http_port: int, port: int) -> Row:
    """{ini, settings}: certbot's configuration, which may hold a secret, and what renew.py reads. Raises Faults.

    `names`: gateway_names. `folder`: the gateway's. `http_port`: where HAProxy takes plain HTTP. `port`: certbot's own, on loopback.
    """
    row = {**{name: key.default for name, key in ACME.items()}, **check_row("gateway_acme", plain(given), ACME)}
    wanted = dns_names(names)
    if not row["agree_tos"]:
        fail("gateway_acme needs agree_tos: true, with which you agree to the terms of its server")
    if not http_port:
        fail(
            "gateway_acme needs gateway_http_port, because the ACME server asks the gateway over plain HTTP; set it to 80, or to what port 80 leads to"
        )
    if not wanted:
        fail(
            f"gateway_names has no name for which an ACME server gives a certificate ({', '.join(names) or 'it is empty'}); "
            "put the DNS name there by which callers reach the gateway, such as llm.example.org"
        )
    for name in ("server", "email", "eab_kid", "eab_hmac_key"):
        if row[name] and re.search(r"[\s#]", row[name]):
            fail(f"gateway_acme.{name} has a space, a line break or a # in it, which certbot's file can't take")
    if bool(row["eab_kid"]) != bool(row["eab_hmac_key"]):
        fail("gateway_acme must have both eab_kid and eab_hmac_key, or neither")
    base = f"{folder}/acme"
    name = (
        "gateway-" + hashlib.sha256(row["server"].encode()).hexdigest()[:8]
    )  # a trial server's certificate is never taken for the real one's
    lines = {
        "server": row["server"],
        **({"email": row["email"]} if row["email"] else {"register-unsafely-without-email": "true"}),
        **({"eab-kid": row["eab_kid"], "eab-hmac-key": row["eab_hmac_key"]} if row["eab_kid"] else {}),
        "agree-tos": "true",
        "non-interactive": "true",
        "authenticator": "standalone",
        "preferred-challenges": "http",
        "http-01-address": "127.0.0.1",
        "http-01-port": port,
        "keep-until-expiring": "true",
        "renew-with-new-domains": "true",
        "cert-name": name,
        "domains": ",".join(wanted),
        "config-dir": base,
        "work-dir": f"{base}/work",
        "logs-dir": f"{base}/logs",
    }  # fmt: skip
    return {
        "ini": "".join(f"{key} = {value}\n" for key, value in lines.items()),
        "settings": {
            "certbot": CERTBOT,
            "ini": f"{base}/cli.ini",
            "ca_file": row["ca_file"] or "",
            "live": f"{base}/live/{name}",
            "pem": f"{folder}/gateway.pem",
            "api": f"{folder}/admin.sock",
        },
    }
