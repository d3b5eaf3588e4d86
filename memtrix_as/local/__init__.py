"""The real parts that run on this machine: PostgreSQL, Synapse and a small model."""
