"""The folder of an agent and its walls."""
