"""The Docker engine that the package ``docker`` finds: ``DOCKER_HOST``, else this machine's own socket."""

from __future__ import annotations

import os
import socket
from typing import Any

from extension_kit.errors import ConfigError

_DEFAULT_HOST = "unix:///var/run/docker.sock"
#: seconds for one answer of the engine
_ANSWER = 60


def connect(timeout: float = _ANSWER) -> Any:
    """A `docker.DockerClient`, to be closed by the caller; ConfigError where there is no package or no engine.

    ``timeout``: seconds that the engine may be silent within one answer.
    """
    try:
        import docker
    except ImportError as error:
        raise ConfigError("an image needs the package docker: pip install lambda-extension-kit[docker]") from error
    host = os.environ.get("DOCKER_HOST") or _DEFAULT_HOST
    client: Any = None
    try:
        _reach(host)
        client = docker.DockerClient.from_env(timeout=timeout)
        client.ping()
    except (docker.errors.DockerException, OSError, ValueError) as error:
        if client is not None:
            client.close()
        raise ConfigError(
            f"no Docker engine answers at {host} ({reason(error)}): start one, or name another with DOCKER_HOST"
        ) from error
    return client


def _reach(host: str) -> None:
    """OSError where nobody listens on a socket of this machine; the package would leave one of its own open."""
    scheme, _, path = host.partition("://")
    if scheme == "unix":
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(5)
            probe.connect(path)


def failures() -> tuple[type[BaseException], ...]:
    """What calls of the client raise. To be asked when one has: the package is imported late."""
    import docker

    return docker.errors.DockerException, OSError


def reason(error: BaseException) -> str:
    """What an error of the engine, or on the way to it, says, without the layers that were wrapped around it: one line."""
    explanation = getattr(error, "explanation", None)
    if explanation:
        return _line(str(explanation))
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and found.strerror:
            return found.strerror
        inside = [one for one in found.args if isinstance(one, BaseException)]
        inside += [
            part for one in found.args if isinstance(one, tuple) for part in one if isinstance(part, BaseException)
        ]
        found = found.__cause__ or found.__context__ or (inside[0] if inside else None)
    return _line(str(error))


def _line(text: str) -> str:
    return " ".join(text.split())
