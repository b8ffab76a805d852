"""Names of hosts that IDNA 2003 and 2008 write differently in ASCII."""

from __future__ import annotations

__all__ = ["forms"]

#: letters that IDNA 2003 writes otherwise, or leaves out (UTS 46, "Deviations")
_DEVIATIONS = frozenset("\u00df\u1e9e\u03c2\u200c\u200d")


def forms(text: str) -> list[str]:
    """``HOST[:PORT]`` as it is, for IDNA 2003; and as IDNA 2008 (RFC 5891) has it, where that is another name."""
    if not _DEVIATIONS.intersection(text):
        return [text]
    host, colon, port = text.partition(":")
    return [text, ".".join(map(_label, host.split("."))) + colon + port]


def _label(label: str) -> str:
    label = label.lower()
    return label if label.isascii() else "xn--" + label.encode("punycode").decode("ascii")
