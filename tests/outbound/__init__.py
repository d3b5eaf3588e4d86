"""The way out for tools, and its walls."""
