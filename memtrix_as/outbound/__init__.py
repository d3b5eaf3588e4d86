"""The one way out for tools: requests to addresses that a model, or a stranger, has chosen."""
