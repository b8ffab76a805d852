"""``outdated``: functions whose layers are behind, what a newer one changes, and what that may break."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build.explain import one_line
from layer_build.outdated import changes, templates
from layer_build.outdated.judging import BEHIND, CURRENT, NEWER, Verdict, judge, known
from layer_build.outdated.uses import Found, account
from layer_build.publishing import aws, record
from layer_build.publishing.aws import Aws, AwsError
from layer_build.text import section, table

if TYPE_CHECKING:
    import argparse

    from layer_build.outdated.judging import Known


def arguments(parser: argparse.ArgumentParser) -> None:
    """Its command line."""
    parser.add_argument(
        "templates", nargs="*", type=Path, metavar="TEMPLATE",
        help="SAM, CloudFormation, cdk.out, Terraform's plan as JSON, a .tf or a folder of them; none: the account",
    )  # fmt: skip
    parser.add_argument(
        "--index", action="append", default=[], metavar="FILE|URL", help="as publish wrote it (repeatable)"
    )
    parser.add_argument("--regions", metavar="R,...", help="of the account, or all")
    parser.add_argument("--without", default="", metavar="R,...", help="regions to be left out of all")
    parser.add_argument(
        "--changelog", action="append", default=[], metavar="[NAME=]FILE", help="what changed, by version (repeatable)"
    )
    parser.add_argument(
        "--profile", action="append", default=[], metavar="[PARTITION=]NAME", help="of AWS's configuration (repeatable)"
    )
    parser.add_argument("--json", action="store_true", help="for programs")


def run(options: argparse.Namespace) -> int:
    """0: none is behind; 1: some are; ConfigError or AwsError (2) where that cannot be told."""
    if not options.index:
        raise ConfigError("which layers are known? Name an index with --index, as `publish` or its author wrote it")
    index = known([entry for place in options.index for entry in record.load(place)])
    if not index:
        raise ConfigError(f"{', '.join(options.index)}: nothing in it was published; `publish` fills it")
    logs = _changelogs(options.changelog)
    found = _found(options)
    verdicts = [one for use in found.uses if (one := judge(use, index)) is not None]
    rows = [_as_json(one, logs) for one in verdicts]
    if options.json:
        print(json.dumps({"functions": found.functions, "layers": rows}, indent=1))
    else:
        print("\n".join(_as_text(found, verdicts, rows)))
    return 1 if any(one.state == BEHIND for one in verdicts) else 0


def _found(options: argparse.Namespace) -> Found:
    if options.templates:
        if options.regions:
            raise ConfigError("--regions is for the account's functions; templates are read as they are")
        found = Found(0, ())
        for path in options.templates:
            if not path.exists():
                raise ConfigError(f"{path}: no such template")
            found += templates.read(path)
        return found
    if not options.regions:
        raise ConfigError("what is to be looked at? Name templates, or the account's regions with --regions")
    names = aws.regions(options.regions, options.without)
    amazon = Aws(aws.profiles(options.profile))
    found, failed = Found(0, ()), []
    for name in names:
        try:
            found += account(amazon, name)
        except AwsError as error:
            failed.append(str(error))
    if failed:
        raise AwsError("; ".join(failed))
    return found


def _changelogs(given: list[str]) -> dict[str, str]:
    """Extension ("": any) to the text of its changelog."""
    found = {}
    for text in given:
        name, _, path = text.rpartition("=")
        try:
            found[name] = Path(path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"--changelog {path}: cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from error
    return found


def _as_json(one: Verdict, logs: dict[str, str]) -> dict[str, Any]:
    entry = one.newest.entry
    found = {
        "function": one.use.function,
        "place": one.use.place,
        "extension": entry["name"],
        "arn": one.use.arn.text,
        "state": one.state,
        "has": _version(one.has),
        "newest": _version(one.newest),
        "newest_arn": one.newest.arn.text,
    }
    if one.state != BEHIND or one.has is None:
        return {**found, "changed": [], "capabilities": None, "may_break": []}
    log = changes.from_changelog(logs.get(entry["name"], logs.get("", "")), found["has"], found["newest"])
    return {
        **found,
        "changed": [f"{kind}: {line}" if kind else line for kind, line in log],
        "capabilities": changes.capabilities(one.has.entry, entry),
        "may_break": changes.may_break(one.has.entry, entry, one.use.runtime, log),
    }


def _version(one: Known | None) -> str | None:
    return str(one.entry["version"]) if one else None


def _as_text(found: Found, verdicts: list[Verdict], rows: list[dict[str, Any]]) -> list[str]:
    lines: list[str] = []
    behind = [(one, row) for one, row in zip(verdicts, rows, strict=True) if one.state == BEHIND]
    if behind:
        head = ["FUNCTION", "WHERE", "LAYER", "HAS", "NEWEST"]
        cells = [
            [
                one.use.function,
                one.use.place,
                one.use.arn.layer,
                _shown(one.has, one.use.arn.number),
                _shown(one.newest, 0),
            ]
            for one, _ in behind
        ]
        lines += table([head, *([one_line(cell) for cell in row] for row in cells)])
    told: set[tuple[Any, ...]] = set()
    for one, row in behind:
        title = f"{row['extension']} {row['has'] or 'of an unknown version'} -> {row['newest']}"
        said = _said(one, row)
        if (title, *said) not in told:
            told.add((title, *said))
            lines += section(one_line(title), said)
    for one in verdicts:
        if one.state == NEWER:
            lines.append(
                f"  note: {one.use.function} uses {one.use.arn.text}, which is newer than all that the index has"
            )
    counts = [sum(one.state == state for one in verdicts) for state in (BEHIND, CURRENT, NEWER)]
    using = len({(one.use.place, one.use.function) for one in verdicts})
    lines += [""] if lines else []
    return [
        *lines,
        f"{found.functions} function(s), {using} with known layers: {counts[0]} layer(s) behind, {counts[1]} current"
        + (f", {counts[2]} newer than the index" if counts[2] else ""),
    ]


def _shown(one: Known | None, number: int) -> str:
    return f"{one.entry['version']} (:{one.arn.number})" if one else f"? (:{number})"


def _said(one: Verdict, row: dict[str, Any]) -> list[str]:
    if one.has is None:
        return ["  the index does not know the version in use: what changed cannot be told"]
    lines = [f"  may break: {one_line(line)}" for line in row["may_break"]]
    lines += [f"  changed:   {one_line(line)}" for line in row["changed"]]
    if row["capabilities"] is None:
        return [*lines, "  what it may do: the index does not say; `diff` tells it from the two zips"]
    return [*lines, *(f"  it {one_line(line)}" for line in row["capabilities"] or ["may do what it could do before"])]
