"""Decisions that can be repeated: seed, request and fault, hashed, give the same roll in every process and environment.

Random numbers would differ from run to run, and be equal in environments that were restored from one snapshot.
"""

from __future__ import annotations

__all__ = ["roll"]


def roll(seed: str, request_id: str, fault_id: str) -> float:
    """From 0.0 up to 100.0, never 100.0 itself; a fault with ``percentage`` p happens where it is below p."""
    return _digest(f"{seed}\n{request_id}\n{fault_id}") * 100.0


def fraction(seed: str, request_id: str, fault_id: str, what: str) -> float:
    """From 0.0 up to 1.0, for what else of a fault is left to chance: how long a delay is, which bytes are changed."""
    return _digest(f"{seed}\n{request_id}\n{fault_id}\n{what}")


def _digest(text: str) -> float:
    try:
        from _blake2 import blake2b
    except ImportError:
        from hashlib import blake2b
    # 53 bits: as many as a float between 0 and 1 tells apart
    return (int.from_bytes(blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big") >> 11) / (1 << 53)
