"""Memory: text cut into passages, indexed by words and by meaning, and found again."""
