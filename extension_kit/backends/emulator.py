"""Backend ``emulator``: runs a plan in an execution environment of our own, on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from extension_kit.backends import prepare
from extension_kit.backends.plan import Outcome, Plan
from extension_kit.emulator.environment import Environment
from extension_kit.emulator.model import ON_DEMAND

if TYPE_CHECKING:
    from collections.abc import Callable


def run(plan: Plan, listener: Callable[[dict[str, Any]], object] | None = None) -> Outcome:
    """Run `plan`; ConfigError for what cannot be run at all. ``listener`` sees every event of the record as it happens."""
    isolated = plan.namespaces and not prepare.why_no_namespaces()
    with (
        prepare.layout(plan, isolated) as layout,
        Environment(prepare.profile(plan), layout, listener) as environment,
    ):
        if plan.init_type != ON_DEMAND:
            environment.start()
        invoked = prepare.invoke_all(plan, environment)
        environment.idle(plan.timeout + 3.0)
        environment.shutdown()
        return Outcome(
            environment.platform.healthy,
            tuple(invoked),
            tuple(environment.log.events),
            tuple(environment.log.notes),
            environment.as_json(),
        )
