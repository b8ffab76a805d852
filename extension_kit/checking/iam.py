"""Which IAM actions the function's role needs, by the manifests and the settings; whether policies allow them."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from extension_kit.checking import policy
from extension_kit.checking.findings import ERROR, NOTE, Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from extension_kit.checking.subject import Subject
    from layer_build.manifest import Permission

_GROUP = "iam"
YES, PERHAPS, NO = "yes", "perhaps", "no"


def check(subject: Subject) -> Iterator[Finding]:
    """Without policies a note for each extension: what its role needs. With them what they do not allow."""
    if not subject.policies:
        yield from _needed(subject)
        return
    statements = [one for path in subject.policies for one in policy.read(path)]
    for manifest in subject.manifests:
        for permission in manifest.iam:
            wanted = needed(permission, subject.environ)
            if wanted != NO:
                yield from _against(manifest.name, permission, wanted, statements)


def needed(permission: Permission, environ: Mapping[str, str]) -> str:
    """Whether the settings in `environ` make it so: YES, PERHAPS (the function decides), NO."""
    if not permission.when:
        return YES
    held = {one.endswith("?") for one in permission.when if _holds(one.removesuffix("?"), environ)}
    return YES if False in held else PERHAPS if held else NO


def _holds(condition: str, environ: Mapping[str, str]) -> bool:
    if not condition:
        return True
    variable, equals, value = condition.partition("=")
    written = environ.get(variable, "").strip()
    if not equals:
        return bool(written)
    return any(fnmatchcase(item.strip().lower(), value.lower()) for item in written.split(","))


def _needed(subject: Subject) -> Iterator[Finding]:
    for manifest in subject.manifests:
        sure: list[str] = []
        maybe: list[str] = []
        for permission in manifest.iam:
            wanted = needed(permission, subject.environ)
            if wanted != NO:
                (sure if wanted == YES else maybe).extend(permission.actions)
        said = [f"with these settings the function's role needs {', '.join(sure)}"] if sure else []
        said += [f"it may need {', '.join(maybe)}, by what the function asks for"] if maybe else []
        if said:
            fix = "grant them on the resources that are meant; --policy FILE says whether a policy does"
            yield Finding(_GROUP, NOTE, manifest.name, "; ".join(said), fix)


def _against(about: str, permission: Permission, wanted: str, statements: list[policy.Statement]) -> Iterator[Finding]:
    why = f" ({permission.why})" if permission.why else ""
    for action in permission.actions:
        for resource in permission.resources:
            on = f"{action} on {resource}" if resource != "*" else action
            answer = policy.judge(statements, action, resource)
            level = NOTE if wanted == PERHAPS else ERROR
            if answer == policy.MISSING:
                grant = f'{{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}'
                narrow = ", on the resources that are meant" if resource == "*" else ""
                yield Finding(_GROUP, level, about, f"{on} is not allowed{why}", f"add {grant}{narrow}")
            elif answer == policy.DENIED:
                yield Finding(_GROUP, level, about, f"{on} is denied{why}", f"take {action} out of the Deny")
            elif answer == policy.PERHAPS:
                yield Finding(
                    _GROUP, NOTE, about, f"{on} is allowed under a condition, or in part{why}",
                    "look whether its resources are all that are meant, and its condition holds (none is evaluated here)",
                )  # fmt: skip
