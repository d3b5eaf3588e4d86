"""Faults on purpose, and what must hold all the same: `python -m tests.faults --help`."""
