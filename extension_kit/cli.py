"""``extension-kit``: run a function with extensions on this machine, draw what happened, and check settings.

Exit status: 0 the environment stayed healthy, 1 it did not or was interrupted, 2 the command line or its files are wrong.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from extension_kit.errors import ConfigError, ExtensionKitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from extension_kit.backends.plan import Outcome, Plan

_INIT_TYPES = ("on-demand", "provisioned-concurrency", "snap-start", "lambda-managed-instances")


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the command; returns its exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        status: int = options.do(options)
    except ExtensionKitError as error:
        print(f"extension-kit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("extension-kit: interrupted", file=sys.stderr)
        return 1
    return status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line instead of the whole usage."""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="extension-kit", description="Run and check AWS Lambda extensions on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    _add_run(commands.add_parser("run", help="run one function with any extensions"))
    _add_report(commands.add_parser("report", help="draw the record of a run"))
    _add_check(commands.add_parser("check", help="check the settings of plug-ins against the environment variables"))
    return parser


def _add_run(run: argparse.ArgumentParser) -> None:
    run.set_defaults(do=_run)
    what = run.add_argument_group("the function")
    what.add_argument("--function", type=Path, metavar="DIR", help="directory of a Python function")
    what.add_argument("--handler", metavar="M.F", default="", help="its handler, e.g. app.handler")
    what.add_argument("--bootstrap", type=Path, metavar="FILE", help="an executable runtime of your own instead")
    with_ = run.add_argument_group("its extensions (all repeatable)")
    with_.add_argument("--extension", type=Path, action="append", default=[], metavar="FILE", help="an executable")
    with_.add_argument("--plugin", action="append", default=[], metavar="MODULE:CLASS", help="a plug-in of the kit")
    with_.add_argument("--layer", type=Path, action="append", default=[], metavar="ZIP|DIR", help="contents of /opt")
    how = run.add_argument_group("the run")
    how.add_argument(
        "--event", action="append", default=[], metavar="FILE|-", help="payload (JSON); repeatable, in turn"
    )
    how.add_argument("--invokes", type=_positive, metavar="N", help="how many (default: one for each --event)")
    how.add_argument("--gap-ms", type=_natural, default=0, metavar="MS", help="pause between invokes (default 0)")
    how.add_argument("--timeout", type=_seconds, default=3.0, metavar="S", help="function timeout (default 3)")
    how.add_argument("--memory", type=_memory, default=128, metavar="MB", help="memory setting (default 128)")
    how.add_argument("--backend", choices=("emulator", "rie", "docker"), default="emulator")
    how.add_argument("--init-type", choices=_INIT_TYPES, default="on-demand")
    how.add_argument(
        "--freeze", action=argparse.BooleanOptionalAction, default=True, help="stop processes between invokes"
    )
    how.add_argument(
        "--namespaces", action=argparse.BooleanOptionalAction, default=True, help="own /opt, /tmp, network"
    )
    how.add_argument("--env", type=_variable, action="append", default=[], metavar="K=V", help="variable (repeatable)")
    how.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="SPEC",
        help="something goes wrong; 'list' prints what (repeatable)",
    )
    how.add_argument("--seed", type=_natural, default=0, metavar="N", help="of the times that Lambda leaves open")
    how.add_argument("--port", type=_port, default=0, metavar="PORT", help="of the invoke endpoint (default: any free)")
    out = run.add_argument_group("what comes out")
    out.add_argument("--json", type=Path, metavar="FILE", help="write the record of the run")
    _add_pictures(out)
    out.add_argument("--strict", action="store_true", help="exit 1 also when the handler raised")
    out.add_argument("--quiet", action="store_true", help="print the summary only")


def _add_pictures(to: argparse._ActionsContainer) -> None:
    to.add_argument("--report", type=Path, metavar="FILE.html|-", help="draw the run: a page, or a text on stdout")
    to.add_argument("--trace", type=Path, metavar="FILE", help="a trace for chrome://tracing and Perfetto")


def _add_report(report: argparse.ArgumentParser) -> None:
    report.set_defaults(do=_report)
    report.add_argument("record", metavar="RECORD.json|-", help="what extension-kit run --json has written")
    _add_pictures(report)


def _add_check(check: argparse.ArgumentParser) -> None:
    check.set_defaults(do=_check)
    check.add_argument("--plugin", action="append", default=[], metavar="MODULE:CLASS", help="repeatable")
    check.add_argument(
        "--env", type=_variable, action="append", default=[], metavar="K=V", help="variable (repeatable)"
    )
    check.add_argument("--offline", action="store_true", help="try nothing, e.g. send no test record to a sink")
    check.add_argument("--json", action="store_true", help="findings as JSON")


# option values ----------------------------------------------------------------------------------------------------------


def _positive(text: str) -> int:
    return _whole(text, 1, 1_000_000, "a whole number from 1")


def _natural(text: str) -> int:
    return _whole(text, 0, 3_600_000, "milliseconds, 0 to 3600000")


def _memory(text: str) -> int:
    return _whole(text, 128, 10_240, "megabytes, 128 to 10240")


def _port(text: str) -> int:
    return _whole(text, 0, 65_535, "a port, 0 to 65535")


def _whole(text: str, low: int, high: int, allowed: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = low - 1
    if not low <= number <= high:
        raise argparse.ArgumentTypeError(f"{text!r} is not {allowed}")
    return number


def _seconds(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number <= 900.0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, above 0 and up to 900")
    return number


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals or "\0" in text:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


# run --------------------------------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> int:
    from extension_kit import pictures
    from extension_kit.report import outputs
    from extension_kit.terminal import Progress, costs, summary

    if "list" in options.fault:
        from extension_kit.backends.prepare import faults

        print(faults())
        return 0
    plan = _plan(options)
    for option in ("json", "report", "trace"):
        outputs.require_writable(f"--{option}", getattr(options, option))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    backend = importlib.import_module(f"extension_kit.backends.{options.backend}")
    outcome = backend.run(plan, None if options.quiet else Progress(sys.stdout))
    if options.json is not None:
        outputs.write("--json", options.json, outcome.record)
    if not options.quiet:
        print(costs(outcome.events), end="")
        print(pictures.table(outcome.events, pictures.levels(sys.stdout.encoding)), end="")
    if options.report is not None or options.trace is not None:
        outputs.draw(json.loads(outcome.record), options.report, options.trace)
    print(summary(outcome))
    return _status(outcome, options.strict)


def _interrupted(_number: int, _frame: object) -> None:
    """SIGTERM and SIGHUP end a run as Ctrl-C does: nothing is left behind."""
    raise KeyboardInterrupt


def _status(outcome: Outcome, strict: bool) -> int:
    if not outcome.healthy:
        return 1
    return 1 if strict and any(one.function_error for one in outcome.invoked) else 0


def _plan(options: argparse.Namespace) -> Plan:
    from extension_kit.backends.plan import Plan

    if (options.function is None) == (options.bootstrap is None):
        raise ConfigError("say what to run: either --function DIR --handler M.F, or --bootstrap FILE")
    if options.function is not None:
        if not options.function.is_dir():
            raise ConfigError(f"--function {options.function}: no such directory")
        if "." not in options.handler:
            raise ConfigError(f"--handler {options.handler!r}: expected MODULE.FUNCTION, e.g. --handler app.handler")
    events = tuple(_payload(name) for name in options.event) or (b"{}",)
    return Plan(
        function=options.function,
        handler=options.handler,
        bootstrap=options.bootstrap,
        extensions=tuple(options.extension),
        plugins=tuple(options.plugin),
        layers=tuple(options.layer),
        events=events,
        invokes=options.invokes or len(events),
        gap_ms=options.gap_ms,
        timeout=options.timeout,
        memory_mb=options.memory,
        init_type=options.init_type,
        freeze=options.freeze,
        namespaces=options.namespaces,
        variables=dict(options.env),
        invoke_port=options.port,
        faults=tuple(options.fault),
        seed=options.seed,
    )


def _payload(name: str) -> bytes:
    try:
        data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise ConfigError(f"--event {name}: cannot be read: {error.strerror}") from error
    try:
        json.loads(data)
    except ValueError as error:
        raise ConfigError(f"--event {name}: not JSON: {error}") from error
    return data


# report -----------------------------------------------------------------------------------------------------------------


def _report(options: argparse.Namespace) -> int:
    from extension_kit.report import outputs
    from extension_kit.report.reading import load

    try:
        data = sys.stdin.buffer.read() if options.record == "-" else Path(options.record).read_bytes()
    except OSError as error:
        raise ConfigError(f"{options.record}: cannot be read: {error.strerror}") from error
    record = load(data.decode("utf-8", "replace"), options.record)
    if options.report is None and options.trace is None:
        outputs.show(record)
    else:
        outputs.draw(record, options.report, options.trace)
    return 0


# check ------------------------------------------------------------------------------------------------------------------


def _check(options: argparse.Namespace) -> int:
    from extension_kit.io.clock import Clock
    from extension_kit.plugin import Context, Log, load
    from extension_kit.settings import KitSettings

    sys.path.insert(0, os.getcwd())
    os.environ.update(dict(options.env))
    findings = [{"about": "extension-kit", "finding": line} for line in KitSettings.parse(os.environ)[1]]
    for spec in options.plugin:
        plugin = load(spec)
        settings, found = plugin.settings.parse(os.environ) if plugin.settings is not None else (None, ())
        if not options.offline:
            context = Context(plugin.name, os.environ, Log(plugin.name, sys.stderr.write), Clock(), settings)
            found = (*found, *plugin.check(context))
        findings += [{"about": plugin.name, "finding": line} for line in found]
    if options.json:
        print(json.dumps(findings, indent=1))
    else:
        for finding in findings:
            print(f"{finding['about']}: {finding['finding']}")
        print(f"check: {len(findings)} finding(s)")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
