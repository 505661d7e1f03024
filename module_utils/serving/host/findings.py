"""What is found wrong with a host, sorted by who can mend it."""

from __future__ import annotations

import dataclasses
from typing import List


@dataclasses.dataclass
class Findings:
    """Sentences with their remedies: `problems` are the operator's, `pending` is mended by a deploy or a reboot, `notes` stop nothing."""

    problems: List[str] = dataclasses.field(default_factory=list)
    pending: List[str] = dataclasses.field(default_factory=list)
    notes: List[str] = dataclasses.field(default_factory=list)
