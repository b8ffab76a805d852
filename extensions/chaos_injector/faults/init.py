"""Faults while the runtime initialises: its first request for an event, which ends its init, is late, or is no success.

The experiment must be known by then: from the environment or a file. What is fetched comes after it, in most starts.
"""

from __future__ import annotations

from extensions.chaos_injector.faults.before import pause

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from extension_kit.proxy import Fail
    from extensions.chaos_injector.plan import Fault

__all__ = ["ORDER", "make"]

#: the first that ends it is the last that is made
ORDER = ("slow_init", "fail_init")


def make(fault: Fault, is_on: Callable[[], bool]) -> Fail | None:
    """None: the runtime gets its first event; Fail: it is cut off, and the platform told that init has failed."""
    params = fault.params
    if fault.type == "slow_init":
        pause(float(params["ms"]), is_on)
        return None
    from extension_kit.proxy import Fail

    return Fail(str(params["error_type"]), str(params["message"]))
