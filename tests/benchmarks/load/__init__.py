"""Many rooms at once: `python -m tests.benchmarks.load`; see docs/performance.md."""
