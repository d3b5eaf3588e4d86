"""Memtrix: a self-hosted personal AI agent that lives in Matrix as an application service."""

__version__ = "0.1.0"
