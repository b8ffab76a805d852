"""Backend ``emulator``: runs a plan in an execution environment of our own, on this machine."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.backends.plan import Invoked, Outcome, Plan
from extension_kit.emulator import namespaces
from extension_kit.emulator.environment import Environment, Layout
from extension_kit.emulator.model import ON_DEMAND, Profile
from extension_kit.errors import ConfigError
from extension_kit.plugin import validate

if TYPE_CHECKING:
    from collections.abc import Callable

_PLATFORM_ERRORS = ("Sandbox.", "Extension.", "Runtime.ExitError", "Runtime.InvalidEntrypoint")


def run(plan: Plan, listener: Callable[[dict[str, Any]], object] | None = None) -> Outcome:
    """Run `plan`; ConfigError for what cannot be run at all. ``listener`` sees every event of the record as it happens."""
    if plan.bootstrap is None and importlib.util.find_spec("awslambdaric") is None:
        raise ConfigError(
            "a Python function needs the package awslambdaric: pip install lambda-extension-kit[emulator]"
        )
    usable = plan.namespaces and not (_single_threaded_root() or namespaces.unavailable())
    with tempfile.TemporaryDirectory(prefix="extension-kit-run-") as folder:
        launchers = _plugin_launchers(plan.plugins, Path(folder))
        layout = Layout(
            function=plan.function,
            bootstrap=plan.bootstrap,
            layers=plan.layers,
            extensions=(*plan.extensions, *launchers),
            variables=plan.variables,
            invoke_port=plan.invoke_port,
            namespaces=usable,
        )
        with Environment(_profile(plan), layout, listener) as environment:
            if plan.init_type != ON_DEMAND:
                environment.start()
            invoked = _invoke_all(plan, environment)
            environment.idle(plan.timeout + 3.0)
            environment.shutdown()
            return Outcome(
                environment.platform.healthy,
                tuple(invoked),
                tuple(environment.log.events),
                tuple(environment.log.notes),
                environment.as_json(),
            )


def _single_threaded_root() -> str:
    """Where we are not root, become it in a user namespace; "" when we are, else why not."""
    if os.geteuid() == 0 or (sys.platform.startswith("linux") and namespaces.enter_user_namespace()):
        return ""
    return "not root, and user namespaces are refused"


def _profile(plan: Plan) -> Profile:
    name = (plan.function or plan.bootstrap or Path("function")).absolute()
    return Profile(
        function_name=name.name if plan.function else name.parent.name,
        handler=plan.handler,
        region=plan.variables.get("AWS_REGION", "us-east-1"),
        memory_mb=plan.memory_mb,
        timeout=plan.timeout,
        init_type=plan.init_type,
        freeze=plan.freeze,
    )


def _invoke_all(plan: Plan, environment: Environment) -> list[Invoked]:
    invoked = []
    for number in range(plan.invokes):
        if number:
            environment.idle(plan.timeout)
            time.sleep(plan.gap_ms / 1000)
        began = time.monotonic()
        result = environment.invoke(plan.events[number % len(plan.events)]).result()
        latency = (time.monotonic() - began) * 1000
        invoked.append(Invoked(result.request_id, latency, result.payload, result.function_error, result.error_type))
    return invoked


def _plugin_launchers(plugins: tuple[str, ...], folder: Path) -> list[Path]:
    """One extension file that runs all of `plugins`: named after the plug-in, or ``extension-kit`` for several."""
    if not plugins:
        return []
    names = [_plugin_name(plugin) for plugin in plugins]
    launcher = folder / (names[0] if len(names) == 1 else "extension-kit")
    kit = str(Path(__file__).parents[2])
    paths = list(dict.fromkeys([kit, os.getcwd(), *filter(None, sys.path)]))
    # sh first: the path of this interpreter may be longer than a #! line can hold.
    launcher.write_text(
        f"#!/bin/sh\n''':'\nexec {shlex.quote(sys.executable)} -I -S \"$0\"\n'''\n"
        f"import sys\nsys.path[1:1] = {paths!r}\n"
        f"from extension_kit.runner import run\nrun(*{plugins!r})\n"
    )
    launcher.chmod(0o755)
    return [launcher]


def _plugin_name(spec: str) -> str:
    module_name, _, class_name = spec.partition(":")
    if not module_name or not class_name:
        raise ConfigError(f"--plugin {spec}: expected MODULE:CLASS")
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        plugin = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"--plugin {spec}: cannot be loaded: {error}") from error
    validate(plugin)
    return str(plugin.name)
