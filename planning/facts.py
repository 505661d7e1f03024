"""Names of facts that modules tell of services and weights; module_utils/serving/facts.py makes the same ones on hosts. Pure."""

from __future__ import annotations

import re


def would_publish(key: str) -> str:
    """The fact of module weights_fetch: would it publish other weights?"""
    return "would_publish_" + word(key)


def would_run(service: str) -> str:
    """The fact of module deploy_plan: what a deploy would do."""
    return "would_run_" + word(service)


def word(name: str) -> str:
    """A name as a part of a variable's, each name another one: `a-b` is `a_2d_b`, `a.b` is `a_2e_b`."""
    return re.sub("[^0-9A-Za-z]", lambda odd: f"_{ord(odd[0]):x}_", name)
