"""Two thousand hostile URLs through the real guarded client: a trap waits at every inner address.

The trap's port counts as one of the web for once, so that nothing but the address is in the way.
"""

import ipaddress
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from memtrix_as.errors import OutboundError
from memtrix_as.outbound import policy
from memtrix_as.outbound.client import Limits, Outbound
from tests.outbound.test_addresses import PRIVATE
from tests.rig.web import CLOSED, OPEN, Names, Web

QUICK = Limits(connect=1, idle=1, total=2, size=10_000)
INNER = ["127.0.0.1", "127.0.0.3", "127.1.2.3", "0.0.0.0", "10.0.0.1", "192.168.0.1", "172.16.0.1",
         "169.254.169.254", "100.64.0.1", "168.63.129.16", "224.0.0.1",
         "255.255.255.255"]  # fmt: skip


WIDE = str.maketrans("0123456789.", "".join(map(chr, range(0xFF10, 0xFF1A))) + "\u3002")


def disguises(address: str) -> list[str]:
    """The ways to write an IPv4 address that some parser or resolver understands."""
    parts = [int(part) for part in address.split(".")]
    number = int(ipaddress.ip_address(address))
    high, low = number >> 16, number & 0xFFFF
    return [
        address, f"{address}.", str(number), hex(number), oct(number).replace("o", ""),
        ".".join(f"0{part:o}" for part in parts), ".".join(map(hex, parts)),
        f"{parts[0]}.{number & 0xFFFFFF}", f"{parts[0]}.{parts[1]}.{low}", f"0x{number:08X}",
        f"{number + (1 << 32)}", f"{parts[0]:03d}.{parts[1]}.{parts[2]}.{parts[3]}",
        address.translate(WIDE),
        "".join(f"%{ord(c):02x}" for c in address), f"[::ffff:{address}]",
        f"[::ffff:{high:x}:{low:x}]", f"[::{address}]", f"[64:ff9b::{high:x}:{low:x}]",
        f"[64:ff9b:1::{high:x}:{low:x}]", f"[2002:{high:x}:{low:x}::1]",
        f"[2001:0:{high:x}:{low:x}::]", f"[::ffff:0:{high:x}:{low:x}]",
        f"[fe80::{high:x}:{low:x}%lo]",
    ]  # fmt: skip


SHAPES = [
    "{s}://{h}:{p}/", "{s}://{h}:{p}", "{s}://{h}:{p}/?x=//ok.test/", "{s}://{h}:{p}/#@ok.test/",
    "{s}://ok.test:{p}@{h}:{p}/", "{s}://ok.test@{h}:{p}/", "{s}://{h}:{p}\\@ok.test/",
    "{s}://ok.test:{p}\\@{h}:{p}/", "{s}://{h}:{p}#ok.test/", "{s}:\\\\{h}:{p}/", "{s}:{h}:{p}/",
    "{s}:///{h}:{p}/", "//{h}:{p}/", " {s}://{h}:{p}/", "{s}://{h}:{p}/\r\nHost: ok.test",
    "{s}://{h}\t:{p}/", "{s}://ok.test.{h}:{p}/", "{s}://{h}%00.ok.test:{p}/",
    "{s}://[{h}]:{p}/", "{s}://{h}%2f.ok.test:{p}/",
]  # fmt: skip
HOSTS = st.one_of(
    st.sampled_from([host for address in INNER for host in disguises(address)]),
    st.ip_addresses(v=4, network="127.0.0.0/8").map(str).flatmap(
        lambda address: st.sampled_from(disguises(address))),
    st.ip_addresses(v=6).map(lambda address: f"[{address}]"),
    st.sampled_from([f"[{one}]" for one in PRIVATE if ":" in one]),
    st.sampled_from(["inner.test", "mixed.test", "mapped.test", "changing.test", "localhost",
                     "LOCALHOST.", "a.localhost", "memtrix", "searxng", "metadata.google.internal",
                     "\u24db\u24de\u24d2alhost", "loc\u00adalhost", "host.docker.internal"]),
)  # fmt: skip
SCHEMES = st.sampled_from(["http", "http", "http", "HTTP", "https", "ftp", "file", "gopher", "ws"])


@pytest.fixture
async def traps(web: Web, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Web]:
    """The web of the tests, and its trap at other names of this machine too."""
    more = [await web.trap_at(address) for address in ("127.0.0.3", "::1") if _there(address)]
    monkeypatch.setattr(policy, "PORTS", policy.PORTS | {web.port})
    web.page("/", b"a page of the public web")
    web.names |= {
        "inner.test": [CLOSED], "mixed.test": [OPEN, CLOSED], "mapped.test": [f"::ffff:{CLOSED}"],
        "changing.test": [[OPEN], [CLOSED]], "localhost": [CLOSED], "a.localhost": [CLOSED],
    }  # fmt: skip
    yield web
    for server in more:
        server.close()


def _there(address: str) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


@settings(
    max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    shape=st.sampled_from(SHAPES),
    scheme=SCHEMES,
    host=HOSTS,
    how=st.sampled_from(["direct", "direct", "redirect", "chain", "after"]),
)
@example(shape=SHAPES[0], scheme="http", host="127.0.0.1", how="redirect")
@example(shape=SHAPES[0], scheme="http", host="changing.test", how="after")
@example(shape=SHAPES[0], scheme="http", host="mixed.test", how="direct")
async def test_no_url_gets_inside(traps: Web, shape: str, scheme: str, host: str, how: str) -> None:
    hostile = shape.format(s=scheme, h=host, p=traps.port)
    traps.redirect("/there", hostile.replace("\r\n", "\n"))
    traps.redirect("/far", "/there")
    traps.redirect("/again", "/")
    ways = {"redirect": traps.url("/there"), "chain": traps.url("/far"),
            "after": traps.url("/again", host)}  # fmt: skip
    await asks(traps, ways.get(how, hostile))


@pytest.mark.parametrize("address", INNER)
async def test_each_disguise_is_seen_through(traps: Web, address: str) -> None:
    for host in disguises(address):
        for scheme in ("http", "https"):
            await asks(traps, f"{scheme}://{host}:{traps.port}/")


async def asks(traps: Web, url: str) -> None:
    """Make the request: whatever it comes to, nobody within hears of it."""
    outbound = Outbound(traps.policy(), Names(traps.names))
    try:
        async with outbound.request(url, QUICK) as answer:
            assert await answer.read() == b"a page of the public web"
            assert answer.url.host in ("ok.test", "changing.test"), "and that is where it came from"
    except OutboundError as exc:
        assert "\n" not in str(exc) and len(str(exc)) < 500
    assert not traps.trapped
