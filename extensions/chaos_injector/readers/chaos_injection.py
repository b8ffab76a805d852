"""The format of aws-lambda-chaos-injection (Python): one fault at a time. Names and meanings: its README and source.

Latency and exception come before the handler; of a response only the status code is changed, after it.
"""

from __future__ import annotations

from extensions.chaos_injector.checking import MUST, Table
from extensions.chaos_injector.plan import Fault
from extensions.chaos_injector.readers.foreign import complete, experiment
from extensions.chaos_injector.vocabulary import TYPES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from extensions.chaos_injector.plan import Experiment
    from extensions.chaos_injector.readers import Reading

__all__ = ["read"]

_NAME = "aws-lambda-chaos-injection"


def read(fields: dict[str, Any], reading: Reading) -> Experiment | None:
    """The experiment; None where ``is_enabled`` is false or missing."""
    table = Table(fields, "", reading.mistakes)
    enabled = table.flag("is_enabled", False)
    kind = table.choice("fault_type", MUST, ("latency", "exception", "status_code"))
    rate = table.number("rate", 1.0, 0.0, 1.0)
    delay = table.number("delay", 0.0, 0.0, 900_000.0, "ms")
    code = table.integer("error_code", 500, 0, 999)
    message = table.text("exception_msg", "This is chaos", most=4_096)
    table.close()
    reading.mistakes.raise_if_any()
    if not enabled:
        return None
    type, params = {
        "latency": ("delay", {"ms": int(delay)}),
        "exception": ("error", {"error_type": "Exception", "message": message}),
        "status_code": ("status_code", {"status_code": code}),
    }[kind]
    fault = Fault(kind, type, TYPES[type].phase, rate * 100, (), complete(type, **params))
    return experiment(_NAME, (fault,), reading)
