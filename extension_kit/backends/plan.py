"""What `extension-kit run` is asked to do, and what came of it; the same for every backend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """One run. ``timeout`` in seconds, ``gap_ms`` between invokes, ``events`` the payloads that invokes take in turn.

    ``request_ids``: of the first invokes; without them, random ones. Only the emulator can be told.
    """

    function: Path | None = None
    handler: str = ""
    bootstrap: Path | None = None
    extensions: tuple[Path, ...] = ()
    plugins: tuple[str, ...] = ()
    layers: tuple[Path, ...] = ()
    events: tuple[bytes, ...] = (b"{}",)
    invokes: int = 1
    gap_ms: int = 0
    timeout: float = 3.0
    memory_mb: int = 128
    init_type: str = "on-demand"
    freeze: bool = True
    namespaces: bool = True
    variables: dict[str, str] = field(default_factory=dict)
    invoke_port: int = 0
    faults: tuple[str, ...] = ()
    seed: int = 0
    request_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Invoked:
    """One finished invoke: ``latency_ms`` is what its caller waited."""

    request_id: str
    latency_ms: float
    payload: bytes
    function_error: str
    error_type: str


@dataclass(frozen=True)
class Outcome:
    """``healthy``: no extension, limit or platform failure; a handler's own exception does not count."""

    healthy: bool
    invoked: tuple[Invoked, ...]
    events: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]
    record: str
