"""The Extensions API 2020-01-01 as values: requests as bytes, answers as events (AWS docs, Extensions API)."""

from __future__ import annotations

from extension_kit.errors import LocalProtocolError, RemoteProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.events import Invoke, Registration, Shutdown, UnknownEvent

__all__ = [
    "choose_events",
    "error_request",
    "next_request",
    "parse_event",
    "parse_refusal",
    "parse_registration",
    "register_request",
]

_BASE = "/2020-01-01/extension"

# What answers are read with: imported after the registration, and not asked of the import system again at every event.
_loads: Callable[[bytes], object] | None = None
_kinds: dict[object, Callable[[dict[str, object]], Invoke | Shutdown | UnknownEvent]] = {}


def choose_events(init_type: str, wanted: tuple[str, ...] = ("INVOKE", "SHUTDOWN")) -> tuple[str, ...]:
    """The events that can be had: Managed Instances refuse INVOKE. `init_type`: ``AWS_LAMBDA_INITIALIZATION_TYPE`` or ""."""
    return ("SHUTDOWN",) if init_type == "lambda-managed-instances" else wanted


def register_request(host: str, name: str, events: tuple[str, ...]) -> bytes:
    """``POST /register``; asks for the account id as well. LocalProtocolError for a name that cannot stand in a header."""
    if not name.isascii() or not name.isprintable() or not name.strip():
        raise LocalProtocolError(f"the extension's name {name!r} cannot stand in a header: printable ASCII is wanted")
    body = '{"events":[%s]}' % ",".join('"%s"' % event for event in events)
    return (
        f"POST {_BASE}/register HTTP/1.1\r\nHost: {host}\r\nLambda-Extension-Name: {name}\r\n"
        "Lambda-Extension-Accept-Feature: accountId\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def next_request(host: str, identifier: str) -> bytes:
    """``GET /event/next``."""
    return (
        f"GET {_BASE}/event/next HTTP/1.1\r\nHost: {host}\r\nLambda-Extension-Identifier: {identifier}\r\n\r\n".encode()
    )


def error_request(host: str, identifier: str, phase: str, error_type: str) -> bytes:
    """``POST /init/error`` or ``/exit/error`` (`phase`: init or exit); `error_type`: e.g. ``Extension.ConfigInvalid``."""
    return (
        f"POST {_BASE}/{phase}/error HTTP/1.1\r\nHost: {host}\r\nLambda-Extension-Identifier: {identifier}\r\n"
        f"Lambda-Extension-Function-Error-Type: {error_type}\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def parse_registration(identifier: str, body: bytes) -> Registration:
    """A 200 of ``register``; RemoteProtocolError without an identifier. A body that cannot be read counts as empty."""
    from extension_kit.events import Registration

    if not identifier:
        raise RemoteProtocolError("register: 200 without the header Lambda-Extension-Identifier")
    return Registration(identifier, _object(body))


def parse_event(body: bytes) -> Invoke | Shutdown | UnknownEvent:
    """A 200 of ``next``. Never raises: what is not known, or not JSON, is an `UnknownEvent`."""
    raw = _object(body)
    event_type = raw.get("eventType")
    if not _kinds:
        from extension_kit.events import Invoke, Shutdown, UnknownEvent

        _kinds.update({"INVOKE": Invoke, "SHUTDOWN": Shutdown, None: UnknownEvent})
    make = _kinds.get(event_type) if isinstance(event_type, str) else None
    return (make or _kinds[None])(raw)


def parse_refusal(call: str, status: int, body: bytes) -> RemoteProtocolError:
    """An answer that is no success, as an error that names AWS's type and text."""
    raw = _object(body)
    error_type = raw.get("errorType") or "no error type"
    message = raw.get("errorMessage") or "no message"
    return RemoteProtocolError(f"{call}: {status} {error_type}: {message}", status)


def _object(body: bytes) -> dict[str, object]:
    global _loads
    if _loads is None:
        from extension_kit.protocol.jsontext import loads

        _loads = loads
    try:
        value = _loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
