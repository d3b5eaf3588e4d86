"""The built-in tools, called as a turn calls them."""
