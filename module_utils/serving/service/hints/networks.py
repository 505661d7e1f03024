"""Failure hints: names and addresses on the network."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "name-resolution",
        r"Temporary failure in name resolution|Name or service not known|Max retries exceeded with url|Failed to resolve '",
        "something on the network is wanted, and can't be reached",
        "look at what the message names: a machine of your own must be up and listen there; from outside a release needs nothing: set"
        " HF_HUB_OFFLINE=1 in the row's env, and check the host's own name in /etc/hosts",
        "requests; glibc",
        "urllib3.exceptions.NameResolutionError: Failed to resolve 'files.example' ([Errno -3] Temporary failure in name resolution)",
        general=True,
    ),
)
