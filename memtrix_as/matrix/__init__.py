"""All Matrix."""
