"""Is FlagGems really on? Its operators write their names into a file when they are used: that file is the proof.

With vLLM from pip the variable USE_FLAGGEMS is read by nobody, and everything runs on the vendor's operators in silence.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ansible.module_utils.serving.host.system import run_tool

# FlagScale's patch of vLLM writes the first, vllm-plugin-FL the second unless a variable says otherwise. Ours sets it to the first.
OPLISTS = ("gems_oplist.log.txt", "flaggems_enable_oplist.txt")
REGISTERED = "gems_registered.txt"  # our plugin's: all that are switched on, used or not
TIMEOUT = 30


def operators(text: str) -> list[str]:
    """Names of operators in an op-list file: `[DEBUG] flag_gems.ops.add: GEMS ADD` lines, or bare names. Sorted, once each."""
    found = set()
    for line in text.splitlines():
        logged = re.search(r"flag_gems(?:\.\w+)*\.(\w+)\s*:\s*GEMS", line)
        bare = re.fullmatch(r"\s*[-*]?\s*([A-Za-z_]\w*)\s*,?\s*", line)
        if logged:
            found.add(logged.group(1))
        elif bare:
            found.add(bare.group(1))
    return sorted(found)


def op_list(container: str | None, folder: str, files: tuple[str, ...] = OPLISTS) -> str:
    """Text of those of these files that are there: in a container's /tmp, or in the service's own folder."""
    if container is None:
        texts = []
        for name in files:
            try:
                with open(os.path.join(folder, "tmp", name), encoding="utf-8", errors="replace") as source:
                    texts.append(source.read())
            except OSError:
                continue
        return "\n".join(texts)
    command = ["docker", "exec", container, "cat", *("/tmp/" + name for name in files)]
    return str(run_tool(command, TIMEOUT)[1])


def proof(spec: dict[str, Any], folder: str) -> dict[str, Any] | None:
    """{asked, operators that wrote their names, those registered, problem} of a service; None for an engine without this switch."""
    asked = spec.get("flaggems")
    if asked is None:
        return None
    active = operators(op_list(spec.get("container"), folder))
    problem = None
    if asked and not active:
        problem = (
            "FlagGems is asked for and not active: no operator has written its name (%s in /tmp). This image's vLLM does not read "
            "USE_FLAGGEMS, or FlagGems is not in it; build one with playbooks/build_image.yml, or set flaggems: false"
            % " or ".join(OPLISTS)
        )
    elif active and not asked:
        problem = "FlagGems runs and was not asked for: %s; set flaggems: true, or use an image without it" % ", ".join(
            active[:10]
        )
    registered = operators(op_list(spec.get("container"), folder, (REGISTERED,)))
    return {"asked": bool(asked), "operators": active, "registered": registered, "problem": problem}
