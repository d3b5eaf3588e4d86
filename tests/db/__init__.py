"""What is stored, and who may store it."""
