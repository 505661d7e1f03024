"""Another server that has a models_root of this product."""

from __future__ import annotations

import re
import time
import urllib.parse
from typing import Any

from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.weights import manifests
from ansible.module_utils.serving.weights.choice import Wanted
from ansible.module_utils.serving.weights.client import Client
from ansible.module_utils.serving.weights.hubs.hub import client_errors
from ansible.module_utils.serving.weights.listing import Entry, Listing, SourceFailed, as_text, parsed
from ansible.module_utils.serving.weights.selection import content_of, taken


class Mirror:
    """Any HTTP server that has a models_root of ours, such as another host: manifests state every file's sha256."""

    kind = "mirror"

    def __init__(
        self,
        name: str,
        url: str,
        revision: str | None,
        wanted: Wanted,
        token: str = "",
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.name, self.repo, self.requested, self.wanted = name, url.rstrip("/"), revision, wanted
        self.token = token

    def read(self, path: str, headers: dict[str, str]) -> Any:
        url = "%s/%s" % (self.repo, urllib.parse.quote(path))
        with client_errors("mirror %s" % url):
            client = Client(headers, self.repo, None, self.limits)
            client.until = time.monotonic() + self.limits.listing
            return parsed(client.read(url, 64 << 20))

    def listing(self) -> Listing:
        headers = {"Authorization": "Bearer " + self.token} if self.token else {}
        revision = self.requested
        if not revision:
            record = self.read(".refs/%s.json" % self.name, headers)
            revision = record.get("revision") if isinstance(record, dict) else None
        if not isinstance(revision, str) or not re.fullmatch(r"[\w.+-]+", revision):
            raise SourceFailed("its record of '%s' names no revision" % self.name)
        folder = "%s@%s" % (self.name, revision[:12])
        manifest = self.read("%s/%s" % (folder, manifests.MANIFEST), headers)
        try:
            listed = dict(manifest["files"])
            entries = (
                Entry(
                    name=as_text(name),
                    size=row["bytes"],
                    sha256=row["sha256"],
                    url="%s/%s/%s" % (self.repo, urllib.parse.quote(folder), urllib.parse.quote(name)),
                )
                for name, row in listed.items()
            )
            rows_taken = taken(entries, self.wanted, lambda entry: content_of(entry, headers, None, self.limits))
            full = str(manifest.get("commit") or manifest["revision"])
            if not re.fullmatch(r"[\w.+-]{1,200}", full):
                raise ValueError("revision %.80r" % full)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SourceFailed("its manifest of %s is not as vllm-ansible writes them (%r)" % (folder, error)) from None
        return Listing(self.kind, self.repo, self.requested, full, headers=headers, **rows_taken)
