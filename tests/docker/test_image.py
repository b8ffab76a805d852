"""The image: what is promised to lie where, and which one is taken."""

from __future__ import annotations

import http.client
import json
import os
import time

import pytest

from extension_kit.errors import ConfigError
from layer_build.images import ensure, rootfs
from layer_build.images import image as images
from tests.docker import engine as engines
from tests.docker import registry

engines.require()

TELLS_WHERE_IT_IS = """
import os, sys
def handler(event, context):
    return {
        "path": sys.path, "python": sys.executable, "version": "%d.%d" % sys.version_info[:2], "folder": os.getcwd(),
        "variables": dict(os.environ), "root": sorted(os.listdir("/")),
        "executable": [name for name in event["files"] if os.access(name, os.X_OK)],
    }
"""
FILES = ["/lambda-entrypoint.sh", "/var/runtime/bootstrap", "/usr/local/bin/aws-lambda-rie", "/var/lang/bin/python3.11",
         "/var/lang/bin/python3", "/var/lang/lib", "/var/task", "/opt"]  # fmt: skip
LIBRARIES = "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"


def test_what_a_function_finds(run, lab):
    """Files, variables and the order of modules as in AWS's image (AWS docs, "Lambda environment variables")."""
    outcome = run(
        lab.function(TELLS_WHERE_IT_IS), events=(json.dumps({"files": FILES}).encode(),), variables={"MINE": "here"}
    )
    found = json.loads(outcome.invoked[0].payload)

    assert found["executable"] == FILES
    assert found["path"][:4] == ["/var/task", "/opt/python/lib/python3.11/site-packages", "/opt/python", "/var/runtime"]
    assert (found["python"], found["version"], found["folder"]) == ("/var/lang/bin/python3.11", "3.11", "/var/task")
    wanted = {
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin", "LD_LIBRARY_PATH": LIBRARIES,
        "LANG": "en_US.UTF-8", "TZ": ":/etc/localtime", "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime", "AWS_EXECUTION_ENV": "AWS_Lambda_python3.11", "_HANDLER": "app.handler",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "MINE": "here",
    }  # fmt: skip
    assert {name: found["variables"].get(name) for name in wanted} == wanted
    assert "LOG_LEVEL" not in found["variables"]


def test_what_a_user_sets_goes_before_what_the_image_says(run, lab):
    """PATH may be set on a function; where it looks for layers is its own affair once it sets PYTHONPATH."""
    function = lab.function("import os, sys\ndef handler(event, context): return [os.environ['PATH'], sys.path[:3]]\n")
    outcome = run(function, variables={"PATH": "/opt/mine:/usr/bin:/bin", "PYTHONPATH": "/opt/elsewhere"})

    assert json.loads(outcome.invoked[0].payload) == [
        "/opt/mine:/usr/bin:/bin", ["/var/task", "/var/runtime", "/opt/elsewhere"],
    ]  # fmt: skip


def test_its_own_entry_point_and_a_wrapper(image, engine, lab):
    """Run as AWS's documentation runs an image: the handler is the command, the wrapper a variable."""
    wrapper = lab.folder / "layer" / "wrapper"
    wrapper.parent.mkdir()
    wrapper.write_text('#!/bin/sh\nexport WRAPPED="by $0"\nexec "$@"\n')
    wrapper.chmod(0o755)
    function = lab.function("import os\ndef handler(event, context): return os.environ.get('WRAPPED')\n")
    container = engine.containers.run(
        image, ["app.handler"], detach=True, auto_remove=True, ports={"8080/tcp": ("127.0.0.1", None)},
        environment={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"},
        volumes={str(function): {"bind": "/var/task", "mode": "ro"}, str(wrapper.parent): {"bind": "/opt", "mode": "ro"}},
    )  # fmt: skip
    try:
        container.reload()
        assert ask(int(container.ports["8080/tcp"][0]["HostPort"])) == b'"by /opt/wrapper"'
    finally:
        container.stop(timeout=10)


def ask(port: int) -> bytes:
    """One invoke, as soon as somebody listens."""
    until = time.monotonic() + 20
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request("POST", "/2015-03-31/functions/function/invocations", b"{}")
            return connection.getresponse().read()
        except (OSError, http.client.HTTPException):
            assert time.monotonic() < until
            time.sleep(0.05)
        finally:
            connection.close()


@pytest.mark.parametrize(("mode", "said"), [(None, "does not exist"), (0o644, "is not an executable")])
def test_a_wrapper_that_cannot_be_run(mode, said, run, lab):
    """The runtime ends with a line that names it, as AWS's does."""
    wrapper = lab.folder / "layer" / "wrapper"
    wrapper.parent.mkdir()
    if mode is not None:
        wrapper.write_text("#!/bin/sh\n")
        wrapper.chmod(mode)
    function = lab.function("def handler(event, context): return 1\n")
    outcome = run(function, wrapper.parent, variables={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"})

    assert not outcome.healthy
    assert f"/opt/wrapper: {said}" in [event["text"] for event in outcome.events if event["kind"] == "log"]


def test_what_was_made_once_is_there_the_next_time(image):
    """At once, and silently."""
    said: list[str] = []

    assert ensure(said.append) == image
    assert said == []


# which one --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """Nothing is known of earlier attempts."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LAMBDA_IMAGE", raising=False)
    return rootfs.cache() / "not-pulled"


def test_awss_image_is_pulled_where_it_can_be(cache, engine, monkeypatch):
    """From a registry here that has one of that name; the second time the engine has it already."""
    said: list[str] = []
    with registry.serving() as address:
        name = f"{address}/{registry.REPOSITORY}:3.11"
        monkeypatch.setattr(images, "LAMBDA_IMAGE", name)
        assert ensure(said.append) == name
    try:
        assert said == [f"pulling {name} (only the first time)"]
        assert ensure(said.append) == name
        assert len(said) == 1
    finally:
        engine.images.remove(name)
    assert not cache.exists()


def test_a_registry_that_is_silent_is_given_up_and_not_asked_again(cache, monkeypatch):
    """For a day; what was said is remembered, too."""
    monkeypatch.setattr(images, "_SILENCE", 0.5)
    monkeypatch.setattr(images, "build", lambda _say: "the built one")
    said: list[str] = []
    with registry.silent() as address:
        monkeypatch.setattr(images, "LAMBDA_IMAGE", f"{address}/lambda/python:3.11")
        assert ensure(said.append) == "the built one"
        assert len(said) == 2
        assert "cannot be pulled (no answer for 0.5 s)" in said[1]
        assert ensure(said.append) == "the built one"
    assert len(said) == 2
    os.utime(cache, (time.time() - 90_000,) * 2)
    assert ensure(said.append) == "the built one"
    assert "refused" in said[-1]


@pytest.mark.parametrize("name", ["127.0.0.1:1/no/such:1", "No Such"])
def test_an_image_that_was_chosen_and_cannot_be_had(name, cache, monkeypatch):
    """One line that names it; no other is taken for it."""
    monkeypatch.setenv("LAMBDA_IMAGE", name)
    with pytest.raises(ConfigError) as error:
        ensure(lambda _text: None)

    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_an_image_that_was_chosen_is_taken(image, cache, monkeypatch):
    """Any that the engine has."""
    monkeypatch.setenv("LAMBDA_IMAGE", image)

    assert ensure(lambda _text: None) == image
