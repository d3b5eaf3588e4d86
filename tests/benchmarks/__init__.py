"""Benchmarks: commands to run by hand, on the real parts; none of them is a test."""
