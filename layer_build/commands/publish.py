"""``publish``: layers to regions, so that a run that was interrupted is simply run again."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build import index
from layer_build.atomic import write
from layer_build.publishing import aws, plan, record, signing, zips
from layer_build.publishing.aws import Aws
from layer_build.publishing.doing import Publisher, read_all
from layer_build.publishing.plan import Grant

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from layer_build.publishing.plan import Region
    from layer_build.publishing.zips import Zip

_ORGANIZATION = re.compile(r"o-[a-z0-9]{10,32}")
_ACCOUNT = re.compile(r"\d{12}")
_PREFIX = re.compile(r"(/[A-Za-z0-9_.-]+)*")


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument("layers", nargs="+", type=Path, metavar="ZIP|FOLDER", help="the zips, or folders of them")
    parser.add_argument("--regions", required=True, metavar="R,...", help="or all, all:aws-cn, all:aws-us-gov")
    parser.add_argument("--without", default="", metavar="R,...", help="regions to be left out of all")
    parser.add_argument("--yes", action="store_true", help="do it; without it the plan is printed, and nothing done")
    parser.add_argument("--public", action="store_true", help="everybody may use the layers")
    parser.add_argument(
        "--organization", action="append", default=[], metavar="O-ID", help="accounts of it may (repeatable)"
    )
    parser.add_argument("--account", action="append", default=[], metavar="ID", help="this account may (repeatable)")
    parser.add_argument("--layer-name", default=zips.LAYER_NAME, metavar="PATTERN", help="(default %(default)s)")
    parser.add_argument(
        "--parameters",
        default="/extension-kit",
        metavar="PREFIX",
        help='of the SSM parameters; "": none (default %(default)s)',
    )
    parser.add_argument(
        "--index", type=Path, metavar="FILE", help="the index to be kept (default: index.json beside the zips)"
    )
    parser.add_argument("--changelog", type=Path, metavar="FILE", help="a changelog that gets a line for each layer")
    parser.add_argument("--expect", metavar="INDEX", help="an index that the zips must be in, byte for byte")
    parser.add_argument(
        "--rebuilt", action="store_true", help="a version in the index may be published with other content"
    )
    parser.add_argument("--sign", metavar="PROFILE", help="AWS Signer's profile; needs --bucket")
    parser.add_argument("--bucket", metavar="S3", help="a bucket with versioning, in the first region, for --sign")
    parser.add_argument(
        "--profile", action="append", default=[], metavar="[PARTITION=]NAME", help="of AWS's configuration (repeatable)"
    )
    parser.add_argument("--json", action="store_true", help="what is done, as JSON")


def run(options: argparse.Namespace) -> int:
    """0: all is as asked for (or would be); 1: a region failed, the next run goes on; 2: nothing was begun."""
    grants = _grants(options)
    if not _PREFIX.fullmatch(options.parameters) or re.match(r"/?(aws|ssm)", options.parameters, re.IGNORECASE):
        raise ConfigError(
            f"--parameters {options.parameters!r}: a path wanted, e.g. /extension-kit; not below /aws or /ssm"
        )
    found = zips.read(options.layers, options.layer_name)
    place = options.index or found[0].path.parent / "index.json"
    known = record.load(str(place)) if place.exists() else []
    if options.expect:
        zips.expect(found, record.load(options.expect), options.expect)
    wrong = record.contradiction(known, found)
    if wrong and not options.rebuilt:
        raise ConfigError(wrong)
    names = aws.regions(options.regions, options.without)
    amazon = Aws(aws.profiles(options.profile))
    if options.sign:
        choice = signing.Choice(options.sign, options.bucket or "", dry=not options.yes)
        found = signing.sign(amazon, names[0], found, choice, _err)
    regions, failed = read_all(amazon, names, found, options.parameters)
    if failed:
        for line in failed:
            _err(f"  {line}")
        raise ConfigError(f"{len(failed)} of {len(names)} region(s) cannot be read; nothing was begun")
    return _carry_out(options, amazon, regions, found, grants, place, known)


def _carry_out(
    options: argparse.Namespace,
    amazon: Aws,
    regions: Sequence[Region],
    found: Sequence[Zip],
    grants: Sequence[Grant],
    place: Path,
    known: Sequence[dict[str, Any]],
) -> int:
    say = _err if options.json else print
    mark = "  done:" if options.yes else "  would:"
    publisher = Publisher(
        amazon, lambda text: say(f"{mark} {text}"), lambda text: _err(f"  FAILED {text}"), dry=not options.yes
    )
    try:
        whole = publisher.run(regions, found, grants, options.parameters)
    except KeyboardInterrupt:
        _err("  stopped; what is published stays, and the same command goes on from there")
        raise
    _remarks(regions, found, grants)
    files = _files(options, place, known, regions, found) if whole and options.yes else []
    for path in files:
        say(f"  written: {path}")
    summary = _summary(options, publisher, len(regions), len(found))
    if options.json:
        out = {
            "dry_run": not options.yes,
            "done": publisher.done,
            "failed": publisher.failed,
            "files": list(map(str, files)),
        }
        print(json.dumps(out, indent=1))
    say(summary)
    return 0 if whole else 1


def _summary(options: argparse.Namespace, publisher: Publisher, regions: int, layers: int) -> str:
    made = [sum(one["do"] == what for one in publisher.done) for what in ("publish", "allow", "parameter")]
    counts = f"{made[0]} version(s), {made[1]} permission(s), {made[2]} parameter(s)"
    where = f"{layers} layer(s), {regions} region(s)"
    if publisher.failed:
        return f"{where}: {len(publisher.failed)} call(s) failed after {counts}; run it again, it goes on from there"
    if not any(made):
        return f"{where}: all of it is published, nothing to do"
    return f"{where}: {counts}" if options.yes else f"{where}: would make {counts}; nothing was done (--yes does it)"


def _remarks(regions: Sequence[Region], found: Sequence[Zip], grants: Sequence[Grant]) -> None:
    """What somebody might want to change, and this command does not."""
    for version, grant in plan.more_grants(regions, found, grants):
        _err(f"  note: {version.arn} may be used by {grant} as well; that was not asked for, and stays")
    for mine, last in plan.behind(regions, found):
        newer = f"{last.arn} ({last.extension or 'no version'})"
        _err(f"  note: {mine.arn} is not the newest: the parameter `latest` does not go back from {newer}")


def _files(
    options: argparse.Namespace,
    place: Path,
    known: Sequence[dict[str, Any]],
    regions: Sequence[Region],
    found: Sequence[Zip],
) -> list[Path]:
    """The index, the changelog and the statements: those that change."""
    wanted = {place: index.render(record.merged(known, found, regions))}
    if options.changelog:
        text = _text(options.changelog)
        wanted[options.changelog] = record.changelog(text, found, regions).encode()
    for one in found:
        wanted[one.path.with_suffix(".intoto.json")] = record.statement(one)
    changed = [path for path, data in wanted.items() if not path.exists() or path.read_bytes() != data]
    for path in changed:
        write(path, wanted[path])
    return changed


def _text(path: Path) -> str:
    try:
        return path.read_text() if path.exists() else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--changelog {path}: cannot be read: {error}") from error


def _grants(options: argparse.Namespace) -> list[Grant]:
    for one in options.organization:
        if not _ORGANIZATION.fullmatch(one):
            raise ConfigError(f"--organization {one!r}: an organisation's identifier wanted, e.g. o-a1b2c3d4e5")
    for one in options.account:
        if not _ACCOUNT.fullmatch(one):
            raise ConfigError(f"--account {one!r}: twelve digits wanted")
    found = [Grant("*")] if options.public else []
    found += [Grant("*", one) for one in options.organization]
    return [*found, *(Grant(one) for one in options.account)]


def _err(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
