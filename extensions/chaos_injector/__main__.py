"""``python -m extensions.chaos_injector arm|disarm|status|extend|plan``: experiments from a shell.

Credentials and region from the environment (``aws configure export-credentials --format env``). Exit status: 0 done (status:
armed), 1 refused, not armed or not reachable, 2 usage.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import signal
import socket
import sys
import threading
from typing import TYPE_CHECKING

from extension_kit.aws import Aws, AwsError
from extension_kit.commands.console import Parser, guarded, wants_json
from extension_kit.io.clock import Clock
from extensions.chaos_injector.destinations import open_destination
from extensions.chaos_injector.driver import Driver, Outcome, load
from extensions.chaos_injector.plan import Refused
from extensions.chaos_injector.preview import preview, show
from extensions.chaos_injector.rails import DIRECTORY, Facts
from extensions.chaos_injector.readers import LARGEST
from extensions.chaos_injector.settings import ChaosSettings
from extensions.chaos_injector.sources import USE, Place, locate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from extensions.chaos_injector.plan import Experiment

__all__ = ["main"]

_PROG = "python -m extensions.chaos_injector"


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """The exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    environ = dict(os.environ) if environ is None else environ
    return guarded(_PROG, wants_json(words), lambda: _main(_parser().parse_args(words), environ))


def _main(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    settings, warnings = ChaosSettings.parse(environ)
    for line in warnings:
        print(f"warning: {line}", file=sys.stderr)
    clock = Clock()
    try:
        if options.command == "plan" and options.experiment:
            return _plan(options, settings, clock, _load(options, settings, clock))
        place = Place.of(options.source, DIRECTORY) if options.source else locate(settings, environ, DIRECTORY)
        destination = open_destination(place, lambda: Aws(environ, read_timeout=5.0))
        driver = Driver(destination, str(place), settings, clock)
        if options.command == "plan":
            return _plan(options, settings, clock, driver.status().experiment)
        return _do(options, driver, settings, clock)
    except Refused as refused:
        return _show(Outcome(1, "refused", refused.lines), options.json)
    except (AwsError, OSError) as error:
        return _show(Outcome(1, "unreachable", [f"{error}"]), options.json)


def _do(options: argparse.Namespace, driver: Driver, settings: ChaosSettings, clock: Clock) -> int:
    if options.command == "arm":
        experiment = _load(options, settings, clock)
        if experiment is None:
            return _show(Outcome(1, "none", ["the document says that nothing is armed"]), options.json)
        ended = _interrupted() if options.hold else threading.Event()  # before it is armed: it must not stay so
        outcome = driver.arm(experiment)
        if outcome.code or not options.hold:
            return _show(outcome, options.json)
        for line in outcome.lines:  # with --json the one object is what has become of it
            print(line, file=sys.stderr if options.json else sys.stdout, flush=True)
        return _hold(driver, experiment, ended, options.json)
    if options.command == "disarm":
        return _show(driver.disarm(options.id), options.json)
    if options.command == "extend":
        return _show(driver.extend(options.duration, options.owner, options.id), options.json)
    return _show(driver.status(), options.json)


def _interrupted() -> threading.Event:
    """Set by Ctrl-C, or when this process is asked to end."""
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: ended.set())
    return ended


def _hold(driver: Driver, experiment: Experiment, ended: threading.Event, as_json: bool) -> int:
    """Renew until Ctrl-C or its end, then disarm: if this process or machine dies, the experiment ends with its lease."""
    clock = Clock()
    while not ended.wait(
        max(0.5, min(experiment.lease_ms / 3_000, (experiment.armed_until_ms - clock.wall_ms()) / 1_000))
    ):
        if clock.wall_ms() >= experiment.armed_until_ms:
            break
        try:
            outcome = driver.extend(0, experiment.owner, experiment.id)
        except (AwsError, OSError) as error:
            print(f"warning: not renewed: {error}", file=sys.stderr, flush=True)
            continue
        if outcome.code:
            return _show(outcome, as_json)
    return _show(driver.disarm(experiment.id), as_json)


def _load(options: argparse.Namespace, settings: ChaosSettings, clock: Clock) -> Experiment | None:
    if options.experiment == "-":
        data = sys.stdin.buffer.read(LARGEST + 1)
    else:
        with open(options.experiment, "rb") as file:
            data = file.read(LARGEST + 1)
    experiment, notes = load(
        data, settings, clock.wall_ms(), for_ms=options.duration, owner=options.owner,
        functions=tuple(options.function or ()), renewed=getattr(options, "hold", False),
    )  # fmt: skip
    for line in notes:
        print(f"note: {line}", file=sys.stderr)
    return experiment


def _plan(options: argparse.Namespace, settings: ChaosSettings, clock: Clock, experiment: Experiment | None) -> int:
    if experiment is None:
        return _show(Outcome(1, "none", ["there is nothing to plan: nothing is armed"]), options.json)
    plan = preview(
        experiment, settings, clock, rate=options.rate, environments=options.environments,
        functions=[Facts(name, options.region, options.account) for name in options.function or ()],
    )  # fmt: skip
    print(json.dumps(plan, indent=2) if options.json else "\n".join(show(plan)))
    return 0


def _show(outcome: Outcome, as_json: bool) -> int:
    if as_json:
        print(json.dumps(outcome.as_json()), flush=True)
    else:
        for line in outcome.lines:
            print(line, file=sys.stderr if outcome.code else sys.stdout, flush=True)
    return outcome.code


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog=_PROG, description=(__doc__ or "").split("\n\n")[1])
    commands = parser.add_subparsers(dest="command", required=True)
    arm = commands.add_parser("arm", help="write an experiment where functions look for it, unless one is armed there")
    arm.add_argument("experiment", help="file with the experiment (JSON or TOML, any format that is read), - for stdin")
    arm.add_argument("--hold", action="store_true", help="renew its lease until Ctrl-C, then disarm")
    plan = commands.add_parser("plan", help="show what an experiment would do")
    plan.add_argument("experiment", nargs="?", help="file with the experiment; without it, what --source has")
    plan.add_argument("--rate", type=_rate, default=1.0, help="invocations a second, of all environments (default: 1)")
    plan.add_argument("--environments", type=_count, default=1, help="execution environments (default: 1)")
    plan.add_argument("--region", default="", help="of the function that --function names")
    plan.add_argument("--account", default="", help="likewise")
    disarm = commands.add_parser("disarm", help="delete the experiment, whoever has armed it")
    extend = commands.add_parser("extend", help="renew its lease, and with --for its end")
    status = commands.add_parser("status", help="show what is armed")
    for one in (arm, plan):
        one.add_argument(
            "--function", action="append", help="name, for an experiment whose format has no scope; repeatable"
        )
    for one in (disarm, extend):
        one.add_argument("--id", default="", help="only if it is this experiment")
    for one in (arm, plan, extend):
        one.add_argument(
            "--for",
            dest="duration",
            type=_duration,
            default=0,
            metavar="TIME",
            help="it ends so long from now: 90s, 10m",
        )
        one.add_argument("--owner", default=_me(), help="who answers for it (default: %(default)s)")
    for one in (arm, plan, disarm, extend, status):
        one.add_argument("--source", default="", help=f"{USE} (default: as CHAOS_SOURCE and others say)")
        one.add_argument("--json", action="store_true", help="print one object of JSON")
    return parser


def _rate(written: str) -> float:
    try:
        rate = float(written)
    except ValueError:
        rate = -1.0
    if not 0 <= rate <= 1e6:
        raise argparse.ArgumentTypeError(f"{written!r} is no rate: use a number from 0 to 1000000")
    return rate


def _count(written: str) -> int:
    if not written.isascii() or not written.isdigit() or not 1 <= len(written) <= 6 or not int(written):
        raise argparse.ArgumentTypeError(f"{written!r} is no number of environments: use 1 to 999999")
    return int(written)


def _duration(written: str) -> int:
    """``90s``, ``10m``, ``1h`` as ms."""
    factor = {"s": 1_000, "m": 60_000, "h": 3_600_000}.get(written[-1:])
    if factor is None or not written[:-1].isdigit() or len(written) > 6 or not int(written[:-1]):
        raise argparse.ArgumentTypeError(f"{written!r} is no time: use 90s, 10m or 1h")
    return int(written[:-1]) * factor


def _me() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"[:128]
    except (KeyError, OSError):
        return f"uid{os.getuid()}"


if __name__ == "__main__":
    sys.exit(main())
