"""What every backend does before and during a run: launchers for plug-ins, the profile, the invokes one after the other."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shlex
import sys
import sysconfig
import tempfile
import time
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from extension_kit.backends.plan import Invoked, Plan
from extension_kit.emulator import namespaces
from extension_kit.emulator.environment import Layout
from extension_kit.emulator.faults import Faults, listing
from extension_kit.emulator.model import Profile, Result
from extension_kit.errors import ConfigError
from extension_kit.plugin import validate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from extension_kit.io.ports import Port
    from extension_kit.plugin import Plugin


class Runs(Protocol):
    """An execution environment, as a backend offers it."""

    def invoke(self, payload: bytes, *, request_id: str = "") -> Future[Result]: ...
    def idle(self, timeout: float) -> bool: ...


@contextmanager
def layout(plan: Plan, isolated: bool, image_python: str = "") -> Iterator[Layout]:
    """What lies where in the environment that `plan` asks for; ConfigError for what cannot be run at all.

    ``image_python``: the interpreter of an image that brings its own runtime; else this machine's serves both.
    """
    if plan.bootstrap is None and not image_python:
        require_python_runtime()
    paths = portable_path(os.getcwd()) if image_python else search_path(os.getcwd())
    with tempfile.TemporaryDirectory(prefix="extension-kit-run-") as folder:
        yield Layout(
            function=plan.function,
            bootstrap=plan.bootstrap,
            layers=plan.layers,
            extensions=(*plan.extensions, *_plugin_launchers(plan.plugins, Path(folder), paths, image_python)),
            variables=plan.variables,
            invoke_port=plan.invoke_port,
            namespaces=isolated,
            visible=tuple(Path(path) for path in paths) if plan.plugins else (),
        )


def require_python_runtime() -> None:
    """ConfigError where what runs Python functions is not installed."""
    if importlib.util.find_spec("awslambdaric") is None:
        raise ConfigError(
            "a Python function needs the package awslambdaric: pip install lambda-extension-kit[emulator]"
        )


def why_no_namespaces() -> str:
    """Where we are not root, become it in a user namespace; "" where namespaces can be had, else why not."""
    if os.geteuid() != 0 and not (sys.platform.startswith("linux") and namespaces.enter_user_namespace()):
        return "not root, and user namespaces are refused"
    return namespaces.unavailable()


def profile(plan: Plan) -> Profile:
    """How the environment that `plan` asks for is configured."""
    name = (plan.function or plan.bootstrap or Path("function")).absolute()
    return Profile(
        function_name=name.name if plan.function else name.parent.name,
        handler=plan.handler,
        region=plan.variables.get("AWS_REGION", "us-east-1"),
        memory_mb=plan.memory_mb,
        timeout=plan.timeout,
        init_type=plan.init_type,
        freeze=plan.freeze,
        json_logs=plan.variables.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON",
        seed=plan.seed,
        faults=Faults.parse(plan.faults),
    )


def faults() -> str:
    """The faults that can be made, a line each."""
    return listing()


def invoke_all(plan: Plan, environment: Runs) -> list[Invoked]:
    """The invokes of `plan`, each when everybody is done with the one before it."""
    invoked = []
    for number in range(plan.invokes):
        if number:
            environment.idle(plan.timeout)
            time.sleep(plan.gap_ms / 1000)
        began = time.monotonic()
        payload = plan.events[number % len(plan.events)]
        known = {"request_id": plan.request_ids[number]} if number < len(plan.request_ids) else {}
        result = environment.invoke(payload, **known).result()
        latency = (time.monotonic() - began) * 1000
        invoked.append(Invoked(result.request_id, latency, result.payload, result.function_error, result.error_type))
    return invoked


def search_path(*more: str) -> list[str]:
    """Where a plug-in of this process, and the kit, are imported from: for a process that begins with nothing."""
    kit = str(Path(__file__).parents[2])
    return list(dict.fromkeys([kit, *more, *(os.path.abspath(path) for path in sys.path)]))


def portable_path(*more: str) -> list[str]:
    """Of `search_path` what another Python can use: not this one's library, nor what was installed for it."""
    library = Path(sysconfig.get_path("stdlib")).resolve()
    kit, *others = search_path(*more)
    return [
        kit,
        *(
            path
            for path in others
            if os.path.isdir(path)
            and not Path(path).resolve().is_relative_to(library)
            and not {"site-packages", "dist-packages"} & set(Path(path).parts)
        ),
    ]


def write_launcher(
    launcher: Path, plugins: tuple[str, ...], paths: list[str], prelude: str = "", python: str = ""
) -> None:
    """An extension file that runs `plugins` (``module:Class``), found on `paths`, after the Python lines of `prelude`.

    ``python``: by which interpreter; this one if empty.
    """
    # sh first: the path of this interpreter may be longer than a #! line can hold.
    launcher.write_text(
        f"#!/bin/sh\n''':'\nexec {shlex.quote(python or sys.executable)} -I -S \"$0\"\n'''\n"
        f"import sys\nsys.path[1:1] = {paths!r}\n{prelude}"
        f"from extension_kit.launched import run\n"
        f"run(sys.argv[0].rpartition('/')[2], {plugins!r}, [], ports={_ports(plugins, launcher.name)!r}, "
        f"late={_wants_before_register(plugins)})\n"
    )
    launcher.chmod(0o755)


def _ports(plugins: tuple[str, ...], name: str) -> tuple[Port, ...]:
    """The ports that the manifests beside the plug-ins' modules declare, as a layer's launcher would open them."""
    ports: list[Port] = []
    for plugin in plugins:
        found = importlib.util.find_spec(plugin.partition(":")[0])
        file = Path(found.origin).with_name("manifest.toml") if found is not None and found.origin else None
        if file is None or not file.is_file():
            continue
        try:
            manifest = tomllib.loads(file.read_text())
            owner = str(manifest.get("name", name)) if len(plugins) > 1 else name
            declared = manifest.get("capabilities", {}).get("ports", [])
            declared = [port for port in declared if not port.get("optional")]  # the plug-in's own affair
            for port in declared:
                to = f"/tmp/.extension-kit/{owner}/port" if port.get("fallback") else ""  # noqa: S108 - named in the design
                ports.append((str(port["name"]), int(port["port"]), tuple(port.get("variables", ())), to))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"{file}: its ports cannot be read: {error}") from error
    return tuple(dict.fromkeys(ports))


def _wants_before_register(plugins: tuple[str, ...]) -> bool:
    """Whether something beside the plug-ins' modules has the hook that must run first; looked for as a layer's builder does."""
    for plugin in plugins:
        found = importlib.util.find_spec(plugin.partition(":")[0])
        if found is None or not found.origin:
            continue
        file = Path(found.origin)
        # A module that is alone in its package may have anything beside it: then it is that module itself.
        for path in file.parent.glob("*.py") if file.with_name("manifest.toml").is_file() else (file,):
            if b"def before_register(" in path.read_bytes():
                return True
    return False


def plugin_class(spec: str, said_as: str) -> type[Plugin]:
    """The valid plug-in that ``module:Class`` names; ConfigError, beginning with `said_as`, where there is none."""
    module_name, _, class_name = spec.partition(":")
    if not module_name or not class_name:
        raise ConfigError(f"{said_as} {spec}: expected MODULE:CLASS")
    try:
        plugin = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{said_as} {spec}: cannot be loaded: {error}") from error
    validate(plugin)
    return cast("type[Plugin]", plugin)


def _plugin_launchers(plugins: tuple[str, ...], folder: Path, paths: list[str], python: str) -> list[Path]:
    """One extension file that runs all of `plugins`: named after the plug-in, or ``extension-kit`` for several."""
    if not plugins:
        return []
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    names = [plugin_class(plugin, "--plugin").name for plugin in plugins]
    launcher = folder / (names[0] if len(names) == 1 else "extension-kit")
    write_launcher(launcher, plugins, paths, python=python)
    return [launcher]
