"""What the faults of one direction of a connection make of its bytes: when each piece is due, and where it all ends.

No clocks and no sockets: a `Toxics` is told the time. Meanings are Toxiproxy's (its README, "Toxics").
"""

from __future__ import annotations

from extensions.chaos_injector.dice import fraction

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extensions.chaos_injector.plan import Fault

__all__ = ["Toxics"]

_PIECE_S = 0.05  # a bandwidth is kept in steps of so much time


class Toxics:
    """``direction``: ``upstream`` (towards the server) or ``downstream``.

    ``holds``: nothing passes (`egress_timeout`); ``close_after_ms``: and the connection ends after so much, 0: never.
    ``close_later_s``: by how much the end of a stream is told later. ``slices``: pieces are sent one by one.
    """

    def __init__(self, direction: str) -> None:
        self._direction = direction
        self._faults: tuple[Fault, ...] = ()
        self._free_at = 0.0
        self._passed: dict[str, int] = {}
        self._drawn = 0
        self.holds = False
        self.close_after_ms = 0
        self.close_later_s = 0.0
        self.slices = False

    def set(self, faults: tuple[Fault, ...]) -> None:
        """The faults that are on from now on, for this host."""
        mine = [fault for fault in faults if fault.params.get("stream", self._direction) == self._direction]
        self._faults = tuple(fault for fault in mine if fault.type != "egress_reset")
        self._passed = {fault.id: self._passed.get(fault.id, 0) for fault in self._faults}
        timeouts: list[Any] = [fault.params["timeout"] for fault in self._faults if fault.type == "egress_timeout"]
        closes: list[Any] = [fault.params["delay"] for fault in self._faults if fault.type == "egress_slow_close"]
        self.holds = bool(timeouts)
        self.close_after_ms = min((one for one in timeouts if one), default=0)
        self.close_later_s = sum(closes) / 1000
        self.slices = any(fault.type == "egress_slicer" for fault in self._faults)

    @property
    def is_idle(self) -> bool:
        """Whether bytes pass as they come."""
        return not self._faults

    def shape(self, data: bytes, now: float) -> tuple[list[tuple[float, bytes]], bool]:
        """Pieces of `data`, each with the time (s) at which it is due, in order; and whether nothing may follow them."""
        if not self._faults:
            self._free_at = now
            return [(now, data)], False
        if self.holds:
            return [], False
        ends = False
        pieces = [(0.0, data)]  # seconds after the piece before it
        due = now
        for fault in self._faults:
            params: Any = fault.params
            if fault.type == "egress_limit":
                left = params["bytes"] - self._passed[fault.id]
                ends = ends or len(data) >= left
                pieces = _limited(pieces, left)
                self._passed[fault.id] += len(data)
            elif fault.type == "egress_latency":
                due += max(0.0, params["latency"] + (2 * self._unit(fault) - 1) * params["jitter"]) / 1000
            elif fault.type == "egress_slicer":
                pieces = [one for _wait, piece in pieces for one in self._sliced(fault, piece)]
            elif fault.type == "egress_bandwidth":
                pieces = [one for wait, piece in pieces for one in _slowed(piece, params["rate"] * 1024, wait)]
        found = []
        at = self._no_earlier(due)
        for wait, piece in pieces:
            at += wait
            found.append((at, piece))
        self._free_at = at
        return found, ends

    def _no_earlier(self, due: float) -> float:
        self._free_at = max(self._free_at, due)
        return self._free_at

    def _unit(self, fault: Fault) -> float:
        self._drawn += 1
        return fraction(fault.id, self._direction, str(self._drawn), "egress")

    def _sliced(self, fault: Fault, data: bytes) -> list[tuple[float, bytes]]:
        params: Any = fault.params
        found: list[tuple[float, bytes]] = []
        at = 0
        while at < len(data):
            size = params["average_size"] + round((2 * self._unit(fault) - 1) * params["size_variation"])
            found.append((params["delay"] / 1_000_000 if found else 0.0, data[at : at + max(1, size)]))
            at += max(1, size)
        return found


def _limited(pieces: list[tuple[float, bytes]], left: int) -> list[tuple[float, bytes]]:
    found = []
    for wait, piece in pieces:
        if left > 0:
            found.append((wait, piece[:left]))
        left -= len(piece)
    return found


def _slowed(data: bytes, rate: int, wait: float) -> list[tuple[float, bytes]]:
    """In steps, each after the time that it takes; a rate of 0 is a minute for whatever it is."""
    if rate <= 0:
        return [(wait + 60.0, data)]
    size = max(1, int(rate * _PIECE_S))
    found = []
    for at in range(0, len(data), size):
        piece = data[at : at + size]
        found.append((wait + len(piece) / rate, piece))
        wait = 0.0
    return found
