"""Tests at a terminal."""
