"""Which hosts may be reached: rules as they are written in a manifest, a setting or ``EXTENSION_KIT_EGRESS_ALLOW``.

===========================  =====================================================================================
``logs.example.com``         this name, in any case, with or without a dot at its end
``*.example.com``            every name below it, however many labels; not ``example.com`` itself
``*``                        every name and every address
``192.0.2.7``, ``2001:db8::7``  this address
``10.0.0.0/8``, ``fd00::/8``    every address of this network
===========================  =====================================================================================

Each with ``:PORT`` behind it (an IPv6 address in brackets then) for that port only. An IPv4 address that is written as IPv6
(``::ffff:192.0.2.7``) is the IPv4 address. A name of other letters is compared as IDNA 2003 (RFC 3490) has it in ASCII, and
in a rule also as IDNA 2008 (RFC 5891) has it, if that is another name: Python asks for the one, libraries for the other.

Addresses are bytes in network order, 4 or 16; ``packed`` gives them for a text, or None where it is none: what counts as an
address is the C library's to say.
"""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Packed = Callable[[str], bytes | None]

__all__ = ["Rule", "Rules", "hosts_in", "normal", "parse", "parse_all"]

_LABEL = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-_")
_PORTS = {"http": 80, "https": 443}


class Rule(Value):
    """``name``: a name, ``*.NAME``, ``*``, or "" where it is a network: ``network`` and its first ``bits``. ``port`` 0: any."""

    __slots__ = ("bits", "name", "network", "port")

    name: str
    network: bytes
    bits: int
    port: int

    def __init__(self, name: str, port: int = 0, network: bytes = b"", bits: int = 0) -> None:
        set_field(self, "name", name)
        set_field(self, "port", port)
        set_field(self, "network", network)
        set_field(self, "bits", bits)


class Rules:
    """All that may be reached. A port None stands for any that a rule has: of a look-up, which has none."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._names: dict[str, set[int]] = {}
        self._networks: list[tuple[int, int, int, int]] = []  # length in bytes, bits to drop, the rest, port
        for rule in rules:
            if rule.name:
                self._names.setdefault(rule.name, set()).add(rule.port)
            else:
                drop = len(rule.network) * 8 - rule.bits
                self._networks.append((len(rule.network), drop, int.from_bytes(rule.network, "big") >> drop, rule.port))

    def admits_name(self, name: str, port: int | None) -> bool:
        """Whether a name, as `normal` gives it, may be reached on this port."""
        if self._has(name, port) or self._has("*", port):
            return True
        at = name.find(".")
        while at >= 0:
            if self._has(f"*{name[at:]}", port):
                return True
            at = name.find(".", at + 1)
        return False

    def admits_address(self, address: bytes, port: int | None) -> bool:
        """Whether an address may be, whatever its name."""
        number = int.from_bytes(address, "big")
        return self._has("*", port) or any(
            length == len(address) and number >> drop == rest and (port is None or only in (0, port))
            for length, drop, rest, only in self._networks
        )

    def _has(self, name: str, port: int | None) -> bool:
        ports = self._names.get(name)
        return ports is not None and (port is None or 0 in ports or port in ports)


def parse(text: str, packed: Packed, port: int = 0) -> Rule:
    """The rule that `text` stands for; `port`: where it names none. ValueError for what is no rule."""
    host, bits, own_port = _parts(text)
    if own_port is not None:
        port = _number(own_port, 1, 65_535)
    address = packed(host)
    if address is not None:
        if ":" not in host and host.count(".") != 3:
            raise ValueError(f"{host} is no address that one would write")
        return _network(address, bits, ":" in host, port)
    if bits is not None or ":" in host:
        raise ValueError(f"{host} is no address")
    if host == "*":
        return Rule(host, port)
    below = host.startswith("*.")
    name = normal(host[2:] if below else host)
    if not name or name.rpartition(".")[2].isdigit():
        raise ValueError(f"{host} is no name of a host")
    return Rule(f"*.{name}" if below else name, port)


def parse_all(text: str, packed: Packed, port: int = 0) -> list[Rule]:
    """`parse`: one rule, or two for a name that has two forms (``straße.example``). ValueError."""
    if text.isascii():
        return [parse(text, packed, port)]
    from extension_kit.protocol.idna import forms

    return [parse(form, packed, port) for form in forms(text)]


def _parts(text: str) -> tuple[str, str | None, str | None]:
    """Host, bits of the network and port, as they are written."""
    if text.startswith("["):
        host, closing, rest = text[1:].partition("]")
        bits, colon, port = rest.partition(":")
        if not closing or ":" not in host or (bits and not bits.startswith("/")):
            raise ValueError(f"{text} is no address in brackets")
        return host, bits[1:] if bits else None, port if colon else None
    port = colon = ""
    if text.count(":") == 1:
        text, colon, port = text.partition(":")
    host, slash, bits = text.partition("/")
    return host, bits if slash else None, port if colon else None


def _number(text: str, least: int, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and least <= int(text) <= most):
        raise ValueError(f"{text} is no number from {least} to {most}")
    return int(text)


def _network(address: bytes, bits: str | None, as_ipv6: bool, port: int) -> Rule:
    length = len(address) * 8
    if bits is None:
        return Rule("", port, address, length)
    mapped = 96 if as_ipv6 and length == 32 else 0  # ::ffff:10.0.0.0/104 is 10.0.0.0/8
    return Rule("", port, address, _number(bits, mapped, mapped + length) - mapped)


def normal(host: str) -> str:
    """A name as it is compared: ASCII, lower case, no dot at its end. "" for what no name can be."""
    if not host.isascii():
        try:
            host = host[:1000].encode("idna").decode("ascii")
        except UnicodeError:
            return ""
    host = host.removesuffix(".").lower()
    labels = host.split(".")
    is_name = len(host) <= 253 and all(0 < len(label) < 64 and _LABEL.issuperset(label) for label in labels)
    return host if is_name else ""


def hosts_in(value: str, packed: Packed) -> tuple[list[Rule], bool]:
    """The hosts that a setting names: of a URL, or of ``HOST[:PORT]`` with commas between them; and whether something in it
    was no host, though it is no path of a file either.

    Exactly these: nothing in a setting stands for several, so a slip of the pen opens nothing. What is no host gives none.
    """
    rules: list[Rule] = []
    unread = False
    for text in [value] if "://" in value else value.split(","):
        text = text.strip()
        scheme, found, rest = text.partition("://")
        if not found:
            scheme, rest = "", scheme
        for end in ("/", "?", "#", "\\"):
            rest = rest.partition(end)[0]
        try:
            more = parse_all(rest.rpartition("@")[2], packed, _PORTS.get(scheme.lower(), 0))
        except ValueError:
            more = []
        more = [rule for rule in more if not rule.name.startswith("*")]
        rules += more
        unread = unread or not (more or _is_path(text))
    return rules, unread


def _is_path(text: str) -> bool:
    return not text or text.startswith(("./", "../", "file:")) or (text.startswith("/") and not text.startswith("//"))
