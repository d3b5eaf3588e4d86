"""Text out of bytes in any common encoding."""

import codecs
import re

from charset_normalizer import from_bytes

SAMPLE = 1 << 16  # bytes that the guess looks at
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Codecs of Python's that no document is written in; some take quadratic time.
_ODD = {"idna", "punycode", "unicode-escape", "raw-unicode-escape", "undefined", "utf-7"}
_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?([A-Za-z0-9._:-]{1,40})", re.IGNORECASE)


def decode(data: bytes, charset: str | None = None, *, html: bool = False) -> str | None:
    """The text, or None when this is no text at all.

    `charset` is what the sender claims. A mark at the beginning is believed most, then UTF-8,
    which other text hardly ever is by accident, then the claim, then a guess.
    """
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            return data.decode(name, errors="replace")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return _claimed(data, charset, html) or _guessed(data)
    return None if "\0" in text[:SAMPLE] else text


def _claimed(data: bytes, charset: str | None, html: bool) -> str | None:
    if charset is None and html and (meta := _META.search(data[:4096])):
        charset = meta[1].decode("ascii")
    try:
        known = codecs.lookup(charset or "")
        if not known._is_text_encoding or known.name in _ODD:
            return None
        return data.decode(known.name, errors="replace")
    except (LookupError, ValueError):
        return None


def _guessed(data: bytes) -> str | None:
    try:  # UTF-8 that was cut in the middle of its last character
        text = codecs.getincrementaldecoder("utf-8")().decode(data)
        return None if "\0" in text[:SAMPLE] else text
    except UnicodeDecodeError:
        pass
    matches = from_bytes(data[:SAMPLE], threshold=0.3)
    found = matches.best()
    for other in matches:  # of those that fit as well, the one that most people write
        if found and other.encoding == "cp1252":
            same = (other.chaos, other.coherence) == (found.chaos, found.coherence)
            found = other if same else found
    if found is None or (b"\0" in data[:SAMPLE] and not found.encoding.startswith("utf_")):
        return None
    return data.decode(found.encoding, errors="replace")
