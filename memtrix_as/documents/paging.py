"""A long text in pieces, with a way to read on."""

MOST = 50_000  # characters of one piece
USUAL = 6_000  # fits into a model with a small context beside all else


def page(text: str, offset: int, limit: int) -> str:
    """`limit` characters from `offset` on; when there is more, how to get it."""
    limit = min(max(limit, 1), MOST)
    start = max(offset, 0)
    if not text:
        return "(empty)"
    if start >= len(text):
        return f"(nothing there: the text has {len(text)} characters, offset was {start})"
    end = min(start + limit, len(text))
    piece = text[start:end]
    if start == 0 and end == len(text):
        return piece
    more = f"; read on with offset={end}" if end < len(text) else "; this is the end"
    return f"{piece}\n\n(characters {start} to {end} of {len(text)}{more})"
