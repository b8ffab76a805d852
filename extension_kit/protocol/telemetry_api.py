"""The Telemetry API 2022-07-01 as values: a subscription, its limits, the meaning of answers; and the Logs API 2020-08-15,
which environments without the former still have.

The rules are used by both ends: by the extension, which sends nothing that would be refused, and by the emulator, which
refuses it. Source: AWS docs, Telemetry API reference; AWS's Managed Instances emulator for the texts of the refusals.
"""

from __future__ import annotations

from extension_kit.errors import LocalProtocolError
from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["LIMITS", "SCHEMAS", "STREAMS", "Subscription", "ladder", "subscribe_request", "verdict"]

STREAMS = ("platform", "function", "extension")
#: newest first: the order in which they are tried
SCHEMAS = ("2025-01-29", "2022-12-13", "2022-07-01")
#: of the Logs API: with and without ``platform.runtimeDone``
LOGS_SCHEMAS = ("2021-03-18", "2020-08-15")
#: field of ``buffering``: least, most, default
LIMITS = {
    "maxItems": (1_000, 10_000, 10_000),
    "maxBytes": (262_144, 1_048_576, 262_144),
    "timeoutMs": (25, 30_000, 1_000),
}
HOSTS = ("sandbox.localdomain", "sandbox")

# What an answer means
SUBSCRIBED = "subscribed"
UNSUPPORTED = "unsupported"  # no telemetry here, as in local tools
NOT_THERE = "not there"  # this API is not known: an old environment, perhaps, or a local tool
OLDER = "older schema"  # ask again with an older schema version
AGAIN = "again"  # worth another try with the same one
REFUSED = "refused"


class Subscription(Value):
    """What is asked for. ``protocol``: HTTP, or TCP with a port only; ``port`` of the listener; times in ms."""

    __slots__ = ("max_bytes", "max_items", "path", "port", "protocol", "schema", "timeout_ms", "types")

    schema: str
    types: tuple[str, ...]
    port: int
    max_items: int
    max_bytes: int
    timeout_ms: int
    protocol: str
    path: str

    def __init__(
        self,
        types: tuple[str, ...],
        port: int,
        schema: str = SCHEMAS[0],
        max_items: int = LIMITS["maxItems"][2],
        max_bytes: int = LIMITS["maxBytes"][2],
        timeout_ms: int = LIMITS["timeoutMs"][2],
        protocol: str = "HTTP",
        path: str = "/",
    ) -> None:
        """LocalProtocolError for what the platform would refuse."""
        if not types or any(one not in STREAMS for one in types):
            raise LocalProtocolError(f"types {types!r}: one or more of {', '.join(STREAMS)} are wanted")
        if schema not in SCHEMAS + LOGS_SCHEMAS:
            raise LocalProtocolError(f"schemaVersion {schema!r}: one of {', '.join(SCHEMAS)} is wanted")
        if not 1 <= port <= 65_535:
            raise LocalProtocolError(f"port {port}: 1 to 65535 are wanted")
        for field, value in (("maxItems", max_items), ("maxBytes", max_bytes), ("timeoutMs", timeout_ms)):
            least, most, _default = LIMITS[field]
            if not least <= value <= most:
                raise LocalProtocolError(f"buffering.{field} is {value}: {least} to {most} are wanted")
        for name, field_value in (
            *(("schema", schema), ("types", types), ("port", port), ("max_items", max_items), ("max_bytes", max_bytes)),
            *(("timeout_ms", timeout_ms), ("protocol", protocol), ("path", path)),
        ):
            set_field(self, name, field_value)


def ladder(init_type: str) -> tuple[str, ...]:
    """The schema versions to try, in turn; Managed Instances know the newest only. `init_type`: as the variable says."""
    return SCHEMAS[:1] if init_type == "lambda-managed-instances" else SCHEMAS


def subscribe_request(host: str, identifier: str, wanted: Subscription) -> bytes:
    """``PUT /2022-07-01/telemetry``, or ``/2020-08-15/logs`` for one of its schemas.

    Buffering is always written out: the documentation contradicts itself on defaults.
    """
    path = "/2020-08-15/logs" if wanted.schema in LOGS_SCHEMAS else "/2022-07-01/telemetry"
    types = ",".join('"%s"' % one for one in wanted.types)
    body = (
        '{"schemaVersion":"%s","types":[%s],"buffering":{"maxItems":%d,"maxBytes":%d,"timeoutMs":%d},'
        '"destination":{"protocol":"HTTP","URI":"http://%s:%d"}}'
        % (wanted.schema, types, wanted.max_items, wanted.max_bytes, wanted.timeout_ms, HOSTS[0], wanted.port)
    )
    return (
        f"PUT {path} HTTP/1.1\r\nHost: {host}\r\nLambda-Extension-Identifier: {identifier}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def verdict(status: int) -> str:
    """What to make of the answer to a subscription; every 2xx but 202 is a success (emulators differ)."""
    if status == 202:
        return UNSUPPORTED
    if status in (404, 405, 501):
        return NOT_THERE
    if 200 <= status < 300:
        return SUBSCRIBED
    if status == 400:
        return OLDER
    if status == 429 or status >= 500:
        return AGAIN
    return REFUSED


def parse_subscription(content: Any, schemas: tuple[str, ...] = SCHEMAS) -> Subscription | str:
    """A request's body, decoded, as the platform reads it; a string says why it is refused (400 ValidationError)."""
    if not isinstance(content, dict):
        return "the request body must be a JSON object"
    missing = [name for name in ("schemaVersion", "types", "destination") if name not in content]
    if missing:
        return f"missing properties: {', '.join(missing)}"
    if content["schemaVersion"] not in schemas:
        return f"/schemaVersion: value must be one of {', '.join(schemas)}"
    types = content["types"]
    if not isinstance(types, list) or not types or any(one not in STREAMS for one in types):
        return f"/types: one or more of {', '.join(STREAMS)}"
    numbers = _buffering(content.get("buffering", {}))
    if isinstance(numbers, str):
        return numbers
    where = _destination(content["destination"])
    if isinstance(where, str):
        return where
    return Subscription(tuple(types), where[1], content["schemaVersion"], *numbers, where[0], where[2])


def _buffering(buffering: Any) -> tuple[int, int, int] | str:
    if not isinstance(buffering, dict):
        return "/buffering: an object is wanted"
    found = []
    for field, (least, most, default) in LIMITS.items():
        value = buffering.get(field, default)
        if type(value) is not int or not least <= value <= most:
            return f"/buffering/{field}: an integer from {least} to {most} is wanted, found {value!r}"
        found.append(value)
    return found[0], found[1], found[2]


def _destination(destination: Any) -> tuple[str, int, str] | str:
    """Protocol, port and path, or why it is refused."""
    protocol = destination.get("protocol") if isinstance(destination, dict) else None
    if protocol == "TCP" and type(destination.get("port")) is int and 1 <= destination["port"] <= 65_535:
        return "TCP", int(destination["port"]), "/"
    if protocol not in ("HTTP", "TCP"):
        return "/destination/protocol: HTTP or TCP"
    uri = destination.get("URI")
    if not isinstance(uri, str) or not uri.lower().startswith(f"{protocol.lower()}://"):
        return "/destination/URI: http://sandbox.localdomain:PORT is wanted"
    authority, _, path = uri.partition("://")[2].partition("/")
    host, _, port = authority.rpartition(":")
    if host not in HOSTS:
        return "destination.URI host must be sandbox.localdomain"
    if not (port.isascii() and port.isdigit() and len(port) < 6 and 1 <= int(port) <= 65_535):
        return "destination.URI must name a port, 1 to 65535"
    if not path.isascii() or not path.isprintable() or " " in path:
        return "destination.URI: the path must be printable ASCII"
    return str(protocol), int(port), f"/{path}"
