"""The exporters that the settings name, each with its own library: only what is configured is imported."""

from __future__ import annotations

import os

from extension_kit.delivery import AGAIN, DELIVERED, REFUSED, Verdict, retry_after_ms
from extensions.metrics_collector.collecting import MOST_POINTS
from extensions.metrics_collector.exporters.datadog import static_tags
from extensions.metrics_collector.exporters.outlet import Outlet
from extensions.metrics_collector.measures import BY_FIGURE, DATADOG, INSIGHTS
from extensions.metrics_collector.statsd import MOST_VALUES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from extension_kit.plugin import Context
    from extensions.metrics_collector.exporters.forward import Forward
    from extensions.metrics_collector.intake import Request, Requests

__all__ = ["make_forward", "make_outlets", "resource_of"]

#: of OTLP, and no other: specification, "Retryable Response Codes"; beside them what the operator can mend
_AGAIN = frozenset((429, 502, 503, 504, 401, 403, 404, 407))


def make_outlets(context: Context) -> list[Outlet]:
    """One for each destination; one that cannot work is left out, with a line that says why."""
    makers: dict[str, Callable[[Context], Outlet]] = {"emf": _emf, "otlp": _otlp}
    outlets = []
    for name in context.settings.export:
        try:
            outlets.append(makers[name](context))
        except ImportError as error:
            context.log.error(
                f"{name}: {error.name} is not installed here (our layer brings it); nothing is exported there"
            )
        except ValueError as error:
            context.log.error(f"{name}: {error}; nothing is exported there")
    return outlets


def resource_of(context: Context) -> dict[str, str | int]:
    """Source: semantic conventions, FaaS and cloud resources. What an extension cannot know is left out, never guessed."""
    registration = context.registration
    function = registration.function_name if registration else ""
    return {
        "service.name": function, "faas.name": function,
        "faas.version": registration.function_version if registration else "",
        "faas.max_memory": (context.memory_mb or 0) * 1_048_576, "cloud.provider": "aws", "cloud.platform": "aws_lambda",
        "cloud.region": context.region, "cloud.account.id": registration.account_id if registration else "",
    }  # fmt: skip


def _emf(context: Context) -> Outlet:
    from extensions.metrics_collector.exporters.emf import Emf

    settings, registration = context.settings, context.registration
    function = (registration.function_name if registration else "") or "unknown"
    version = registration.function_version if registration else ""
    promote = tuple(figure for figure in settings.promote if figure in BY_FIGURE)
    for figure in settings.promote:
        if figure not in BY_FIGURE:
            context.log.warning(
                f'METRICS_COLLECTOR_PROMOTE names "{figure}", which is no figure: use some of {", ".join(BY_FIGURE)}'
            )
    if settings.profile == INSIGHTS:
        dimensions, about = {"function_name": function}, {"version": version}
    elif settings.profile == DATADOG:
        about = static_tags(context, os.uname().machine)
        dimensions = {"functionname": about.pop("functionname", function)}
    else:
        dimensions, about = {"faas.name": function}, {"faas.version": version}
    emf = Emf(settings.namespace, settings.profile, dimensions, promote, {k: v for k, v in about.items() if v})
    post: Callable[[bytes, float], Verdict] = _to_stdout
    forget: Callable[[], object] = _nothing
    if settings.log_group:
        from extensions.metrics_collector.exporters.log_group import LogGroup

        group = LogGroup(settings.log_group, context)
        post, forget = group.post, group.forget
    return Outlet(
        "emf", emf.weighed, post, context.clock, most=MOST_POINTS, timeout_ms=settings.timeout, say=context.log.warning,
        forget=forget, encode_series=emf.sent, most_values=MOST_VALUES,
    )  # fmt: skip


def _nothing() -> None:
    """There is no connection that could be dead."""


def _to_stdout(item: bytes, _seconds: float) -> Verdict:
    """A pipe that nobody reads any more is gone for good."""
    line = item + b"\n"
    try:
        while line:
            line = line[os.write(1, line) :]
    except OSError as error:
        return Verdict(REFUSED, f"standard output: {error.strerror}", reason="standard output is gone")
    return Verdict(DELIVERED)


def _otlp(context: Context) -> Outlet:
    from extension_kit.outbound import gzipped
    from extensions.metrics_collector.exporters.otlp import Otlp

    settings = context.settings
    endpoint = _Endpoint(context)
    tags = static_tags(context, os.uname().machine) if settings.profile == DATADOG else {}
    otlp = Otlp(settings.profile, resource_of(context), tags)

    def packed(request: bytes, number: int) -> list[tuple[bytes, int]]:
        return [(gzipped(request), number)] if request else []

    return Outlet(
        "otlp", lambda points: packed(otlp.request(points), len(points)), endpoint.post, context.clock, most=MOST_POINTS,
        timeout_ms=settings.timeout, say=context.log.warning, abort=endpoint.http.abort, forget=endpoint.http.forget,
        encode_series=lambda series: packed(otlp.request((), series), len(series)),
    )  # fmt: skip


def make_forward(context: Context, requests: Requests) -> Forward:
    """For what the function sends itself, with connections of its own: neither waits for the other."""
    from extensions.metrics_collector.exporters.forward import Forward

    endpoint = _Endpoint(context)

    def post(request: Request, seconds: float) -> Verdict:
        return endpoint.post(request.body, seconds, request.headers)

    return Forward(
        requests, post, context.clock, timeout_ms=context.settings.timeout, say=context.log.warning,
        abort=endpoint.http.abort, forget=endpoint.http.forget,
    )  # fmt: skip


class _Endpoint:
    """Where OTLP goes, with the headers that the settings add. ValueError where there is none."""

    def __init__(self, context: Context) -> None:
        from extension_kit.outbound import Http, with_path

        settings = context.settings
        if not settings.endpoint.startswith(("http://", "https://")):
            raise ValueError("METRICS_COLLECTOR_ENDPOINT must be a URL that begins with https:// or http://")
        self._clock = context.clock
        self._url = with_path(settings.endpoint, "/v1/metrics")
        self._headers = {"User-Agent": "lambda-extension-kit"}
        for pair in settings.headers:
            name, _, value = pair.partition("=")
            self._headers[name.strip()] = value.strip()
        self.http = Http(context.clock, settings.prefix)

    def post(self, item: bytes, seconds: float, about: Mapping[str, str] | None = None) -> Verdict:
        """``about``: headers that say what `item` is; by default protobuf, compressed."""
        about = about or {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip"}
        answer = self.http.post(self._url, item, {**about, **self._headers}, seconds)
        if 200 <= answer.status < 300:
            number, why = _rejected(answer.body, about["Content-Type"])
            return Verdict(DELIVERED, f"{number} data points were rejected: {why}"[:300] if number else "")
        written = answer.headers.get("retry-after", "")
        if answer.status in _AGAIN:
            again_ms = retry_after_ms(written, self._clock.wall_ms()) if written else None
            return Verdict(AGAIN, f"answers {answer.status}", again_ms)
        return Verdict(REFUSED, f"answers {answer.status}", reason=f"refused with {answer.status}")


def _rejected(body: bytes, kind: str) -> tuple[int, str]:
    """How many data points of a request were not taken, and why; in JSON where that is how it was asked."""
    if kind == "application/json":
        from extension_kit.protocol.jsontext import loads

        try:
            partial = loads(body)["partialSuccess"]
            return int(partial["rejectedDataPoints"]), str(partial.get("errorMessage", ""))
        except (ValueError, TypeError, KeyError, OverflowError):
            return 0, ""
    from extensions.metrics_collector.exporters.otlp import rejected

    return rejected(body)
