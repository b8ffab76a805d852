"""Internal extensions: the register/next loop inside a runtime's process (AWS docs, Extensions API, "internal extensions").

An internal extension may subscribe to INVOKE only and must register before the runtime first asks for work, that is while
the function's module is being imported. Having one is also what makes Lambda send the runtime SIGTERM at shutdown.
"""

from __future__ import annotations

import _thread

from extension_kit.errors import ExtensionKitError, LocalProtocolError
from extension_kit.io import environ
from extension_kit.io.client import ExtensionsClient

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.events import Invoke, Registration

__all__ = ["register_internal"]


def register_internal(
    name: str, on_invoke: Callable[[Invoke], object] | None = None, events: tuple[str, ...] = ("INVOKE",)
) -> Registration:
    """Register an internal extension and serve its events on a thread of its own; returns at once.

    ``on_invoke`` is called with each `Invoke`; what it raises is reported on stderr and never reaches the function.
    LocalProtocolError for events other than INVOKE and outside an execution environment; RemoteProtocolError where the
    platform refuses (too late, the name is taken, 10 extensions exist).
    """
    if set(events) - {"INVOKE"}:
        raise LocalProtocolError(f"an internal extension may subscribe to INVOKE only, not to {events}")
    address = environ.get("AWS_LAMBDA_RUNTIME_API")
    if not address:
        raise LocalProtocolError("AWS_LAMBDA_RUNTIME_API is not set: this is not a Lambda environment")
    client = ExtensionsClient(address)
    registration = client.register(name, events, internal=True)
    _thread.start_new_thread(_serve, (client, name, on_invoke))
    return registration


def _serve(client: ExtensionsClient, name: str, on_invoke: Callable[[Invoke], object] | None) -> None:
    from extension_kit.events import Invoke
    from extension_kit.host import describe
    from extension_kit.runner import _say

    while True:
        try:
            event = client.next()
        except ExtensionKitError as error:
            _say(name, f"{error}: this internal extension ends, the function goes on")
            return
        if isinstance(event, Invoke) and on_invoke is not None:
            try:
                on_invoke(event)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not the function's
                _say(name, f"on_invoke raised {''.join(describe(error))}")
