"""ModelScope, or a hub that speaks its API."""

from __future__ import annotations

import hashlib
import json
import re
import urllib.parse
from typing import Any

from ansible.module_utils.serving.weights.hubs.hub import Hub, client_errors
from ansible.module_utils.serving.weights.listing import COMMIT, Entry, Listing, SourceFailed, as_text
from ansible.module_utils.serving.weights.selection import content_of, taken


class ModelScope(Hub):
    """ModelScope or a hub that speaks its API. Every file is stated by sha256."""

    kind = "modelscope"
    packages = ("modelscope", "modelscope-hub")
    variables = ("MODELSCOPE_ENDPOINT", "MODELSCOPE_API_TOKEN")
    home = "https://www.modelscope.cn"

    def rows(self, api: Any, revision: str) -> list[dict[str, Any]]:
        found = api.legacy.list_repo_files(self.repo, "model", revision=revision, recursive=True)
        for row in found:
            if row.get("Type") not in ("blob", "tree"):
                raise SourceFailed("its listing has %r of type %r" % (row.get("Path"), row.get("Type")))
        return [row for row in found if row["Type"] == "blob"]

    def api(self) -> Any:
        """The hub's own client, over our HTTP."""
        from ansible.module_utils.serving.weights.hubs import over_http
        from modelscope_hub.api import HubApi

        api = HubApi(endpoint=self.endpoint, token=self.token or None)
        self.line = line = over_http.Line(self.endpoint, self.limits)
        over_http.over_requests(line, api.legacy)
        over_http.over_requests(line, api.openapi)
        return api

    def search(self, words: str) -> list[str]:
        found = self.api().openapi.list_models(search=words, page_size=20)
        rows = found.get("models") or found.get("Models") or [] if isinstance(found, dict) else []
        return [str(row.get("id") or "") for row in rows if isinstance(row, dict) and row.get("id")]

    def is_dataset(self) -> bool:
        return bool(self.api().repo_exists(self.repo, "dataset"))

    def listing(self) -> Listing:
        with client_errors("modelscope %s" % self.repo):
            api = self.api()
            wanted = self.requested or "master"
            rows = self.rows(api, wanted)
            commit = wanted if COMMIT.fullmatch(wanted) else self.resolve(api, rows)
            entries = (
                Entry(
                    name=as_text(row.get("Path")),
                    size=row.get("Size", -1),
                    sha256=str(row.get("Sha256") or "").lower() or None,
                    url="%s/api/v1/models/%s/repo?%s"
                    % (
                        self.endpoint,
                        urllib.parse.quote(self.repo),
                        urllib.parse.urlencode({"Revision": commit or wanted, "FilePath": row.get("Path")}),
                    ),
                )
                for row in rows
            )
            headers = {"Authorization": "Bearer " + self.token} if self.token else {}
            rows_taken = taken(entries, self.wanted, lambda entry: content_of(entry, headers, None, self.limits))
            files = rows_taken["files"]
        # No commit that gives this listing: then its content is its name, which every byte is checked against anyway.
        revision = (
            commit
            or "listing-"
            + hashlib.sha256(json.dumps([[e.name, e.size, e.sha256] for e in files]).encode()).hexdigest()[:32]
        )
        asked = map(re.compile(r"/api/v1/models/([^/?]+/[^/?]+)/repo/files").search, self.line.client.moved.values())
        names = [
            urllib.parse.unquote(found[1]) for found in asked if found
        ]  # a redirect leads to the name that counts now
        about = {"id": names[-1]} if names else {}
        return Listing(self.kind, self.repo, self.requested, revision, headers=headers, about=about, **rows_taken)

    def resolve(self, api: Any, rows: list[dict[str, Any]]) -> str | None:
        """The commit behind a branch: the newest that touched a file, if listing it gives the same files."""
        commits = [
            (row.get("CommittedDate") or 0, row["Revision"])
            for row in rows
            if COMMIT.fullmatch(str(row.get("Revision")))
        ]
        if not commits:
            return None
        newest = max(commits)[1]
        try:
            again = self.rows(api, newest)
        except Exception:
            return None

        def content(listed: list[dict[str, Any]]) -> set[tuple[Any, Any]]:
            return {(row.get("Path"), row.get("Sha256")) for row in listed}

        return str(newest) if content(again) == content(rows) else None
