"""THE table of fault types: what may be injected, when, and with which parameters.

The README's table, the checks of a document (`plan`), the command ``plan`` and the faults themselves read it; nothing else
lists fault types. A parameter that is left out has its default; one without a default must be given.

Sources: Toxiproxy's README, "Toxics" (names and attributes of the egress faults); AWS docs, Fault Injection Service, actions
reference, ``aws:lambda:*``; failure-lambda's README (``mode = failure_lambda``).
"""

from __future__ import annotations

from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["PHASES", "TYPES", "Kind", "Param", "markdown", "params_markdown"]

#: when a fault acts, in this order
PHASES = ("init", "before", "after", "resource", "egress", "process", "telemetry")

_HOUR_MS = 3_600_000
_DEADLINE_MS = 900_000  # a function's longest timeout
_MOST_MB = 10_240  # of memory and of /tmp
_MOST_TEXT = 7_340_032  # characters: above the 6 MB that a response may have


class Param(Value):
    """One parameter of a fault type.

    ``kind``: ``integer``, ``number``, ``text``, ``flag``, ``choice``, ``hosts`` (list of patterns), ``paths`` (list of dotted
    paths) or ``values`` (dotted path: any JSON). ``default``: None where it must be given. ``minimum``, ``maximum``: of a
    number (both allowed), or of the length of a text or list. ``unit``: of a number.
    """

    __slots__ = ("choices", "default", "help", "kind", "maximum", "minimum", "name", "unit")

    name: str
    kind: str
    default: object
    minimum: float
    maximum: float
    unit: str
    choices: tuple[str, ...]
    help: str

    def __init__(
        self,
        name: str,
        kind: str,
        default: object,
        help: str,
        *,
        minimum: float = 0,
        maximum: float = 0,
        unit: str = "",
        choices: tuple[str, ...] = (),
    ) -> None:
        set_field(self, "name", name)
        set_field(self, "kind", kind)
        set_field(self, "default", default)
        set_field(self, "minimum", minimum)
        set_field(self, "maximum", maximum)
        set_field(self, "unit", unit)
        set_field(self, "choices", choices)
        set_field(self, "help", help)

    @property
    def allowed(self) -> str:
        """In words."""
        if self.kind in ("integer", "number"):
            what = "a whole number" if self.kind == "integer" else "a number"
            return f"{what} from {_shown(self.minimum)} to {_shown(self.maximum)}" + (
                f" ({self.unit})" if self.unit else ""
            )
        if self.kind == "choice":
            return f"one of {', '.join(self.choices)}"
        if self.kind == "flag":
            return "true or false"
        if self.kind == "text":
            return f"text of {_shown(self.minimum)} to {_shown(self.maximum)} characters"
        if self.kind == "hosts":
            return "a list of 1 to 100 host names, where * stands for anything, or re: and a regular expression"
        if self.kind == "paths":
            return f"a list of {_shown(self.minimum)} to {_shown(self.maximum)} dotted paths into the event"
        return "an object of up to 100 dotted paths into the event and what to set there"


class Kind(Value):
    """A fault type. ``wrong``: what is wrong with complete parameters that are right one by one; "" for nothing."""

    __slots__ = ("help", "params", "phase", "type", "wrong")

    type: str
    phase: str
    params: Mapping[str, Param]
    help: str
    wrong: Callable[[Mapping[str, object]], str]

    def __init__(
        self,
        type: str,
        phase: str,
        help: str,
        params: tuple[Param, ...] = (),
        wrong: Callable[[Mapping[str, object]], str] = lambda _params: "",
    ) -> None:
        set_field(self, "type", type)
        set_field(self, "phase", phase)
        set_field(self, "help", help)
        set_field(self, "params", {param.name: param for param in params})
        set_field(self, "wrong", wrong)


def _integer(
    name: str, default: int | None, minimum: int, maximum: int, help: str, unit: str = "", kind: str = "integer"
) -> Param:
    return Param(name, kind, default, help, minimum=minimum, maximum=maximum, unit=unit)


def _ms(name: str, default: int | None, help: str, minimum: int = 0, maximum: int = _DEADLINE_MS) -> Param:
    return _integer(name, default, minimum, maximum, help, "ms")


def _number(name: str, default: float | None, minimum: float, maximum: float, help: str, unit: str = "") -> Param:
    return Param(name, "number", default, help, minimum=minimum, maximum=maximum, unit=unit)


def _text(name: str, default: str | None, help: str, maximum: int = 1_024, minimum: int = 0) -> Param:
    return Param(name, "text", default, help, minimum=minimum, maximum=maximum)


def _choice(name: str, default: str | None, choices: tuple[str, ...], help: str) -> Param:
    return Param(name, "choice", default, help, choices=choices)


def _delay_is_wrong(params: Mapping[str, object]) -> str:
    if params["distribution"] == "uniform" and _as_number(params["max_ms"]) < _as_number(params["min_ms"]):
        return "max_ms is below min_ms: exchange them"
    return ""


def _room_is_wrong(params: Mapping[str, object]) -> str:
    if params["mb"] and params["leave_mb"]:
        return "mb and leave_mb are both given: say how much to take or how much to leave, and set the other to 0"
    if not params["mb"] and not params["leave_mb"] and not params.get("oom"):
        return "neither mb nor leave_mb is given: say how much to take, or how much to leave"
    return ""


def _mutation_is_wrong(params: Mapping[str, object]) -> str:
    return "" if params["set"] or params["remove"] else "neither set nor remove is given: say what to change"


def _inodes_are_wrong(params: Mapping[str, object]) -> str:
    if params["count"] and params["leave"]:
        return "count and leave are both given: say how many to take or how many to leave, and set the other to 0"
    return "" if params["count"] or params["leave"] else "neither count nor leave is given: say how many files to make"


def _as_number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0


_ERROR = (
    _text("error_type", "Chaos.InjectedError", "`errorType`, also in the header.", 256, 1),
    _text("message", "injected by chaos-injector", "`errorMessage`.", 4_096),
)
_HOSTS = Param("hosts", "hosts", ("*",), "Whom it concerns; `*.example.com`, `re:^s3[.]`.")
_STREAM = _choice(
    "stream", "downstream", ("upstream", "downstream"), "Towards the server or, as Toxiproxy has it, from it."
)

_DISTRIBUTIONS = ("fixed", "uniform", "normal", "pareto")

TYPES: Mapping[str, Kind] = {
    kind.type: kind
    for kind in (
        # the runtime's init
        Kind("slow_init", "init", "The runtime's first request for an event is held back.", (_ms("ms", None, "How long."),)),
        Kind("fail_init", "init", "The runtime's init ends in an error, as if its code could not be loaded.", _ERROR),
        # before the handler
        Kind(
            "delay", "before", "The event reaches the runtime later; never beyond `limits.max_fraction_of_deadline`.",
            (
                _choice("distribution", "fixed", _DISTRIBUTIONS, "How delays are spread."),
                _ms("ms", 1_000, "`fixed`: each one."),
                _ms("min_ms", 0, "`uniform`: from."),
                _ms("max_ms", 1_000, "`uniform`: to."),
                _ms("mean_ms", 1_000, "`normal`: in the middle."),
                _ms("deviation_ms", 250, "`normal`: its standard deviation."),
                _ms("scale_ms", 100, "`pareto`: the least; most are little longer.", 1),
                _number("shape", 1.5, 0.1, 100.0, "`pareto`: the smaller, the heavier the tail."),
            ),
            _delay_is_wrong,
        ),
        Kind(
            "timeout", "before", "The event is held back until its deadline; then all goes on, if Lambda still lets it.",
            (_ms("buffer_ms", 0, "So long before the deadline."),),
        ),
        Kind("error", "before", "The function fails; its code never sees the event.", _ERROR),
        Kind(
            "http_response", "before", "A response in the form of API Gateway; the code never sees the event.",
            (
                _integer("status_code", 500, 0, 999, "`statusCode`. API Gateway makes 502 of what is no HTTP status."),
                _text("body", '{"message":"injected by chaos-injector"}', "`body`.", _MOST_TEXT),
                _text("content_type", "application/json", "Its `Content-Type`.", 256),
            ),
        ),
        Kind(
            "mutate_event", "before", "The event is changed on its way to the code.",
            (
                Param("set", "values", {}, "Path: new value.", maximum=100),
                Param("remove", "paths", (), "Paths.", maximum=100),
            ),
            _mutation_is_wrong,
        ),
        Kind("duplicate", "before", "The code gets the same event twice; only what it answers last counts."),
        Kind(
            "deadline_lie", "before", "The runtime is told another deadline than the true one.",
            (_integer("offset_ms", None, -_DEADLINE_MS, _HOUR_MS, "Added to the deadline.", "ms"),),
        ),
        # after the handler
        Kind("error_after", "after", "The code has run, its answer is thrown away, and the function fails.", _ERROR),
        Kind(
            "status_code", "after", "`statusCode` of a response in the form of API Gateway is changed.",
            (_integer("status_code", 500, 0, 999, "The new one."),),
        ),
        Kind(
            "body", "after", "The response is changed.",
            (
                _choice(
                    "mode", "replace", ("replace", "truncate", "corrupt", "oversize", "failure_lambda"),
                    "All of it by `body`; only its beginning; bytes are changed; more than 6 MB; as failure-lambda's"
                    " `corruption`: its `body` field is replaced by `body`, or mangled where that is empty.",
                ),
                _text("body", "", "The new one.", _MOST_TEXT),
                _number("keep_percent", 50.0, 0.0, 100.0, "`truncate`: how much is left.", "%"),
            ),
        ),
        Kind(
            "slow_stream", "after", "The response is sent slowly, chunk by chunk.",
            (
                _ms("first_byte_ms", 0, "Before the first chunk."),
                _ms("chunk_ms", 0, "Before each chunk."),
                _integer("rate_kb", 0, 0, 1_048_576, "The most of it; 0: as fast as it comes.", "KB/s"),
            ),
            lambda params: "" if any(params.values()) else "nothing is slowed: give first_byte_ms, chunk_ms or rate_kb",
        ),
        Kind(
            "cut_stream", "after", "The connection ends in the middle of the response.",
            (_integer("after_bytes", 0, 0, 209_715_200, "After so much of it.", "bytes"),),
        ),
        # resources, from the event to the end of its invocation
        Kind(
            "cpu", "resource", "Processes that do nothing but take CPU.",
            (
                _integer("workers", 1, 1, 16, "How many."),
                _integer("duty_percent", 100, 1, 100, "How much of the time each works.", "%"),
            ),
        ),
        Kind(
            "memory", "resource", "Memory is taken; never more than leaves `limits.min_free_memory_mb`, but with `oom`.",
            (
                _integer("mb", 0, 0, _MOST_MB, "So much.", "MB"),
                _integer("leave_mb", 0, 0, _MOST_MB, "All but so much.", "MB"),
                Param("oom", "flag", False, "Into the limit: the environment is killed and starts anew."),
            ),
            _room_is_wrong,
        ),
        Kind(
            "tmp", "resource", "/tmp is filled; never more than leaves `limits.min_free_tmp_mb`.",
            (
                _integer("mb", 0, 0, _MOST_MB, "So much.", "MB"),
                _integer("leave_mb", 0, 0, _MOST_MB, "All but so much.", "MB"),
            ),
            _room_is_wrong,
        ),
        Kind(
            "inodes", "resource", "/tmp gets many empty files.",
            (
                _integer("count", 0, 0, 1_000_000, "So many."),
                _integer("leave", 0, 0, 1_000_000, "All but so many that the file system has left."),
            ),
            _inodes_are_wrong,
        ),
        Kind(
            "descriptors", "resource", "The runtime may open fewer files and sockets.",
            (_integer("limit", None, 0, 1_048_576, "Its soft limit of open descriptors."),),
        ),
        # what the function's code connects to, where it honours HTTP(S)_PROXY
        Kind(
            "egress_latency", "egress", "Toxiproxy's `latency`.",
            (
                _HOSTS, _STREAM, _ms("latency", None, "Added to everything."),
                _ms("jitter", 0, "More or less than that, by up to so much."),
            ),
        ),
        Kind(
            "egress_bandwidth", "egress", "Toxiproxy's `bandwidth`.",
            (_HOSTS, _STREAM, _integer("rate", None, 0, 10_485_760, "The most that passes.", "KB/s")),
        ),
        Kind(
            "egress_slow_close", "egress", "Toxiproxy's `slow_close`: the end of a connection is told later.",
            (_HOSTS, _STREAM, _ms("delay", None, "How much later.")),
        ),
        Kind(
            "egress_timeout", "egress", "Toxiproxy's `timeout`: nothing passes, then the connection is closed.",
            (_HOSTS, _STREAM, _ms("timeout", 0, "After so long; 0: never.")),
        ),
        Kind(
            "egress_reset", "egress", "Toxiproxy's `reset_peer`: the connection is reset.",
            (_HOSTS, _STREAM, _ms("timeout", 0, "After so long; 0: at once.")),
        ),
        Kind(
            "egress_slicer", "egress", "Toxiproxy's `slicer`: data go in small pieces.",
            (
                _HOSTS, _STREAM, _integer("average_size", None, 1, 1_048_576, "Of a piece.", "bytes"),
                _integer("size_variation", 0, 0, 1_048_576, "More or less than that; below `average_size`.", "bytes"),
                _integer("delay", 0, 0, 10_000_000, "Between pieces.", "us"),
            ),
            lambda params: (
                "" if _as_number(params["size_variation"]) < _as_number(params["average_size"])
                else "size_variation is not below average_size: a piece would be empty"
            ),
        ),
        Kind(
            "egress_limit", "egress", "Toxiproxy's `limit_data`: the connection is closed after so much.",
            (_HOSTS, _STREAM, _integer("bytes", None, 0, 1_073_741_824, "So much.", "bytes")),
        ),
        Kind("egress_refuse", "egress", "Toxiproxy's `down`: connections are refused.", (_HOSTS,)),
        Kind("egress_dns", "egress", "The name does not resolve (502 of the proxy that the client was told of).", (_HOSTS,)),
        # processes
        Kind(
            "kill", "process", "The runtime's process gets a signal.",
            (
                _choice("signal", "KILL", ("KILL", "TERM", "INT", "ABRT", "SEGV", "STOP"), "Which."),
                _ms("after_ms", 0, "So long after the event has reached it."),
            ),
        ),
        # our own sinks
        Kind(
            "sink", "telemetry", "What our own extensions send is dropped, comes later, or is refused.",
            (
                _choice("action", None, ("drop", "delay", "status"), "Which."),
                _integer("status", 503, 400, 599, "`status`: of HTTP."),
                _ms("delay_ms", 1_000, "`delay`: how long."),
                _integer("retry_after_s", 0, 0, 3_600, "`status`: its `Retry-After`; 0: none.", "s"),
            ),
        ),
    )
}  # fmt: skip


def markdown() -> str:
    """The README's table of fault types, a newline at its end."""
    lines = ["| phase | type | parameters | what happens |", "|---|---|---|---|"]
    for phase in PHASES:
        for kind in TYPES.values():
            if kind.phase == phase:
                names = ", ".join(f"`{name}`" for name in kind.params) or "-"
                lines.append(f"| {phase} | `{kind.type}` | {names} | {kind.help} |")
    return "\n".join(lines) + "\n"


def params_markdown() -> str:
    """The README's table of parameters, a newline at its end. Egress faults share `hosts` and `stream`, told once."""
    lines = ["| type | parameter | default | allowed | meaning |", "|---|---|---|---|---|"]
    told: set[str] = set()
    for kind in TYPES.values():
        for param in kind.params.values():
            shared = param is _HOSTS or param is _STREAM
            if shared and param.name in told:
                continue
            told.add(param.name if shared else "")
            of = "egress_*" if shared else kind.type
            default = "must be given" if param.default is None else f"`{_written(param.default)}`"
            lines.append(f"| `{of}` | `{param.name}` | {default} | {param.allowed} | {param.help} |")
    return "\n".join(lines) + "\n"


def _written(value: object) -> str:
    from extension_kit.protocol.jsontext import dumps

    return dumps(value).decode()


def _shown(number: float) -> str:
    return str(int(number)) if number == int(number) else str(number)
