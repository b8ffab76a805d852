"""The one exception tree of the kit.

``ExtensionKitError`` is never raised itself: catch it to catch everything of ours, raise one of its children to say whose
fault a failure is. The split between *local* and *remote* protocol errors follows h11: it tells a reader at once whether
to look into this process or at the other end of the wire.
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DeadlineExceeded",
    "ExtensionKitError",
    "LocalProtocolError",
    "PluginError",
    "RemoteProtocolError",
]


class ExtensionKitError(Exception):
    """Base of all errors of the kit; abstract."""

    def __init__(self, *args: object) -> None:
        if type(self) is ExtensionKitError:
            raise TypeError("ExtensionKitError is abstract: raise one of its subclasses")
        super().__init__(*args)


class LocalProtocolError(ExtensionKitError):
    """This process (the kit or a plug-in) was about to break a rule of an API; nothing was sent."""


class RemoteProtocolError(ExtensionKitError):
    """The other end answered something that its API does not allow.

    ``status_hint`` is the HTTP status (int) a server should answer before it closes the connection.
    """

    def __init__(self, message: str, status_hint: int = 400) -> None:
        super().__init__(message)
        self.status_hint = status_hint


class ConfigError(ExtensionKitError):
    """A setting, an option or a plug-in class is wrong; the text names the fix."""


class PluginError(ExtensionKitError):
    """A hook of a plug-in raised or overran its time budget."""


class DeadlineExceeded(ExtensionKitError):
    """Work was not done by the time that the platform or a budget allows."""
