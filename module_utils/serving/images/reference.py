"""An image's name in its parts, and the places that may have it."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ansible.module_utils.serving.errors import Refusal

# What Docker calls an architecture, by the kernel's name for it.
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Reference(NamedTuple):
    """registry/path[:tag][@sha256:...] in its parts."""

    registry: str
    path: str
    tag: str
    digest: str

    @property
    def repo(self) -> str:
        return "%s/%s" % (self.registry, self.path) if self.registry else self.path

    @property
    def text(self) -> str:
        return self.repo + (":" + self.tag if self.tag else "") + ("@" + self.digest if self.digest else "")


def parse(text: str) -> Reference:
    """An image's reference in its parts. Refusal if it is none."""
    found = re.fullmatch(
        r"(?:(?P<registry>localhost|[\w-]+(?:\.[\w-]+)+|[\w.-]+(?=:\d+/)|\[[0-9a-f:]+\])(?P<port>:\d+)?/)?"
        r"(?P<path>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?",
        text,
    )
    if not found:
        raise Refusal("image %r is no reference like registry/path:tag or registry/path@sha256:<64 hex digits>" % text)
    registry = (found["registry"] or "") + (found["port"] or "")
    return Reference(registry, found["path"], found["tag"] or "", found["digest"] or "")


def places(image: Reference, mirrors: list[str]) -> list[Reference]:
    """Where to ask, in order: each mirror (`host[:port][/prefix]`) with the image's path, then its own registry."""
    found = []
    for mirror in mirrors:
        registry, _, prefix = mirror.strip("/").partition("/")
        found.append(image._replace(registry=registry, path="%s/%s" % (prefix, image.path) if prefix else image.path))
    return [*found, image]


def check_platform(image: Reference, platforms: list[dict[str, Any]], arch: str) -> None:
    """Refuse an image that isn't built for `arch` (the kernel's name), before it is pulled."""
    want = ARCHITECTURES.get(arch, arch)
    rows = (
        [row.get("architecture") for row in platforms if isinstance(row, dict)] if isinstance(platforms, list) else []
    )
    found = sorted({text for text in rows if isinstance(text, str)} - {"", "unknown"})
    if arch and found and want not in found:
        raise Refusal(
            "image %s is built for %s, this host is %s (%s); set another image for this hardware"
            % (image.text, ", ".join(found), arch, want)
        )
