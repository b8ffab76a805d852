"""What is known, by what was asked: a bounded store of answers and refusals. No I/O, no clock: times are handed in.

A secret has many names: its name, its ARN, its ARN without the suffix. Only AWS knows which belong together, so they are
learned from its answers: the entry stands under the ARN that the answer names, and what was asked points there. A name is
never taken from the answer to an ARN of another account or region, where it may be somebody else's.

All times are wall-clock epoch ms: an environment may be frozen for longer than a time to live, and only that clock goes on.
"""

from __future__ import annotations

from extensions.secret_cache.asks import ConfigurationAsk, ParameterAsk, PathAsk, SecretAsk
from extensions.secret_cache.found import Parameter, Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from extension_kit.aws import AwsError
    from extensions.secret_cache.asks import Ask
    from extensions.secret_cache.found import Found
    from extensions.secret_cache.policy import Policy

__all__ = ["HIT", "MISS", "NEGATIVE", "STALE", "Entry", "Store"]

HIT, MISS, STALE, NEGATIVE = "hit", "miss", "stale", "negative"

_PLAIN = ("String", "StringList")  # types whose value is the same with and without decryption
_REFUSAL_SIZE = 512  # bytes that an entry takes which holds no value
_MOST_NAMES = 8  # of one entry


class Entry:
    """One answer or refusal. ``revision`` rises whenever ``found`` becomes another."""

    __slots__ = (
        "ahead_ms", "ask", "error", "failures", "fetched_ms", "found", "fresh_ms", "key", "names", "probed_ms", "retry_ms",
        "revision", "stale_ms", "touched", "used",
    )  # fmt: skip

    def __init__(self, key: Ask, ask: Ask) -> None:
        self.key = key
        self.ask = ask  # as it was asked for: what is asked again
        self.names: list[Ask] = []  # that point here
        self.found: Found | None = None
        self.error: AwsError | None = None
        self.revision = 0
        self.failures = 0  # in a row
        self.fetched_ms = 0
        self.fresh_ms = 0  # until when it is an answer as it is
        self.ahead_ms = 0  # from when it is worth asking again while it is still used
        self.stale_ms = 0  # until when it is better than an error
        self.probed_ms = 0  # when its version was asked for
        self.retry_ms = 0  # before which AWS is not asked again
        self.touched = 0
        self.used = False  # since it was fetched

    def state(self, now: int) -> str:
        """What this entry is at `now`. Where the clock was set back, it is as if it had expired."""
        backwards = now < self.fetched_ms
        if self.found is None:
            return NEGATIVE if now < self.retry_ms and not backwards else MISS
        if now < self.fresh_ms and not backwards:
            return HIT
        return STALE if now < self.retry_ms and self.is_usable(now) else MISS

    def is_usable(self, now: int) -> bool:
        """Whether the value may stand in for an error."""
        return self.found is not None and self.fetched_ms <= now < self.stale_ms

    @property
    def size(self) -> int:
        return _REFUSAL_SIZE if self.found is None else self.found.size

    def __repr__(self) -> str:
        return f"Entry({self.key!r}, {self.found!r}, {self.error!r})"


class Store:
    """``home``: (region, account) whose names are ours; an empty string is one that is not known."""

    def __init__(self, policy: Policy, home: tuple[str, str] = ("", "")) -> None:
        self._policy = policy
        self._home = home
        self._entries: dict[Ask, Entry] = {}
        self._keys: dict[Ask, Ask] = {}
        self._bytes = 0
        self._tick = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(list(self._entries.values()))

    @property
    def bytes(self) -> int:
        """About how much is held."""
        return self._bytes

    def key(self, ask: Ask) -> Ask:
        """What `ask` is known as: the same for all names of a thing, as far as they were learned."""
        known = self._keys.get(ask)
        if known is not None or isinstance(ask, (PathAsk, ConfigurationAsk)):
            return known or ask
        plain = self._keys.get(ask.plain)  # the same thing, without version or stage
        return ask if plain is None or isinstance(plain, (PathAsk, ConfigurationAsk)) else ask.but(id=plain.id)

    def peek(self, ask: Ask) -> Entry | None:
        """The entry of `ask`, whatever its state."""
        return self._entries.get(self.key(ask))

    def look(self, ask: Ask) -> Entry | None:
        """The same for somebody who uses it."""
        entry = self.peek(ask)
        if entry is not None:
            self.touch(entry)
        return entry

    def touch(self, entry: Entry) -> None:
        """It was used: it is thrown out last, and worth fetching ahead of its end."""
        self._tick += 1
        entry.touched = self._tick
        entry.used = True

    def keep(self, ask: Ask, found: Found, now: int, ttl_ms: int | None = None) -> Entry:
        """`found` is the answer to `ask`, fetched at `now`. Where nothing is to be kept the entry is only returned."""
        policy = self._policy
        ttl = policy.ttl_ms(ask.kind, ask.id) if ttl_ms is None else ttl_ms
        key = _key(ask, found)
        entry = self._entries.get(key) or Entry(key, ask)
        self._keep_previous(entry, found, now)
        if entry.found is not found and entry.found != found:
            entry.revision += 1
            self._weigh(entry, found)
        entry.error = None
        entry.failures = entry.retry_ms = 0
        entry.used = False
        entry.fetched_ms = now
        fresh = policy.fresh_ms(ttl)
        entry.fresh_ms = now + fresh
        entry.ahead_ms = now + policy.ahead_ms(fresh)
        entry.stale_ms = now + ttl + policy.stale_ms
        if ttl <= 0 or entry.size > policy.max_bytes:
            self._drop(entry)
            return entry
        self._put(entry)
        self._learn(ask, entry, found)
        return entry

    def fail(self, ask: Ask, error: AwsError, now: int) -> Entry:
        """`ask` was refused. A value that may stand in stays; one that is refused for good goes."""
        policy = self._policy
        entry = self._entries.get(self.key(ask))
        keeps = error.transient or error.kind == "credentials"
        if entry is not None and keeps and entry.is_usable(now):
            entry.failures += 1
            entry.error = error
            entry.retry_ms = entry.ahead_ms = now + policy.back_off_ms(
                entry.failures, error, policy.ttl_ms(ask.kind, ask.id)
            )
            return entry
        if entry is not None:
            self._drop(entry)
        refusal = Entry(ask, ask)
        refusal.error = error
        refusal.fetched_ms = now
        refusal.retry_ms = now + policy.negative_ms(error)
        refusal.revision = 1
        if policy.ttl_ms(ask.kind, ask.id) > 0 and refusal.retry_ms > now:
            self._put(refusal)
        return refusal

    def due(self, now: int) -> list[Entry]:
        """Entries that are in use and near or past their end."""
        return [
            entry
            for entry in self._entries.values()
            if entry.used and entry.found is not None and entry.ahead_ms <= now and entry.retry_ms <= now
        ]

    def expire(self, entry: Entry, now: int) -> None:
        """The value is known to be outdated: it is asked for again, and stands in only where that fails."""
        entry.fresh_ms = entry.ahead_ms = min(entry.fresh_ms, now)

    def clear(self) -> None:
        """Forget everything."""
        for entry in self._entries.values():
            entry.fresh_ms = 0  # whoever still holds one must not take it for fresh
            entry.revision += 1
        self._entries.clear()
        self._keys.clear()
        self._bytes = 0

    def _put(self, entry: Entry) -> None:
        if self._entries.get(entry.key) is not entry:
            old = self._entries.get(entry.key)
            if old is not None:
                self._drop(old)
            self._entries[entry.key] = entry
            self._bytes += entry.size
        self._tick += 1
        entry.touched = self._tick
        while len(self._entries) > self._policy.entries or self._bytes > self._policy.max_bytes:
            self._drop(min(self._entries.values(), key=lambda one: one.touched))

    def _weigh(self, entry: Entry, found: Found) -> None:
        """Replace the value, and keep count of what all entries take."""
        held = self._entries.get(entry.key) is entry
        self._bytes -= entry.size if held else 0
        entry.found = found
        self._bytes += entry.size if held else 0

    def _drop(self, entry: Entry) -> None:
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]
            self._bytes -= entry.size
            for name in entry.names:
                if self._keys.get(name) == entry.key:
                    del self._keys[name]
            entry.names.clear()
            entry.fresh_ms = 0
            entry.revision += 1

    def _learn(self, ask: Ask, entry: Entry, found: Found) -> None:
        """The names under which `entry` may be asked for from now on."""
        self._point(ask, entry)
        if isinstance(ask, ParameterAsk) and isinstance(found, Parameter) and found.type in _PLAIN:
            self._point(ask.but(decrypt=not ask.decrypt), entry)
        if isinstance(ask, (SecretAsk, ParameterAsk)) and isinstance(found, (Secret, Parameter)):
            parts = ask.id.split(":", 5)
            if len(parts) > 5 and all(self._home) and (parts[3], parts[4]) == self._home and ask.role is None:
                self._point(ask.but(id=found.name), entry)

    def _point(self, name: Ask, entry: Entry) -> None:
        if name == entry.key:
            return
        old = self._entries.get(name)  # a refusal that stood under the name itself
        if old is not None:
            self._drop(old)
        self._keys[name] = entry.key
        if name not in entry.names:
            entry.names.append(name)
            if len(entry.names) > _MOST_NAMES:
                self._keys.pop(entry.names.pop(0), None)

    def _keep_previous(self, entry: Entry, found: Found, now: int) -> None:
        """After a rotation the former value stays for a while under its own version.

        As AWSPREVIOUS it only stands in for an error: whether it still is that version, only AWS can tell.
        """
        old, ask, for_ms = entry.found, entry.key, self._policy.previous_ms
        if not (isinstance(ask, SecretAsk) and isinstance(old, Secret) and isinstance(found, Secret)) or not (
            ask.is_current and for_ms and old.version_id != found.version_id
        ):
            return
        former = old.but(stages=("AWSPREVIOUS",))
        for version, stage, fresh_ms in ((old.version_id, "", now + for_ms), ("", "AWSPREVIOUS", now)):
            key = SecretAsk(ask.id, version, stage, ask.role)
            if key not in self._entries:
                kept = Entry(key, key)
                kept.found = former
                kept.revision = 1
                kept.fetched_ms = now
                kept.fresh_ms = kept.ahead_ms = fresh_ms
                kept.stale_ms = now + for_ms
                self._put(kept)


def _key(ask: Ask, found: Found) -> Ask:
    """Under what an answer stands: its ARN, where it has one."""
    if isinstance(ask, SecretAsk) and isinstance(found, Secret):
        return ask.but(id=found.arn)
    if isinstance(ask, ParameterAsk) and isinstance(found, Parameter) and found.arn:
        return ask.but(id=found.arn)
    return ask
