"""Filter `key_problems`: what is wrong with the keys that an inventory gives (`api_keys`), without ever showing one."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads a filter by its path alone

from planning.rows import type_name

# As `Authorization: Bearer` takes it (RFC 6750); not shorter than what can't be guessed.
FORM = re.compile(r"[A-Za-z0-9._~+/-]{16,256}={0,2}")
FORM_TEXT = "16 to 256 letters, digits or . _ ~ + / -, as a header takes them"


def key_problems(keys: Any, services: Mapping[str, Any]) -> list[str]:
    """Sentences; none if every key is one."""
    if not isinstance(keys, Mapping):
        return [f"api_keys is {type_name(keys)}, but must be a mapping: {{service: key}}"]
    found = []
    for name, key in keys.items():
        if name not in services:
            near = difflib.get_close_matches(str(name), [str(s) for s in services], n=1)
            found.append(
                f"api_keys: '{name}' is no service; {f'did you mean {near[0]!r}?' if near else 'there are: ' + ', '.join(services)}"
            )
        elif services[name].get("api_key") is False:
            found.append(f"api_keys: service '{name}' has api_key: false and asks for no key; remove one of the two")
        if not isinstance(key, str) or not FORM.fullmatch(key):
            said = f"{len(key)} characters" if isinstance(key, str) else type_name(key)
            found.append(
                f"api_keys: the key of '{name}' ({said}) must be {FORM_TEXT}; `openssl rand -hex 32` makes one"
            )
    return found


class FilterModule:
    """The filters of this file, by name."""

    def filters(self) -> dict[str, Any]:
        return {"key_problems": key_problems}
