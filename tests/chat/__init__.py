"""Whole conversations on a real homeserver, with the model scripted."""
