"""Hugging Face, or a hub that speaks its API."""

from __future__ import annotations

import os
from typing import Any

from ansible.module_utils.serving.weights.hubs.hub import Hub, client_errors
from ansible.module_utils.serving.weights.listing import COMMIT, Entry, Listing, SourceFailed, as_text
from ansible.module_utils.serving.weights.selection import content_of, taken


class HuggingFace(Hub):
    """Hugging Face or a hub that speaks its API. Large files are stated by sha256 (LFS), small ones by git's sha1."""

    kind = "huggingface"
    packages = ("huggingface-hub",)
    variables = ("HF_ENDPOINT", "HF_TOKEN")
    home = "https://huggingface.co"

    def api(self) -> Any:
        """The hub's own client, over our HTTP."""
        from ansible.module_utils.serving.weights.hubs import over_http
        from huggingface_hub import HfApi

        over_http.over_httpx(over_http.Line(self.endpoint, self.limits))
        return HfApi(endpoint=self.endpoint, token=self.token or False, library_name="vllm-ansible")

    def search(self, words: str) -> list[str]:
        return [str(row.id) for row in self.api().list_models(search=words, limit=20)]

    def is_dataset(self) -> bool:
        return bool(self.api().repo_exists(self.repo, repo_type="dataset"))

    def listing(self) -> Listing:
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        with client_errors("huggingface %s" % self.repo):
            from huggingface_hub import hf_hub_url
            from huggingface_hub.hf_api import RepoFile

            api = self.api()
            found = api.model_info(self.repo, revision=self.requested or "main", timeout=60)
            commit = found.sha or ""
            if not COMMIT.fullmatch(commit):
                raise SourceFailed("it resolves '%s' to %r, which is no commit" % (self.requested or "main", commit))
            if self.requested and COMMIT.fullmatch(self.requested) and commit != self.requested:
                raise SourceFailed("it answers commit %s for %s" % (commit, self.requested))
            rows = [
                row
                for row in api.list_repo_tree(self.repo, recursive=True, revision=commit)
                if isinstance(row, RepoFile)
            ]
            entries = (
                Entry(
                    name=as_text(row.path),
                    size=row.lfs.size if row.lfs else row.size,
                    sha256=row.lfs.sha256 if row.lfs else None,
                    git_sha1=None if row.lfs else row.blob_id,
                    url=hf_hub_url(self.repo, row.path, revision=commit, endpoint=self.endpoint),
                )
                for row in rows
            )
            headers = {"Authorization": "Bearer " + self.token} if self.token else {}
            expect = {"X-Repo-Commit": commit}
            rows_taken = taken(entries, self.wanted, lambda entry: content_of(entry, headers, expect, self.limits))
        about = {
            "id": found.id,
            "gated": bool(found.gated),
            "license": (found.card_data or {}).get("license"),
            "pipeline_tag": found.pipeline_tag,
        }
        return Listing(
            self.kind, self.repo, self.requested, commit, headers=headers, expect=expect, about=about, **rows_taken
        )
