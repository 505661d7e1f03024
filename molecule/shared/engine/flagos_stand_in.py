"""Stands in for FlagGems in the test hosts' image: where it is asked for, it writes the op-list file as FlagGems does.

FlagGems needs a GPU. What an operator sees of it, the file and its path, is what the product reads.
FLAGOS_STAND_IN=off makes the image one whose vLLM does not know FlagGems.
"""

import os
import sys

asked = os.environ.get("USE_FLAGGEMS") == "1" and os.environ.get("FLAGOS_STAND_IN") != "off"
if asked and os.path.basename(sys.argv[0] if sys.argv else "") == "vllm":
    with open(os.environ.get("FLAGGEMS_ENABLE_OPLIST_PATH", "/tmp/gems_oplist.log.txt"), "w", encoding="utf-8") as out:
        for name in ("addmm", "rms_norm", "silu_and_mul"):
            out.write(f"[DEBUG] flag_gems.ops.{name}: GEMS {name.upper()}\n")
