"""The settings: those of AWS's extensions with their names, defaults and ranges, and our own.

Sources: AWS docs, "Use Secrets Manager secrets in Lambda functions" and "Using Parameter Store parameters in Lambda functions"
(tables of environment variables), "Configuring the AWS AppConfig Agent Lambda extension".
"""

from __future__ import annotations

from extension_kit.settings import Settings, byte_size, choice, comma_list, duration, flag, integer, text

__all__ = ["AppConfigSettings", "SecretCacheSettings"]

_DAY = 86_400
_LONGEST_TTL = 30 * _DAY


class SecretCacheSettings(Settings):
    """Variables that begin with SECRET_CACHE_, and those of the AWS Parameters and Secrets Lambda Extension."""

    prefix = "SECRET_CACHE_"
    # Read by the wrapper and by callers, not by the extension.
    also_known = (
        "SECRET_CACHE_ENVIRONMENT", "SECRET_CACHE_ENVIRONMENT_OVERWRITE", "SECRET_CACHE_WRAPPER_TIMEOUT_MS",
        "SECRET_CACHE_WRAPPER_ON_ERROR",
    )  # fmt: skip

    enabled = flag(True, env="PARAMETERS_SECRETS_EXTENSION_CACHE_ENABLED", help="Whether anything is kept at all.")
    size = integer(
        1000, minimum=0, maximum=1000, unit="entries", clamp=True, env="PARAMETERS_SECRETS_EXTENSION_CACHE_SIZE",
        help="The most that is kept; 0 keeps nothing. Without effect where both times to live are 0.",
    )  # fmt: skip
    port = integer(
        2773, minimum=1, maximum=65_535, env="PARAMETERS_SECRETS_EXTENSION_HTTP_PORT",
        help="Where secrets and parameters are asked for, on loopback.",
    )  # fmt: skip
    max_connections = integer(
        3, minimum=1, maximum=64, clamp=True, env="PARAMETERS_SECRETS_EXTENSION_MAX_CONNECTIONS",
        help="Calls to each AWS service at the same time.",
    )  # fmt: skip
    log_level = choice(
        "info", ("debug", "info", "warn", "error", "none"), env="PARAMETERS_SECRETS_EXTENSION_LOG_LEVEL",
        help="The least severe messages that are logged; no more than `EXTENSION_KIT_LOG_LEVEL` lets through.",
    )  # fmt: skip
    secrets_ttl_s = integer(
        300, minimum=0, maximum=_LONGEST_TTL, unit="s", clamp=True, env="SECRETS_MANAGER_TTL",
        help="How long a secret is answered from memory; 0: not at all. Above `SECRET_CACHE_TTL_MAX_S`, that counts.",
    )  # fmt: skip
    parameters_ttl_s = integer(
        300, minimum=0, maximum=_LONGEST_TTL, unit="s", clamp=True, env="SSM_PARAMETER_STORE_TTL",
        help="The same for a parameter.",
    )  # fmt: skip
    secrets_timeout_ms = integer(
        0, minimum=0, maximum=900_000, unit="ms", env="SECRETS_MANAGER_TIMEOUT_MILLIS",
        help="How long a call to Secrets Manager may take; 0: 1 s to connect, 2 s for each answer.",
    )  # fmt: skip
    parameters_timeout_ms = integer(
        0, minimum=0, maximum=900_000, unit="ms", env="SSM_PARAMETER_STORE_TIMEOUT_MILLIS",
        help="The same for Parameter Store.",
    )  # fmt: skip

    ttl_max_s = integer(
        300, minimum=0, maximum=_LONGEST_TTL, unit="s", clamp=True,
        help="The longest time to live that is taken from the variables above; 300 as AWS's extension has it.",
    )  # fmt: skip
    ttls = comma_list(
        (), help="Times to live of their own: `GLOB=SECONDS`, of which the first that matches an id or ARN counts.",
    )  # fmt: skip
    jitter = integer(
        10, minimum=0, maximum=50, unit="%",
        help="By up to how much a time to live is shortened, at random: environments that began together do not ask together.",
    )  # fmt: skip
    refresh_ahead = integer(
        20, minimum=0, maximum=90, unit="%",
        help="In which last part of its time to live a value in use is fetched anew, beside an invocation; 0: only after it.",
    )  # fmt: skip
    stale_max_s = integer(
        3600, minimum=0, maximum=_LONGEST_TTL, unit="s",
        help="How long after its time to live a value stands in for an error of AWS's that will pass; 0: never.",
    )  # fmt: skip
    negative = integer(
        100, minimum=0, maximum=1000, unit="%",
        help="How long refusals are remembered, compared to 2 to 10 s by their code; 0: not at all.",
    )  # fmt: skip
    previous_s = integer(
        60, minimum=0, maximum=_DAY, unit="s", help="How long a former version is kept after a rotation."
    )
    refresh_min_s = integer(
        5, minimum=0, maximum=3600, unit="s",
        help="How old a value must be for `refreshNow` to fetch it again; callers that insist cost no more calls than that.",
    )  # fmt: skip
    probe_s = integer(
        0, minimum=0, maximum=_DAY, unit="s",
        help="How often, at invocations, the version of a secret in use is asked for (needs `secretsmanager:DescribeSecret`); "
        "0: never.",
    )  # fmt: skip
    max_bytes = byte_size(
        16_777_216, minimum=65_536, maximum=1_073_741_824, help="The most memory that all values together may take."
    )
    prefetch = comma_list(
        (),
        help="What is fetched before anybody asks: `secret:ID`, `parameter:NAME`, `path:/PATH`, `tag:KEY` or `tag:KEY=VALUE`.",
    )  # fmt: skip
    allow = comma_list(
        (),
        help="Globs of ids, names or ARNs that may be asked for; where any is set, nothing else may. Empty: everything may.",
    )
    replica_regions = comma_list(
        (), names="region", help="Where replicas of the secrets are asked for when this region does not answer."
    )
    role_external_id = text(
        "", maximum_length=1224, characters="+=,.@:/_-", help="ExternalId for roles that callers name."
    )
    role_session_name = text(
        "", maximum_length=64, characters="+=,.@-_", help="Session name for such roles; the function's name if empty."
    )
    role_tags = comma_list((), help="Session tags for such roles, `KEY=VALUE` (attribute-based access control).")
    files = comma_list(
        (),
        help="Values that are also kept in files below /tmp or /dev/shm: `PATH=secret:ID` or `PATH=parameter:NAME`.",
    )
    errors = choice(
        "extension", ("extension", "aws", "agent"),
        help="How errors are answered: as AWS's extension does, which is always 400 with one text; as AWS does; or as the "
        "Workload Credentials Provider does, whose form secrets have then as well.",
    )  # fmt: skip


class AppConfigSettings(Settings):
    """Variables of the AWS AppConfig Agent Lambda extension that have a meaning here."""

    prefix = "AWS_APPCONFIG_EXTENSION_"
    also_known = (
        "AWS_APPCONFIG_EXTENSION_LOG_LEVEL", "AWS_APPCONFIG_EXTENSION_PROXY_URL", "AWS_APPCONFIG_EXTENSION_PROXY_HEADERS",
    )  # fmt: skip

    http_port = integer(2772, minimum=1, maximum=65_535, help="Where configurations are asked for, on loopback.")
    poll_interval_seconds = duration(
        45_000, minimum_ms=1_000, maximum_ms=86_400_000, bare="s",
        help="How old a configuration may become before it is asked for again.",
    )  # fmt: skip
    poll_timeout_millis = integer(
        3000,
        minimum=1,
        maximum=900_000,
        unit="ms",
        help="How long AppConfig may take; after that the last data are used.",
    )
    prefetch_list = comma_list(
        (),
        help="Configurations that are fetched before anybody asks: `App:Env:Profile`, or the path of the request.",
    )
    max_connections = integer(3, minimum=1, maximum=64, clamp=True, help="Calls to AppConfig at the same time.")
    role_arn = text("", maximum_length=2048, characters="+=,.@:/_-", help="Role whose configurations are read.")
    role_external_id = text("", maximum_length=1224, characters="+=,.@:/_-", help="ExternalId for it.")
    role_session_name = text("", maximum_length=64, characters="+=,.@-_", help="Session name for it.")
    manifest = text(
        "", maximum_length=4096, characters=":/._- ",
        help="What holds for single configurations (role, file): `App:Env:Profile`, or `file:/path` of a file in the function.",
    )  # fmt: skip
    wait_on_manifest = flag(True, help="Whether requests wait until the manifest is there.")
    service_region = text(
        "", maximum_length=64, characters="-", names="region", help="Region of AppConfig, if it is another one."
    )
