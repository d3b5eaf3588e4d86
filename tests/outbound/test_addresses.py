"""Which addresses are public, and what a URL may look like."""

import ipaddress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memtrix_as import config
from memtrix_as.errors import AddressRefused
from memtrix_as.outbound import addresses
from memtrix_as.outbound.policy import Policy, Service
from tests.test_config import changed

PRIVATE = """
0.0.0.0 10.1.2.3 100.64.0.1 100.100.100.200 127.0.0.1 127.255.0.9 168.63.129.16 169.254.169.254
172.16.0.1 172.31.255.255 192.0.0.192 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.51.100.7
203.0.113.9 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255
:: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:8.8.8.8 64:ff9b::a9fe:a9fe 64:ff9b:1::1 100::1
2001::1 2001:0:7f00:1:: 2001:2::1 2001:db8::1 2002:7f00:1:: 2002:808:808:: 3fff::1 5f00::1
fc00::1 fd12:3456::1 fe80::1 fec0::1 ff02::1
""".split()
PUBLIC = ["1.1.1.1", "100.63.255.255", "172.32.0.1", "93.184.215.14", "2606:4700::1111", "2a00::1"]

POLICY = Policy(services=(Service("matrix.home.example", 443),))

HOSTILE = """
http://127.0.0.1/ http://127.1/ http://2130706433/ http://0177.0.0.1/ http://0x7f000001/
http://0x7f.0.0.1/ http://127.0.0.1./ http://0/ http://[::1]/ http://[::ffff:127.0.0.1]/
http://[::ffff:7f00:1]/ http://[fe80::1%25eth0]/ http://[64:ff9b::7f00:1]/ http://①②⑦.⓪.⓪.①/
http://localhost/ http://LOCALHOST./ http://a.localhost/ http://conduit/ http://searxng./
http://host.docker.internal/ http://matrix.home.example/ https://matrix.home.example/x
http://user@example.org/ http://user:pw@example.org/ http://@example.org/
http://example.org@127.0.0.1/ http://example.org\\@127.0.0.1/
file:///etc/passwd ftp://example.org/ gopher://example.org/ data:text/plain,x javascript:alert(1)
http://example.org:22/ http://example.org:5432/ http://example.org:0/ http://example.org:99999/
http:///x http:// // https:example.org example.org http://exa_mple..org/ http://-/ http://%31%32/
""".split()


@pytest.mark.parametrize("text", PRIVATE)
def test_addresses_that_are_not_public(text: str) -> None:
    assert addresses.not_public(ipaddress.ip_address(text))
    with pytest.raises(AddressRefused):
        POLICY.check_connection(text, 80)


@pytest.mark.parametrize("text", PUBLIC)
def test_addresses_that_are_public(text: str) -> None:
    assert addresses.not_public(ipaddress.ip_address(text)) is None
    POLICY.check_connection(text, 443)


@pytest.mark.parametrize("url", HOSTILE)
def test_a_hostile_url_is_refused_by_its_form(url: str) -> None:
    with pytest.raises(AddressRefused):
        POLICY.check_url(url)


@pytest.mark.parametrize("char", ["\r", "\n", "\t", " ", "\0", "\\", "\x7f"])
def test_characters_that_parsers_read_differently_are_refused(char: str) -> None:
    with pytest.raises(AddressRefused):
        POLICY.check_url(f"http://example.org/{char}x")


def test_ordinary_urls_pass() -> None:
    for url in (
        "https://example.org",
        "http://example.org:8080/a?b=c&d=%20#e",
        "https://bücher.example/straße",
        "https://1.1.1.1/",
        "https://[2606:4700::1111]:8443/",
        "https://x.s3.amazonaws.com/f?X-Amz-Signature=0a&X-Amz-Date=20261122T000000Z",
    ):
        assert POLICY.check_url(url).host


@settings(max_examples=2000, deadline=None)
@given(
    st.sampled_from(["http", "https", "HTTP", "file", ""]),
    st.sampled_from(["://", ":/", ":", ":///", "://x@", "://[", "://127.0.0.1#"]),
    st.one_of(
        st.ip_addresses().map(str),
        st.integers(0, 2**32).map(str),
        st.integers(0, 2**32).map(hex),
        st.sampled_from(PRIVATE),
        st.sampled_from([f"[{one}]" for one in PRIVATE]),
        st.text(max_size=12),
    ),
    st.text(max_size=12),
)
def test_no_generated_url_names_an_address_that_is_not_public(
    scheme: str, middle: str, host: str, rest: str
) -> None:
    try:
        url = Policy().check_url(f"{scheme}{middle}{host}{rest}")
    except AddressRefused:
        return
    assert url.scheme in ("http", "https") and url.user is None and url.raw_host
    try:
        literal = ipaddress.ip_address(url.raw_host)
    except ValueError:
        return  # a name: what it resolves to is checked at the connection
    assert addresses.not_public(literal) is None


def test_this_machine_is_never_reached_whatever_its_address() -> None:
    here = ipaddress.ip_address("127.0.0.1")
    assert addresses.source(here) == here
    open_wide = Policy(allowed=addresses.networks(("127.0.0.0/8",)))
    with pytest.raises(AddressRefused, match="this system itself"):
        open_wide.check_connection("127.0.0.1", 80)


def test_a_neighbour_with_a_public_address_is_refused_unless_it_is_allowed() -> None:
    """At home, a NAS has an IPv6 address of the public range."""
    here = ipaddress.ip_address("2a00:1:2:3400::5")
    policy = Policy(source=lambda _: here)
    for near in ("2a00:1:2:3400::9", "2a00:1:2:34ff::1", str(here)):
        with pytest.raises(AddressRefused):
            policy.check_connection(near, 443)
    policy.check_connection("2a00:1:2:3500::9", 443)
    policy.check_connection("1.1.1.1", 443)
    opened = Policy(addresses.networks(("2a00:1:2:3400::9/128",)), source=lambda _: here)
    opened.check_connection("2a00:1:2:3400::9", 5000)


def test_an_allowed_range_opens_its_ports_but_not_our_own_services() -> None:
    home = addresses.networks(("192.168.1.0/24",))
    policy = Policy(home, (Service("192.168.1.5", 11434),), source=lambda _: None)
    policy.check_connection("192.168.1.5", 5000)
    policy.check_connection("192.168.1.9", 11434)
    for address, port in (("192.168.1.5", 11434), ("192.168.2.5", 80), ("1.1.1.1", 25)):
        with pytest.raises(AddressRefused):
            policy.check_connection(address, port)
    with pytest.raises(AddressRefused):
        policy.check_connection("::ffff:192.168.1.5", 80)


def test_the_policy_knows_our_own_services(tmp_path: Path) -> None:
    path = changed(tmp_path, "search/searxng_url", "http://search.example:8080")
    policy = Policy.of(config.load(path))
    assert Service("search.example", 8080) in policy.services
    with pytest.raises(AddressRefused, match="service of this system"):
        policy.check_url("http://search.example:8080/search?q=x")
    assert policy.allowed == ()


def test_a_range_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    path = changed(tmp_path, "tools/allow_addresses", ["192.168.1.0/24"])
    assert Policy.of(config.load(path)).allowed == addresses.networks(("192.168.1.0/24",))
    for wrong in ("192.168.1.1/24", "home", "10.0.0.0/99"):
        with pytest.raises(config.ConfigError, match=r"tools.allow_addresses\[0\]"):
            config.load(changed(tmp_path, "tools/allow_addresses", [wrong]))
