"""What is measured: our extensions and their peers, each laid out as a layer would bring it.

A layer has ``extensions/NAME``, the program that Lambda starts, and ``NAME/`` with what the program needs. Python code comes
compiled for the interpreter that runs it, ours as well as the peers': /opt is read-only in Lambda, so a layer without
byte-code would be compiled anew at every cold start.

Compiled peers are kept below the user's cache folder under a hash of all that they are made of. What cannot be made here
(no compiler, no package) is `Absent` with the reason, and the rows that need it say so.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError
from layer_build import boot, bytecode, manifest
from layer_build.launcher import build
from layer_build.targets import ARCHITECTURES

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = HERE / "peers"

#: what a layer never contains
_NOT_IN_A_LAYER = (
    "__pycache__", "emulator", "backends", "checking", "cli.py", "commands", "pictures.py", "scaffold", "terminal.py",
    "testing.py", "pytest_plugin.py",
)  # fmt: skip
#: `requests` and all that it imports; mypyc's helper module of charset-normalizer is left out, its Python does as well
_REQUESTS = ("requests", "urllib3", "idna", "certifi", "charset_normalizer")
#: what the metrics collector's layer brings besides, with the metadata by which it finds its own parts
_EXPORTERS = ("opentelemetry", "google", "aws_lambda_powertools", "jmespath", "typing_extensions")
#: `aiohttp` and all that it imports
_AIOHTTP = (
    "aiohttp", "aiosignal", "frozenlist", "multidict", "yarl", "propcache", "attr", "attrs", "aiohappyeyeballs", "idna",
    "typing_extensions",
)  # fmt: skip
_AIOHTTP_PEERS = {"aiohttp-secrets": "python_aiohttp.py", "aiohttp-proxy": "aiohttp_proxy.py"}
_C_PEERS = {"c": "c_static.c", "c-copy": "c_copy.c"}
_KIT_ENTRY = """#!{python} -IS
import sys
sys.path.insert(0, __file__.rpartition("/")[0] + "/../{name}")
from extension_kit.runner import run
run("{plugin}")
"""
#: As a layer without the launcher begins: the chaos injector is there before the runtime.
_LAYER_ENTRY = """#!{python} -IS
import sys
sys.path.insert(0, __file__.rpartition("/")[0] + "/../{name}")
from extension_kit.launched import run
run("{name}", {plugins}, [], late=("chaos-injector:CHAOS_ENABLED",))
"""
_PROXY_ENTRY = """#!{python} -IS
import sys
sys.path.insert(0, __file__.rpartition("/")[0] + "/../{name}")
from _thread import allocate_lock
from posix import environ
from extension_kit.proxy import Hooks, RuntimeProxy
class Idle(Hooks):
    def on_next(self, first): pass
    def on_event(self, invocation): pass
    def on_response(self, invocation, response): pass
    def on_done(self, invocation): pass
proxy = RuntimeProxy(environ[b"PROXY_UPSTREAM"].decode(), Idle() if "{name}" == "proxy-hooks" else None)
print(proxy.listen(), flush=True)
proxy.serve()
lock = allocate_lock()
lock.acquire()
lock.acquire()
"""
_PLUGINS = {
    "kit": "plugins:Empty",
    "launcher": "plugins:Empty",
    "kit-hook": "plugins:Hook",
    "metrics-collector": "extensions.metrics_collector.plugin:MetricsCollector",
    "metrics-collector-edges": "extensions.metrics_collector.plugin:MetricsCollector",
    "metrics-collector-emf": "extensions.metrics_collector.plugin:MetricsCollector",
    "metrics-collector-otlp": "extensions.metrics_collector.plugin:MetricsCollector",
    "kit-telemetry": "plugins:Store",
    "kit-decode": "plugins:Decode",
    "kit-decode-orjson": "plugins:DecodeOrjson",
    "secret-cache": "extensions.secret_cache.plugin:SecretCache",
    "log-shipper": "extensions.log_shipper.plugin:LogShipper",
    "log-shipper-plain": "extensions.log_shipper.plugin:LogShipper",
    "log-shipper-otlp": "extensions.log_shipper.plugin:LogShipper",
}
_CHAOS = "chaos-injector=extensions.chaos_injector.plugin:ChaosInjector"
#: of a whole layer
_LAYERS = {
    "chaos-injector": (_CHAOS,),
    "extension-kit": (
        *(f"{name}={_PLUGINS[name]}" for name in ("secret-cache", "log-shipper", "metrics-collector")),
        _CHAOS,
    ),
}
_GO_FLAGS = {
    "go-quiet": " -X main.quiet=yes",
    "go-telemetry-typed": " -X main.mode=typed",
    "go-decode": " -X main.mode=decode",
}
_GO_FOLDERS = {"go-secrets": "go_secrets", "go-proxy": "go_proxy"}
OURS = (*_PLUGINS, *_LAYERS)
#: without telemetry
LOOPS = ("kit", "launcher", "kit-hook", "metrics-collector", "python-socket", "python-requests", "c", "go", "go-quiet")
#: what subscribes: first what only stores, then what decodes
STORES = ("kit-telemetry", "go-telemetry", "go-telemetry-typed", "python-http-server")
DECODES = ("kit-decode", "kit-decode-orjson", "go-decode", "python-decode")
CACHES = ("secret-cache", "go-secrets", "python-secrets", "aiohttp-secrets")
SHIPPERS = ("log-shipper", "log-shipper-plain", "log-shipper-otlp", "python-shipper")
COLLECTORS = ("metrics-collector-edges", "metrics-collector-emf", "metrics-collector-otlp", "python-scan")
#: no extensions: they stand between this process and itself, and say on which port
PROXIES = ("proxy", "proxy-hooks", "chaos-armed", "c-copy", "go-proxy", "python-proxy", "aiohttp-proxy")
#: the four, and all of them in one process
TOGETHER = ("extension-kit", "secret-cache", "log-shipper", "metrics-collector", "chaos-injector")
NAMES = tuple(dict.fromkeys((*LOOPS, *STORES, *DECODES, *CACHES, *SHIPPERS, *COLLECTORS, *PROXIES, *TOGETHER)))


class Absent(Exception):
    """This contender cannot be made here; the text says why."""


@dataclass(frozen=True)
class Contender:
    """One extension, ready to start. ``layer``: its folder; ``made_by``: what compiled or runs it."""

    name: str
    layer: Path
    made_by: str

    @property
    def program(self) -> Path:
        return self.layer / "extensions" / self.name


def cache_folder() -> Path:
    """Where compiled peers are kept between runs."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "extension-kit" / "benchmarks"


def find_python() -> str:
    """Debian's Python 3.11 where it is, since the budgets were set with it; else the one that runs this."""
    debian = "/usr/bin/python3.11"
    return debian if os.access(debian, os.X_OK) else os.path.realpath(sys.executable)


class Workshop:
    """Makes contenders in `folder`, which the caller removes."""

    def __init__(self, folder: Path, cache: Path, python: str) -> None:
        self.folder = folder
        self.cache = cache
        self.python = python

    def make(self, name: str) -> Contender:
        """The contender `name`; Absent where it cannot be had."""
        layer = self.folder / name
        (layer / "extensions").mkdir(parents=True)
        makers = {"python-socket": self._socket, "python-requests": self._requests, "c": self._c}
        makers |= {"python-shipper": self._requests}
        makers |= {"python-scan": self._scan}
        makers |= {"python-http-server": self._http_server, "python-decode": self._http_server}
        makers |= {"launcher": self._launcher, "python-secrets": self._secrets}
        makers |= {"aiohttp-secrets": self._aiohttp, "aiohttp-proxy": self._aiohttp}
        makers |= {"proxy": self._proxy, "proxy-hooks": self._proxy, "chaos-armed": self._chaos}
        makers |= {"python-proxy": self._plain, "c-copy": self._c}
        makers |= dict.fromkeys(_LAYERS, self._layer)
        made_by = self._go(layer) if name.startswith("go") else makers.get(name, self._kit)(layer)
        (layer / "extensions" / name).chmod(0o755)
        return Contender(name, layer, made_by)

    # in Python

    def _library(self, lib: Path) -> None:
        """Ours, with byte-code as the builder makes it, so that it takes as much memory as on Lambda."""
        leave_out = shutil.ignore_patterns(*_NOT_IN_A_LAYER)
        shutil.copytree(ROOT / "extension_kit", lib / "extension_kit", ignore=leave_out)
        shutil.copytree(ROOT / "extensions", lib / "extensions", ignore=leave_out)
        shutil.copy(HERE / "plugins.py", lib)
        version = _output(self.python, "-ISc", "import sys; print('%d.%d' % sys.version_info[:2])")
        found = {str(path.relative_to(lib)): (str(path), path.read_bytes()) for path in lib.rglob("*.py")}
        try:
            compiled, _exact = bytecode.compile_all(found, version, found)
        except ConfigError as error:
            raise Absent(str(error)) from error
        for name, data in compiled.items():
            cached = (lib / name).parent / "__pycache__" / f"{Path(name).stem}.{bytecode.tag(version)}.pyc"
            cached.parent.mkdir(exist_ok=True)
            cached.write_bytes(data)

    def _launcher(self, layer: Path) -> str:
        """The kit behind the launcher, which finds the interpreter where a layer has one of its own."""
        name = layer.name
        version = _output(self.python, "-ISc", "import sys; print('%d.%d' % sys.version_info[:2])")
        arch = {kernels: lambdas for lambdas, kernels in ARCHITECTURES.items()}.get(
            platform.machine(), platform.machine()
        )
        try:
            program = build.binary(arch)
        except ConfigError as error:
            raise Absent(str(error)) from error
        (layer / "extensions" / name).write_bytes(program)
        self._library(layer / name / "lib")
        about = manifest.parse(f'name = "{name}"\nplugins = ["{_PLUGINS[name]}"]'.encode(), "1")
        (layer / name / "launcher.conf").write_text(boot.launcher_conf(about, (version,), late=False))
        (layer / name / "boot.py").write_text(
            boot.boot_source(name, about.plugins, (version,), (), may=boot.may_of(about))
        )
        binaries = layer / "extension-kit-python" / version / "bin"
        binaries.mkdir(parents=True)
        (binaries / f"python{version}").symlink_to(os.path.realpath(self.python))
        return f"zig {build.ZIG_VERSION}, musl; {self._describe_python()}"

    def _kit(self, layer: Path) -> str:
        name = layer.name
        lib = layer / name
        self._library(lib)
        entry = _KIT_ENTRY.format(python=self.python, name=name, plugin=_PLUGINS[name])
        (layer / "extensions" / name).write_text(entry)
        if name.startswith(("log-shipper", "metrics-collector")):
            self._add_requests(lib)
        if name.startswith("metrics-collector"):
            self._add_exporters(lib)
        if not name.endswith("-orjson"):
            return self._describe_python()
        return f"{self._describe_python()}, orjson {self._add_orjson(lib)}"

    def _layer(self, layer: Path) -> str:
        """Extensions as they are in a layer, with the chaos injector's wrapper where that has it."""
        name = layer.name
        lib = layer / name
        self._library(lib)
        if len(_LAYERS[name]) > 1:
            self._add_requests(lib)
            self._add_exporters(lib)
        (layer / "chaos-injector").mkdir(exist_ok=True)
        shutil.copy(ROOT / "extensions" / "chaos_injector" / "wrapper", layer / "chaos-injector" / "wrapper")
        entry = _LAYER_ENTRY.format(python=self.python, name=name, plugins=_LAYERS[name])
        (layer / "extensions" / name).write_text(entry)
        return self._describe_python()

    def _add_orjson(self, lib: Path) -> str:
        """From this environment; it is compiled for one version of Python."""
        spec = importlib.util.find_spec("orjson")
        if spec is None or not spec.submodule_search_locations:
            raise Absent("the package orjson is not installed")
        shutil.copytree(spec.submodule_search_locations[0], lib / "orjson")
        try:
            return _output(self.python, "-ISc", "import sys; sys.path[:0] = sys.argv[1:]; import orjson; "
                                                "print(orjson.__version__)", str(lib))  # fmt: skip
        except subprocess.CalledProcessError:
            ours = platform.python_version()
            raise Absent(f"the package orjson is installed for Python {ours}, not for {self.python}") from None

    def _socket(self, layer: Path) -> str:
        source = (PEERS / "python_socket.py").read_text()
        (layer / "extensions" / layer.name).write_text(f"#!{self.python} -IS\n{source}")
        return self._describe_python()

    def _requests(self, layer: Path) -> str:
        lib = layer / layer.name
        self._add_requests(lib)
        source = (PEERS / f"{layer.name.replace('-', '_')}.py").read_text()
        (layer / "extensions" / layer.name).write_text(f"#!{self.python}\n{source}")
        return f"{self._describe_python()}, requests {importlib.metadata.version('requests')}"

    def _add_requests(self, lib: Path) -> None:
        for package in _REQUESTS:
            spec = importlib.util.find_spec(package)
            if spec is None or not spec.submodule_search_locations:
                raise Absent(f"the package {package} is not installed")
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(spec.submodule_search_locations[0], lib / package, ignore=ignore)
            self._compile(lib / package)

    def _add_exporters(self, lib: Path) -> None:
        """From this environment, but for a compiled part of protobuf's, which a layer of pure Python has not."""
        ignore = shutil.ignore_patterns("__pycache__", "*.so", "_upb")
        for package in _EXPORTERS:
            spec = importlib.util.find_spec(package)
            if spec is None:
                raise Absent(f"the package {package} is not installed")
            for place in spec.submodule_search_locations or ():
                shutil.copytree(place, lib / package, ignore=ignore, dirs_exist_ok=True)
            if not spec.submodule_search_locations and spec.origin:
                shutil.copy(spec.origin, lib)
            self._compile(lib / package if spec.submodule_search_locations else lib)
        for about in importlib.metadata.distributions():
            name = about.metadata["Name"]
            if name.startswith("opentelemetry") and (folder := about.locate_file("")) is not None:
                dist = f"{name.replace('-', '_')}-{about.version}.dist-info"
                shutil.copytree(Path(str(folder)) / dist, lib / dist)

    def _http_server(self, layer: Path) -> str:
        source = (PEERS / "python_http_server.py").read_text()
        (layer / "extensions" / layer.name).write_text(f"#!{self.python} -IS\n{source}")
        return self._describe_python()

    def _scan(self, layer: Path) -> str:
        source = (PEERS / "python_scan.py").read_text()
        (layer / "extensions" / layer.name).write_text(f"#!{self.python} -IS\n{source}")
        return self._describe_python()

    def _aiohttp(self, layer: Path) -> str:
        lib = layer / layer.name
        for package in _AIOHTTP:
            spec = importlib.util.find_spec(package)
            if spec is None or not spec.origin:
                raise Absent(f"the package {package} is not installed")
            if spec.submodule_search_locations:
                ignore = shutil.ignore_patterns("__pycache__")
                shutil.copytree(spec.submodule_search_locations[0], lib / package, ignore=ignore)
            else:
                shutil.copy(spec.origin, lib)
        source = (PEERS / _AIOHTTP_PEERS[layer.name]).read_text()
        (layer / "extensions" / layer.name).write_text(f"#!{self.python}\n{source}")
        return f"{self._compile(lib)}, aiohttp {importlib.metadata.version('aiohttp')}"

    def _proxy(self, layer: Path) -> str:
        self._library(layer / layer.name)
        entry = _PROXY_ENTRY.format(python=self.python, name=layer.name)
        (layer / "extensions" / layer.name).write_text(entry)
        return self._describe_python()

    def _chaos(self, layer: Path) -> str:
        self._library(layer / layer.name)
        found = f"import sys\nsys.path.insert(0, {str(layer / layer.name)!r})\n"
        source = (PEERS / "chaos_armed.py").read_text()
        (layer / "extensions" / layer.name).write_text(f"#!{self.python} -IS\n{found}{source}")
        return self._describe_python()

    def _plain(self, layer: Path) -> str:
        source = (PEERS / f"{layer.name.replace('-', '_')}.py").read_text()
        (layer / "extensions" / layer.name).write_text(f"#!{self.python} -IS\n{source}")
        return self._describe_python()

    def _secrets(self, layer: Path) -> str:
        source = (PEERS / "python_secrets.py").read_text()
        (layer / "extensions" / layer.name).write_text(f"#!{self.python} -IS\n{source}")
        return self._describe_python()

    def _compile(self, lib: Path) -> str:
        command = [self.python, "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", str(lib)]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        return self._describe_python()

    def _describe_python(self) -> str:
        return f"Python {_output(self.python, '-c', 'import platform; print(platform.python_version())')}"

    # compiled

    def _c(self, layer: Path) -> str:
        command, described, variables = self._c_compiler()
        source = PEERS / _C_PEERS[layer.name]
        content = [source.read_bytes(), *command, described]

        def build(target: Path) -> None:
            _run([*command, "-O2", "-static", "-s", "-o", str(target), str(source)], PEERS, variables)

        shutil.copy(self._cached(layer.name, content, build), layer / "extensions" / layer.name)
        return described

    def _c_compiler(self) -> tuple[list[str], str, dict[str, str]]:
        """zig's musl where the package ``ziglang`` is; else this machine's compiler, whose libc starts a little slower."""
        if importlib.util.find_spec("ziglang") is not None:
            zig_cache = str(self.cache / "zig")
            command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{platform.machine()}-linux-musl"]
            variables = {"ZIG_GLOBAL_CACHE_DIR": zig_cache, "ZIG_LOCAL_CACHE_DIR": zig_cache}
            return command, f"zig {importlib.metadata.version('ziglang')}, musl", variables
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise Absent("neither the package ziglang nor a C compiler is installed")
        return [compiler], f"{_output(compiler, '--version').splitlines()[0]}, this machine's libc", {}

    def _go(self, layer: Path) -> str:
        compiler = shutil.which("go")
        if compiler is None:
            raise Absent("Go is not installed (Debian: golang-go)")
        described = " ".join(_output(compiler, "version").split()[2:])
        folder = PEERS / ("go_net_http" if layer.name in LOOPS else _GO_FOLDERS.get(layer.name, "go_telemetry"))
        flags = "-s -w" + _GO_FLAGS.get(layer.name, "")
        content = [*(path.read_bytes() for path in sorted(folder.iterdir())), flags, described]
        variables = {"CGO_ENABLED": "0", "GOCACHE": str(self.cache / "go"), "GOPROXY": "off", "GOTOOLCHAIN": "local"}
        variables["GOFLAGS"] = "-buildvcs=false"  # a checkout that belongs to somebody else would be refused

        def build(target: Path) -> None:
            _run([compiler, "build", "-trimpath", "-ldflags", flags, "-o", str(target), "."], folder, variables)

        shutil.copy(self._cached(layer.name, content, build), layer / "extensions" / layer.name)
        return described

    def _cached(self, name: str, content: list[str | bytes], build: Callable[[Path], None]) -> Path:
        """The program made of `content`; built where the cache has none."""
        digest = hashlib.sha256()
        for part in content:
            data = part.encode() if isinstance(part, str) else part
            digest.update(b"%d:%b" % (len(data), data))
        kept = self.cache / f"{name}-{digest.hexdigest()[:16]}"
        if not kept.exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            fresh = kept.with_suffix(f".{os.getpid()}")  # renamed when whole: another run may look at the same moment
            build(fresh)
            fresh.rename(kept)
        return kept


def _run(command: list[str], folder: Path, variables: dict[str, str]) -> None:
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **variables}, capture_output=True, text=True, timeout=300
    )
    if done.returncode:
        raise Absent(f"{Path(command[0]).name} failed: {' '.join(done.stderr.split())[-300:]}")


@functools.cache
def _output(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip()
