"""Where a service of AWS's is, by region; no I/O. For calls to it (`aws`), and for the egress guard.

The function's own ``AWS_ENDPOINT_URL`` variables are not looked at: they may point at the extension that asks. Ours begin with
``EXTENSION_KIT_``. Source of the host names: botocore's endpoint rules, with which the tests compare them.
"""

from __future__ import annotations

from extension_kit.errors import ConfigError
from extension_kit.protocol.values import Value, set_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Endpoint", "endpoint", "hosts_of"]

#: prefix of the region: suffix of hosts, suffix of hosts with IPv6 ("": there are none)
_PARTITIONS = (
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("", "amazonaws.com", "api.aws"),
)
#: services whose plain hosts in GovCloud are the FIPS hosts
_GOV_IS_FIPS = ("sts", "ssm", "appconfigdata", "logs", "kinesis")
_VARIABLES = {
    "secretsmanager": "SECRETS_MANAGER", "ssm": "SSM", "sts": "STS", "appconfigdata": "APPCONFIGDATA",
}  # fmt: skip


class Endpoint(Value):
    """``host``: name or IP literal; ``authority``: as it stands in Host."""

    __slots__ = ("authority", "host", "port", "tls")

    host: str
    port: int
    tls: bool
    authority: str

    def __init__(self, host: str, port: int, tls: bool) -> None:
        set_field(self, "host", host)
        set_field(self, "port", port)
        set_field(self, "tls", tls)
        shown = f"[{host}]" if ":" in host else host
        set_field(self, "authority", shown if port == (443 if tls else 80) else f"{shown}:{port}")

    @classmethod
    def of(cls, url: str) -> Endpoint:
        """Of ``http://HOST[:PORT]`` or ``https://…``; ConfigError for anything else, also for a path behind it."""
        scheme, found, rest = url.partition("://")
        authority, _slash, path = rest.partition("/")
        host, colon, port = authority.rpartition(":") if not authority.endswith("]") else (authority, "", "")
        if not colon:
            host, port = authority, ""
        tls = scheme == "https"
        bare = host.removeprefix("[").removesuffix("]")
        if not found or scheme not in ("http", "https") or path or not bare or not _is_host(bare) or not _is_port(port):
            raise ConfigError(f"{url[:200]!r} is no endpoint: use http://HOST[:PORT] or https://HOST[:PORT]")
        return cls(bare, int(port) if port else (443 if tls else 80), tls)


def endpoint(service: str, region: str, environ: Mapping[str, str]) -> Endpoint:
    """Where `service` (as its host is called, e.g. ssm) is asked; ConfigError for an override that is no URL."""
    name = _VARIABLES.get(service, service.upper())
    for variable in (f"EXTENSION_KIT_AWS_ENDPOINT_URL_{name}", "EXTENSION_KIT_AWS_ENDPOINT_URL"):
        url = environ.get(variable, "").strip()
        if url:
            return Endpoint.of(url.rstrip("/"))
    fips = environ.get("AWS_USE_FIPS_ENDPOINT", "").lower() == "true"
    dual = environ.get("AWS_USE_DUALSTACK_ENDPOINT", "").lower() == "true"
    return Endpoint(_host(service, region, fips, dual), 443, True)


def hosts_of(service: str, region: str) -> tuple[str, ...]:
    """Every host that a service may have in a region: plain, FIPS, dual-stack, and both; S3's first one, botocore's default."""
    every = [_host(service, region, fips, dual) for fips in (False, True) for dual in (False, True)]
    if (service, region) == ("s3", "us-east-1"):
        every.append("s3.amazonaws.com")
    return tuple(dict.fromkeys(every))


def _host(service: str, region: str, fips: bool, dual: bool) -> str:
    plain, both = next((rest for prefix, *rest in _PARTITIONS if region.startswith(prefix)))
    if fips and not dual and region.startswith("us-gov-") and service in _GOV_IS_FIPS:
        fips = False
    if service == "s3" and dual:
        return f"s3{'-fips' if fips else ''}.dualstack.{region}.{plain}"
    return f"{service}{'-fips' if fips else ''}.{region}.{both if dual else plain}"


def _is_host(host: str) -> bool:
    return all(character.isascii() and (character.isalnum() or character in ".-:_%") for character in host)


def _is_port(port: str) -> bool:
    return not port or (port.isascii() and port.isdigit() and len(port) < 6 and 0 < int(port) < 65_536)
