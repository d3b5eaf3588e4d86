"""How long a search takes, by the size of the memory."""
