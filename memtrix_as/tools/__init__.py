"""The built-in tools, one file per group; `base` and `discovery` take in those of others."""

from memtrix_as.tools.discovery import Found, discover

__all__ = ["Found", "discover"]
