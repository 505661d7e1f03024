#!/usr/bin/python
"""Module gateway_certificate: certificates for gateways from a small CA of the site."""

from __future__ import annotations

DOCUMENTATION = r"""
module: gateway_certificate
short_description: A certificate for a gateway from the site's own small CA
description:
  - Runs on the controller. Makes a CA once, and a certificate for each gateway, anew where names change or less than O(renew_days) are left.
  - Private keys are 0600 files in O(folder), which must not be in a repository.
options:
  folder: {description: Where CA and certificates lie on the controller., type: path, required: true}
  name: {description: The gateway's name in the inventory., type: str, required: true}
  names: {description: Host names and addresses by which callers reach it., type: list, elements: str, required: true}
  days: {description: Days that a certificate counts., type: int, default: 90}
  renew_days: {description: Days left at which it is made anew., type: int, default: 30}
attributes:
  check_mode: {support: full}
  diff_mode: {support: none}
"""
EXAMPLES = r"""
- name: A certificate
  gateway_certificate:
    folder: ~/.local/share/vllm-ansible/gateway-ca
    name: gw-01
    names: [llm.example.org, 192.0.2.5]
  delegate_to: localhost
"""
RETURN = r"""
certificate_file: {description: Chain and private key as PEM., returned: always, type: str}
ca_file: {description: "The CA's certificate, which callers trust.", returned: always, type: str}
expires: {description: "Last moment of the certificate, ISO 8601; empty where check mode made none.", returned: always, type: str}
"""

import datetime
import ipaddress
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.serving.errors import Refusal, run_module
from ansible.module_utils.serving.files import locked, own_folder, write_atomic

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    MISSING = ""
except ImportError as problem:
    MISSING = str(problem)

CA_DAYS = 3650


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def subject(text: str) -> Any:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def alternative(names: list[str]) -> list[Any]:
    """The names as a certificate has them, each once. Raises Refusal."""
    found: list[Any] = []
    for name in dict.fromkeys(names):
        try:
            found.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            try:
                found.append(x509.DNSName(name))
            except ValueError:
                raise Refusal(
                    "'%s' can't be a name in a certificate; use host names and addresses in gateway_names" % name
                ) from None
    return found


def builder(owner: Any, issuer: Any, public: Any, days: int) -> Any:
    start = now() - datetime.timedelta(hours=1)  # clocks differ
    return (
        x509.CertificateBuilder()
        .subject_name(owner)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(now() + datetime.timedelta(days=days))
    )


def usage(sign: bool) -> Any:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False, key_agreement=False,
        key_cert_sign=sign, crl_sign=sign, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def pem(key: Any) -> bytes:
    private = serialization.PrivateFormat.PKCS8
    return bytes(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()))


def text_of(certificate: Any) -> bytes:
    return bytes(certificate.public_bytes(serialization.Encoding.PEM))


def authority(folder: str) -> tuple[Any, Any]:
    """(certificate, key) of the site's CA, made once: one file, so that a kill leaves both or none."""
    path = os.path.join(folder, "ca.pem")
    if not os.path.exists(path):
        key = ec.generate_private_key(ec.SECP256R1())
        name = subject("vllm-ansible gateway CA")
        made = (
            builder(name, name, key.public_key(), CA_DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage(True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_atomic(path, text_of(made) + pem(key), 0o600)
    with open(path, "rb") as source:
        data = source.read()
    try:
        found = x509.load_pem_x509_certificate(data), serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise Refusal(
            "%s is no certificate with its key; remove it to have a new CA made, which callers must then trust" % path
        ) from None
    write_atomic(os.path.join(folder, "ca.crt"), text_of(found[0]))
    return found


def usable(path: str, wanted: list[Any], issuer: Any, days: int) -> datetime.datetime | None:
    """When the certificate there ends, None where a new one is due."""
    try:
        with open(path, "rb") as source:
            found = x509.load_pem_x509_certificate(source.read())
        found.verify_directly_issued_by(issuer)
        names = list(found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except Exception:  # missing, cut, foreign, of an older CA: made anew in each case
        return None
    end: datetime.datetime = found.not_valid_after_utc
    return end if names == wanted and end - now() > datetime.timedelta(days=days) else None


def body(module: AnsibleModule) -> dict[str, Any]:
    given = module.params
    if MISSING:
        raise Refusal(
            "the controller's Python has no cryptography (%s); run this from the project's environment, made by `make setup`"
            % MISSING
        )
    folder = os.path.expanduser(given["folder"])
    path = os.path.join(folder, given["name"] + ".pem")
    wanted = alternative(given["names"])
    result = {"certificate_file": path, "ca_file": os.path.join(folder, "ca.crt"), "expires": ""}
    if module.check_mode and not os.path.exists(os.path.join(folder, "ca.pem")):
        return dict(result, changed=True)
    if not module.check_mode:
        own_folder(folder, 0o700)
    with locked(os.path.join(folder, ".lock"), "the gateways' CA"):
        issuer, signer = authority(folder)
        end = usable(path, wanted, issuer, given["renew_days"])
        changed = end is None
        if changed and not module.check_mode:
            key = ec.generate_private_key(ec.SECP256R1())
            made = (
                builder(subject(given["name"]), issuer.subject, key.public_key(), given["days"])
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(usage(False), critical=True)
                .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
                .add_extension(x509.SubjectAlternativeName(wanted), critical=False)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
                .sign(signer, hashes.SHA256())
            )
            write_atomic(path, text_of(made) + text_of(issuer) + pem(key), 0o600)
            end = made.not_valid_after_utc
    return dict(result, changed=changed, expires=end.isoformat() if end else "")


def main() -> None:
    spec = {
        "folder": {"type": "path", "required": True},
        "name": {"type": "str", "required": True},
        "names": {"type": "list", "elements": "str", "required": True},
        "days": {"type": "int", "default": 90},
        "renew_days": {"type": "int", "default": 30},
    }
    run_module(AnsibleModule(spec, supports_check_mode=True), body)


if __name__ == "__main__":
    main()
