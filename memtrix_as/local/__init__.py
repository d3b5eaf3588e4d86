"""The real parts that a quick start and the tests run on this machine: PostgreSQL, Synapse, a model."""
