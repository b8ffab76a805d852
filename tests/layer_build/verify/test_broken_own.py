"""Layers of this kit that are not what they say."""

from __future__ import annotations

import pytest

from tests.layer_build.verify.cases import OURS, Case, ours, refused, without
from tests.layer_build.verify.elves import elf, program
from tests.layer_build.verify.layers import CONF, MANIFEST, PLUGIN, PYTHON, SCRIPT, TAG, File, changed, pyc

OTHER = "3.13" if PYTHON != "3.13" else "3.12"
START = "    def start(self, context):\n"
PORTS = next(line for line in MANIFEST.splitlines(keepends=True) if line.startswith("ports"))
PORT_LINES = CONF[CONF.index("port ") :]
VARIABLES = MANIFEST[MANIFEST.index("variables = ") : MANIFEST.index(PORTS)]
RUN = "\n        self.home = os.environ.get"
OWN = [
    Case("no launcher", without(OURS, "extensions/my-ext"), "own-no-entry", ("extensions/my-ext is not there",)),
    Case("no boot.py", without(OURS, "my-ext/boot.py"), "own-incomplete", ("boot.py is missing",)),
    Case("no SBOM", without(OURS, "my-ext/sbom.cdx.json"), "own-incomplete", ("sbom.cdx.json is missing",)),
    Case(
        "python/",
        changed(OURS, at="python/mine.py", data=b""),
        "own-elsewhere",
        ("reaches into the function", "import path"),
    ),
    Case(
        "a second file to start",
        changed(OURS, at="extensions/other", data=SCRIPT, mode=0o755),
        "own-elsewhere",
        ("is started",),
    ),
    Case(
        "an interpreter without its library",
        changed(OURS, at=f"extension-kit-python/{PYTHON}/bin/python{PYTHON}", data=program(), mode=0o755),
        "own-interpreter",
        ("has no os.pyc", "lib-dynload is missing", "in a runtime without Python"),
    ),
    Case(
        "the emulator",
        {
            **OURS,
            "my-ext/lib/extension_kit/emulator/x.py": File(b""),
            f"my-ext/lib/extension_kit/emulator/__pycache__/x.{TAG}.pyc": File(pyc(b"")),
        },
        "own-for-laptops",
        ("on laptops only",),
    ),
    Case(
        "a manifest that is none",
        changed(OURS, at="my-ext/manifest.toml", data=b"name = 5"),
        "own-manifest",
        ("name is 5",),
    ),
    Case(
        "another name",
        ours(manifest=('name = "my-ext"', 'name = "my-other"')),
        "own-name",
        ("'my-other'", "'my-ext'"),
        beside=("own-launcher-conf", "write-undeclared"),
    ),
    Case(
        "another launcher",
        changed(OURS, at="extensions/my-ext", data=elf(kind=2, needed=("libc.so.6",)), mode=0o755),
        "own-provenance",
        ("SHA-256", "nobody can tell"),
    ),
    Case(
        "provenance that is none",
        changed(OURS, at="my-ext/provenance.json", data=b"{}"),
        "own-provenance",
        ("not a provenance",),
    ),
    Case(
        "no byte-code",
        without(OURS, f"my-ext/lib/my_ext/__pycache__/plugin.{TAG}.pyc"),
        "bytecode-missing",
        (f"for Python {PYTHON}", "7 times"),
    ),
    Case(
        "byte-code that asks the source",
        changed(OURS, at=f"my-ext/lib/my_ext/__pycache__/plugin.{TAG}.pyc", data=pyc(PLUGIN.encode(), checked=True)),
        "bytecode-missing",
        ("without asking the source",),
    ),
    Case(
        "asked for another Python",
        OURS,
        "own-python",
        (f"supports Python {PYTHON}", f"--python {OTHER}"),
        ("--python", OTHER),
        beside=("bytecode-unused",),
    ),
    Case(
        "a launcher's file of tomorrow",
        ours(conf=("launcher 1", "launcher 2")),
        "own-launcher-conf",
        ("the first line",),
    ),
    Case(
        "a Python that there is not",
        ours(conf=(f"pythons {PYTHON}", f"pythons {PYTHON} 3.99")),
        "own-launcher-conf",
        ("3.99",),
    ),
    Case(
        "fewer events",
        ours(conf=("events INVOKE SHUTDOWN", "events INVOKE")),
        "own-launcher-conf",
        ("the manifest has INVOKE SHUTDOWN",),
    ),
    Case(
        "another port",
        ours(conf=("port http 2773", "port http 2774")),
        "own-launcher-conf",
        ("port http: 2774", "the manifest has 2773"),
    ),
    Case(
        "a port that is none",
        ours(conf=("port http 2773 MY_PORT -", "port http 99999 MY_PORT -")),
        "own-launcher-conf",
        ("NAME NUMBER",),
    ),
    Case(
        "a wrapper from Windows",
        changed(OURS, at="my-ext/wrapper", data=b'#!/bin/sh\r\nexec "$@"\r\n', mode=0o755),
        "cr-in-shebang",
        ("my-ext/wrapper",),
    ),
]
CAPABILITIES = [
    Case(
        "reads a variable",
        ours(plugin=('"HOME"', '"SECRET_PLACE"')),
        "variable-undeclared",
        ("SECRET_PLACE", "line 26"),
    ),
    Case(
        "a setting",
        ours(plugin=("    secret = ", '    level = text("", help="x", aliases=("MY_EXT_OLD",))\n    secret = ')),
        "variable-undeclared",
        ("MY_EXT_LEVEL", "capabilities.variables"),
    ),
    Case(
        "a variable through getenv",
        ours(plugin=(RUN, "\n        os.getenv('HIDDEN')" + RUN)),
        "variable-undeclared",
        ("HIDDEN",),
    ),
    Case(
        "a variable as bytes",
        ours(plugin=(RUN, "\n        import posix as p\n        p.environ[b'HIDDEN']" + RUN)),
        "variable-undeclared",
        ("HIDDEN",),
    ),
    Case(
        "a variable looked for",
        ours(plugin=(RUN, "\n        'HIDDEN' in os.environ" + RUN)),
        "variable-undeclared",
        ("HIDDEN",),
    ),
    Case(
        "a client without hosts",
        ours(manifest=('hosts = ["logs.example.com"]', "hosts = []")),
        "network-undeclared",
        ("imports http.client", "lists no hosts", "egress guard"),
    ),
    Case(
        "a server without ports",
        ours(
            manifest=(PORTS, ""),
            conf=(PORT_LINES, ""),
            plugin=("import http.client\n", "import http.client\nimport http.server\n"),
        ),
        "network-undeclared",
        ("imports http.server", "lists no ports"),
    ),
    Case(
        "a socket without either",
        ours(
            manifest=(f'hosts = ["logs.example.com"]\n{VARIABLES}{PORTS}', VARIABLES),
            conf=(PORT_LINES, ""),
            plugin=("import http.client\n", "import socket as s\n"),
        ),
        "network-undeclared",
        ("imports socket", "lists no hosts and no ports"),
    ),
    Case(
        "the function's logs",
        ours(plugin=('("platform",)', '("platform", "function")')),
        "telemetry-undeclared",
        ("function", "everything that the function logs"),
    ),
    Case(
        "the end of an invocation",
        ours(
            manifest=('telemetry = ["platform"]', "telemetry = []"),
            plugin=('    telemetry = ("platform",)', "    def on_runtime_done(self, record):\n        pass\n"),
        ),
        "telemetry-undeclared",
        ("subscribes to platform",),
    ),
    Case(
        "telemetry that nobody wants",
        ours(plugin=('telemetry = ("platform",)', "telemetry = ()")),
        "telemetry-unused",
        ("platform",),
    ),
    Case(
        "too early",
        ours(plugin=(START, "    def before_register(self, context):\n        pass\n\n" + START)),
        "registers-too-early",
        ("before_register", "register late"),
    ),
    Case(
        "a process",
        ours(
            manifest=('hosts = ["logs.example.com"]', 'hosts = ["logs.example.com"]\nsubprocesses = ["sh"]'),
            plugin=(RUN, "\n        os.system('true')" + RUN),
        ),
        "starts-processes",
        ("os.system",),
    ),
    Case(
        "a process that the manifest does not list",
        ours(plugin=(RUN, "\n        import posix\n        posix.posix_spawn('/bin/true', [], {})" + RUN)),
        "process-undeclared",
        ("posix.posix_spawn", "egress guard refuses it", "capabilities.subprocesses"),
    ),
    Case(
        "a file elsewhere in /tmp",
        ours(plugin=('"/tmp/my-ext.log"', '"/tmp/other.log"')),
        "write-undeclared",
        ("/tmp/other.log",),
    ),
    Case(
        "a file in /var",
        ours(plugin=('"/tmp/my-ext.log"', '"/var/log/my-ext.log"')),
        "write-outside-tmp",
        ("[Errno 30] Read-only file system",),
    ),
    Case(
        "a path written",
        ours(plugin=(RUN, "\n        from pathlib import Path\n        Path('/tmp/p').write_text('')" + RUN)),
        "write-undeclared",
        ("/tmp/p",),
    ),
    Case(
        "a plug-in that is not there",
        ours(manifest=("my_ext.plugin:Mine", "my_ext.other:Mine")),
        "plugin-missing",
        ("my_ext.other:Mine",),
    ),
    Case(
        "broken source",
        ours(plugin=("class Mine(Plugin):", "class Mine(Plugin")),
        "source-broken",
        ("SyntaxError",),
        beside=("bytecode-missing", "bytecode-broken"),
    ),
    Case(
        "AWS without permissions",
        ours(
            manifest=('iam = ["s3:PutObject"]', "iam = []"), plugin=(RUN, "\n        self.needs = 's3:GetObject'" + RUN)
        ),
        "iam-undeclared",
        ("s3:GetObject", "AccessDenied"),
    ),
]


CASES = [*OWN, *CAPABILITIES]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_broken_layer_is_refused(capsys, tmp_path, case):
    """Its own code, its own words, and nothing else is said."""
    refused(case, capsys, tmp_path)
