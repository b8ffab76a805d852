"""What the platform answers when it refuses a request: the error table of the Extensions and Runtime APIs, as values.

Statuses, types and texts are those of AWS's Runtime Interface Emulator (measured); where the AWS documentation says
otherwise (400 for a register body that cannot be parsed), the emulator's answer is kept, since it is what the service's own
code does.
"""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

__all__ = ["Refusal"]


class Refusal(Value):
    """One refusal: ``status`` (HTTP), ``error_type``, ``message``."""

    __slots__ = ("error_type", "message", "status")

    status: int
    error_type: str
    message: str

    def __init__(self, status: int, error_type: str, message: str) -> None:
        set_field(self, "status", status)
        set_field(self, "error_type", error_type)
        set_field(self, "message", message)


# Extensions API ---------------------------------------------------------------------------------------------------------

EMPTY_NAME = Refusal(403, "Extension.InvalidExtensionName", "Empty extension name")
REGISTRATION_CLOSED = Refusal(403, "Extension.RegistrationClosed", "Extension registration closed already")
TOO_MANY_EXTENSIONS = Refusal(403, "Extension.TooManyExtensions", "Extension limit (10) reached")
NAME_TAKEN = Refusal(403, "Extension.InvalidExtensionState", "Extension with this name already registered")
MISSING_IDENTIFIER = Refusal(403, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
INVALID_IDENTIFIER = Refusal(403, "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
MISSING_ERROR_TYPE = Refusal(403, "Extension.MissingHeader", "Lambda-Extension-Function-Error-Type not found")
SUBSCRIPTION_CLOSED = Refusal(403, "Telemetry.SubscriptionClosed", "Telemetry API subscription is closed already")
SUBSCRIBED_ALREADY = Refusal(500, "InternalServerError", "Internal Server Error")
CONTAINER_ERROR = Refusal(500, "InternalServerError", "Container error: the execution environment is going away")


def invalid_format(why: str) -> Refusal:
    """A register body that is no JSON object with a list of events."""
    return Refusal(403, "InvalidRequestFormat", why)


def invalid_event(event: str, why: str = "ErrorInvalidEventType") -> Refusal:
    """An event that this kind of extension cannot subscribe to."""
    return Refusal(403, "Extension.InvalidEventType", f"{event}: {why}")


def unknown_identifier(identifier: str) -> Refusal:
    """A well-formed identifier that belongs to no extension here, e.g. one kept across a reset."""
    return Refusal(403, "Extension.UnknownExtensionIdentifier", f"Unknown extension {identifier}")


def invalid_state(who: str, state: str, wanted: str) -> Refusal:
    """A step that the lifecycle table does not list. `who`: the identifier; at registration, the name."""
    return Refusal(
        403,
        "Extension.InvalidExtensionState",
        f"State transition from {state} to {wanted} failed for extension {who}. Error: State transition is not allowed",
    )


def invalid_subscription(why: str) -> Refusal:
    """A telemetry subscription whose body breaks a rule."""
    return Refusal(400, "ValidationError", why)


# Runtime API ------------------------------------------------------------------------------------------------------------

INVALID_REQUEST_ID = Refusal(400, "InvalidRequestID", "Invalid request ID")
INVALID_RESPONSE_MODE = Refusal(400, "InvalidFunctionResponseMode", "Invalid Lambda-Runtime-Function-Response-Mode")


def invalid_transition(state: str, wanted: str) -> Refusal:
    """A request of the runtime at the wrong time."""
    return Refusal(
        403,
        "InvalidStateTransition",
        f"State transition from Runtime{state}State to {wanted} failed for runtime. "
        "Error: State transition is not allowed",
    )


def too_large(size: int, limit: int) -> Refusal:
    """A response body above the limit (bytes)."""
    return Refusal(
        413,
        "RequestEntityTooLarge",
        f"Exceeded maximum allowed payload size ({limit} bytes): the response has {size}.",
    )
