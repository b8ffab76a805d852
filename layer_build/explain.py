"""A manifest in plain sentences: what an operator reads before attaching a layer, and what `diff` compares."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from layer_build.manifest import Host, Manifest, Permission, Port

_HEARS = {
    "platform": "when the function starts and ends, and its figures",
    "function": "the function's log lines",
    "extension": "extensions' log lines",
}


def one_line(text: str) -> str:
    """`text` without what would break a line or a terminal: blanks for line ends, nothing for what cannot be printed."""
    return "".join(letter for letter in " ".join(text.split()) if letter.isprintable())


def explain(manifest: Manifest) -> list[str]:
    """What the extension may do, a sentence each; what it may not is said as well, so that nothing is left to guess."""
    lines = [f"It is {_all(manifest.parts)} in one process."] if manifest.parts else []
    lines += [f"It may talk to: {_all(_host(one) for one in manifest.hosts) or 'nobody'}."]
    if any("{region}" in one.host for one in manifest.hosts):
        lines.append("{region} stands for the function's region.")
    lines.append(f"It reads these variables: {_all(map(_variable, manifest.variables)) or 'none of its own'}.")
    lines.append(f"It needs these IAM actions: {_all(_permission(one) for one in manifest.iam) or 'none'}.")
    lines += [f"It listens on {_port(one)}." for one in manifest.ports] or ["It listens on no port for the function."]
    lines.append(f"It writes below: {_all(manifest.writes) or 'nothing'}.")
    lines.append(f"It is told of: {_all(manifest.events) or 'nothing by events'}.")
    hears = _all(f"{one} telemetry ({_HEARS[one]})" for one in manifest.telemetry)
    lines.append(f"It hears: {hears or 'no telemetry'}.")
    return [one_line(line) for line in lines]


def abilities(manifest: Manifest) -> dict[str, str]:
    """What the extension may do, one by one: a key that is the same for the same ability, and words after "it may"."""
    found: dict[str, str] = {}
    for host in manifest.hosts:
        found[f"host {host.host}"] = f"talk to {_host(host)}"
    for variable in manifest.variables:
        found[f"variable {variable}"] = f"read the variable {_variable(variable)}"
    for permission in manifest.iam:
        for action in permission.actions:
            for resource in permission.resources:
                words = f"use the IAM action {action} on {resource}{_because(permission.why)}"
                found[f"iam {action} {resource}"] = words
    for port in manifest.ports:
        overridden = " ".join(port.variables)
        kind = f" optional {port.protocol}" if port.optional else ""
        found[f"port {port.port} {overridden} {port.fallback}{kind}"] = f"listen on {_port(port)}"
    for path in manifest.writes:
        found[f"writes {path}"] = f"write below {path}"
    for event in manifest.events:
        found[f"event {event}"] = f"be told of {event}"
    for stream in manifest.telemetry:
        found[f"telemetry {stream}"] = f"hear {stream} telemetry ({_HEARS[stream]})"
    return {key: one_line(words) for key, words in found.items()}


def _all(found: Iterable[str]) -> str:
    return "; ".join(found)


def _because(why: str) -> str:
    return f" ({why.strip().rstrip('.')})" if why.strip() else ""


def _host(one: Host) -> str:
    return one.host + _because(one.why)


def _variable(name: str) -> str:
    return f"{name} (all that begin so)" if name.endswith("*") else name


def _permission(one: Permission) -> str:
    everything = one.resources == ("*",)
    return f"{', '.join(one.actions)} on {'everything' if everything else ', '.join(one.resources)}{_because(one.why)}"


def _port(one: Port) -> str:
    if one.optional:
        return f"127.0.0.1 by {one.protocol.upper()}, only where {' or '.join(one.variables)} says{_because(one.why)}"
    place = f"127.0.0.1:{one.port}" if one.port else "127.0.0.1, any free port"
    options = [f"or where {' or '.join(one.variables)} says"] if one.variables else []
    options += ["or any free port where that is taken"] if one.fallback and one.port else []
    return ", ".join([place, *options]) + _because(one.why)
