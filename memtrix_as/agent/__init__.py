"""Turns, the loop, sessions and commands; knows no Matrix."""
