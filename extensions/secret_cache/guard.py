"""What is refused before anybody looks at what is asked for. No I/O.

A function that fetches URLs for its users can be made to fetch ours (server-side request forgery): such a request comes from
a browser or through a proxy, and shows it. The token is what it cannot know.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from extension_kit.protocol.http1 import RequestHead

__all__ = ["AGENT_BAD_TOKEN", "BAD_TOKEN", "Refusal", "foreign", "token_of"]

#: status, headers, body
Refusal = tuple[int, tuple[tuple[bytes, bytes], ...], bytes]

_TEXT = (b"Content-Type", b"text/plain")
_FORWARDED = frozenset(
    (b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip")
)
#: Not Sec-Fetch-Mode: Node's own fetch sends it with every request, and nothing else of these.
_BROWSER = frozenset((b"origin", b"sec-fetch-site", b"sec-fetch-dest", b"sec-fetch-user"))
_HOSTS = frozenset((b"localhost", b"127.0.0.1", b"[::1]"))
_TOKEN_HEADERS = (b"x-aws-parameters-secrets-token", b"x-vault-token")

#: As AWS's own extension says it.
BAD_TOKEN: Refusal = (
    401, (_TEXT, (b"X-Amzn-Errortype", b"AccessDeniedException")), b"bad session token or header key",
)  # fmt: skip
#: As the Workload Credentials Provider says it.
AGENT_BAD_TOKEN: Refusal = (403, (_TEXT,), b"Bad Token")


def foreign(head: RequestHead) -> Refusal | None:
    """Why a request cannot be from the function itself; None where it may be."""
    if not head.target.startswith(b"/"):
        return 400, (_TEXT,), b"the target must be a path"
    hosts = 0
    for name, value in head.headers:
        lower = name.lower()
        if lower in _FORWARDED:
            return 400, (_TEXT,), b"Forwarded"
        if lower in _BROWSER or lower.startswith(b"sec-ch-"):
            return 400, (_TEXT,), b"requests of a browser are not answered"
        if lower == b"host":
            hosts += 1
            if hosts > 1 or _without_port(value) not in _HOSTS:
                return 400, (_TEXT,), b"Host must be localhost, 127.0.0.1 or [::1]"
    return None


def token_of(head: RequestHead) -> bytes | None:
    """What the caller has sent as its token; None for nothing, or for two."""
    given = [value for name, value in head.headers if name.lower() in _TOKEN_HEADERS]
    return given[0] if len(given) == 1 else None


def _without_port(host: bytes) -> bytes:
    name, colon, port = host.lower().rpartition(b":")
    return name if colon and port.isdigit() else host.lower()
