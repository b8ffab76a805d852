"""Who may ask: whoever knows the session token of the environment, as AWS's own extension has it.

Where there is no such token (SnapStart, whose credentials come from a local endpoint) the token for that endpoint serves, and
so does ``AWS_TOKEN``. An SDK cannot send a header of ours, but its signature carries the session token of its credentials.
"""

from __future__ import annotations

from _operator import _compare_digest  # hmac.compare_digest, without the import of hashlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from extension_kit.io.clock import Clock

__all__ = ["Tokens"]

_VARIABLES = ("AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN")
_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"
_LONGEST = 16_384
_READ_AGAIN_MS = 1_000


class Tokens:
    """``issued()``: session tokens that the credentials endpoint has given out so far."""

    __slots__ = ("_clock", "_files", "_fixed", "_from_files", "_issued", "_read_ms")

    def __init__(
        self, environ: Mapping[str, str], clock: Clock, issued: Callable[[], Iterable[str]] = lambda: ()
    ) -> None:
        written = [environ.get(name, "").strip() for name in _VARIABLES]
        files = [token.removeprefix("file://") for token in written if token.startswith("file://")]
        self._files = tuple(path for path in (*files, environ.get(_FILE, "").strip()) if path)
        self._fixed = tuple(_bytes(token) for token in written if token and not token.startswith("file://"))
        self._clock = clock
        self._issued = issued
        self._from_files: tuple[bytes, ...] = ()
        self._read_ms = -_READ_AGAIN_MS

    @property
    def are_known(self) -> bool:
        """Whether there is any token at all; where not, nobody may ask."""
        return bool(self._fixed or self._read_files())

    def accepts(self, given: bytes | None) -> bool:
        """Whether `given` is one of the tokens that a caller of ours may know."""
        return given is not None and (_among(given, self._fixed) or _among(given, self._read_files()))

    def lasts(self, given: bytes | None) -> bool:
        """Whether `given` stays good as long as this process lives: what comes from a file is replaced there."""
        return given is not None and _among(given, self._fixed)

    def accepts_session(self, given: bytes | None) -> bool:
        """Whether `given` is one of those, or the session token of credentials that this environment was given."""
        return given is not None and (self.accepts(given) or _among(given, [_bytes(token) for token in self._issued()]))

    def forget(self) -> None:
        """A snapshot was resumed: files are read again."""
        self._read_ms = -_READ_AGAIN_MS

    def _read_files(self) -> tuple[bytes, ...]:
        """They are rotated: read at most once a second."""
        now = self._clock.wall_ms()
        if self._files and not 0 <= now - self._read_ms < _READ_AGAIN_MS:
            self._read_ms = now
            self._from_files = tuple(filter(None, map(_read, self._files)))
        return self._from_files

    def __repr__(self) -> str:
        return f"Tokens({len(self._fixed)} fixed, {len(self._files)} in files)"


def _among(given: bytes, tokens: Iterable[bytes]) -> bool:
    """All are compared, each in constant time: how long it takes says nothing about which one was nearly right."""
    found = False
    for token in tokens:
        found |= _compare_digest(given, token)
    return found


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(_LONGEST).strip()
    except OSError:
        return b""


def _bytes(token: str) -> bytes:
    return token.encode("utf-8", "surrogateescape")
