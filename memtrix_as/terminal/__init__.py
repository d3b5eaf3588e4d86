"""The terminal: the same agent, memory and tools without a homeserver."""
