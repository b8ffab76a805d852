"""``Value``: the base of everything that is passed around here and never changes.

The standard library's ``dataclasses`` would serve, but importing it takes longer than all that an extension does before
``register`` (it pulls in ``inspect``, ``re`` and ``enum``), so this module does by hand the little that is needed: slots,
no assignment after construction, equality and a repr by fields.
"""

from __future__ import annotations

__all__ = ["Value", "set_field"]

#: How a subclass's ``__init__`` stores a field; assignment anywhere else raises AttributeError.
set_field = object.__setattr__


class Value:
    """Frozen, slotted, compared field by field. A subclass lists its fields in ``__slots__`` and sets them with `set_field`."""

    __slots__: tuple[str, ...] = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name!r} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name!r} cannot be deleted")

    def _fields(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__slots__)

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self._fields() == other._fields()

    def __hash__(self) -> int:
        return hash((type(self), self._fields()))

    def __repr__(self) -> str:
        inside = ", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__)
        return f"{type(self).__name__}({inside})"
