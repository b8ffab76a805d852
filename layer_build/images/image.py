"""Which image it is, and how the engine comes to have it.

``LAMBDA_IMAGE`` chooses: any image's name (pulled where the engine lacks it), or ``built`` for the one from Debian. Without it,
AWS's own image is used where the engine has it or can pull it, else the one from Debian. A registry that could not be reached
is not asked again for a day.
"""

from __future__ import annotations

import hashlib
import io
import os
import platform
import queue
import tarfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from extension_kit.errors import ConfigError
from layer_build.images import rootfs
from layer_build.images.engine import connect, failures, reason
from layer_build.targets import ARCHITECTURES, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from layer_build.wheels import Wheel

#: the Python that Debian bookworm has; AWS's image is taken of the same version
PYTHON = "3.11"
LAMBDA_IMAGE = f"public.ecr.aws/lambda/python:{PYTHON}"
VARIABLE = "LAMBDA_IMAGE"
BUILT = "built"
REPOSITORY = "extension-kit/lambda-like"
_BASE = "extension-kit/debian"
_CONTEXT = Path(__file__).parent / "context"
#: file of the context: where it goes, with what mode
_OURS = {
    "lambda-entrypoint.sh": ("lambda-entrypoint.sh", 0o755),
    "bootstrap": ("var/runtime/bootstrap", 0o755),
    "bootstrap.py": ("var/runtime/bootstrap.py", 0o644),
}
_LINKS = {"python": "python3.11", "python3": "python3.11", "python3.11": "/usr/bin/python3.11"}
_FOLDERS = ("opt", "var/task", "var/lang/lib")
_SILENCE = 20.0  # seconds without a word of the registry after which a pull is given up
_SAY_EVERY = 10.0  # seconds
_ASK_AGAIN = 86_400.0  # seconds
_BUILD_SILENCE = 600.0  # seconds that the engine may take for one step, without a word


def ensure(say: Callable[[str], object]) -> str:
    """The name of an image that the engine has; `say` hears of what takes long. ConfigError where none can be had."""
    chosen = os.environ.get(VARIABLE, "")
    engine = connect()
    try:
        if chosen and chosen != BUILT:
            if not _has(engine, chosen):
                _pull_chosen(chosen, say)
            return chosen
        if not chosen and (_has(engine, LAMBDA_IMAGE) or _pull_awss(say)):
            return LAMBDA_IMAGE
    finally:
        engine.close()
    return build(say)


# AWS's, or any ----------------------------------------------------------------------------------------------------------


def _has(engine: Any, name: str) -> bool:
    import docker

    try:
        engine.images.get(name)
    except docker.errors.ImageNotFound:
        return False
    except failures() as error:
        raise ConfigError(f"image {name}: {reason(error)}") from error
    return True


def _pull_chosen(name: str, say: Callable[[str], object]) -> None:
    try:
        _pull(name, say)
    except _NotPulledError as error:
        raise ConfigError(f"{VARIABLE}={name}: the engine does not have it, and cannot pull it: {error}") from error


def _pull_awss(say: Callable[[str], object]) -> bool:
    refused = rootfs.cache() / "not-pulled"
    try:
        if time.time() - refused.stat().st_mtime < _ASK_AGAIN:
            return False
    except OSError:
        pass  # it has not been tried
    try:
        _pull(LAMBDA_IMAGE, say)
    except _NotPulledError as error:
        say(
            f"{LAMBDA_IMAGE} cannot be pulled ({error}): one of the same layout is used, for a day ({VARIABLE} chooses)"
        )
        try:
            refused.parent.mkdir(parents=True, exist_ok=True)
            refused.write_text(f"{error}\n")
        except OSError:
            pass  # it is asked again next time
        return False
    return True


class _NotPulledError(Exception):
    """Why, in a line."""


def _pull(name: str, say: Callable[[str], object]) -> None:
    say(f"pulling {name} (only the first time)")
    layers: dict[str, str] = {}
    said = time.monotonic()
    for step in _steps(name):
        if "error" in step:
            raise _NotPulledError(" ".join(str(step["error"]).split()))
        if "id" in step:
            layers[step["id"]] = step.get("status", "")
        if time.monotonic() - said >= _SAY_EVERY:
            said = time.monotonic()
            say(f"  {sum(1 for status in layers.values() if status == 'Pull complete')} of {len(layers)} layers")


def _steps(name: str) -> Iterator[dict[str, Any]]:
    """What the engine tells of a pull, as it comes. On a thread: the package waits for ever, and cannot be told not to."""
    told: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_tell_steps, args=(name, told.put), name="pull", daemon=True).start()
    while True:
        try:
            step = told.get(timeout=_SILENCE)
        except queue.Empty:
            raise _NotPulledError(f"no answer for {_SILENCE:g} s") from None
        if not step:
            return
        yield step


def _tell_steps(name: str, tell: Callable[[dict[str, Any]], object]) -> None:
    """Ends with an empty step."""
    import docker

    repository, tag = docker.utils.parse_repository_tag(name)
    engine = connect()
    try:
        for step in engine.api.pull(repository, tag=tag or "latest", stream=True, decode=True):
            tell(step)
    except failures() as error:
        tell({"error": reason(error)})
    finally:
        tell({})
        engine.close()


# ours -------------------------------------------------------------------------------------------------------------------


def build(say: Callable[[str], object]) -> str:
    """The name of the image from Debian, built where the engine does not have it."""
    from extension_kit.backends import rie_binary

    machine = platform.machine()
    emulator = rie_binary.binary(say)
    name = f"{REPOSITORY}:{_key(machine, emulator)}"
    engine = connect(_BUILD_SILENCE)
    try:
        if not _has(engine, name):
            base = _base(engine, machine, say)
            say(f"building {name}")
            _build(engine, name, base, _context(machine, emulator))
    finally:
        engine.close()
    return name


def _key(machine: str, emulator: Path) -> str:
    digest = hashlib.sha256(rootfs.key(machine).encode())
    for path in (*sorted(_CONTEXT.iterdir()), emulator):
        if path.is_file():
            digest.update(f"\n{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}".encode())
    return digest.hexdigest()[:16]


def _base(engine: Any, machine: str, say: Callable[[str], object]) -> str:
    tag = rootfs.key(machine)
    name = f"{_BASE}:{tag}"
    if not _has(engine, name):
        tar = rootfs.debian(machine, say)
        try:
            engine.api.import_image_from_file(str(tar), repository=_BASE, tag=tag)
        except failures() as error:
            raise ConfigError(f"{tar} cannot be imported into the engine: {reason(error)}") from error
    return name


def _build(engine: Any, name: str, base: str, context: bytes) -> None:
    labels = {"extension-kit": "image", "org.opencontainers.image.description": "laid out as AWS Lambda's Python image"}
    try:
        engine.images.build(
            fileobj=io.BytesIO(context), custom_context=True, tag=name, buildargs={"BASE": base}, labels=labels,
            network_mode="none", rm=True, forcerm=True,
        )  # fmt: skip
    except failures() as error:
        raise ConfigError(f"the Lambda-like image could not be built: {reason(error)}") from error


def _context(machine: str, emulator: Path) -> bytes:
    """What the engine gets to build from: the Dockerfile, and below ``root/`` what is added to Debian."""
    files = {place: ((_CONTEXT / name).read_bytes(), mode) for name, (place, mode) in _OURS.items()}
    files["usr/local/bin/aws-lambda-rie"] = (emulator.read_bytes(), 0o755)
    for wheel in _runtime(machine):
        files |= {f"var/runtime/{path}": (entry.data, entry.mode) for path, entry in wheel.files.items()}
        place = f"usr/share/doc/{wheel.name}"
        files |= {f"{place}/{path}": (entry.data, entry.mode) for path, entry in wheel.licences.items()}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        _add(tar, "Dockerfile", (_CONTEXT / "Dockerfile").read_bytes(), 0o644)
        for folder in _FOLDERS:
            info = tarfile.TarInfo(f"root/{folder}")
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for path, (data, mode) in sorted(files.items()):
            _add(tar, f"root/{path}", data, mode)
        for link, target in _LINKS.items():
            info = tarfile.TarInfo(f"root/var/lang/bin/{link}")
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


def _runtime(machine: str) -> list[Wheel]:
    from layer_build import lock, wheels

    arch = next(name for name, kernel in ARCHITECTURES.items() if kernel == machine)
    target = Target(arch, (PYTHON,))
    return wheels.fetch(lock.read(_CONTEXT / "runtime.lock", target, PYTHON), target, PYTHON)


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), mode
    tar.addfile(info, io.BytesIO(data))
