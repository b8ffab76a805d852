"""The generated Dockerfile, built by a real engine: what the layer holds lies in /opt of the image, with its modes.

No image is pulled: the base is this Python with its libraries, which is all that the Dockerfile asks of an image of Lambda's.
"""

from __future__ import annotations

import contextlib
import gc
import io
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import uuid
import warnings
from pathlib import Path

import docker
import pytest

from layer_build.commands.template import subject
from layer_build.templates import dockerfile
from layer_build.tree import Entry
from tests.layer_build import sample

TEMPORARY = "lambda-extension-kit-test"
NOT_NEEDED = {"test", "idlelib", "tkinter", "ensurepip", "lib2to3", "site-packages", "dist-packages", "__pycache__"}


@pytest.fixture(scope="module")
def engine():
    """A Docker engine that answers."""
    client = _connected()
    if client is None:
        pytest.skip("no Docker engine here")
    yield client
    client.close()


def _connected() -> docker.DockerClient | None:
    with warnings.catch_warnings():
        # The client leaves a socket to the garbage collector where nobody answers.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return docker.from_env(timeout=100)
        except docker.errors.DockerException:
            pass
        gc.collect()
    return None


@pytest.fixture(scope="module")
def base(engine):
    """A tiny image with Python."""
    name = f"{TEMPORARY}:{uuid.uuid4().hex}"
    engine.api.import_image_from_data(python_image(), repository=name, changes=["ENV PATH=/usr/local/bin"])
    yield name
    with contextlib.suppress(docker.errors.ImageNotFound):  # the build's steps begin with it
        engine.images.remove(name, force=True)


def python_image() -> bytes:
    """This Python, its standard library and the shared libraries that it needs, as the files of an image."""
    library = Path(sysconfig.get_path("stdlib"))
    program = Path(sys.executable).resolve()
    extensions = [
        path for path in library.glob("lib-dynload/*.so") if re.match(r"(zlib|binascii|_struct)\.", path.name)
    ]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as image:
        image.add(program, "usr/local/bin/python3")
        for path in sorted(library.iterdir()):
            if path.name not in NOT_NEEDED | {"lib-dynload"} and not path.name.startswith("config-"):
                image.add(path, f"usr/local/lib/{library.name}/{path.name}", filter=_needed)
        for path in extensions:
            image.add(path, f"usr/local/lib/{library.name}/lib-dynload/{path.name}")
        for path in sorted(_shared(program, *extensions)):
            image.add(path.resolve(), str(path).lstrip("/"))
        folder = tarfile.TarInfo("tmp")
        folder.type, folder.mode = tarfile.DIRTYPE, 0o1777
        image.addfile(folder)
    return packed.getvalue()


def _needed(info: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if NOT_NEEDED & set(Path(info.name).parts) else info


def _shared(*programs: Path) -> set[Path]:
    """The libraries that the dynamic linker finds for `programs`, and the linker itself."""
    found: set[Path] = set()
    for program in programs:
        listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True, timeout=30).stdout
        found |= {Path(word) for word in listed.split() if word.startswith("/")}
    return found


@pytest.mark.skipif(shutil.which("ldd") is None, reason="no ldd here")
def test_the_image_has_the_layer_in_opt_with_its_modes(engine, base, tmp_path):
    layer = {**sample.files(), "log-shipper/private": Entry(b"x", 0o600), "log-shipper/wrapper": Entry(b"#!", 0o755)}
    path = sample.zipped(tmp_path / "a layer.zip", layer)
    (tmp_path / "Dockerfile").write_text(dockerfile.render(subject(path, tmp_path)))
    tag = f"{TEMPORARY}:{uuid.uuid4().hex}"
    image, log = engine.images.build(path=str(tmp_path), tag=tag, buildargs={"BASE": base}, rm=True, forcerm=True)
    try:
        assert in_opt(engine, image.id) == {f"opt/{name}": (entry.data, entry.mode) for name, entry in layer.items()}
    finally:
        engine.images.remove(tag, force=True)
        remove_steps(engine, "".join(line.get("stream", "") for line in log))


def remove_steps(engine: docker.DockerClient, log: str) -> None:
    """Take away what the build left of its first stage, by the names that the engine gave; what is in use stays."""
    for step in reversed(re.findall(r"---> ([0-9a-f]{12})$", log, re.MULTILINE)):
        with contextlib.suppress(docker.errors.APIError):
            engine.images.remove(step)


def in_opt(engine: docker.DockerClient, image: str) -> dict[str, tuple[bytes, int]]:
    """The files below /opt of an image: content and mode."""
    container = engine.containers.create(image, command=["none"])
    try:
        stream, _ = container.get_archive("/opt")
        with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as content:
            found = {}
            for info in content.getmembers():
                file = content.extractfile(info)
                if file is not None:
                    found[info.name] = (file.read(), info.mode & 0o7777)
                assert (info.uid, info.gid) == (0, 0)
            return found
    finally:
        container.remove(force=True)
