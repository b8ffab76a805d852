"""Documents that are in the environment itself: a variable, a file, the variables of aws-cli-tools."""

from __future__ import annotations

from extensions.chaos_injector.readers import LARGEST
from extensions.chaos_injector.readers.aws_cli_tools import PREFIX
from extensions.chaos_injector.sources import Gone, Unreadable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["File", "Variable", "Variables", "read_file"]


class Variable:
    """A document that a variable of the function holds."""

    def __init__(self, written: str) -> None:
        self._data = written.encode("utf-8", "replace")

    def fetch(self) -> bytes:
        if not self._data:
            raise Gone("CHAOS_EXPERIMENT is not set")
        return self._data


class Variables:
    """The variables of aws-cli-tools, as a document."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        from extension_kit.protocol.jsontext import dumps

        self._data = dumps({name: value for name, value in sorted(environ.items()) if name.startswith(PREFIX)})

    def fetch(self) -> bytes:
        return self._data


class File:
    """A file, read anew each time."""

    def __init__(self, path: str) -> None:
        self._path = path

    def fetch(self) -> bytes:
        return read_file(self._path)


def read_file(path: str) -> bytes:
    """A regular file of bounded size, no matter what else lies there; Gone or Unreadable."""
    import os
    import stat

    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        raise Gone(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path} cannot be opened: {error}") from None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable(f"{path} is no file")
        data = b""
        while len(data) <= LARGEST and (more := os.read(descriptor, LARGEST + 1 - len(data))):
            data += more
    except OSError as error:
        raise Unreadable(f"{path} cannot be read: {error}") from None
    finally:
        os.close(descriptor)
    if len(data) > LARGEST:
        raise Unreadable(f"{path} has more than {LARGEST} bytes: use fewer")
    return data
