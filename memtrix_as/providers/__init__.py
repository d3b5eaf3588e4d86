"""Language models: one file per provider, discovered at start."""
