"""What a check finds: where, what is wrong, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

ERROR = "error"
WARNING = "warning"
NOTE = "note"

#: subjects, in the order in which they are told
GROUPS = ("settings", "variables", "plugin", "manifest", "layer", "iam", "sizes", "environment")


@dataclass(frozen=True)
class Finding:
    """One line about ``about``. Levels: an error breaks something on Lambda, a warning makes an extension do other than was
    meant, a note is worth knowing and changes no exit status.
    """

    group: str
    level: str
    about: str
    finding: str
    fix: str

    def as_json(self) -> dict[str, str]:
        """In names that stay."""
        return asdict(self)
