"""How this process was started."""

import time
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Start:
    """When, and with which configuration, where that is known."""

    path: Path | None
    at: float = field(default_factory=time.monotonic)
