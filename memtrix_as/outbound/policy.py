"""Where a request may go: what a URL may look like, and which connections may be made."""

import ipaddress
import re
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol
from urllib.parse import urlsplit

from yarl import URL

from memtrix_as.config import Config
from memtrix_as.errors import AddressRefused
from memtrix_as.outbound import addresses
from memtrix_as.outbound.addresses import Address, Network

PORTS = frozenset({80, 443, 8080, 8443})  # elsewhere live mail, databases and other things
MAX_URL = 4096  # characters; some signed URLs are long
NEXT = "Use a public web address, or ask the user for what you need."

# Names that mean the machine itself, or our neighbours in the usual compose files.
OWN_NAMES = frozenset(
    {"localhost", "host.docker.internal", "host.containers.internal", "metadata.google.internal"}
    | {"memtrix", "conduit", "synapse", "tuwunel", "continuwuity", "postgres", "searxng", "ollama"}
)


class Walls(Protocol):
    """Decides where requests go; both raise AddressRefused."""

    def check_url(self, text: str) -> URL:
        """The URL, when its form and its host's name are acceptable; may ask for names."""

    def check_connection(self, address: str, port: int) -> None:
        """Called with the very address that is about to be connected, at every connection."""


@dataclass(frozen=True)
class Service:
    """A host and port of our own that tools must not reach, whatever range it is in."""

    host: str
    port: int


@dataclass(frozen=True)
class Policy:
    """The public web, and the ranges that the operator allows besides.

    On an allowed range any port may be used, but never a service of our own. `source` tells from
    which address of ours another is reached; a test, whose servers are here, says nothing.
    """

    allowed: tuple[Network, ...] = ()
    services: tuple[Service, ...] = ()
    source: Callable[[Address], Address | None] = addresses.source

    @classmethod
    def of(cls, config: Config) -> "Policy":
        service = config.appservice
        ours = [config.homeserver.address, service.address, config.search.searxng_url]
        ours += [config.embeddings.base_url, service.database]
        for provider in config.providers.values():
            ours += [v for k, v in provider.options.items() if k.endswith("_url")]
        found = [_service(text) for text in ours if isinstance(text, str) and "://" in text]
        here = Service(service.hostname.casefold(), service.port)
        known = dict.fromkeys(known for known in (here, *found) if known)
        return cls(addresses.networks(config.tools.allow_addresses), tuple(known))

    def check_url(self, text: str) -> URL:
        url = _read(text)
        if self.allowed:
            for service in self.services:  # so that a connection need not wait for it
                _addresses(service.host)
        host = (url.raw_host or "").rstrip(".")
        port, literal = url.port or 0, _literal(host)
        for service in self.services:
            if host == service.host and (port == service.port or literal is None):
                raise AddressRefused(f"{host} is a service of this system itself. {NEXT}")
        if host in OWN_NAMES or host.endswith(".localhost"):
            raise AddressRefused(f"{host} means this system itself. {NEXT}")
        if literal is not None:
            self.check_connection(str(literal), port)
        elif port not in PORTS and not self.allowed:
            raise AddressRefused(_odd_port(port))
        return url

    def check_connection(self, address: str, port: int) -> None:
        try:
            parsed = addresses.parse(address)
        except ValueError:
            raise AddressRefused(f"{address} is no plain address. {NEXT}") from None
        here = self.source(parsed)
        if here == parsed:
            raise AddressRefused(f"{parsed} is this system itself. {NEXT}")
        if addresses.within(parsed, self.allowed):
            if any(port == s.port and parsed in _addresses(s.host) for s in self.services):
                raise AddressRefused(f"{parsed}:{port} is a service of this system. {NEXT}")
            return
        if (why := addresses.not_public(parsed)) is not None:
            raise AddressRefused(f"{parsed} is not on the public internet ({why}). {NEXT}")
        if here and addresses.neighbours(here, parsed):
            raise AddressRefused(f"{parsed} is in the network of this system. {NEXT}")
        if port not in PORTS:
            raise AddressRefused(_odd_port(port))


@dataclass(frozen=True)
class Only:
    """One server that the operator has named, wherever it is, and nothing else."""

    origin: URL

    def check_url(self, text: str) -> URL:
        url = URL(text)
        if url.origin() != self.origin:
            raise AddressRefused(f"{self.origin} sent us elsewhere, to {url.host}.")
        return url

    def check_connection(self, address: str, port: int) -> None:
        if port != self.origin.port:
            raise AddressRefused(f"{address}:{port} is not {self.origin}.")


def _read(text: str) -> URL:
    """Parse a URL, strictly; what two parsers could understand differently is refused.

    It may come from a server's redirect, so an error repeats no more of it than the host.
    """
    if len(text) > MAX_URL:
        raise AddressRefused(f"A URL may have {MAX_URL} characters, this one has {len(text)}.")
    if re.search(r"[\x00-\x20\x7f\\]", text):
        raise AddressRefused("The URL has a space, backslash or control character in it.")
    shape = "Use a whole URL such as https://example.org/page."
    try:
        plain = urlsplit(text)
        if "@" in plain.netloc:
            raise AddressRefused("The URL has a user name or password in it. Leave them out.")
        url = URL(text)
        port = url.explicit_port
        host = url.raw_host
    except (ValueError, IndexError) as exc:  # yarl falls over some, such as http://[0.0.0.0]@
        raise AddressRefused(f"That is not a URL. {shape}") from exc
    if url.scheme not in ("http", "https"):
        raise AddressRefused(
            f"Only http and https can be fetched, not {url.scheme[:40]!r}. {shape}"
        )
    if not host or port == 0:
        raise AddressRefused(f"The URL has no host. {shape}")
    if _literal(host) is None:
        _check_name(host)
    return url


def _check_name(host: str) -> None:
    bare = host.removesuffix(".")
    if len(bare) > 253 or not re.fullmatch(
        r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?", bare.split(".")[-1]
    ):
        raise AddressRefused(f"{host[:100]!r} is not a host name. {NEXT}")
    if not re.fullmatch(r"([a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}", bare):
        raise AddressRefused(f"{host[:100]!r} is not a host name. {NEXT}")
    if re.fullmatch(r"0x[0-9a-f]*|[0-9]+", bare.split(".")[-1]):
        raise AddressRefused(f"{host[:100]} is a disguised address. Write it plainly: 192.0.2.1.")


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _service(text: str) -> Service | None:
    """The host and port of a URL of ours; a database without a host is not reachable by HTTP."""
    parts = urlsplit(text)
    usual = {"http": 80, "https": 443, "postgresql": 5432}
    try:
        port = parts.port or usual.get(parts.scheme, 0)
    except ValueError:  # several database servers in one address
        port = usual.get(parts.scheme, 0)
    return Service(parts.hostname.casefold(), port) if parts.hostname else None


def _addresses(host: str) -> Sequence[Address]:
    """Where a service of ours is now; asked only where a range is allowed."""
    return _resolved(host, int(time.monotonic() // 30))


@lru_cache(64)
def _resolved(host: str, half_minute: int) -> Sequence[Address]:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return ()
    return [ipaddress.ip_address(str(info[4][0]).split("%")[0]) for info in found]


def _odd_port(port: int) -> str:
    return f"Port {port} is not a port of the web; there are {', '.join(map(str, sorted(PORTS)))}."
