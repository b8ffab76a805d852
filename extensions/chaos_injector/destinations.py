"""Where the driver puts a document: the same places as `sources`, written so that of two who arm only one succeeds."""

from __future__ import annotations

from extension_kit.aws.values import AwsError
from extension_kit.errors import ConfigError
from extensions.chaos_injector.readers import LARGEST

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from extension_kit.aws import Aws
    from extensions.chaos_injector.sources import Place

    class Destination(Protocol):
        """``tag``: names the state of the document that was read. AwsError or OSError where nothing can be done."""

        def read(self) -> tuple[bytes, str] | None: ...
        def create(self, data: bytes, about: str) -> bool: ...
        def replace(self, data: bytes, about: str, tag: str) -> bool: ...
        def delete(self) -> bool: ...


__all__ = ["open_destination"]

_STANDARD = 4_096  # bytes of a standard parameter
_ADVANCED = 8_192
_TAKEN = ("ConditionalRequestConflict", "NoSuchKey", "PreconditionFailed")
_PATIENCE_S = 2.0  # for another one who is replacing a file, which takes a moment


def open_destination(place: Place, connect: Callable[[], Aws]) -> Destination:
    """ConfigError for a place that this command cannot write to. ``connect``: makes the client, where AWS is asked."""
    if place.kind == "file":
        return File(place.parts[0])
    if place.kind == "ssm":
        return Parameter(connect(), place.parts[0])
    if place.kind == "s3":
        return Object(connect(), *place.parts)
    if place.kind == "appconfig":
        raise ConfigError(
            f"{place} cannot be written here: deploy the document with AppConfig (its deployments roll back by themselves), "
            f'and deploy {{"version": 1, "off": true}} to disarm'
        )
    raise ConfigError(
        f"{place} cannot be written here: it is part of the function's configuration; use file:, ssm: or s3:"
    )


class File:
    """A lock on the folder excludes each other of who replaces and who deletes; what is created is linked into its place."""

    def __init__(self, path: str) -> None:
        self._path = path

    def read(self) -> tuple[bytes, str] | None:
        from extensions.chaos_injector.sources import Gone, Unreadable
        from extensions.chaos_injector.sources.local import read_file

        try:
            data = read_file(self._path)
        except Gone:
            return None
        except Unreadable as error:
            raise OSError(str(error)) from None
        import hashlib

        return data, hashlib.sha256(data).hexdigest()

    def create(self, data: bytes, _about: str) -> bool:
        import os

        written = self._write(data)
        try:
            os.link(written, self._path)  # whole or not at all, and never over another one
        except FileExistsError:
            return False
        finally:
            os.unlink(written)
        return True

    def replace(self, data: bytes, _about: str, tag: str) -> bool:
        import os

        lock = self._lock()
        if lock < 0:
            raise OSError(f"{os.path.dirname(self._path)} cannot be locked: another one is writing there")
        try:
            found = self.read()
            if found is None or found[1] != tag:
                return False
            os.replace(self._write(data), self._path)
        finally:
            os.close(lock)
        return True

    def delete(self) -> bool:
        import os

        lock = self._lock()
        try:
            os.unlink(self._path)  # lock or no lock: it is a kill switch
        except FileNotFoundError:
            return False
        finally:
            if lock >= 0:
                os.close(lock)
        return True

    def _lock(self) -> int:
        """A descriptor that holds the lock until it is closed; -1 where it cannot be had."""
        import fcntl
        import os
        import time

        limit = time.monotonic() + _PATIENCE_S
        try:
            descriptor = os.open(os.path.dirname(self._path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return -1
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return descriptor
            except OSError as error:
                if not isinstance(error, BlockingIOError) or time.monotonic() >= limit:
                    os.close(descriptor)
                    return -1
            time.sleep(0.01)

    def _write(self, data: bytes) -> str:
        import os

        os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
        path = f"{self._path}.{os.urandom(8).hex()}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(data)
        return path


class Parameter:
    """``Overwrite`` false is the mutual exclusion. Who extends does overwrite: between the reading and that is a moment."""

    def __init__(self, aws: Aws, name: str) -> None:
        self._aws = aws
        self._name = name

    def read(self) -> tuple[bytes, str] | None:
        try:
            answer = self._aws.call("ssm", "GetParameter", {"Name": self._name, "WithDecryption": True})
        except AwsError as error:
            if error.code == "ParameterNotFound":
                return None
            raise
        return str(answer["Parameter"]["Value"]).encode("utf-8", "replace"), str(answer["Parameter"].get("Version", ""))

    def create(self, data: bytes, about: str) -> bool:
        try:
            self._put(data, about, Type="String", Overwrite=False)
        except AwsError as error:
            if error.code == "ParameterAlreadyExists":
                return False
            raise
        return True

    def replace(self, data: bytes, about: str, tag: str) -> bool:
        found = self.read()
        if found is None or found[1] != tag:
            return False
        if self._put(data, about, Overwrite=True) == 1:
            self.delete()  # it was deleted meanwhile, and this has made it anew: whoever disarmed meant it
            return False
        return True

    def delete(self) -> bool:
        try:
            self._aws.call("ssm", "DeleteParameter", {"Name": self._name})
        except AwsError as error:
            if error.code == "ParameterNotFound":
                return False
            raise
        return True

    def _put(self, data: bytes, about: str, **more: object) -> int:
        """The version that was written."""
        if len(data) > _ADVANCED:
            raise ConfigError(
                f"the document has {len(data)} bytes, and a parameter holds {_ADVANCED}: use fewer faults, or s3:"
            )
        tier = "Standard" if len(data) <= _STANDARD else "Advanced"
        fields = {"Name": self._name, "Value": data.decode(), "Description": about[:1_024], "Tier": tier}
        version = self._aws.call("ssm", "PutParameter", {**fields, **more}).get("Version")
        return version if isinstance(version, int) else 0


class Object:
    """Conditional writes are the mutual exclusion."""

    def __init__(self, aws: Aws, bucket: str, key: str) -> None:
        self._aws = aws
        self._bucket, self._key = bucket, key

    def read(self) -> tuple[bytes, str] | None:
        from extension_kit.aws.objects import get_object_unless

        try:
            return get_object_unless(self._aws, self._bucket, self._key, "", LARGEST + 1)
        except AwsError as error:
            if error.code == "NoSuchKey":
                return None
            raise

    def create(self, data: bytes, _about: str) -> bool:
        return self._put(data, "", "*")

    def replace(self, data: bytes, _about: str, tag: str) -> bool:
        return self._put(data, tag, "")

    def delete(self) -> bool:
        from extension_kit.aws.objects import delete_object

        was_there = self.read() is not None
        delete_object(self._aws, self._bucket, self._key)
        return was_there

    def _put(self, data: bytes, if_match: str, if_none_match: str) -> bool:
        from extension_kit.aws.objects import put_object

        try:
            put_object(
                self._aws,
                self._bucket,
                self._key,
                data,
                "application/json",
                if_match=if_match,
                if_none_match=if_none_match,
            )
        except AwsError as error:
            if error.code in _TAKEN:
                return False
            raise
        return True
