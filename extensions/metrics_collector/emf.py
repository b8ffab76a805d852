"""CloudWatch's embedded metric format: one JSON line on stdout becomes metrics (AWS docs, "EMF specification")."""

from __future__ import annotations

from _json import encode_basestring_ascii as _text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["line"]

_UNITS = {"ms": "Milliseconds", "bytes": "Bytes"}


def line(
    figures: Mapping[str, float],
    *,
    namespace: str,
    dimensions: Mapping[str, str],
    properties: Mapping[str, str],
    at_ms: int,
) -> bytes:
    """One line with `figures` as metrics. ``at_ms``: epoch milliseconds; ``properties`` are not metrics, e.g. a request id.

    Written by hand: importing `json` takes several milliseconds of CPU, and the first line falls due at an INVOKE.
    """
    metrics = ",".join(f'{{"Name":"{_name(name)}","Unit":"{_UNITS[name.rpartition("_")[2]]}"}}' for name in figures)
    members = [f"{_text(name)}:{_text(value)}" for name, value in (*dimensions.items(), *properties.items())]
    members += [f'"{_name(name)}":{value!r}' for name, value in figures.items()]
    return (
        f'{{"_aws":{{"Timestamp":{at_ms},"CloudWatchMetrics":[{{"Namespace":{_text(namespace)},'
        f'"Dimensions":[[{",".join(map(_text, dimensions))}]],"Metrics":[{metrics}]}}]}},{",".join(members)}}}\n'
    ).encode()


def _name(figure: str) -> str:
    """``cpu_user_ms`` as CloudWatch users know it: ``CpuUser``; the unit is told apart."""
    return "".join(part.capitalize() for part in figure.split("_")[:-1])
