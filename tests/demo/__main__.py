"""``make demo``: a shop and a streaming function with all four extensions attached as built layers, under a chaos plan.

Exit status: 0 everything agrees, 1 it does not or was interrupted, 2 something cannot be had or run here.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit import report
from extension_kit.backends import prepare
from extension_kit.commands.console import Parser
from extension_kit.errors import ConfigError, ExtensionKitError
from extension_kit.report import outputs
from tests.demo import costs, functions, layers, table
from tests.demo.accounts import Check, settle
from tests.demo.receivers import Receivers
from tests.demo.runs import Demo, arm, disarm, planned
from tests.demo.show import Orders, Show

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extension_kit.backends.plan import Outcome
    from tests.demo.accounts import Accounts
    from tests.demo.costs import Cost

BACKENDS = {
    "emulator": "the kit's own execution environment",
    "rie": "AWS's Runtime Interface Emulator",
    "docker": "an image like Lambda's, under AWS's emulator",
}
#: decides about orders and faults; with this one each kind of fault happens
SEED = 2281
_SHORT = {
    "the shop alone": "alone",
    "metrics-collector": "metrics",
    "chaos-injector": "chaos",
    "all, one process": "in one",
}
_REPORTS = layers.ROOT / "build" / "demo"


def main(arguments: list[str] | None = None) -> int:
    show = Show(sys.stdout)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)
    try:
        options = _options(arguments)
        _require_outputs(options)
        return _demo(options, show)
    except ExtensionKitError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ndemo: interrupted; nothing is left behind", file=sys.stderr)
        return 1


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = Parser(prog="make demo", description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", choices=tuple(BACKENDS), default="emulator")
    parser.add_argument("--orders", type=int, default=16, metavar="N", help="of the shop (default 16)")
    parser.add_argument(
        "--rounds", type=int, metavar="N", help="of measuring (default: as many as fit in 70 s; 0: none)"
    )
    parser.add_argument(
        "--seed", type=int, default=SEED, metavar="N", help="of orders and faults (default %(default)s)"
    )
    parser.add_argument(
        "--env", type=_variable, action="append", default=[], metavar="K=V", help="for every run (repeatable)"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table and the checks")
    options = parser.parse_args(arguments)
    if not (1 <= options.orders <= 200 and 0 <= (options.rounds or 0) <= 100):
        parser.error("--orders is 1 to 200, --rounds 0 to 100")
    return options


def _variable(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE")
    return name, value


def _require_outputs(options: argparse.Namespace) -> None:
    """ConfigError for what could not be written at the end: said before a minute of work."""
    outputs.require_writable("--json", options.json)
    try:
        _REPORTS.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{_REPORTS}: cannot be made: {error.strerror}") from error
    for name in functions.NAMES:
        outputs.require_writable("report", _page(name, options.backend))


def _page(name: str, backend: str) -> Path:
    return _REPORTS / f"{name}-{backend}.html"


def _interrupted(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _demo(options: argparse.Namespace, show: Show) -> int:
    began = time.monotonic()
    title = show.paint("Lambda Extension Kit", "bold")
    show.line(f"{title} · four extensions, two functions, {BACKENDS[options.backend]}")
    with _ready(options, show) as demo:
        outcomes = _shown(demo, options, show)
        pages = [report.html(json.loads(outcome.record)) for outcome in outcomes]
        accounts = settle(outcomes, pages, demo.receivers, options.seed, known_ids=options.backend == "emulator")
        _phoned_home(demo, show, accounts)
        rounds = _measured(demo, options, show) if options.rounds != 0 else []
        found = table.rows(rounds, demo.layers, accounts)
    _conclude(options, show, found, rounds, accounts)
    page, other = _report(pages, options.backend)
    show.line()
    show.fact("report", os.path.relpath(page), "bold", "cyan")
    show.fact(
        "",
        f"{other.name} beside it is the streaming function's; all of it took {time.monotonic() - began:.0f} s",
        "dim",
    )
    if options.json is not None:
        _write(options, found, rounds, accounts, [page, other])
    return 0 if all(check.holds for check in accounts.checks) else 1


# before it --------------------------------------------------------------------------------------------------------------


@contextmanager
def _ready(options: argparse.Namespace, show: Show) -> Iterator[Demo]:
    """Layers built, functions laid out, receivers running; all of it but the layers gone afterwards."""
    show.heading("1  made ready")
    _require(options.backend)
    python = layers.own_python() if options.backend != "docker" else _image_python(show)
    zips = layers.built_all(python, lambda text: show.fact("layers", text, "dim"))
    sizes = ", ".join(f"{name} {path.stat().st_size / 1024:.0f} KB" for name, path in zips.items())
    show.fact("layers", f"{sizes} (Python {python}, {layers.architecture()})")
    # Not under /tmp, which is an environment's own; in the engine's sight, where that is on this machine.
    layers.CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="run-", dir=layers.CACHE.parent, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        staged = functions.stage(folder)
        with Receivers(folder) as receivers:
            show.fact(
                "receivers", "moto as AWS (Secrets Manager, CloudWatch Logs), rotel as the OpenTelemetry collector"
            )
            yield Demo(options.backend, options.seed, zips, staged, receivers, dict(options.env))


def _require(backend: str) -> None:
    """ConfigError for what this machine lacks: said before anything is built."""
    if backend == "docker":
        from layer_build.images import connect

        connect().close()
        if os.geteuid() != 0:
            raise ConfigError(
                "the receivers are on this machine's loopback, which a container reaches where we are root: run as root"
            )
        return
    why_not = prepare.why_no_namespaces()
    if why_not:
        raise ConfigError(f"built layers lie under /opt, for which backend {backend} needs namespaces: {why_not}")
    if backend == "rie":
        from extension_kit.backends import rie_binary

        rie_binary.binary(lambda text: print(f"  {text}", flush=True))


def _image_python(show: Show) -> str:
    from layer_build.images import ensure
    from layer_build.images.image import PYTHON

    show.fact("image", ensure(lambda text: show.fact("image", text, "dim")))
    return PYTHON


# the run that is shown --------------------------------------------------------------------------------------------------


def _shown(demo: Demo, options: argparse.Namespace, show: Show) -> list[Outcome]:
    """The shop's orders and the streaming function's, with everything attached and the experiment armed."""
    show.heading("2  orders come in, with all four attached, and an experiment armed")
    arm(demo)
    show.fact("armed", f"{planned()}; seed {demo.seed}, for 10 minutes")
    orders, parcels = (
        functions.orders(demo.seed, options.orders),
        functions.parcels(demo.seed, max(2, options.orders * 3 // 8)),
    )
    show.line(show.paint("  shop", "cyan"))
    outcomes = [
        demo.run("shop", orders, listener=Orders(show, orders, lambda one: f"{one['quantity']} x {one['item']}"))
    ]
    show.line(show.paint("  stream", "cyan"))
    described = Orders(show, parcels, lambda one: f"{one['parcels']} parcels, a chunk each")
    outcomes.append(demo.run("stream", parcels, listener=described))
    disarm(demo)
    return outcomes


def _phoned_home(demo: Demo, show: Show, accounts: Accounts) -> None:
    """A fifth extension, whose dependency tells its maker of each invocation: it is not let."""
    found = demo.refused()
    if found is None:
        return
    count, said = found
    show.line(show.paint("  a fifth extension, with a dependency that phones home", "cyan"))
    show.fact("  said", said, "yellow")
    accounts.checks.append(Check("egress guard", "connections refused, as many as the dependency has tried", count, 1))


# what it costs ----------------------------------------------------------------------------------------------------------


def _measured(demo: Demo, options: argparse.Namespace, show: Show) -> list[dict[str, Cost]]:
    show.heading("3  what it costs: the shop alone, with each, with all four, with all in one; nothing armed")

    def told(number: int, name: str, seconds: float) -> None:
        seen.append(name)
        if len(seen) % len(costs.VARIANTS) == 1:
            show.line(f"  round {number}  ", end="")
        took.append(seconds)
        last = len(seen) % len(costs.VARIANTS) == 0
        show.line(f" {_SHORT.get(name, name)}" + (f"   {sum(took):.1f} s" if last else ","), end="\n" if last else "")
        if last:
            took.clear()

    seen: list[str] = []
    took: list[float] = []
    return costs.measure(demo, options.rounds, told)


# the end ----------------------------------------------------------------------------------------------------------------


def _conclude(
    options: argparse.Namespace, show: Show, found: dict[str, Any], rounds: list[dict[str, Cost]], accounts: Accounts
) -> None:
    show.heading("4  what each extension delivered, and what it cost")
    table.show_table(show, found, rounds, options.backend)
    show.heading("5  what they say, beside what the receivers hold")
    for check in accounts.checks:
        show.line(_told(show, check))
    for note in accounts.notes:
        show.fact("note", note, "dim")


def _told(show: Show, check: Check) -> str:
    mark = show.paint("✓", "green") if check.holds else show.paint("✗", "red", "bold")
    if check.holds:
        number = len(check.said) if isinstance(check.said, list) else check.said
        return f"  {mark} {show.paint(f'{check.about:18}', 'cyan')}{number:>5}  {check.what}"
    least = f", at least {check.least} wanted" if check.least else ""
    return f"  {mark} {show.paint(f'{check.about:18}', 'cyan')}{check.what}: says {check.said}, there are {check.held}{least}"


def _report(pages: list[str], backend: str) -> list[Path]:
    """Where the page of each function's run is."""
    paths = [_page(name, backend) for name in functions.NAMES]
    for path, page in zip(paths, pages, strict=True):
        outputs.write("report", path, page)
    return paths


def _write(
    options: argparse.Namespace,
    found: dict[str, Any],
    rounds: list[dict[str, Cost]],
    accounts: Accounts,
    reports: list[Path],
) -> None:
    content = {
        "format": "extension-kit-demo/1", "backend": options.backend, "seed": options.seed, "rounds": len(rounds),
        "memory_mb": table.MEMORY_MB, "alone": costs.alone(rounds), "extensions": found,
        "checks": [{"about": one.about, "what": one.what, "said": one.said, "held": one.held, "holds": one.holds}
                   for one in accounts.checks],
        "notes": accounts.notes, "reports": [str(path) for path in reports],
    }  # fmt: skip
    outputs.write("--json", options.json, json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
