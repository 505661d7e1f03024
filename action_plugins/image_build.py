"""Action `image_build`: the module of that name, with the variables of fetch_environment, which nobody sees."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))  # Ansible loads an action by its path alone

from fetching.environment import ActionModule

__all__ = ["ActionModule"]
