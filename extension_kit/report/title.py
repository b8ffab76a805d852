"""What a run was, in a line or two."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from extension_kit.report.model import Timeline


def heading(found: Timeline) -> str:
    """What ran, how often, and how it went."""
    count, failed = len(found.invocations), found.errors
    troubles = sum(mark.kind == "error" for mark in found.marks)
    how = f", {failed} not well" if failed else ""
    how += f", {found.unended} not ended" if found.unended else ""
    more = f", {troubles} error(s) on the timeline" if troubles else ""
    seconds = f"{found.end / 1000:.2f} s"
    return f"{name(found)}: {count} invocation{'' if count == 1 else 's'} in {seconds}{how}{more}"


def name(found: Timeline) -> str:
    """The function's name."""
    return str(found.profile.get("function_name") or "function")


def facts(found: Timeline) -> str:
    """How the environment was configured."""
    profile = found.profile
    said = [str(profile.get("init_type", "")), _with(profile.get("memory_mb"), "MB")]
    if profile.get("timeout"):
        said.append(f"timeout {profile['timeout']} s")
    extensions = sum(lane.kind == "extension" for lane in found.lanes)
    said.append(f"{extensions} extension{'' if extensions == 1 else 's'}")
    if any(True for _ in found.of("frozen")):
        said.append("frozen between invocations")
    faults = profile.get("faults")
    chosen = faults.get("chosen") if isinstance(faults, dict) else None
    if chosen:
        said.append(f"faults: {', '.join(map(str, chosen))}")
    return ", ".join(filter(None, said))


def _with(number: object, unit: str) -> str:
    return f"{number} {unit}" if number else ""
