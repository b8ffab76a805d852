"""Members of JSON objects, ready made: what is the same for all lines, or for all lines of a request, is written once."""

from __future__ import annotations

from extension_kit.protocol.jsontext import dumps, loads
from extensions.log_shipper.line import trace_ids

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from extensions.log_shipper.line import Line

__all__ = ["Members", "apart", "is_one_value", "members"]


def members(fields: Mapping[str, object]) -> bytes:
    """``,"name":value`` for each that is not empty: to be put behind another member."""
    return b"".join(
        b",%b:%b" % (dumps(name), dumps(value)) for name, value in fields.items() if value not in ("", None)
    )


def apart(tags: Mapping[str, str], taken: set[str]) -> dict[str, str]:
    """Tags, those with a name that is `taken` under another: a member that stands twice hides the other, or is refused."""
    return {name if name not in taken else f"tag.{name}": value for name, value in tags.items()}


def is_one_value(message: bytes) -> bool:
    """Whether a line's message is one value and nothing behind it. A member that the platform may write behind ``record`` comes
    with it; most destinations take it for one of their own, but some refuse it and all that goes along.
    """
    if message.startswith(b'"'):
        return message.endswith(b'"') and message.find(b'","', 1) < 0  # a quote within a text has a backslash before it
    if message.startswith(b"{") and message.endswith(b"}") and b'},"' not in message:
        return True
    try:
        loads(message)
    except ValueError:
        return False
    return True


class Members:
    """What a sink calls the things that are known of a line: ``level``, ``request_id``, ``trace_id``, ``id``."""

    def __init__(self, names: Mapping[str, str], constant: Mapping[str, object]) -> None:
        self._names = names
        self._constant = members(constant)
        self._levels: dict[str, bytes] = {}
        self._request: object = None
        self._name = ""
        self._of_request = b""
        self._id = b',%b:"' % dumps(names["id"]) if "id" in names else b""

    def of(self, line: Line) -> bytes:
        """Everything, as members behind another one."""
        level = self._levels.get(line.level)
        if level is None:
            level = self._levels[line.level] = members({self._names["level"]: line.level})
        known = level + self.of_request(line) + self._constant
        return b'%b%b%b"' % (known, self._id, line.id.encode()) if self._id else known

    def of_request(self, line: Line) -> bytes:
        # Of a platform event the name is its own, whoever's place in the stream it has.
        request, name = line.record[1], line.request_id
        if request is not self._request or name != self._name:
            self._request, self._name, self._of_request = request, name, members(self._about_request(line))
        return self._of_request

    def _about_request(self, line: Line) -> dict[str, object]:
        about: dict[str, object] = {self._names["request_id"]: line.request_id}
        if "trace_id" in self._names:
            about[self._names["trace_id"]] = trace_ids(line.trace)[0]
        return about
