"""Odd input of every kind: always a sentence, never a traceback."""
