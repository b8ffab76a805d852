"""The settings: the first key, where documents come from, and bounds that no document can lift.

FAILURE_* are failure-lambda's variables (its README, "Environment variables"), CHAOS_PARAM is aws-lambda-chaos-injection's.
"""

from __future__ import annotations

from extension_kit.settings import Settings, choice, comma_list, duration, flag, integer, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

__all__ = ["ChaosSettings"]

_HOUR_MS = 3_600_000
#: settings that only hold back: a wrong value must not stand for none
_RAILS = (
    "off", "failure_off", "global_switch", "dry_run", "deny", "prod", "max_ttl", "max_injections", "max_per_minute", "lease",
)  # fmt: skip


class ChaosSettings(Settings):
    """Variables that begin with CHAOS_, and failure-lambda's."""

    prefix = "CHAOS_"
    # aws-cli-tools' variables, which `readers.aws_cli_tools` reads; what the wrapper reads
    also_known = ("CHAOS_EXTENSION__*", "CHAOS_WRAPPER_*")

    enabled = flag(
        False, help="The first key. Without it the injector does nothing at all, whatever document there is."
    )
    source = text(
        "",
        help="Where the document is: `env` (`CHAOS_EXPERIMENT`), `file` or `file:/path`, `ssm:/name`, "
        "`appconfig:APPLICATION:ENVIRONMENT:PROFILE`, `s3://bucket/key`, `variables` (`CHAOS_EXTENSION__*`). Empty: `env` "
        "where `CHAOS_EXPERIMENT` is set, what `FAILURE_*` name, `variables` where one of them enables something, else `file`.",
    )
    experiment = text("", maximum_length=4_096, help="Of `env`: the document itself, on one line of JSON.")
    failure_param = text(
        "",
        env="FAILURE_INJECTION_PARAM",
        aliases=("CHAOS_PARAM",),
        maximum_length=2_048,
        help="failure-lambda's (by its other name aws-lambda-chaos-injection's): the same as `ssm:` and this name.",
    )
    failure_application = text("", env="FAILURE_APPCONFIG_APPLICATION", help="failure-lambda's, of AppConfig.")
    failure_environment = text("", env="FAILURE_APPCONFIG_ENVIRONMENT", help="Likewise.")
    failure_configuration = text("", env="FAILURE_APPCONFIG_CONFIGURATION", help="Likewise.")
    poll = duration(
        10_000, minimum_ms=1_000, maximum_ms=300_000,
        help="How often the document is asked for, while invocations come; half as long while an experiment is armed.",
    )  # fmt: skip

    # beside the document
    egress = flag(
        False,
        help="Whether the wrapper tells the runtime of a proxy for outgoing requests, which egress faults need. It passes what "
        "no fault is for.",
    )
    upstream = text(
        "",
        names="endpoint",
        maximum_length=300,
        help="HOST:PORT of another proxy that stands between runtime and Runtime API, to be placed before it. Empty: the "
        "Runtime API itself.",
    )

    # kill switches: what is written into them means off, unless it says the opposite
    off = text("", maximum_length=200, help="Kill switch: anything but false, 0 or no ends everything.")
    failure_off = text("", env="FAILURE_LAMBDA_DISABLED", maximum_length=200, help="failure-lambda's: likewise.")
    global_switch = text(
        "", maximum_length=2_048, characters="/._-:",
        help="Kill switch of many functions: name of a parameter (SSM). Where it is not exactly `on`, or cannot be read for as "
        "long as a lease, nothing is injected.",
    )  # fmt: skip

    # for documents of formats that have no end
    armed_until = text(
        "", maximum_length=40, characters=":+. -",
        help="The end of experiments whose format has none (failure-lambda, FIS, `variables`): a time with its zone.",
    )  # fmt: skip
    lease = duration(
        180_000, minimum_ms=10_000, maximum_ms=_HOUR_MS, clamp=True,
        help="The longest lease: so long a document counts that cannot be asked for any more.",
    )  # fmt: skip

    # bounds
    max_ttl = duration(
        _HOUR_MS, minimum_ms=1_000, maximum_ms=_HOUR_MS, clamp=True, help="How far ahead `armed_until` may be."
    )
    max_injections = integer(
        10_000,
        minimum=0,
        maximum=1_000_000,
        clamp=True,
        help="The most that a document's `limits.max_injections` may be.",
    )
    max_per_minute = integer(
        1_000, minimum=0, maximum=60_000, clamp=True, help="The most that a document's `limits.max_per_minute` may be."
    )
    allow_prod = flag(
        False,
        help="Whether production may be meant: besides, the document must say `allow_prod` and name it without `*`.",
    )
    prod = text(
        "",
        help="Regular expression: what in the name of a function or an alias means production; a wrong one: any name does. "
        "Empty: prod, production, prd or live as a word of it, where words end at other characters, at digits and at a change "
        "of case, but for one behind the word non.",
    )
    deny = comma_list(
        (), help="Functions, aliases and tenants, with `*`, into which nothing is injected, whoever says so."
    )
    dry_run = flag(False, help="Every experiment is a dry run: it is told what would happen, and nothing does.")
    log_skips = choice(
        "all", ("all", "few"),
        help="Decisions against a fault in the log: each (up to 60 a minute and reason), or the first of each minute.",
    )  # fmt: skip

    #: of rails whose variables have values that are none: which, and what would be allowed
    wrong: tuple[str, ...] = ()

    @classmethod
    def parse(cls, environ: Mapping[str, str]) -> tuple[Self, tuple[str, ...]]:
        """As of every other settings; besides, `wrong` has what makes rails hold nothing: then nothing is injected at all."""
        settings, warnings = super().parse(environ)
        wrong = []
        for one in cls.declared():
            written = environ.get(one.variable, "").strip() if one.attribute in _RAILS else ""
            try:
                if written:
                    one.read(written)
            except ValueError:
                wrong.append(f"{one.variable} is not {one.allowed}")
            except Exception:  # out of its range, of which the nearest end is taken
                pass
        settings.__dict__["wrong"] = tuple(wrong)
        return settings, warnings

    def is_off(self) -> bool:
        """Whether one of the kill switches says so: a slip of the pen does."""
        return any(one.lower() not in ("", "false", "0", "no") for one in (self.off, self.failure_off))
