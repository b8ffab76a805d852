"""Rules of hosts: what they let pass, compared with the standard library's own idea of names, addresses and networks."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from extension_kit.egress import packed
from extension_kit.protocol.hosts import Rule, Rules, hosts_in, normal, parse, parse_all

LABELS = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
NAMES = (
    st.lists(LABELS, min_size=1, max_size=5)
    .map(".".join)
    .filter(lambda name: not name.rpartition(".")[2].isdigit() and packed(name) is None)
)
ADDRESSES = st.ip_addresses()
PORTS = st.integers(1, 65_535)


def rules(*texts: str, port: int = 0) -> Rules:
    return Rules(parse(text, packed, port) for text in texts)


def unmapped(address):
    return getattr(address, "ipv4_mapped", None) or address


def written(address, port=None):
    host = f"[{address}]" if address.version == 6 and port else str(address)
    return f"{host}:{port}" if port else host


@given(NAMES, NAMES, PORTS)
def test_a_name_admits_itself_and_no_other(name, other, port):
    """However it is written: in any case, with a dot at its end."""
    assert rules(name).admits_name(normal(f"{name.upper()}."), port)
    assert rules(name).admits_name(normal(other), port) == (other == name)


@given(NAMES, NAMES, PORTS)
def test_a_star_admits_what_is_below_a_name(name, other, port):
    """Whole labels, one or more; never the name itself, nor one that merely ends so."""
    below = rules(f"*.{name}")

    assert below.admits_name(f"{other}.{name}", port)
    assert not below.admits_name(name, port)
    assert not below.admits_name(f"{other}{name}", port) or f"{other}{name}".endswith(f".{name}")
    assert below.admits_name(other, port) == other.endswith(f".{name}")


@given(st.ip_addresses(), st.ip_addresses(), st.data())
def test_a_network_admits_what_the_standard_library_has_in_it(address, other, data):
    bits = data.draw(st.integers(96 if address.version == 6 and address.ipv4_mapped else 0, address.max_prefixlen))
    network = ipaddress.ip_network((address, bits), strict=False)
    near = network[data.draw(st.integers(0, min(network.num_addresses - 1, 2**64)))]
    admits = rules(f"{address}/{bits}")

    assert admits.admits_address(unmapped(near).packed, 443)
    if unmapped(address) == address and unmapped(other) == other:
        assert admits.admits_address(other.packed, 443) == (other in network)


@given(st.one_of(NAMES, ADDRESSES), PORTS, PORTS)
def test_a_port_is_the_only_one(host, port, other):
    is_name = isinstance(host, str)
    one = rules(f"{host}:{port}" if is_name else written(host, port), port=other)
    admits = one.admits_name if is_name else one.admits_address
    target = host if is_name else unmapped(host).packed

    assert admits(target, port)
    assert admits(target, other) == (other == port)
    assert admits(target, None), "a look-up has no port"


@given(st.one_of(NAMES, ADDRESSES.map(str)), PORTS, PORTS)
def test_a_port_that_is_not_named_is_the_given_one(host, port, other):
    one = rules(host, port=port)
    address = packed(host)

    found = one.admits_name(host, other) if address is None else one.admits_address(address, other)
    assert found == (other == port)


@given(st.one_of(NAMES, ADDRESSES), PORTS)
def test_a_star_alone_admits_all(host, port):
    everything, only_there = rules("*"), rules(f"*:{port}")
    for one, at in ((everything, None), (everything, port), (only_there, port)):
        assert one.admits_name(host, at) if isinstance(host, str) else one.admits_address(unmapped(host).packed, at)
    other = port % 65_535 + 1
    assert not (
        only_there.admits_name(host, other)
        if isinstance(host, str)
        else only_there.admits_address(unmapped(host).packed, other)
    )


@given(st.text(max_size=40))
@example("a..b")
@example("\0")
@example("a" * 64 + ".example")
@example("é" * 70)
@example(".".join("a" * 63 for _ in range(5)))
def test_what_is_normal_stays_so(text):
    """And holds nothing but what a name may: no NUL behind which the C library would not look, no blanks."""
    name = normal(text)

    assert normal(name) == name
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")


@given(st.text(max_size=40))
def test_nothing_but_a_rule_is_read(text):
    """ValueError for all else; and nothing that holds more than a host, its bits and its port."""
    try:
        rule = parse(text, packed)
    except ValueError:
        return
    assert rule.name or rule.network
    assert normal(rule.name.removeprefix("*.")) == rule.name.removeprefix("*.") or rule.name == "*"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Bücher.example", "xn--bcher-kva.example"),
        ("ﬀ.example", "ff.example"),
        ("a。b", "a.b"),
        ("a_b.example.", "a_b.example"),
    ],
)
def test_other_letters_are_those_of_idna(text, name):
    assert normal(text) == name
    assert rules(text).admits_name(name, 1)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", ":443", "443", "a b", "a:0", "a:65536", "a:http", "a/8", "*a", "a.*", "a.*.b", "**", "*.", "*.*", "http://a",
        "a,b", "10.1", "0x7f.1", "2130706433", "1.2.3.4.5", "1.2.3.4/33", "1.2.3.4/", "1.2.3.4/x", "1.2.3.4:", "::1/129",
        "[::1", "[a]:1", "[::1]x", "[::1]8:1", "[1.2.3.4]:1", "::ffff:1.2.3.4/95", "g::b",
        "localhost\0", "256.1.1.1",
        "１.２.３.４", "a:４",  # noqa: RUF001 - digits of other scripts
    ],
)  # fmt: skip
def test_what_is_no_rule(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the kind is what is told
        parse(text, packed)


@pytest.mark.parametrize(
    ("text", "address", "bits"),
    [
        ("::ffff:10.0.0.0/104", "10.0.0.0", 8),
        ("::ffff:192.0.2.7", "192.0.2.7", 32),
        ("[fd00::]/8:443", "fd00::", 8),
        ("[::ffff:10.0.0.0]/104:443", "10.0.0.0", 8),
        ("10.0.0.0/8:443", "10.0.0.0", 8),
        ("fe80::1%eth0", "fe80::1", 128),
    ],
)
def test_forms_of_networks(text, address, bits):
    port = 443 if text.endswith(":443") else 0
    assert parse(text, packed) == Rule("", port, ipaddress.ip_address(address).packed, bits)


@given(st.integers(0, 2**32 - 1), st.data())
def test_an_address_in_any_form_is_that_address(number, data):
    """As connect() reads them; the C library is asked, not imitated, and neither is what is only nearly one."""
    a, b, c, d = number.to_bytes(4, "big")
    octal = "".join(f"0{part:o}." for part in (a, b, c, d)).rstrip(".")
    form = data.draw(
        st.sampled_from(
            [f"{a}.{b}.{c}.{d}", f"{number}", f"{number:#x}", f"{a:#x}.{number & 0xFFFFFF}", f"{a}.{b}.{number & 0xFFFF}",
             f"::ffff:{a}.{b}.{c}.{d}", f"::FFFF:{number >> 16:x}:{number & 0xFFFF:x}", octal]
        )
    )  # fmt: skip

    assert packed(form) == number.to_bytes(4, "big")
    assert packed(f"{form} x") is packed(f"{form}\t") is packed(f"{form}\0") is None


@given(st.text("0123456789abcdefx.:%", max_size=20))
@example("0x")
@example("1.")
@example("09.1.1.1")
@example(":")
def test_what_is_an_address_is_what_the_c_library_has_for_one(text):
    assume(text)
    try:
        found = socket.getaddrinfo(text.encode(), 80, 0, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    except OSError:
        found = []
    # It also refuses scopes that no interface has, which an address may bear here: it cannot be reached then.
    assume(found or "%" not in text)

    assert (packed(text) is not None) == bool(found)


@given(NAMES, PORTS, st.sampled_from(["", "/", "/v1/x", "?key=1", "#a", "/@other.example", "\\@other.example"]))
def test_the_host_of_a_url_is_what_a_setting_names(name, port, rest):
    for url, at in ((f"https://{name}", 443), (f"HTTP://{name}", 80), (f"https://u:p@{name}:{port}", port)):
        assert hosts_in(url + rest, packed) == ([Rule(name, at)], False)


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("a.example:9092, b.example", [Rule("a.example", 9092), Rule("b.example")]),
        ("http://[::1]:8080/x", [Rule("", 8080, bytes(15) + b"\1", 128)]),
        ("kafka://a.example", [Rule("a.example")]),
        ("", []), ("/tmp/lines", []), ("https://*", []), ("https://*.example.com/", []), ("http://a b/", []), ("*", []),
        ("https:///x", []), ("file:/tmp/x", []), ("https://a.example:port/", []), ("a.example,*", [Rule("a.example")]),
    ],
)  # fmt: skip
def test_a_setting_names_just_what_it_says(value, found):
    """What is no host opens nothing, and nothing stands for several."""
    assert hosts_in(value, packed)[0] == found


@pytest.mark.parametrize(
    ("value", "unread"),
    [
        ("http://a.example:1,http://b.example:2", True), ("//h.example", True), ("https:h.example", True),
        ("https://" + "a" * 64 + ".example", True), ("*", True), ("a.example,*", True), ("http://a b/", True),
        ("", False), ("/tmp/lines", False), ("./lines", False), ("file:/tmp/x", False), ("file:///tmp/x", False),
        ("a.example:9092, b.example,", False), ("https://a.example/x,y", False), ("stdout", False),
    ],
)  # fmt: skip
def test_what_names_no_host_is_told_from_a_path(value, unread):
    assert hosts_in(value, packed)[1] == unread


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("straße.example:8443", ["strasse.example", "xn--strae-oqa.example"]),
        ("*.STRAẞE.example:8443", ["*.strasse.example", "*.xn--strae-oqa.example"]),
        ("βόλος.example:8443", ["xn--nxasmq6b.example", "xn--nxasmm1c.example"]),
        ("bücher.example:8443", ["xn--bcher-kva.example"]),
        ("a.example:8443", ["a.example"]),
    ],
)
def test_a_name_that_idna_2003_and_2008_write_differently_has_a_rule_for_either(text, names):
    """Names of RFC 5894, 7.2, and of UTS 46's table of deviations."""
    assert parse_all(text, packed) == [Rule(name, 8443) for name in names]
    found, unread = hosts_in(f"https://{text}/x", packed)
    assert ([rule.name for rule in found], unread) == ([name for name in names if name[0] != "*"], "*" in text)
