"""What hubs have in common: a repository at an endpoint, and the errors of their clients in one sentence."""

from __future__ import annotations

import contextlib
import os
import re
from typing import Iterator

from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.errors import Refusal
from ansible.module_utils.serving.weights.choice import Wanted
from ansible.module_utils.serving.weights.listing import Listing, SourceFailed


@contextlib.contextmanager
def client_errors(what: str) -> Iterator[None]:
    """Errors of the hubs' clients in one sentence; their classes differ from version to version."""
    try:
        yield
    except (Refusal, SourceFailed):
        raise
    except ImportError as error:
        raise SourceFailed(
            "%s needs the Python package %s, which the tools environment brings; run deploy.yml --tags prepare"
            % (what, error.name)
        ) from None
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        text = re.sub(r"https?://\S*@", "https://...@", text)
        response = getattr(error, "response", None)
        status = getattr(response, "status_code", None)
        code = str((getattr(response, "headers", None) or {}).get("X-Error-Code") or "")
        hints = {
            401: "it needs a token: set %s_token" % what.split()[0],
            403: "the token may not read it, or its licence has to be accepted on the hub",
            404: "it is not there: check repo and revision in models.yml",
            429: "the hub asks to slow down: wait, or set a token",
        }
        hint = (
            hints.get(status, "check the network, fetch_environment (proxy, CA) and the endpoint")
            if status
            else ("check the network, fetch_environment (proxy, CA) and the endpoint")
        )
        raise SourceFailed("%s (%s)" % (text[:400], hint), status, code) from None


class Hub:
    """What the hubs have in common: a repository at an endpoint, by options, else by the hub's own variables, else at its home."""

    kind: str  # its name in `sources` of models.yml
    packages: tuple[str, ...]  # Python packages that ask it, of which a manifest keeps the versions
    variables: tuple[str, str]  # of its endpoint and of its token
    home: str

    def __init__(
        self,
        repo: str,
        revision: str | None,
        wanted: Wanted,
        endpoint: str = "",
        token: str = "",
        limits: Limits | None = None,
    ) -> None:
        self.repo, self.requested, self.wanted = repo, revision, wanted
        self.limits = limits or Limits()
        of_endpoint, of_token = self.variables
        self.endpoint = (endpoint or os.environ.get(of_endpoint) or self.home).rstrip("/")
        self.token = token or os.environ.get(of_token) or ""

    def listing(self) -> Listing:
        """Resolve the revision and list its files. SourceFailed if that can't be done."""
        raise NotImplementedError

    def search(self, words: str) -> list[str]:
        """Repositories of models that the hub's own search finds."""
        raise NotImplementedError

    def is_dataset(self) -> bool:
        """Is it the name of a data set?"""
        raise NotImplementedError
