"""Public keys as vendors publish them (OpenPGP, RFC 4880 and 9580): which keys a file holds, and the listed ones alone, written anew.

No gpg is asked: hosts may have none, and what it accepts depends on its version. Nothing is verified here but the fingerprint, which
names a key; whoever uses the key verifies signatures with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Iterator, Tuple

PUBLIC_KEY = 6
ARMOUR = re.compile(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(.*?)\r?\n-----END PGP PUBLIC KEY BLOCK-----", re.S)
Packet = Tuple[int, bytes, bytes]  # tag, body, the whole packet


def dearmoured(data: bytes) -> bytes:
    """The packets of a file, whether it is in armour (several blocks count) or not. ValueError if it is neither."""
    if data[:1] and data[0] & 0x80:
        return data
    blocks = ARMOUR.findall(data)
    if not blocks:
        raise ValueError("it is no OpenPGP key")
    out = b""
    for block in blocks:
        lines = [line.strip() for line in block.splitlines()]
        body = lines[lines.index(b"") + 1 :] if b"" in lines else lines
        try:
            out += base64.b64decode(b"".join(line for line in body if not line.startswith(b"=")), validate=True)
        except (ValueError, binascii.Error):
            raise ValueError("its armour is damaged") from None
    return out


def packets(data: bytes) -> Iterator[Packet]:
    """The packets of a public key file. ValueError where one is cut, or has a form that keys don't have."""
    at = 0
    while at < len(data):
        begin, head = at, data[at]
        if not head & 0x80:
            raise ValueError("its packets are damaged at byte %d" % at)
        if head & 0x40:  # the newer form
            tag, first = head & 0x3F, data[at + 1] if at + 1 < len(data) else 255
            if first < 192:
                size, at = first, at + 2
            elif first < 224 and at + 2 < len(data):
                size, at = ((first - 192) << 8) + data[at + 2] + 192, at + 3
            elif first == 255:
                size, at = int.from_bytes(data[at + 2 : at + 6], "big"), at + 6
            else:
                raise ValueError("its packets have a form that no key has")
        else:
            tag, width = (head >> 2) & 0x0F, {0: 1, 1: 2, 2: 4}.get(head & 3)
            if width is None:
                raise ValueError("its packets have a form that no key has")
            size, at = int.from_bytes(data[at + 1 : at + 1 + width], "big"), at + 1 + width
        if at + size > len(data):
            raise ValueError("it is cut short")
        yield tag, data[at : at + size], data[begin : at + size]
        at += size


def fingerprint(body: bytes) -> str:
    """Fingerprint of a public key packet's body, in capital hexadecimal letters."""
    version = body[0] if body else 0
    if version == 4:
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()  # noqa: S324 - its definition
    if version == 6:
        return hashlib.sha256(b"\x9b" + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    raise ValueError("it holds a key of version %d, which is not in use" % version)


def keys(data: bytes) -> dict[str, bytes]:
    """{fingerprint: packets} of each key in a file, with its names, subkeys and signatures. ValueError if it is no file of keys."""
    found: dict[str, bytes] = {}
    name = ""
    for tag, body, whole in packets(dearmoured(data)):
        if tag == PUBLIC_KEY:
            name = fingerprint(body)
            found[name] = found.get(name, b"") + whole
        elif not name:
            raise ValueError("it does not begin with a public key")
        else:
            found[name] += whole
    if not found:
        raise ValueError("it holds no key")
    return found


def armoured(data: bytes) -> bytes:
    """Packets as text, as apt and rpm take them."""
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc = (crc << 1) ^ 0x1864CFB if crc & 0x800000 else crc << 1
    text = base64.b64encode(data).decode()
    lines = [text[at : at + 64] for at in range(0, len(text), 64)]
    end = "=" + base64.b64encode((crc & 0xFFFFFF).to_bytes(3, "big")).decode()
    return "\n".join(
        ["-----BEGIN PGP PUBLIC KEY BLOCK-----", "", *lines, end, "-----END PGP PUBLIC KEY BLOCK-----", ""]
    ).encode()
