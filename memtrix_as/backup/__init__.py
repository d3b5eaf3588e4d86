"""`backup` and `restore`: the whole mind in one file, and back."""
