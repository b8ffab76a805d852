"""AWS Signature Version 4, no I/O: the headers that a request needs so that AWS knows who sends it.

Source: AWS docs, IAM user guide, "Create a signed AWS API request". Compared with botocore's signer in the tests. Paths must be
in normal form, without ``.`` or ``..`` or empty segments: ours are constants.
"""

from __future__ import annotations

from extension_kit.protocol.timestamps import format_ms

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol

    from extension_kit.aws.values import Credentials

    class Hash(Protocol):
        def digest(self) -> bytes: ...
        def hexdigest(self) -> str: ...


__all__ = ["Signer", "content_hash", "encode_query", "quote", "stamp"]

_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ALGORITHM = "AWS4-HMAC-SHA256"
_MOST_KEYS = 64
_BLOCK = 64  # bytes
_INNER, _OUTER = bytes(byte ^ 0x36 for byte in range(256)), bytes(byte ^ 0x5C for byte in range(256))


class Signer:
    """Signs, and keeps the keys that it has derived: each serves for a day, a region and a service."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[tuple[str, str, str, str], bytes] = {}

    def sign(
        self,
        credentials: Credentials,
        region: str,
        service: str,
        now_ms: int,
        method: str,
        path: str,
        query: str,
        headers: Iterable[tuple[str, str]],
        body: bytes,
    ) -> list[tuple[str, str]]:
        """`headers` (Host among them) with X-Amz-Date, X-Amz-Security-Token and Authorization added.

        `path` and `query` as they are sent, without the question mark; `now_ms`: epoch ms. S3 wants its paths signed as they
        are, and ``X-Amz-Content-Sha256`` (see `content_hash`), which is then not computed again.
        """
        at = stamp(now_ms)
        signed = [*headers, ("X-Amz-Date", at)]
        if credentials.token:
            signed.append(("X-Amz-Security-Token", credentials.token))
        fields = _canonical_headers(signed)
        given = [value for name, value in fields if name == "x-amz-content-sha256"]
        names = ";".join(name for name, _ in fields)
        canonical = "\n".join(
            (
                method,
                path if service == "s3" else quote(path, b"/") or "/",
                _canonical_query(query),
                "".join(f"{name}:{value}\n" for name, value in fields),
                names,
                given[0] if given else _sha256(body),
            )
        )
        scope = f"{at[:8]}/{region}/{service}/aws4_request"
        to_sign = f"{_ALGORITHM}\n{at}\n{scope}\n{_sha256(canonical.encode())}"
        signature = _hmac(self._key(credentials, at[:8], region, service), to_sign.encode()).hex()
        value = (
            f"{_ALGORITHM} Credential={credentials.access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return [*signed, ("Authorization", value)]

    def _key(self, credentials: Credentials, day: str, region: str, service: str) -> bytes:
        known = (credentials.secret_key, day, region, service)
        key = self._keys.get(known)
        if key is None:
            if len(self._keys) >= _MOST_KEYS:
                self._keys.clear()
            key = b"AWS4" + credentials.secret_key.encode()
            for part in (day, region, service, "aws4_request"):
                key = _hmac(key, part.encode())
            self._keys[known] = key
        return key

    def __repr__(self) -> str:
        return f"Signer({len(self._keys)} keys)"


def content_hash(body: bytes) -> str:
    """SHA-256 of a body, hex digits."""
    return _sha256(body)


def stamp(now_ms: int) -> str:
    """Epoch ms as ``20261123T080000Z``."""
    return format_ms(now_ms)[:19].replace("-", "").replace(":", "") + "Z"


def quote(text: str, safe: bytes = b"") -> str:
    """Percent-encoded as AWS wants it: all but letters, digits and ``-._~``."""
    keep = _UNRESERVED.union(safe)
    return "".join([chr(byte) if byte in keep else f"%{byte:02X}" for byte in text.encode()])


def encode_query(params: Iterable[tuple[str, str]]) -> str:
    """A query string, or the body of a form."""
    return "&".join(f"{quote(name)}={quote(value)}" for name, value in params)


def _canonical_query(query: str) -> str:
    """The pairs, encoded already, in the order of their names, then of their values; by their bytes."""
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    return "&".join(f"{name}={value}" for name, _, value in sorted(pairs)) if pairs else ""


def _canonical_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    merged: dict[str, list[str]] = {}
    for name, value in headers:
        merged.setdefault(name.lower().strip(), []).append(" ".join(value.split()))
    return [(name, ",".join(values)) for name, values in sorted(merged.items())]


def _load() -> Callable[[bytes], Hash]:
    """SHA-256 without OpenSSL, whose library is 4 MB that stay resident; hashlib prefers it wherever it can be loaded."""
    try:
        from _sha2 import sha256  # type: ignore[import-not-found]  # Python 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256  # type: ignore[import-not-found]  # 3.11
        except ImportError:
            from hashlib import sha256
    found: Callable[[bytes], Hash] = sha256
    return found


def _sha256(data: bytes) -> str:
    return _load()(data).hexdigest()


def _hmac(key: bytes, data: bytes) -> bytes:
    """RFC 2104; the module hmac would import hashlib. Keys are never longer than a block of 64 bytes but for the first."""
    sha256 = _load()
    if len(key) > _BLOCK:
        key = sha256(key).digest()
    key = key.ljust(_BLOCK, b"\0")
    inner = sha256(key.translate(_INNER) + data).digest()
    return sha256(key.translate(_OUTER) + inner).digest()
