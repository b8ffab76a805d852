"""``run``: one function with any extensions, on this machine."""

from __future__ import annotations

import argparse
import importlib
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit import pictures
from extension_kit.commands.console import apart
from extension_kit.commands.values import add_pictures, memory, natural, port, positive, seconds, variable
from extension_kit.errors import ConfigError
from extension_kit.report import outputs
from extension_kit.terminal import Progress, costs, summary

if TYPE_CHECKING:
    from extension_kit.backends.plan import Outcome, Plan

_INIT_TYPES = ("on-demand", "provisioned-concurrency", "snap-start", "lambda-managed-instances")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    what = parser.add_argument_group("the function")
    what.add_argument("--function", type=Path, metavar="DIR", help="directory of a Python function")
    what.add_argument("--handler", metavar="M.F", default="", help="its handler, e.g. app.handler")
    what.add_argument("--bootstrap", type=Path, metavar="FILE", help="an executable runtime of your own instead")
    with_ = parser.add_argument_group("its extensions (all repeatable)")
    with_.add_argument("--extension", type=Path, action="append", default=[], metavar="FILE", help="an executable")
    with_.add_argument("--plugin", action="append", default=[], metavar="MODULE:CLASS", help="a plug-in of the kit")
    with_.add_argument("--layer", type=Path, action="append", default=[], metavar="ZIP|DIR", help="contents of /opt")
    how = parser.add_argument_group("the run")
    how.add_argument(
        "--event", action="append", default=[], metavar="FILE|-", help="payload (JSON); repeatable, in turn"
    )
    how.add_argument("--invokes", type=positive, metavar="N", help="how many (default: one for each --event)")
    how.add_argument("--gap-ms", type=natural, default=0, metavar="MS", help="pause between invokes (default 0)")
    how.add_argument("--timeout", type=seconds, default=3.0, metavar="S", help="function timeout (default 3)")
    how.add_argument("--memory", type=memory, default=128, metavar="MB", help="memory setting (default 128)")
    how.add_argument("--backend", choices=("emulator", "rie", "docker"), default="emulator")
    how.add_argument("--init-type", choices=_INIT_TYPES, default="on-demand")
    how.add_argument(
        "--freeze", action=argparse.BooleanOptionalAction, default=True, help="stop processes between invokes"
    )
    how.add_argument(
        "--namespaces", action=argparse.BooleanOptionalAction, default=True, help="own /opt, /tmp, network"
    )
    how.add_argument("--env", type=variable, action="append", default=[], metavar="K=V", help="variable (repeatable)")
    how.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="SPEC",
        help="something goes wrong; 'list' prints what (repeatable)",
    )
    how.add_argument("--seed", type=natural, default=0, metavar="N", help="of the times that Lambda leaves open")
    how.add_argument("--port", type=port, default=0, metavar="PORT", help="of the invoke endpoint (default: any free)")
    out = parser.add_argument_group("what comes out")
    out.add_argument("--json", type=Path, metavar="FILE|-", help="write the record; -: print it, all else on stderr")
    add_pictures(out)
    out.add_argument("--strict", action="store_true", help="exit 1 also when the handler raised")
    out.add_argument("--quiet", action="store_true", help="print the summary only")


def run(options: argparse.Namespace) -> int:
    """Run it; 1 where the environment did not stay healthy."""
    is_printed = str(options.json) == outputs.STDOUT
    if "list" in options.fault:
        return _list_faults(is_printed)
    plan = _plan(options)
    for option in ("json", "report", "trace"):
        outputs.require_writable(f"--{option}", getattr(options, option))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    backend = importlib.import_module(f"extension_kit.backends.{options.backend}")
    # Whatever a backend prints by itself would be in the way of the record.
    with apart(is_printed):
        outcome = backend.run(plan, None if options.quiet else Progress(sys.stdout))
        if options.json is not None and not is_printed:
            outputs.write("--json", options.json, outcome.record)
        _tell(outcome, options)
    if is_printed:
        print(outcome.record)
    return _status(outcome, options.strict)


def _list_faults(as_json: bool) -> int:
    from extension_kit.backends.prepare import faults

    text = faults()
    print(json.dumps({"faults": [line.split()[0] for line in text.splitlines()]}) if as_json else text)
    return 0


def _tell(outcome: Outcome, options: argparse.Namespace) -> None:
    """What it cost, what was measured, the pictures that were asked for, and how it went."""
    if not options.quiet:
        print(costs(outcome.events), end="")
        print(pictures.table(outcome.events, pictures.levels(sys.stdout.encoding)), end="")
    if options.report is not None or options.trace is not None:
        outputs.draw(json.loads(outcome.record), options.report, options.trace)
    print(summary(outcome))


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
