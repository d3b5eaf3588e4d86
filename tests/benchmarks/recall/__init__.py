"""How much of what a conversation holds is found again."""
