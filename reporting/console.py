"""What a person reads in the terminal: one sentence for an error, reasons of a change, a summary of the fleet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What Ansible puts before the sentence of a filter, a lookup or a module; each part may stand before the next.
BEFORE = re.compile(
    r"""(?:Task\ failed(?:\.|:)\s+
        |Module\ failed:\s+
        |Action\ failed:\s+
        |Finalization\ of\ (?:task\ args|task\ attribute|attribute)\ for\ '[^']*'\ failed:\s+
        |Finalization\ of\ task\ args\ for\ .*?\ failed:\s+
        |Error\ while\ (?:resolving\ value\ for|evaluating\ conditional|resolving)(?:\ '[^']*')?:?\s+
        |Error\ rendering\ template:\s+
        |The\ (?:filter|lookup|test)\ plugin\ '[^']*'\ failed:\s+
    )+""",
    re.VERBOSE,
)
PLUGIN = re.compile(r"The (?:filter|lookup|test) plugin '[^']*' failed: ")
VAULT = "Attempt to use undecryptable variable: "  # without the password, or with a wrong one
LINES = 15  # of what a program wrote to its error output


def plain(message: Any) -> str:
    """The sentence that a module or filter of the product said, without the chain of Ansible's own that led to it."""
    text = str(message or "").strip()
    if VAULT in text:
        why = text.partition(VAULT)[2].strip().rstrip(".")
        return f"a vaulted value can't be read ({why}); give its password: --ask-vault-pass, or a file of it in ANSIBLE_VAULT_PASSWORD_FILE"
    found = list(PLUGIN.finditer(text))
    if found and BEFORE.match(text):
        return text[found[-1].end() :].strip()
    match = BEFORE.match(text)
    return text[match.end() :].strip() if match and match.end() < len(text) else text


def extra_lines(found: Mapping[str, Any]) -> list[str]:
    """What a program said on its error output, where the message doesn't have it."""
    message = str(found.get("msg") or "")
    for key in ("module_stderr", "stderr", "module_stdout", "stdout"):
        said = str(found.get(key) or "").strip()
        if said and said not in message:
            return [f"  {line}" for line in said.splitlines()[-LINES:]]
    return []


def reasons_of(found: Mapping[str, Any]) -> list[str]:
    """`reasons` of a result, one line each."""
    reasons = found.get("reasons")
    return [" ".join(str(one).split()) for one in reasons] if isinstance(reasons, list) else []


@dataclass
class Outcome:
    """How a run ended for one host."""

    host: str
    failed: bool
    unreachable: bool
    changes: int
    failure: Mapping[str, Any] | None = None
    report: str | None = None
    would: bool = False  # changes that were only looked for, as by plan.yml

    @property
    def state(self) -> str:
        if self.unreachable:
            return "unreachable"
        if self.failed:
            return "failed"
        return "ready" if self.report else "done"


def counted(number: int, checking: bool) -> str:
    words = "no change" if not number else "1 change" if number == 1 else f"{number} changes"
    return f"would make {words}" if checking and number else words


def summary(outcomes: Iterable[Outcome], checking: bool = False) -> str:
    """One line a host, hosts that need somebody last, where the eye is; nothing where there is nothing to say."""
    rows = sorted(outcomes, key=lambda one: (one.unreachable or one.failed, one.host))
    if not any(one.failed or one.unreachable or one.changes or one.report for one in rows):
        return ""
    name = max(len(one.host) for one in rows)
    state = max(len(one.state) for one in rows)
    lines = []
    for one in rows:
        text = counted(one.changes, checking or one.would)
        if one.failure:
            first = (str(one.failure.get("message") or "").splitlines() or [""])[0]
            phase = one.failure.get("phase")
            why = "the sentence stands above" if len(rows) == 1 else first
            text = f"{f'in {phase}: ' if phase else ''}{why} ({text})"
        lines.append(f"{one.host.ljust(name)}  {one.state.ljust(state)}  {text}")
    totals = [
        f"{sum(one.state == kind for one in rows)} {kind}"
        for kind in ("ready", "done", "failed", "unreachable")
        if any(one.state == kind for one in rows)
    ]
    return "\n".join([*lines, ", ".join(totals)])
