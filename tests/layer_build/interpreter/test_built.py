"""The interpreter as it is built: what is in it, what it can do, and functions in other languages with all four extensions.

Building it takes minutes: where it is not in the cache, these tests are skipped, unless KIT_TESTS_INTERPRETER=build.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from layer_build import archive, elf, tree
from layer_build.checks.subject import Subject
from layer_build.cli import main
from layer_build.interpreter import closure, made, own
from tests.conftest import ISOLATED, ROOT
from tests.extensions.chaos_injector.conftest import experiment
from tests.layer_build.launcher.layers import ARCH
from tests.receivers.aws import AwsFake
from tests.receivers.aws.tls import Authority
from tests.together import PLUGINS, World, armed

pytestmark = [pytest.mark.once, pytest.mark.timeout(1800)]

if own.cached(ARCH) is None and os.environ.get("KIT_TESTS_INTERPRETER") != "build":
    pytest.skip("no interpreter in the cache, and KIT_TESTS_INTERPRETER=build is not set", allow_module_level=True)

isolated = pytest.mark.skipif(not ISOLATED, reason="namespaces are refused here")
FUNCTIONS = ROOT / "tests" / "functions"


@pytest.fixture(scope="module")
def folder():
    """The finished interpreter for this machine."""
    return own.get(ARCH, lambda text: print(text, file=sys.__stderr__, flush=True))


@pytest.fixture(scope="module")
def layer(tmp_path_factory):
    """All four extensions in one process, for any runtime."""
    out = tmp_path_factory.mktemp("dist")
    names = ",".join(name.replace("-", "_") for name in PLUGINS)
    assert main(["build", "--plugins", names, "--runtime", "any", "--arch", ARCH, "--out", str(out)]) == 0
    (path,) = out.glob("*.zip")
    return path


@pytest.fixture(scope="module")
def unzipped(layer, tmp_path_factory):
    out = tmp_path_factory.mktemp("opt")
    for name, entry in tree.read(layer).items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(entry.data)
        path.chmod(entry.mode)
    return out


def program(folder):
    return folder / "bin" / f"python{made.load(folder).python}"


def python(where, code, *arguments, **variables):
    """What `code` prints, run by the interpreter at `where` with nothing of this process's environment."""
    command = [str(where), "-I", "-S", "-X", "utf8", "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_amazon_linux_2_is_enough_for_it(layer):
    """Highest version of a glibc symbol, of every program and library of a layer for any runtime."""
    found = {
        path: one.glibc or (0, 0)
        for path, one in Subject(archive.read(layer)).elves.items()
        if isinstance(one, elf.Elf)
    }

    assert any(path.startswith("extension-kit-python/") for path in found)
    assert [path for path, glibc in found.items() if glibc > (2, 26)] == []


def test_every_module_that_is_wanted_can_be_imported(folder):
    """One after another in one process; what is left out (`closure.NEVER`) is not there."""
    code = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)\nprint(len(sys.modules))"

    assert int(python(program(folder), code, *closure.WANTED)) > len(closure.WANTED)
    code = "import importlib.util as u, sys\nprint([name for name in sys.argv[1:] if u.find_spec(name)])"
    assert python(program(folder), code, "test", "tkinter", "sqlite3", "unittest", "ensurepip").strip() == "[]"


def test_all_that_our_own_code_imports_is_in_it(folder):
    """Of the kit and the four extensions; what they import lazily, too."""
    names = {
        name
        for part in ("extension_kit", "extensions")
        for path in (ROOT / part).rglob("*.py")
        if not {"emulator", "backends", "commands", "scaffold", "checking", "report"} & set(path.parts)
        if path.name not in ("testing.py", "cli.py", "pytest_plugin.py")
        for name in closure.imports(path.read_text())
    }
    code = """import importlib, sys
missing = []
for name in sys.argv[1:]:
    if name.split(".")[0] not in sys.stdlib_module_names: continue
    try: importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name == name.split(".")[0]: missing.append(name)
print(missing)"""

    assert python(program(folder), code, *sorted(names)).strip() == "[]"


def test_it_runs_wherever_it_lies(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "some where")
    moved = program(tmp_path / "some where")

    said = python(
        moved, "import sys, os, json; print(sys.prefix, sys.exec_prefix, json.__file__, sep='\\n')"
    ).splitlines()

    assert said[:2] == [str(tmp_path / "some where")] * 2
    assert Path(said[2]).is_relative_to(tmp_path / "some where")


def test_nothing_of_this_machine_is_in_it(folder):
    """No path of the build, which would differ from machine to machine."""
    content = program(folder).read_bytes()

    for trace in (os.path.expanduser("~/.cache"), "extension-kit-interpreter-", "/zig-cache"):
        assert trace.encode() not in content


def test_its_libraries_stay_out_of_the_way_of_a_wheels_own(folder):
    """A wheel may bring another OpenSSL: none of ours is found by name."""
    code = "import ctypes\nfor name in ('SSL_new', 'AES_encrypt', 'sha256_block_data_order', 'inflate', 'ffi_call'):\n"
    code += "    print(name, hasattr(ctypes.CDLL(None), name))\nprint(hasattr(ctypes.CDLL(None), 'PyList_New'))"

    said = python(program(folder), code).split()

    assert said[1:-1:2] == ["False"] * 5
    assert said[-1] == "True"


def test_compiled_modules_of_wheels_are_loaded(folder, tmp_path):
    """protobuf's own in C, as this environment has it: for the stable interface, so that it fits every version."""
    for file in metadata.files("protobuf") or ():
        target = tmp_path / file
        if ".." not in file.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file.locate(), target)
    code = "import sys; sys.path[:0] = [sys.argv[1]]\nfrom google.protobuf.internal import api_implementation as a\n"
    code += "from google.protobuf.struct_pb2 import Struct\ns = Struct(); s['a'] = 1\n"
    code += "t = Struct(); t.ParseFromString(s.SerializeToString())\nprint(a.Type(), t['a'])"

    assert python(program(folder), code, tmp_path).split() == ["upb", "1.0"]


def test_without_them_they_do_it_in_python(unzipped, folder):
    """Our layers carry protobuf without its modules in C: one layer is then for every version."""
    code = "import sys; sys.path[:0] = [sys.argv[1]]\nfrom google.protobuf.internal import api_implementation as a\n"
    code += "from google.protobuf.struct_pb2 import Struct\ns = Struct(); s['a'] = 1\nprint(a.Type(), s['a'])"

    assert python(program(folder), code, unzipped / "extension-kit" / "lib").split() == ["python", "1.0"]


# TLS

ASK = """
import sys; sys.path[:0] = [sys.argv[1]]
from extension_kit.aws import Aws, AwsError, transport
import os
if len(sys.argv) > 2:
    transport.trust_system.__defaults__ = (sys.argv[2:],)
try:
    print(Aws(dict(os.environ), retries=1).call("secretsmanager", "GetSecretValue", {"SecretId": "db"})["SecretString"])
except AwsError as error:
    print(error.message)
"""


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def serve(authority):
    """The fake of AWS behind TLS for these names: variables of a client, and the fake."""
    started = []

    def start(*names):
        fake, url = authority.behind_tls(*names)
        fake.put_secret("db", "one")
        started.append(fake.__enter__())
        return {**fake.environ(), "EXTENSION_KIT_AWS_ENDPOINT_URL": url}

    yield start
    for fake in started:
        assert isinstance(fake, AwsFake)
        fake.__exit__()


def test_tls_with_a_private_authority(folder, serve, authority):
    variables = {**serve("localhost"), "EXTENSION_KIT_CA_BUNDLE": str(authority.bundle)}

    assert python(program(folder), ASK, ROOT, **variables).strip() == "one"


def test_tls_with_the_systems_certificates(folder, serve, authority):
    """Where the system keeps them as Amazon Linux does: the file is found although OpenSSL does not look for it."""
    assert python(program(folder), ASK, ROOT, "/no/such/file", authority.bundle, **serve("localhost")).strip() == "one"


@pytest.mark.parametrize("names", [("localhost",), ("other.example",)], ids=["unknown authority", "wrong host"])
def test_tls_with_a_server_that_cannot_be_trusted(folder, serve, authority, names):
    trusted = {"EXTENSION_KIT_CA_BUNDLE": str(authority.bundle)} if names == ("other.example",) else {}

    assert "certificate verify failed" in python(program(folder), ASK, ROOT, **serve(*names), **trusted)


def test_an_image_without_certificates_is_helped(folder):
    """Mozilla's, which the interpreter brings."""
    code = "import ssl, sys; sys.path[:0] = [sys.argv[1]]\nfrom extension_kit.aws.transport import trust_system\n"
    code += "c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
    code += "print(trust_system(c, ['/no/such/file']), c.cert_store_stats()['x509_ca'] > 100)"

    said = python(program(folder), code, ROOT, SSL_CERT_FILE="/no/file", SSL_CERT_DIR="/no/folder").split()

    assert said == [str(folder / "cacert.pem"), "True"]


def test_the_systems_openssl_configuration_does_not_change_it(folder, tmp_path):
    (tmp_path / "openssl.cnf").write_text(
        "openssl_conf = x\n[x]\nssl_conf = y\n[y]\nsystem_default = z\n[z]\nMinProtocol = TLSv1.3\n"
    )
    code = "import ssl; print(ssl.create_default_context().minimum_version.name)"

    assert python(program(folder), code, OPENSSL_CONF=str(tmp_path / "openssl.cnf")) == python(program(folder), code)


# functions in other languages


@pytest.fixture
def no_python(monkeypatch):
    """An environment as other runtimes have it: nothing in /var/lang."""
    monkeypatch.setattr(
        "extension_kit.emulator.namespaces._lang", lambda place: (place / "bin").mkdir(parents=True) or place
    )


@pytest.fixture(params=["asks_node", "asks_sh"])
def bootstrap(request, tmp_path):
    """A function's program in a folder of its own."""
    needs = {"asks_node": "node", "asks_sh": "curl"}[request.param]
    if shutil.which(needs) is None:
        pytest.skip(f"{needs} is not installed")
    folder = tmp_path / "task"
    shutil.copytree(FUNCTIONS / request.param, folder)
    if request.param == "asks_node":
        shutil.copy(FUNCTIONS / "node_runtime" / "runtime.js", folder)
    return folder / "bootstrap"


@isolated
def test_all_four_beside_a_function_in_another_language(lab, layer, bootstrap, no_python):  # noqa: ARG001
    """Secrets, injected faults, lines and metrics, both wrappers: what a function in Python has of them."""
    chaos = armed(experiment({"type": "mutate_event", "id": "m", "percentage": 100, "params": {"set": {"mutated": 1}}}))
    with World() as world:
        variables = world.variables(
            **chaos,
            EXTENSION_KIT_NEXT_WRAPPER="/opt/secret-cache/wrapper",
            SECRET_CACHE_ENVIRONMENT="FROM_CACHE=secret:db",
        )
        environment = lab.start(bootstrap=bootstrap, layers=(layer,), variables=variables, timeout=10.0)
        found = [environment.invoke(json.dumps({"n": n}).encode()).result(30) for n in range(4)]
        assert environment.idle(20)
        environment.shutdown()

        expected = {"mutated": 1, "from_cache": "one", "secret": "one", "parameter": "5"}
        assert [json.loads(one.payload) for one in found] == [{"n": n, **expected} for n in range(4)]
        assert world.lines.lines() == [f"line {n} {line}" for n in range(4) for line in range(2)]
        assert world.metrics.total("faas.invocations") == 4
        assert [*world.lines.refused, *world.metrics.refused, *world.aws.refusals] == []
    said = [event["text"] for event in environment.log.of_kind("log")]
    assert [line for line in said if "wrapper: " in line or " WARNING " in line or " ERROR " in line] == []
    assert lab.exits(environment)["extension-kit"] == "exit status 0"


@isolated
def test_without_an_interpreter_the_extension_says_so(lab, layer, tmp_path, no_python):  # noqa: ARG001
    """The same layer without what it brings: a line, and the function goes on."""
    bare = {path: entry for path, entry in tree.read(layer).items() if not path.startswith("extension-kit-python/")}
    tree.write_zip(bare, tmp_path / "bare.zip")

    environment = lab.start(bootstrap=FUNCTIONS / "bootstrap_sh" / "bootstrap", layers=(tmp_path / "bare.zip",))
    result = environment.invoke(b'{"n": 1}').result(20)
    environment.shutdown()

    assert json.loads(result.payload) == {"n": 1}
    (line,) = [line for line in lab.lines(environment, "extension-kit") if "no Python" in line]
    assert "/var/lang/bin/ has no Python, and no layer brings one" in line


def test_byte_code_where_the_machine_has_no_such_python(folder, tmp_path, monkeypatch):
    """The interpreter compiles for its version where the machine has none of it."""
    from layer_build import bytecode, interpreters

    monkeypatch.setattr(interpreters.shutil, "which", lambda _name: None)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.delenv("EXTENSION_KIT_BUILD_PYTHON", raising=False)
    found = interpreters.find("3.13")
    assert found is not None
    if found[0].startswith(("/usr/bin", "/var/lang", "/opt")):
        pytest.skip("a system's Python 3.13 is here")

    compiled, release = bytecode.compile_all({"a.py": ("/opt/a.py", b"x = 1\n")}, "3.13")

    assert release == made.load(folder).release
    assert int.from_bytes(compiled["a.py"][:2], "little") == 3571
