"""From what an operator has written to what the parts need; what cannot be used is said in one line and left out. No I/O."""

from __future__ import annotations

from extensions.secret_cache.asks import ConfigurationAsk, ParameterAsk, PathAsk, SecretAsk
from extensions.secret_cache.policy import Policy
from extensions.secret_cache.query import split_selector

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from extension_kit.aws import Role
    from extensions.secret_cache.asks import Ask
    from extensions.secret_cache.files import Files
    from extensions.secret_cache.settings import SecretCacheSettings

    Say = Callable[[str], object]

__all__ = ["configuration_ask", "named_ask", "pairs", "policy", "prefetched", "role_of", "wanted_files"]

_PREFETCH = "SECRET_CACHE_PREFETCH"


def policy(settings: SecretCacheSettings, poll_ms: int, draw: Callable[[], float], say: Say) -> Policy:
    """How long what is kept; a time to live above the ceiling is clamped, as AWS's extension does it."""
    ceiling = settings.ttl_max_s
    seconds = {"SECRETS_MANAGER_TTL": settings.secrets_ttl_s, "SSM_PARAMETER_STORE_TTL": settings.parameters_ttl_s}
    for name, value in seconds.items():
        if value > ceiling:
            say(f"{name}={value} is above {ceiling} s, which is used instead: SECRET_CACHE_TTL_MAX_S allows more")
    ttls = []
    for glob, written in pairs("SECRET_CACHE_TTLS", settings.ttls, say):
        if written.isascii() and written.isdigit() and len(written) < 9:
            ttls.append((glob, int(written) * 1000))
        else:
            say(f"SECRET_CACHE_TTLS: {glob}={written} is not allowed: use whole seconds; it is left out")
    return Policy(
        draw,
        enabled=settings.enabled,
        entries=settings.size,
        max_bytes=settings.max_bytes,
        secret_ms=min(settings.secrets_ttl_s, ceiling) * 1000,
        parameter_ms=min(settings.parameters_ttl_s, ceiling) * 1000,
        configuration_ms=poll_ms,
        ttls=tuple(ttls),
        jitter_percent=settings.jitter,
        ahead_percent=settings.refresh_ahead,
        stale_ms=settings.stale_max_s * 1000,
        negative_percent=settings.negative,
        previous_ms=settings.previous_s * 1000,
        refresh_least_ms=settings.refresh_min_s * 1000,
    )


def pairs(variable: str, items: Iterable[str], say: Say) -> list[tuple[str, str]]:
    """``A=B`` of each item, split at the last ``=``."""
    found = []
    for item in items:
        left, equals, right = item.rpartition("=")
        if equals and left.strip() and right.strip():
            found.append((left.strip(), right.strip()))
        else:
            say(f"{variable}: {item} is not allowed: use NAME=VALUE; it is left out")
    return found


def prefetched(items: Iterable[str], say: Say) -> tuple[list[Ask], list[tuple[str, str | None]]]:
    """What to fetch at once, and the tags (key, value or None) of the secrets to fetch."""
    asks: list[Ask] = []
    tags: list[tuple[str, str | None]] = []
    for item in items:
        kind, _, rest = item.partition(":")
        ask = named_ask(item)
        if ask is not None:
            asks.append(ask)
        elif kind == "path" and rest.startswith("/"):
            asks.append(PathAsk(rest, recursive=True, decrypt=True))
        elif kind == "tag" and rest:
            key, equals, value = rest.partition("=")
            tags.append((key, value if equals else None))
        else:
            say(f"{_PREFETCH}: {item} is not allowed: use secret:ID, parameter:NAME, path:/PATH or tag:KEY[=VALUE]; "
                "it is left out")  # fmt: skip
    return asks, tags


def named_ask(item: str) -> Ask | None:
    """Of ``secret:ID`` or ``parameter:NAME``; None for anything else."""
    kind, _, rest = item.partition(":")
    if kind == "secret" and rest:
        return SecretAsk(rest)
    if kind == "parameter" and rest:
        id, selector = split_selector(rest)
        return ParameterAsk(id, selector, decrypt=True)
    return None


def configuration_ask(item: str) -> ConfigurationAsk | None:
    """Of ``App:Env:Profile``, or of the path that is requested for it; None for anything else."""
    parts = item.strip("/").split("/")
    if len(parts) == 6 and parts[::2] == ["applications", "environments", "configurations"]:
        parts = parts[1::2]
    else:
        parts = item.split(":")
    return ConfigurationAsk(*parts) if len(parts) == 3 and all(parts) else None


def wanted_files(items: Iterable[str], say: Say) -> tuple[dict[Ask, str], Files | None]:
    """Which ask goes to which file, by the ids that `Files` knows them by; nothing where none can be written."""
    from extension_kit.errors import ConfigError
    from extensions.secret_cache.files import Files, check

    paths: dict[str, str] = {}
    asks: dict[Ask, str] = {}
    for path, equals, item in (one.partition("=") for one in items):
        ask = named_ask(item.strip())
        try:
            if not equals or ask is None:
                raise ConfigError("use PATH=secret:ID or PATH=parameter:NAME")
            check(path.strip())
            if path.strip() in paths.values():
                raise ConfigError("its path is taken")
        except ConfigError as error:
            say(f"SECRET_CACHE_FILES: {path}={item}: {error}; it is left out")
            continue
        paths[item.strip()] = path.strip()
        asks[ask] = item.strip()
    return asks, Files(paths) if paths else None


def role_of(settings: SecretCacheSettings, function: str, say: Say) -> Callable[[str], Role]:
    """Makes the role of an ARN that a caller names, with what the settings say of roles."""
    from extension_kit.aws import Role

    tags = tuple(pairs("SECRET_CACHE_ROLE_TAGS", settings.role_tags, say))
    session = settings.role_session_name or f"secret-cache-{function}"[:64]
    return lambda arn: Role(arn, external_id=settings.role_external_id, session_name=session, tags=tags)
