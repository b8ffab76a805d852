"""What a sink is: limits, one line as an item, and an exchange that says what has become of each item."""

from __future__ import annotations

from time import monotonic

from extension_kit.delivery import AGAIN, DELIVERED, REFUSED, TOO_LARGE, Verdict, retry_after_ms
from extension_kit.outbound import gzipped, with_path
from extensions.log_shipper.sinks.hiding import Hiding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extension_kit.outbound import Answer, Http
    from extensions.log_shipper.keys import Key
    from extensions.log_shipper.line import Line
    from extensions.log_shipper.settings import ShipperSettings

__all__ = ["HttpSink", "Origin", "Sink"]

_LONGEST_SAID = 200  # characters


class Origin:
    """Where the lines come from, as far as an extension knows; "" where it does not.

    ``memory_mb``: None where unknown. ``tags``: the operator's own.
    """

    def __init__(
        self,
        *,
        service: str = "",
        function: str = "",
        version: str = "",
        region: str = "",
        account_id: str = "",
        memory_mb: int | None = None,
        instance: str = "",
        tags: dict[str, str] | None = None,
    ) -> None:
        self.service = service or function
        self.function = function
        self.version = version
        self.region = region
        self.account_id = account_id
        self.memory_mb = memory_mb
        self.instance = instance
        self.tags = tags or {}


class Sink:
    """``most_lines``, ``most_bytes`` (uncompressed) of one exchange; ``most_item_bytes`` of one item.

    ``whole_batches``: an exchange holds lines of one batch of the spool only, all of them if they fit. What is sent again after
    a crash is then grouped as it was before, for a destination that knows groups and no lines.
    """

    most_lines = 1_000
    #: where more are allowed, and cost memory; 0: as many
    usual_lines = 0
    most_bytes = 1_000_000
    most_item_bytes = 1_000_000
    #: what an item costs beside its own bytes
    overhead = 1
    whole_batches = False

    def __init__(self, settings: ShipperSettings, origin: Origin) -> None:
        self.settings = settings
        self.origin = origin
        self.most_lines = min(settings.batch_lines or self.usual_lines or self.most_lines, self.most_lines)
        self.most_bytes = min(settings.batch_bytes, self.most_bytes)
        self.most_item_bytes = min(self.most_item_bytes, self.most_bytes - self.overhead)

    def encode(self, line: Line) -> bytes:
        """One item."""
        raise NotImplementedError

    def send(self, items: list[Any], seconds: float) -> Verdict:
        """One exchange. OSError where the network fails."""
        raise NotImplementedError

    def abort(self) -> None:
        """End an exchange that goes on for too long, from another thread."""

    def forget(self) -> None:
        """Connections may be dead: a snapshot was resumed."""


class HttpSink(Sink):
    """A POST of all items; how they are put together and what the answer means is the subclass's."""

    path = ""
    content_type = "application/json"
    #: statuses after which another try may help, beside all from ``again_from`` on: proxies have many of their own (520, 529)
    again = frozenset((408, 425, 429))
    again_from = 500
    #: statuses that are the operator's to mend (key, address, proxy): what they keep out waits, as long as there is room
    mend = frozenset((300, 301, 302, 303, 307, 308, 401, 403, 404, 405, 407))

    def __init__(self, settings: ShipperSettings, origin: Origin, http: Http, key: Key) -> None:
        super().__init__(settings, origin)
        self.http = http
        self.key = key
        self.api_key = ""  # known from the first exchange on
        self.url = with_path(settings.endpoint, self.path)
        self._hiding = Hiding(settings, key)

    def headers(self) -> dict[str, str]:
        """Those that every request has, the operator's own last."""
        headers = {"Content-Type": self.content_type, "User-Agent": "lambda-extension-kit"}
        if self.settings.compress == "gzip":
            headers["Content-Encoding"] = "gzip"
        for pair in self.settings.headers:
            name, _, value = pair.partition("=")
            headers[name.strip()] = value.strip().replace("{api_key}", self.api_key)
        return headers

    def body(self, items: list[Any]) -> bytes:
        raise NotImplementedError

    def judge(self, answer: Answer, items: list[Any]) -> Verdict:  # noqa: ARG002 - for those that answer for each item
        """What an answer that is a success says of each item."""
        return Verdict(DELIVERED)

    def send(self, items: list[Any], seconds: float) -> Verdict:
        body = self.body(items)
        if self.settings.compress == "gzip":
            body = gzipped(body)
        until = monotonic() + seconds
        self.api_key = self.key.value(seconds)
        left = until - monotonic()
        if left <= 0:
            raise TimeoutError("no time was left after its key had been fetched")
        answer = self.http.post(self.url, body, self.headers(), left)
        if 200 <= answer.status < 300:
            return self.judge(answer, items)
        return self.failed(answer)

    def failed(self, answer: Answer) -> Verdict:
        """What an answer that is no success says of all items."""
        why = f"answers {answer.status}{self._said(answer)}"
        if answer.status == 413:
            return Verdict(TOO_LARGE, why)
        if answer.status in (401, 403):
            self.key.refused()
        if answer.status >= self.again_from or answer.status in self.again or answer.status in self.mend:
            return Verdict(AGAIN, why, self.asked_ms(answer))
        return Verdict(REFUSED, why, reason=f"refused with {answer.status}")

    def asked_ms(self, answer: Answer) -> int | None:
        """How long the destination wants to be let be; None where it does not say."""
        written = answer.headers.get("retry-after", "")
        return retry_after_ms(written, self.http.clock.wall_ms()) if written else None

    def _said(self, answer: Answer) -> str:
        """The beginning of an answer's text, fit for a log line; an echo of what is secret is no part of it."""
        text = self._hiding.hide(answer.body.decode("utf-8", "replace"))  # were it cut first, half a key would stay
        text = text[:_LONGEST_SAID]
        text = "".join(one if one.isprintable() else " " for one in text).strip()
        return f": {text}" if text else ""

    def abort(self) -> None:
        self.http.abort()

    def forget(self) -> None:
        self.http.forget()
