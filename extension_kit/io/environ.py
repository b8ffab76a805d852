"""Environment variables without ``os``, which an isolated interpreter has not loaded when ``register`` is due."""

from __future__ import annotations

import posix

__all__ = ["get", "mapping"]


def get(name: str, default: str = "") -> str:
    """The variable `name`; bytes that are no UTF-8 are kept as surrogates, as ``os.environ`` does."""
    value = posix.environ.get(name.encode())
    return default if value is None else value.decode("utf-8", "surrogateescape")


def mapping() -> dict[str, str]:
    """All variables, as they were when the process started."""
    decode = bytes.decode
    return {
        decode(name, "utf-8", "surrogateescape"): decode(value, "utf-8", "surrogateescape")
        for name, value in posix.environ.items()
    }
