"""Which addresses are public: our own table, because `ipaddress` differs between versions.

It calls multicast, NAT64 and 6to4 of loopback global in some versions, and 100.64.0.0/10 not
private. Sources: the IANA registries of special-purpose addresses, IPv4 and IPv6.
"""

import ipaddress
import socket
from collections.abc import Iterable
from functools import cache

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Only this block of IPv6 is given to the public; all else (loopback, mapped and compatible IPv4,
# NAT64, unique local, link-local, site-local, multicast, segment routing) is outside of it.
PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")

_SPECIAL = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared with a provider's customers (CGNAT)",
    "127.0.0.0/8": "loopback",
    "168.63.129.16/32": "a cloud's own service",
    "169.254.0.0/16": "link-local",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "set aside for protocols",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "set aside for protocols",
    "192.52.193.0/24": "set aside for protocols",
    "192.88.99.0/24": "a 6to4 relay",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "set aside for protocols",
    "198.18.0.0/15": "benchmarks",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved",
    "2001::/23": "set aside for protocols (Teredo and others)",
    "2001:db8::/32": "documentation",
    "2002::/16": "6to4, which hides an IPv4 address",
    "2620:4f:8000::/48": "set aside for protocols",
    "3fff::/20": "documentation",
}
SPECIAL: dict[Network, str] = {ipaddress.ip_network(net): why for net, why in _SPECIAL.items()}


def parse(text: str) -> Address:
    """An address as the system writes it; ValueError for one with a zone (`fe80::1%eth0`)."""
    if "%" in text:
        raise ValueError(f"{text} has a zone")
    return ipaddress.ip_address(text)


def not_public(address: Address) -> str | None:
    """Why an address is not one of the public internet; None when it is."""
    for network, why in SPECIAL.items():
        if address.version == network.version and address in network:
            return why
    if address.version == 6 and address not in PUBLIC_V6:
        return "no public IPv6 address"
    return None


def within(address: Address, networks: Iterable[Network]) -> bool:
    return any(address.version == net.version and address in net for net in networks)


def source(address: Address) -> Address | None:
    """The address of ours that would speak to this one; the same one, if that is this machine.

    A connected UDP socket has chosen its own address without anything being sent; to reach
    itself, a machine speaks from the address that it speaks to. None: there is no way.
    """
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((str(address), 9))
            return parse(probe.getsockname()[0])
    except (OSError, ValueError):
        return None


def neighbours(one: Address, other: Address) -> bool:
    """Whether two IPv6 addresses belong to one site: there, inner machines have public addresses.

    /56 is what a household is usually given, and a virtual network in a cloud.
    """
    return one.version == other.version == 6 and int(one) >> 72 == int(other) >> 72


@cache
def networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    """Ranges as the configuration writes them."""
    return tuple(ipaddress.ip_network(text) for text in texts)
