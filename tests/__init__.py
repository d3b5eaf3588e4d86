"""The tests; `rig` holds the real parts that they share."""
