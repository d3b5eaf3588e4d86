"""What a value of the configuration must look like, one small function per kind of value.

Each returns the value, normalised, or raises ValueError; `{found}` in that text is replaced by
the value as far as it may be shown.
"""

import ipaddress
import logging
import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

# What may follow in a Matrix user name; a plain subset of both Rust's and Python's syntax.
LOCALPART = "[a-z0-9._=/+-]+"
SERVER_NAME = r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"

_EXAMPLE_DOMAINS = {"example.org", "example.com", "example.net", "your.domain", "yourdomain.com"}
_EXAMPLE_TOKENS = {
    "",
    "generate me",
    "generate",
    "changeme",
    "change me",
    "this value is generated",
}


def is_placeholder_token(value: object) -> bool:
    """Whether a token is absent, or the text that stands in the example in its place."""
    if value is None:
        return True
    return isinstance(value, str) and (
        value.strip().casefold() in _EXAMPLE_TOKENS
        or value.casefold().startswith("this value is generated")
    )


def token(value: str) -> str:
    if is_placeholder_token(value):
        raise ValueError(
            "has no value yet; `memtrix-as -g -c config.yaml -r registration.yaml` makes both "
            "tokens and writes them here"
        )
    if len(value) < 8 or not re.fullmatch(r"[\x21-\x7e]+", value):
        raise ValueError("expected at least 8 visible ASCII characters without spaces")
    return value


def url(value: str) -> str:
    """An http(s) address without a trailing slash."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host, parts = None, urlsplit("")
    plain = not (parts.query or parts.fragment or re.search(r"[\s\\]", value))
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or not plain:
        raise ValueError("found {found}, expected a web address such as http://localhost:6167")
    return value.rstrip("/")


def options(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A provider's options; an address among them is checked like any other."""
    addresses = {}
    for name, address in value.items():
        if name.endswith("_url") and isinstance(address, str):
            try:
                addresses[name] = url(address)
            except ValueError:
                wanted = "expected a web address such as http://localhost:11434"
                raise ValueError(f"{name}: {wanted}") from None
    return {**value, **addresses}


def domain(value: str) -> str:
    if value.casefold() in _EXAMPLE_DOMAINS:
        raise ValueError(
            "is still the example's {found}; write your homeserver's name, "
            "the part after the colon in @you:name"
        )
    if not re.fullmatch(SERVER_NAME, value):
        raise ValueError(
            "found {found}, expected the homeserver's name, such as memtrix.local, "
            "without http:// and without a path"
        )
    return value


def database(value: str) -> str:
    if value == "embedded" or re.match(r"postgresql://[^\s]+$", value):
        return value
    raise ValueError("expected `embedded`, or an address that begins with postgresql://")


def identifier(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9._-]+", value):
        raise ValueError("found {found}, expected lower-case letters, digits and . _ - only")
    return value


def username(value: str) -> str:
    if not re.fullmatch(LOCALPART, value):
        raise ValueError(
            "found {found}, expected a Matrix user name without @ and domain: "
            "lower-case letters, digits and . _ = / + - only"
        )
    return value


def username_template(value: str) -> str:
    fixed = value.replace("{name}", "")
    if value.count("{name}") != 1 or not re.fullmatch("[a-z0-9._=/+-]*", fixed):
        raise ValueError(
            "found {found}, expected a user name with {name} in it exactly once, such as "
            "memtrix_{name}: lower-case letters, digits and . _ = / + - only"
        )
    if len(fixed) < 2:
        raise ValueError(
            "found {found}, expected at least two fixed characters around {name}; "
            "without them the application service would seize your people's own names"
        )
    return value


def username_pattern(template: str) -> str:
    """The user names that a template can give, as a regular expression without anchors."""
    before, after = template.split("{name}")
    return re.escape(before) + LOCALPART + re.escape(after)


def who(value: str) -> str:
    """A key of `permissions`: everybody, a domain or a user id."""
    if value == "*" or re.fullmatch(SERVER_NAME, value):
        return value
    if value.startswith("@you:"):
        raise ValueError("is still the example's; write your own Matrix id in its place")
    if not re.fullmatch(rf"@[\x21-\x39\x3b-\x7e]+:{SERVER_NAME}", value):
        raise ValueError(
            'expected "*", a domain, or a full Matrix id such as "@anna:memtrix.local"'
        )
    return value


def user_id(value: str) -> str:
    """A whole Matrix user id."""
    if not re.fullmatch(rf"@[^:\s]+:{SERVER_NAME}", value):
        raise ValueError("found {found}, expected a Matrix id such as @you:memtrix.local")
    return value


def network(value: str) -> str:
    """A range of addresses, or a single one."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        raise ValueError(
            "found {found}, expected a range of addresses such as 192.168.1.0/24, or one address"
        ) from None


def minutes(value: object) -> float:
    """Minutes, or `none` for never, which is 0."""
    if value == "none":
        return 0.0
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0 <= float(value) <= 1440:  # type: ignore[arg-type]
        raise ValueError("found {found}, expected minutes up to 1440, or none")
    return float(value)  # type: ignore[arg-type]


def tokens_per_day(value: object) -> float:
    """A whole number of tokens, or `none` for as many as are wanted, which is infinite."""
    if value == "none":
        return math.inf
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 10**15:
        raise ValueError("found {found}, expected a whole number of tokens from 1, or none")
    return float(value)


def cost_per_day(value: object) -> float:
    """US dollars, or `none` for as many as are wanted, which is infinite."""
    if value == "none":
        return math.inf
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not 0.0001 <= value <= 1e9:  # type: ignore[operator]
        raise ValueError("found {found}, expected US dollars, such as 2.50, or none")
    return float(value)  # type: ignore[arg-type]


def distinct(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Names that differ in more than upper and lower case."""
    folded = [name.strip().casefold() for name in value]
    if twice := next((name for name in folded if folded.count(name) > 1), ""):
        raise ValueError(f'has "{twice}" twice')
    return value


def alias(value: str) -> str:
    if not re.fullmatch(rf"#[^:\s\x00]+(?::{SERVER_NAME})?", value):
        raise ValueError('found {found}, expected a room alias in quotes, such as "#memtrix-admin"')
    return value


def one_of(*choices: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        if value not in choices:
            raise ValueError("found {found}, expected one of: " + ", ".join(choices))
        return value

    return check


def between(low: float, high: float) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if not low <= value <= high:
            raise ValueError(f"found {{found}}, expected a number from {low:g} to {high:g}")
        return value

    return check


def not_empty(value: Any) -> Any:
    if not value or (isinstance(value, str) and not value.strip()):
        raise ValueError("is empty")
    return value


def log_settings(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """`format`, `level`, `loggers`, or (with `version`) a whole dictConfig of Python's logging."""
    if "version" in value:
        return value
    strange = sorted(map(str, value.keys() - {"format", "level", "loggers"}))
    if strange:
        raise ValueError(f"has no key {strange[0]!r}; it may have format, level and loggers")
    if value.get("format", "text") not in ("text", "json"):
        raise ValueError("format: expected text or json")
    loggers = value.get("loggers") or {}
    if not isinstance(loggers, Mapping):
        raise ValueError("loggers: expected a section of names and levels")
    levels = logging.getLevelNamesMapping()
    for at, level in [("level", value.get("level", "INFO")), *loggers.items()]:
        if not isinstance(level, str) or level not in levels:
            raise ValueError(f"{at}: expected one of DEBUG, INFO, WARNING, ERROR")
    return value
