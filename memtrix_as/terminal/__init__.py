"""The terminal: what a person types there and reads there."""
