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
    "dns_auth": Key(
        "path",
        None,
        "Program on the gateway that puts a TXT record into your DNS: the server asks that instead of port 80. See certbot's manual-auth-hook.",
    ),
    "dns_cleanup": Key("path", None, "Program that removes it again."),
    "eab_kid": Key("str", None, "Key identifier of external account binding, where the server wants it."),
    "eab_hmac_key": Key("str", None, "Its key; keep it in a vault."),
}
CERTBOT = "certbot"


def dns_names(names: Iterable[str], wildcards: bool = False) -> list[str]:
    """Names for which a server gives certificates: neither addresses nor names without a dot. `wildcards`: *.example.org, too, which DNS proves alone."""
    found = []
    for name in dict.fromkeys(names):
        try:
            ipaddress.ip_address(name)
        except ValueError:
            plain_name = name.removeprefix("*.") if wildcards else name
            if re.fullmatch(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]*", plain_name):
                found.append(name)
    return found


def by_http(port: int) -> Row:
    """certbot's lines where the server asks port 80, which HAProxy leads to certbot's own."""
    return {
        "authenticator": "standalone",
        "preferred-challenges": "http",
        "http-01-address": "127.0.0.1",
        "http-01-port": port,
    }


def by_dns(row: Row) -> Row:
    """certbot's lines where it asks the DNS, which the site's own programs change."""
    cleanup = {"manual-cleanup-hook": row["dns_cleanup"]} if row["dns_cleanup"] else {}
    return {"authenticator": "manual", "preferred-challenges": "dns", "manual-auth-hook": row["dns_auth"], **cleanup}


def acme_plan(given: Any, names: Iterable[str], folder: str, http_port: int, port: int) -> Row:
    """{ini, settings}: certbot's configuration, which may hold a secret, and what renew.py reads. Raises Faults.

    `names`: gateway_names. `folder`: the gateway's. `http_port`: where HAProxy takes plain HTTP. `port`: certbot's own, on loopback.
    """
    row = {**{name: key.default for name, key in ACME.items()}, **check_row("gateway_acme", plain(given), ACME)}
    wanted = dns_names(names, wildcards=bool(row["dns_auth"]))
    if not row["agree_tos"]:
        fail("gateway_acme needs agree_tos: true, with which you agree to the terms of its server")
    if not http_port and not row["dns_auth"]:
        fail(
            "gateway_acme needs gateway_http_port, because the ACME server asks the gateway over plain HTTP; set it to 80, or to what port 80 leads to; "
            "or name a program that changes your DNS in gateway_acme.dns_auth"
        )
    if row["dns_cleanup"] and not row["dns_auth"]:
        fail("gateway_acme has dns_cleanup without dns_auth, which puts the record there; give both")
    if not wanted:
        fail(
            f"gateway_names has no name for which an ACME server gives a certificate ({', '.join(names) or 'it is empty'}); "
            "put the DNS name there by which callers reach the gateway, such as llm.example.org"
        )
    for name in ("server", "email", "eab_kid", "eab_hmac_key", "dns_auth", "dns_cleanup"):
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
        **(by_dns(row) if row["dns_auth"] else by_http(port)),
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
