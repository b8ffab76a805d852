"""The settings of the log shipper, from variables and from a file, for one sink or for several."""

from __future__ import annotations

from extension_kit.settings import (
    Settings,
    byte_size,
    choice,
    comma_list,
    duration,
    flag,
    integer,
    number,
    pattern,
    text,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["KINDS", "ShipperSettings", "read_sinks"]

KINDS = (
    "http", "otlp", "loki", "bulk", "cloudwatch", "firehose", "s3", "stdout", "file",
    "splunk", "datadog", "newrelic", "kinesis", "kafka",
)  # fmt: skip
_PREFIX = "LOG_SHIPPER_"
_NOT_ALLOWED = " is not allowed: "
_UNKNOWN_SECRETS = "nothing is sent until the setting of what is blotted out is mended; it is left out"


class ShipperSettings(Settings):
    """Variables that begin with LOG_SHIPPER_. In the file the same names in lower case, without the prefix."""

    prefix = "LOG_SHIPPER_"

    config = text("", help="A TOML file, e.g. /var/task/log-shipper.toml, for several sinks and for longer settings.")
    # where to
    sink = choice("none", ("none", *KINDS), help="Where lines are sent. Several sinks: in the file, `[[sinks]]`.")
    endpoint = text(
        "",
        secret=True,
        names="endpoint",
        help="The sink's URL; for `file` a path, for `kafka` its servers. AWS's services need none.",
    )
    api_key = text(
        "", secret=True, help="Key, token or password; or where it is: `secretsmanager:NAME#json-key`, `ssm:/name`."
    )
    headers = comma_list((), secret=True, help="Further HTTP headers, `Name=value`; `{api_key}` stands for the key.")
    target = text(
        "", help="Log group, delivery stream, stream, topic, bucket/prefix or index, whatever the sink calls it."
    )
    format = choice("ndjson", ("ndjson", "array"), help="Of `http`: a JSON object a line, or one array.")
    encoding = choice("protobuf", ("protobuf", "json"), help="Of `otlp`.")
    compress = choice("gzip", ("gzip", "none"), help="Of what is sent over HTTP.")
    labels = comma_list((), help="Of `loki`: `name=value`; by default the function's name.")
    # how
    timeout = duration(5_000, minimum_ms=50, maximum_ms=60_000, help="Of one request.")
    attempts = integer(3, minimum=1, maximum=10, help="Of a request in one flush; what fails is tried again later.")
    # The least is such that a line that was cut fits with all that stands beside it.
    batch_bytes = byte_size(
        16_777_216,
        minimum=16_384,
        maximum=16_777_216,
        help="Most bytes of a request, uncompressed; never more than the sink allows.",
    )
    batch_lines = integer(0, minimum=0, maximum=100_000, help="Most lines of a request; 0: what suits the sink.")
    ca_bundle = text("", help="A PEM file with the authorities to trust instead of the usual ones.")
    client_cert = text("", help="A PEM file with a client certificate (and its key, if `client_key` names none).")
    client_key = text("", help="A PEM file with the key of the client certificate.")
    proxy = text(
        "",
        secret=True,
        names="endpoint",
        help="URL of an HTTP proxy. HTTP_PROXY and the like are the function's and are not read.",
    )
    dead_letters = text(
        "", help="What a sink refuses for good, and what is left at the end: `file:/tmp/...` or `s3://bucket/prefix`."
    )
    flush_on_error = flag(True, help="Send at once when a line is an ERROR or the function has failed.")
    # what
    types = comma_list(
        ("function", "platform"),
        help="What is sent: `function`, `extension`, `platform` or one of its events, e.g. `platform.report`.",
    )
    min_level = choice(
        "all",
        ("all", "trace", "debug", "info", "warn", "error", "fatal"),
        help="Lines below it are not sent; those that name no level are.",
    )
    include = pattern("", help="Only lines in which it is found are sent (of the function and of extensions).")
    exclude = pattern("", help="Lines in which it is found are not sent.")
    sample = number(
        1.0, minimum=0.0, maximum=1.0, help="Share of requests whose lines are sent, each whole; errors always."
    )
    rate_limit = integer(
        0, minimum=0, maximum=1_000_000, unit="lines/s", help="Lines beyond it are dropped; 0: no limit."
    )
    multiline_start = pattern("", help="How the first line of an event looks; the lines after it are joined to it.")
    max_line = byte_size(
        262_144, minimum=1_024, maximum=1_048_576, help="A longer message is cut, and says how much is missing."
    )
    redact = comma_list(
        ("keys", "tokens", "cards"),
        choices=("keys", "tokens", "cards", "none"),
        help="What is looked for and blotted out.",
    )
    redact_keys = comma_list((), help="Further names of keys whose values are blotted out; `*` stands for anything.")
    redact_pattern = pattern(
        "",
        help="What it matches is blotted out, in texts, numbers and the JSON of a line; a wrong one: nothing is sent.",
    )
    tags = comma_list((), help="`name=value`, added to every line.")
    service = text("", maximum_length=255, help="The service's name; by default the function's.")


def read_sinks(environ: Mapping[str, str]) -> tuple[list[tuple[str, ShipperSettings]], list[str]]:
    """The sinks by name, each with its settings, and one warning line for each mistake in the file; never raises.

    Mistakes in variables are told by whoever parses `ShipperSettings`. Variables win over the file's common settings, a sink's
    own settings in the file over both. Where it cannot be read what is to be blotted out beside the usual, a sink is left out:
    what it should have kept back would leave.
    """
    own, warnings = ShipperSettings.parse(environ)
    complaints: list[str] = []
    common: dict[str, str] = {}
    tables: list[dict[str, str]] = []
    if own.config:
        common, tables, wrong = _read_file(own.config)
        complaints += wrong
    variables = {name: value for name, value in environ.items() if name.startswith(_PREFIX) and value.strip()}
    given: list[dict[str, str]] = [{}] if own.sink != "none" or (not tables and "LOG_SHIPPER_SINK" in common) else []
    sinks: list[tuple[str, ShipperSettings]] = []
    for table in [*given, *tables]:
        settings, said = ShipperSettings.parse({**common, **variables, **_without_name(table)})
        complaints += [f"{own.config}: {_in_the_file(line)}" for line in said if line not in warnings]
        if any(line.startswith("LOG_SHIPPER_REDACT_") and _NOT_ALLOWED in line for line in said):
            complaints.append(f"sink {settings.sink}: {_UNKNOWN_SECRETS}")
            continue
        if settings.sink == "none":
            complaints.append(
                f"{own.config}: a sink without a kind: write sink = one of {', '.join(KINDS)}; it is left out"
            )
            continue
        sinks.append((_unused(table.get("name") or settings.sink, [name for name, _settings in sinks]), settings))
    return sinks, list(dict.fromkeys(complaints))


def _read_file(path: str) -> tuple[dict[str, str], list[dict[str, str]], list[str]]:
    """Common settings and those of each sink, as variables; and what is wrong with the file."""
    import tomllib  # 10 ms, paid only where there is a file

    try:
        with open(path, "rb") as file:
            return _sorted(path, tomllib.load(file))
    except RecursionError:
        reason = "it is nested too deeply"
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
    return {}, [], [f"LOG_SHIPPER_CONFIG: {path} cannot be read: {reason}; only variables count"]


def _sorted(path: str, document: dict[str, Any]) -> tuple[dict[str, str], list[dict[str, str]], list[str]]:
    tables = document.pop("sinks", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        return _variables(document), [], [f"{path}: sinks is no list of tables: write [[sinks]]; they are left out"]
    return _variables(document), [_variables(table) for table in tables], []


def _variables(table: Mapping[str, Any]) -> dict[str, str]:
    """A TOML table as variables; lists and small tables in their form between commas. ``name`` is no setting."""
    found = {}
    for key, value in table.items():
        if isinstance(value, dict):
            value = ",".join(f"{name}={one}" for name, one in value.items())
        elif isinstance(value, list):
            value = ",".join(map(str, value))
        elif isinstance(value, bool):
            value = str(value).lower()
        found["name" if key == "name" else _PREFIX + key.upper()] = str(value)
    return found


def _without_name(table: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in table.items() if name != "name"}


def _in_the_file(line: str) -> str:
    """A warning about a variable, in the words of the file."""
    name, rest = line.removeprefix(_PREFIX), ""
    for at, character in enumerate(name):
        if not (character.isupper() or character.isdigit() or character == "_"):
            name, rest = name[:at], name[at:]
            break
    return name.lower() + rest.replace(_PREFIX, "")


def _unused(name: str, taken: list[str]) -> str:
    """A name for a sink that no other has, made of letters that a plug-in's name may have."""
    clean = "".join(one if one.isascii() and (one.isalnum() or one in "._-") else "-" for one in name)[:40] or "sink"
    number, found = 2, clean
    while found in taken:
        found, number = f"{clean}-{number}", number + 1
    return found
