"""What the egress guard lets pass, put together from the manifest, the settings and the environment; see `egress`."""

from __future__ import annotations

from extension_kit.egress import OWN_NAMES, packed
from extension_kit.endpoints import Endpoint, endpoint, hosts_of
from extension_kit.errors import ConfigError
from extension_kit.protocol.hosts import Rule, Rules, hosts_in, parse_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from extension_kit.settings import Settings

__all__ = ["make"]

#: of the local endpoint for credentials, where a variable names it (AWS docs, "Container credential provider")
_CREDENTIALS = ("169.254.170.2", "169.254.170.23")
_TLS_PORT = 443  # of a manifest's host that names none
_ON = ("true", "1", "yes", "on")


def make(
    hosts: tuple[str, ...],
    programs: tuple[str, ...],
    manifests: Iterable[str],
    allowed: Iterable[str],
    settings: Iterable[Settings],
    environ: Mapping[str, str],
    say: Callable[[str], object],
) -> tuple[Rules, tuple[str, ...], bool]:
    """The rules; the programs that may be started; and whether the function's own connections may pass."""
    for path in manifests:
        from extension_kit.egress_manifest import read

        more, starts = read(path, say)
        hosts, programs = hosts + more, programs + starts
    named = list(_named_by(settings))
    regions = [environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or ""]
    regions += [value for kind, _variable, value in named if kind == "region"]
    rules = [Rule(name) for name in (*OWN_NAMES, "*.localhost")]
    rules += _of_environment(environ)
    for kind, variable, value in named:
        if kind == "endpoint":
            rules += _of_endpoint(variable, value, say)
    for text in allowed:
        rules += _parsed(text, 0)
    is_open = False
    for text in hosts:
        host, _, when = text.partition(" when ")
        if when and environ.get(when, "").strip().lower() not in _ON:
            continue
        if host == "*":
            is_open = is_open or bool(when)  # without a "when": what the settings name
        elif "{region}" in host:
            rules += _regional(host, regions, environ)
        else:
            rules += _parsed(host, _TLS_PORT)
    return Rules(rules), programs, is_open


def _of_endpoint(variable: str, value: str, say: Callable[[str], object]) -> list[Rule]:
    """What is no host is told, not shown: it may be secret."""
    rules, unread = hosts_in(value, packed)
    if unread:
        say(
            f"egress guard: {variable} has what names no host that could be let pass: use a URL, or HOST[:PORT], also several "
            "with commas; nothing was opened for it"
        )
    return rules


def _parsed(text: str, port: int) -> list[Rule]:
    """What cannot be read was complained about when it was written: it opens nothing."""
    try:
        return parse_all(text, packed, port)
    except ValueError:
        return []


def _regional(host: str, regions: Iterable[str], environ: Mapping[str, str]) -> Iterator[Rule]:
    """Of ``SERVICE.{region}.amazonaws.com``: its hosts in these regions, of their partitions, FIPS and dual-stack as well, and
    what EXTENSION_KIT_AWS_ENDPOINT_URL says instead.
    """
    host = host.removesuffix(f":{_TLS_PORT}")
    service, found, _ = host.partition(".{region}.amazonaws.com")
    wildcard = "*." if service.startswith("*.") else ""
    service = service.removeprefix("*.")
    for region in filter(None, regions):
        if not found or not host.endswith(found):
            yield from _parsed(host.replace("{region}", region), _TLS_PORT)
            continue
        for name in hosts_of(service, region):
            yield from _parsed(wildcard + name, _TLS_PORT)
        try:
            chosen = endpoint(service, region, environ)
        except ConfigError:
            continue  # the caller complains of it
        yield from _parsed(chosen.authority, 443 if chosen.tls else 80)


def _of_environment(environ: Mapping[str, str]) -> Iterator[Rule]:
    """The Runtime API, and the local endpoint for credentials."""
    yield from _parsed(environ.get("AWS_LAMBDA_RUNTIME_API", ""), 80)
    if environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        yield from _parsed(_CREDENTIALS[0], 80)
    scheme, _, rest = environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI", "").partition("://")
    try:
        local = Endpoint.of(f"{scheme}://{rest.partition('/')[0]}")
    except ConfigError:
        return
    if local.host in _CREDENTIALS:
        yield from _parsed(f"{local.host}:{local.port}", 0)


def _named_by(settings: Iterable[Settings]) -> Iterator[tuple[str, str, str]]:
    """What it is (endpoint, region), variable and value."""
    for one in settings:
        for setting in one.declared():
            if setting.names:
                value = getattr(one, setting.attribute)
                for text in value if isinstance(value, tuple) else (value,):
                    yield setting.names, setting.variable, text
