"""Variables that will not do what was meant: another extension's, misspelled, not honoured, or more than Lambda takes."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from extension_kit.checking import known
from extension_kit.checking.findings import ERROR, NOTE, WARNING, Finding
from extension_kit.settings import KNOWN_KIT_VARIABLES, KitSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extension_kit.checking.subject import Subject

_GROUP = "variables"
#: bytes of all names and values (AWS docs, "Lambda quotas")
_MOST = 4_096
_PROXY = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
#: beginnings of what the launcher, and Python's isolated mode, keep from the extension
_KEPT_AWAY = ("LD_", "OPENSSL_", "PYTHON")
_WRAPPER = "AWS_LAMBDA_EXEC_WRAPPER"
_SIMILAR = 0.88  # of difflib's ratio: a letter too few, too many or exchanged in a name of usual length


def check(subject: Subject) -> Iterator[Finding]:
    """What concerns extensions is only looked at where some are attached."""
    yield from _size(subject)
    yield from _wrapper(subject)
    if subject.plugins or subject.layers:
        yield from _of_others(subject)
        yield from _slips(subject)
        yield from _plugins(subject)
        yield from _not_honoured(subject)


def _size(subject: Subject) -> Iterator[Finding]:
    size = sum(len(name.encode()) + len(value.encode()) for name, value in subject.given.items())
    if size > _MOST:
        yield Finding(
            _GROUP, ERROR, "function", f"its variables have {size:,} bytes; Lambda takes {_MOST:,}",
            "keep what is long in a file of the function's, a parameter or a secret, and name it in a variable",
        )  # fmt: skip


def _of_others(subject: Subject) -> Iterator[Finding]:
    """Variables by which an operator thinks to have attached something."""
    for variable in sorted(subject.environ):
        owner = known.owner(variable)
        if owner in subject.names and not subject.runs(owner) and not _is_read(variable, subject):
            yield Finding(
                _GROUP, WARNING, owner, f"{variable} is set, and EXTENSION_KIT_PLUGINS leaves {owner} out",
                f"name {owner} in EXTENSION_KIT_PLUGINS, too, or leave {variable} out",
            )  # fmt: skip
        elif owner and owner not in subject.names and not _is_declared(variable, subject):
            yield Finding(
                _GROUP, WARNING, owner, f"{variable} is set, and {owner} is not attached",
                f"attach the layer of {owner}, or leave {variable} out",
            )  # fmt: skip


def _slips(subject: Subject) -> Iterator[Finding]:
    """Given variables that nobody reads, and that are nearly those of somebody who is attached."""
    names = _known(subject)
    for variable in subject.given:
        if variable in names or known.owner(variable) or variable.startswith(_prefixes(subject)):
            continue  # the settings have said it
        near = difflib.get_close_matches(variable.upper(), names, n=1, cutoff=_SIMILAR)
        if near:
            yield Finding(
                _GROUP, WARNING, "function", f"{variable} is read by no extension; did you mean {near[0]}?",
                f"set {near[0]} instead of {variable}; if it is the function's own, all is well",
            )  # fmt: skip


def _plugins(subject: Subject) -> Iterator[Finding]:
    for name in subject.chosen:
        if name not in subject.names:
            near = difflib.get_close_matches(name, sorted(subject.names), n=1, cutoff=0.6)
            there = (
                near[0] if near else ", ".join(sorted(one.plugin.name for one in subject.plugins)) or "what is attached"
            )
            yield Finding(
                _GROUP, WARNING, "extension-kit", f"EXTENSION_KIT_PLUGINS names {name}, which is not attached",
                f"name {there}, or attach {name}",
            )  # fmt: skip


def _not_honoured(subject: Subject) -> Iterator[Finding]:
    """Of the given ones only: what this machine's shell has is not the function's."""
    level = WARNING if any(one.hosts for one in subject.manifests) else NOTE
    for variable in subject.given:
        name = variable.upper()
        if name in _PROXY:
            what, fix = "extensions do not go through it: it is the function's", _own(subject, "_PROXY")
            fix = f"set {fix} as well" if fix else "give the extension a way out without a proxy: NAT, or VPC endpoints"
            yield Finding(_GROUP, level, "function", f"{variable}: {what}", fix)
        elif name in _TRUST:
            what = "extensions do not read it: what they trust is not the function's to say"
            fix = f"EXTENSION_KIT_CA_BUNDLE for AWS's services{_and(_own(subject, '_CA_BUNDLE'))}"
            yield Finding(_GROUP, level, "function", f"{variable}: {what}", f"set {fix} as well")
        elif name.startswith("AWS_ENDPOINT_URL"):
            what = "the kit's own calls to AWS do not read it: it may point at an extension"
            yield Finding(_GROUP, NOTE, "function", f"{variable}: {what}", f"set EXTENSION_KIT_{name} if they shall")
        elif name.startswith(_KEPT_AWAY):
            what = "it does not reach extensions of the kit: their Python is their own"
            fix = (
                "nothing, if it is meant for the function; what an extension needs goes into its layer, [dependencies]"
            )
            yield Finding(_GROUP, NOTE, "function", f"{variable}: {what}", fix)


def _own(subject: Subject, ending: str) -> str:
    """The settings of what is attached that end so: those that do what the function's variable does not."""
    found = (
        setting.variable
        for settings in subject.settings.values()
        for setting in settings.declared()
        if setting.variable.endswith(ending)
    )
    return " or ".join(found)


def _and(text: str) -> str:
    return f", {text} for what else it sends to," if text else ""


def _wrapper(subject: Subject) -> Iterator[Finding]:
    path = subject.given.get(_WRAPPER, "")
    inside = path.removeprefix("/opt/")
    if not path.startswith("/opt/") or not subject.layers:
        return
    entries = [layer.files[inside] for layer in subject.contents if inside in layer.files]
    if not entries:
        yield Finding(
            _GROUP, ERROR, "function", f"{_WRAPPER}={path} is in none of the layers: the function would not start",
            "attach the layer that it belongs to, or leave the variable out",
        )  # fmt: skip
    elif not entries[-1].mode & 0o111:
        yield Finding(
            _GROUP, ERROR, "function", f"{_WRAPPER}={path} is not executable: the function would not start",
            "give it mode 0755 in the layer",
        )  # fmt: skip


def _is_declared(variable: str, subject: Subject) -> bool:
    """Whether something that is attached says that it reads `variable`."""
    return any(
        variable == one or (one.endswith("*") and variable.startswith(one[:-1]))
        for manifest in subject.manifests
        for one in manifest.variables
    )


def _is_read(variable: str, subject: Subject) -> bool:
    """Whether it is a setting of something that runs."""
    return any(
        variable in (one.variable, *one.aliases)
        for settings in subject.settings.values()
        for one in settings.declared()
    )


def _known(subject: Subject) -> list[str]:
    """All variables that what is attached reads, as far as they are named in full."""
    found = [name for name in KNOWN_KIT_VARIABLES if not name.endswith("*")]
    found += [name for one in KitSettings.declared() for name in (one.variable, *one.aliases)]
    for settings in subject.settings.values():
        found += [name for setting in settings.declared() for name in (setting.variable, *setting.aliases)]
    found += [name for one in subject.manifests for name in one.variables if not name.endswith("*")]
    return list(dict.fromkeys(found))


def _prefixes(subject: Subject) -> tuple[str, ...]:
    return (known.KIT, *filter(None, (settings.prefix for settings in subject.settings.values())))
