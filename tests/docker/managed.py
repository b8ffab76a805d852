"""AWS's emulator in the image, in Managed Instances mode: the one in which it delivers telemetry (see `tests.rie_managed`)."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker.types import Mount

from extension_kit.backends import rie_binary
from extension_kit.backends.docker import LABEL
from extension_kit.emulator import layers, namespaces
from extension_kit.emulator.reach import Reach
from tests.rie_managed import Invokes, open_to_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

_EMULATOR = "/usr/local/bin/aws-lambda-rie"
_LIMIT = 120  # seconds after which the container ends, even if this process has been killed
_STOP = 10  # seconds


class ManagedContainer(Invokes):
    """One function with one layer. Use as a context manager: nothing is left behind.

    Nothing is published: invokes are made inside the container's network, and what loopback addresses `variables` name on this
    machine are reached from there. The test is skipped where that network cannot be entered.
    """

    def __init__(
        self, engine: Any, image: str, layer: Path, function: Path, folder: Path, variables: dict[str, str]
    ) -> None:
        """``folder``: an empty one, for the layer's files."""
        opt = folder / "opt"
        layers.lay_out(opt, [layer], [])
        layers.settle(opt / "extensions" / name for name in layers.extension_files(opt))
        for given in (opt, function):
            open_to_all(given)  # in this mode AWS's emulator gives its children another user
        self._timeout = 5
        self._reach: Reach | None = None
        self._container = engine.containers.create(
            image,
            entrypoint=["timeout", "--foreground", "-k", "5", str(_LIMIT), _EMULATOR],
            command=["/var/runtime/bootstrap"],
            labels={LABEL: str(math.ceil(time.time() + _LIMIT + 60))},
            environment={
                "AWS_LAMBDA_MAX_CONCURRENCY": "2", "AWS_LAMBDA_FUNCTION_TIMEOUT": str(self._timeout),
                "_HANDLER": "app.handler", **variables,
            },
            # Pinned, since an image that was pulled may have one that does not know this mode.
            mounts=[
                Mount(target, str(source), "bind", read_only=True)
                for target, source in (("/opt", opt), ("/var/task", function), (_EMULATOR, rie_binary.binary()))
            ],
            read_only=True,
            tmpfs={"/tmp": "size=512m,mode=1777,exec"},
            # AWS's emulator posts telemetry to this name, and leaves it to its surroundings to know it.
            extra_hosts={"sandbox.localdomain": "127.0.0.1", "sandbox": "127.0.0.1"},
        )  # fmt: skip
        self._variables = variables

    def __enter__(self) -> Self:
        try:
            self._container.start()
            self._container.reload()
            process = Path("/proc", str(self._container.attrs["State"]["Pid"]))
            self._network = process / "ns" / "net"
            if not _is_of(self._container.id, process):
                pytest.skip("the container's network cannot be entered from here")
            self._reach = Reach(self._variables.values(), self._inside)
        except BaseException:
            self._take_down()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.output())
        self._take_down()

    def shutdown(self) -> None:
        """SIGTERM, upon which AWS's emulator ends the function, then the extensions; until it has ended."""
        self._container.stop(timeout=_STOP)

    def output(self) -> str:
        """What it, the function and the extensions have written so far."""
        return str(self._container.logs().decode("utf-8", "replace"))

    def _inside(self, call: Callable[[], Any]) -> Any:
        return namespaces.in_network(self._network, call)

    def _has_ended(self) -> bool:
        self._container.reload()
        return bool(self._container.status == "exited")

    def _take_down(self) -> None:
        if self._reach is not None:
            self._reach.close()
        self._container.remove(force=True)


def _is_of(container: str, process: Path) -> bool:
    """Whether that process is the container's, which it is not where the engine is elsewhere, and may be entered."""
    try:
        (process / "ns" / "net").open().close()
        return container in (process / "cgroup").read_text()
    except OSError:
        return False
