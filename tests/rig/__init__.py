"""The real parts of the tests: homeserver, database, humans, the doors between them."""
