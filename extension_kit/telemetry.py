"""Telemetry for plug-ins: subscribe, take in, hand over. The listener's thread stores; everything else runs on the loop's.

What a plug-in is handed counts as delivered when its ``flush`` hook has returned, less what that says is still pending; for one
without that hook, when ``on_telemetry`` has returned. What is not delivered is handed over again after a crash.
"""

from __future__ import annotations

import _thread

from extension_kit.cursor import Cursor
from extension_kit.io.listener import Listener
from extension_kit.protocol import telemetry_api as api
from extension_kit.spool import Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from extension_kit.host import Hosted
    from extension_kit.io.client import ExtensionsClient
    from extension_kit.io.clock import Clock
    from extension_kit.records import Record
    from extension_kit.settings import KitSettings
    from extension_kit.stream import Stream

__all__ = ["Consumer", "Telemetry"]

CHUNK = 1_000  # records that a hook is given at a time: its time budget must do on a small function too
_AGAIN = 3  # tries of a subscription that met a server error
_KIT = ""  # the kit's own place in the spool: it reads everything first, to know what has ended
_REST = "plug-in at rest"
_FAILED = "on_telemetry failed"


class Consumer:
    """One plug-in that wants telemetry, and its place in the spool."""

    def __init__(self, hosted: Hosted) -> None:
        self.hosted = hosted
        self.cursor = Cursor(hosted.plugin.name, hosted.plugin.telemetry)
        self.flushes = "flush" in hosted.hooks
        self.unsettled = False  # a hand-over overran and goes on alone


class Telemetry:
    """``hears``: whether there is a subscription. ``received``: batches so far, by which silence is told from talk."""

    def __init__(
        self, name: str, hosted: list[Hosted], settings: KitSettings, init_type: str, say: Any, clock: Clock
    ) -> None:
        self.hears = False
        self.stream: Stream | None = None
        self.consumers = [Consumer(one) for one in hosted if one.plugin.telemetry]
        self._name = name
        self._settings = settings
        self._init_type = init_type
        self._in_a_hurry = any("on_runtime_done" in one.hooks or one.plugin.prompt for one in hosted)
        self._say = say
        self._clock = clock
        # The platform's own events are always asked for: they tell when an invocation ends.
        wanted = {"platform", *(stream for one in self.consumers for stream in one.cursor.streams)}
        self._types = tuple(stream for stream in api.STREAMS if stream in wanted)
        self._kit = Cursor(_KIT, self._types)
        self._signal = _thread.allocate_lock()
        self._latest: tuple[int, list[Record]] = (0, [])  # the batch that was read last, and its size (bytes)
        self._size = 0
        self._spool: Spool | None = None

    # before the first next

    def open(self, client: ExtensionsClient, api_address: str) -> None:
        """Listen, then subscribe. Whatever goes wrong is said in one line, and the extension does without."""
        cursors = [self._kit, *(consumer.cursor for consumer in self.consumers)]
        settings = self._settings
        path = f"/tmp/.extension-kit/{self._name}/spool"  # noqa: S108 - Lambda's only writable place
        self._spool = Spool(path, api_address, cursors, settings.spool_max_bytes, settings.spool_memory_bytes)
        if self._spool.why_memory:
            self._say(f"telemetry is kept in memory only, a crash would lose it: {path}: {self._spool.why_memory}")
        try:
            listener = Listener(self._spool.store, self.wake, settings.telemetry_port)
            listener.start()
        except (OSError, RuntimeError) as error:
            self._say(f"no telemetry: no listener: {error}")
            return
        if listener.fell_back:
            self._say(f"telemetry listener: {listener.fell_back}; port {listener.port} is used instead")
        self._name_streams(self.spool.life)  # before anything can come
        self.hears = self._subscribe(client, listener.port)
        if not self.hears:
            self._name_streams("")

    def _name_streams(self, name: str) -> None:
        for consumer in self.consumers:
            consumer.hosted.context.stream_id = name

    def restored(self) -> None:
        """A snapshot was resumed: what it has in store is not told from what others of it have, but by name."""
        self.spool.renew()
        self._name_streams(self.spool.life if self.hears else "")

    def _subscribe(self, client: ExtensionsClient, port: int) -> bool:
        # Whoever waits for an end wants to hear of it soon; nobody does under "periodic", and fewer posts cost less.
        waits = self._in_a_hurry or not self._settings.flush.startswith(("periodic", "pipeline"))
        timeout_ms = api.LIMITS["timeoutMs"][0] if waits else 250
        text = ""
        schemas = list(api.ladder(self._init_type))
        while schemas:
            schema = schemas.pop(0)
            wanted = api.Subscription(self._types, port, schema, timeout_ms=timeout_ms)
            for _ in range(_AGAIN):
                means, text = client.subscribe(wanted)
                if means != api.AGAIN:
                    break
            if means == api.SUBSCRIBED:
                return True
            if means == api.NOT_THERE and schema in api.SCHEMAS:
                schemas = list(api.LOGS_SCHEMAS)  # what there was before the Telemetry API
            elif means != api.OLDER:
                break
        self._say(f"no telemetry here ({text}): flushing goes by INVOKE and SHUTDOWN")
        return False

    # the listener's thread

    def wake(self) -> None:
        """End a `wait`; from any thread."""
        if self._signal.locked():
            try:
                self._signal.release()
            except RuntimeError:
                pass  # somebody was faster

    # the loop's thread

    def wait(self, seconds: float) -> bool:
        """Until something arrives, but no longer than `seconds`; whether something did."""
        self._signal.acquire(blocking=False)
        if self.behind:
            return True
        return self._signal.acquire(timeout=max(0.0, seconds))

    @property
    def spool(self) -> Spool:
        assert self._spool is not None
        return self._spool

    @property
    def received(self) -> int:
        return self.spool.received

    @property
    def behind(self) -> bool:
        """Whether something has arrived that nobody has looked at."""
        return self.spool.behind(self._kit)

    def is_pending(self, consumer: Consumer) -> bool:
        """Whether a plug-in has, or is yet to be handed, what is not delivered."""
        return self.hears and (consumer.cursor.held > 0 or self.spool.behind(consumer.cursor))

    def pump(self, on_done: Callable[[Record], object] | None = None) -> None:
        """Hand over what has arrived, as much as the plug-ins may hold; ``on_done`` is given each fresh runtimeDone."""
        if not self.behind and not any(self._may_serve(consumer) for consumer in self.consumers):
            return
        stream = self._open_stream()
        while (found := self.spool.next_batch(self._kit)) is not None:
            seq, body = found
            records, rest = stream.read(seq, body)
            if rest is not None:
                self.spool.set_aside(body)
            self._latest, self._size = (seq, records), len(body)
            self.spool.hand(self._kit, seq, 0, len(records), len(body), True)
            self._serve_all()
            self.spool.acknowledge(self._kit)
            if on_done is not None:
                for record in records:
                    if record.type == "platform.runtimeDone":
                        on_done(record)
        self._serve_all()
        self._latest = (0, [])
        self.spool.commit()
        stream.forget(self.spool.oldest)

    def _open_stream(self) -> Stream:
        """Made when there is something to read: nothing of it is needed before the first response."""
        if self.stream is None:
            import gc

            from extension_kit.stream import Stream

            # Records come by the thousand and refer to nothing: looking for cycles among them at every 700th is in vain.
            gc.set_threshold(20_000, 10, 10)

            self.stream = Stream(self._init_type == "lambda-managed-instances", self.spool.restored_context)
            self.spool.context = self.stream.context
        return self.stream

    def _serve_all(self) -> None:
        for consumer in self.consumers:
            while self._may_serve(consumer) and self._serve(consumer):
                pass

    def _may_serve(self, consumer: Consumer) -> bool:
        if consumer.unsettled:
            self._settle(consumer)
        cursor = consumer.cursor
        # Never ahead of the kit's own place: a batch is read in order first, and what was read is at hand still.
        if cursor.next_seq >= self._kit.next_seq or consumer.unsettled or consumer.hosted.busy:
            return False
        return not consumer.flushes or cursor.held_bytes < self._settings.spool_memory_bytes // len(self.consumers)

    def _settle(self, consumer: Consumer) -> None:
        """A hand-over that overran may have ended since."""
        if not consumer.hosted.busy:
            consumer.unsettled = False
            if not consumer.flushes:
                self.spool.acknowledge(consumer.cursor)

    def _serve(self, consumer: Consumer) -> bool:
        """Hand over the next few records; False where nothing is left."""
        cursor = consumer.cursor
        found = self.spool.next_batch(cursor, self._latest[0])
        if found is None:
            return False
        seq, body = found
        if seq != self._latest[0]:
            self._latest, self._size = (seq, self._open_stream().read(seq, body)[0]), len(body)
        records = self._latest[1]
        mine = self._of_streams(records, cursor)
        first = cursor.next_index
        part = mine[first : first + CHUNK]
        size = self._size * len(part) // max(1, len(records))
        self.spool.hand(cursor, seq, first, len(part), size, first + len(part) >= len(mine))
        if consumer.hosted.resting:
            self.spool.lose(cursor, _REST, everything=True)
        elif part:
            self._give(consumer, part)
        elif not consumer.flushes:
            self.spool.acknowledge(cursor)
        return True

    def _of_streams(self, records: list[Record], cursor: Cursor) -> list[Record]:
        if len(cursor.streams) == len(self._types):
            return records
        return [record for record in records if _stream(record) in cursor.streams]

    def _give(self, consumer: Consumer, part: list[Record]) -> None:
        hosted, cursor = consumer.hosted, consumer.cursor
        if not hosted.has("on_telemetry"):
            if not consumer.flushes:
                self.spool.acknowledge(cursor)
            return
        import time

        began = time.monotonic()
        notices = self.notices(consumer)
        if not hosted.begin("on_telemetry", [*notices, *part] if notices else part):
            self.spool.take_back(cursor)
            return
        if hosted.finish("on_telemetry", began, hosted.budget("on_telemetry")):
            if not consumer.flushes:
                self.spool.acknowledge(cursor)
        elif hosted.busy:
            consumer.unsettled = True
        else:
            self.spool.lose(cursor, _FAILED)

    # what the kit has to tell

    def notices(self, consumer: Consumer) -> list[Record]:
        """Records of our own about what this plug-in will never be handed, each told once."""
        from extension_kit.records import notice

        cursor, found = consumer.cursor, []
        now_ms = self._clock.wall_ms()
        for reason, (records, size) in cursor.dropped.items():
            news = records - cursor.told.get(reason, 0)
            if news > 0 and reason != _FAILED:
                cursor.told[reason] = records
                found.append(notice("dropped", now_ms, droppedRecords=news, droppedBytes=size, reason=reason))
        return found

    def tell(self, record: Record) -> None:
        """Hand one record of the kit's own to every plug-in that listens."""
        from extension_kit.host import call_all

        call_all([one.hosted for one in self.consumers if not one.hosted.busy], "on_telemetry", [record])

    def settle(self, consumer: Consumer) -> None:
        """After a flush that has ended well: what it has said to be pending stays; the rest is done with."""
        if not self.hears:
            return
        from extension_kit.flusher import pending_of

        result = consumer.hosted.result
        self.spool.acknowledge(consumer.cursor, pending_of(result), getattr(result, "outcomes", None))

    def account(self) -> list[str]:
        """One line for each plug-in: what has become of every record that was accepted for it."""
        spool, lines = self.spool, []
        common = [f"{self.stream.platform_dropped} lost by the platform"] if self.stream is not None else []
        common += [f"{spool.duplicates} re-posted batches", f"{spool.malformed} malformed"]
        if spool.why_memory:
            common.append(f"not crash-safe ({spool.why_memory})")
        for consumer in self.consumers:
            waiting = consumer.cursor.held + self._count_unread(consumer.cursor)
            lines.append(f"plug-in {consumer.cursor.name}: {consumer.cursor.sums(waiting)}; {', '.join(common)}")
        return lines

    def _count_unread(self, cursor: Cursor) -> int:
        """Records that this plug-in has not been handed; reads what is left of the spool."""
        reader = Cursor(cursor.name, cursor.streams)
        reader.next_seq, reader.next_index = cursor.next_seq, cursor.next_index
        count = -cursor.next_index
        while (found := self.spool.next_batch(reader)) is not None:
            seq, body = found
            records = self._open_stream().read(seq, body)[0]
            count += len(self._of_streams(records, cursor))
            reader.hand(seq, 0, 0, 0, True)
        return max(0, count)


def _stream(record: Record) -> str:
    """The stream that a record belongs to; what has no type counts as the platform's."""
    return record.type if record.type in ("function", "extension") else "platform"
