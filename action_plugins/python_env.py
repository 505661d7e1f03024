"""Action `python_env`: the module of that name, in the background of its host, telling how far it is, with the variables of fetch_environment."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads an action by its path alone

from fetching.background import ActionModule

__all__ = ["ActionModule"]
