"""The guard with a second door: paths that change what the engine serves, for whoever has this host's own key.

Callers don't have that key, and it opens nothing else. In releases whose adapters are loaded while the engine runs (adapters_at_runtime).

    GUARD_OWNER_PATHS: those paths, separated by spaces
    GUARD_OWNER_KEYS: file with the key
"""

import copy
import os

import vllm_ansible_guard


class Guard(vllm_ansible_guard.Guard):
    """Passes a POST of the owner on; everything else is as without this class."""

    def __init__(self, app):
        super().__init__(app)
        self.doors = set(os.environ["GUARD_OWNER_PATHS"].split())
        self.owner = copy.copy(self)
        self.owner.keys = vllm_ansible_guard.read_keys(os.environ["GUARD_OWNER_KEYS"])

    async def __call__(self, scope, receive, send):
        posted = scope["type"] == "http" and scope["method"] == "POST"
        if not posted or vllm_ansible_guard.routed(scope) not in self.doors or not self.owner.knows(scope["headers"]):
            await super().__call__(scope, receive, send)
            return
        if self.inner:  # the engine's own check wants its key
            others = [row for row in scope["headers"] if row[0].lower() != b"authorization"]
            scope = dict(scope, headers=[*others, (b"authorization", b"Bearer " + self.inner)])
        await self.app(scope, receive, send)
