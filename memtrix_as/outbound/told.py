"""Addresses that stand in a text: to fetch one of those tells its server nothing new.

An address that a model puts together itself may carry what the model knows.
"""

import re
from collections.abc import Iterable

from yarl import URL

_ADDRESS = re.compile(r"https?://[^\s<>\"'`\[\]{}|\\^]+", re.IGNORECASE)
_HOST = re.compile(r"(?<![\w@./-])(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}(?![\w@-]|\.\w)")
_AFTER = ".,;:!?*_~)\u00bb\u201d\u2019"  # a sentence's signs, not the address's
MOST = 1_000_000  # characters that are looked at
SIGNS = 8  # of a sentence behind an address that are taken off, one by one


def stands_in(address: str, texts: Iterable[str]) -> bool:
    """Whether one of the texts has the whole address, as somebody would copy it."""
    wanted = _plain(address)
    return wanted is not None and any(wanted in _addresses(text) for text in texts)


def host_in(address: str, texts: Iterable[str]) -> bool:
    """Whether the address is a bare host, with nothing behind it, that one of the texts names."""
    wanted = _plain(address)
    if wanted is None or wanted.path not in ("", "/") or wanted.query_string or wanted.host is None:
        return False
    hosts = (found.lower() for text in texts for found in _HOST.findall(text[:MOST]))
    bare = wanted.host.removeprefix("www.")
    return any(bare == host.removeprefix("www.") for host in hosts)


def _addresses(text: str) -> set[URL]:
    found: set[URL] = set()
    for written in _ADDRESS.findall(text[:MOST]):
        # "(see https://host/a_(b))." and the like: with and without a sentence's signs.
        for _ in range(SIGNS):
            plain = _plain(written)
            if plain is not None:
                found.add(plain)
            if written[-1:] not in _AFTER:
                break
            written = written[:-1]
    return found


def _plain(address: str) -> URL | None:
    """The address as its server sees it: without a fragment, its host in small letters."""
    try:
        url = URL(address.strip()).with_fragment(None)
        return url if url.host and url.scheme in ("http", "https") else None
    except ValueError:
        return None
