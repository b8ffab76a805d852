"""Small layers for tests, laid out as the builder lays them out, but with the kit of this checkout linked instead of copied."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from layer_build import boot
from layer_build.launcher import build
from layer_build.manifest import Manifest, parse

ROOT = Path(__file__).parents[3]
OWN = "%d.%d" % sys.version_info[:2]
ARCH = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]
#: Built while tests are collected: the first time, with the compiler to be fetched, takes longer than a test may.
LAUNCHER = build.binary(ARCH, lambda text: print(text, file=sys.__stderr__, flush=True))

PLUGIN = """
from extension_kit import Plugin

def say(*what):
    print(*what, flush=True)

def serve_once(socket):
    # answers one caller with one byte, on a thread
    import _socket, _thread
    def serve():
        fd, _peer = socket._accept()
        peer = _socket.socket(fileno=fd)
        peer.sendall(b"!")
        peer.close()
    _thread.start_new_thread(serve, ())
"""
#: tells of every hook
TALKER = """
class Main(Plugin):
    name = "talker"
    def start(self, context):
        say("start", context.registration.function_name)
    def on_invoke(self, event):
        say("invoke")
    def on_shutdown(self, event, deadline):
        say("shutdown", event.reason)
"""


def manifest(name: str, ports: str = "[]", events: str = '["INVOKE", "SHUTDOWN"]', more: str = "") -> Manifest:
    """``more``: further lines of its capabilities."""
    text = f'name = "{name}"\nplugins = ["code:Main"]\n[capabilities]\nports = {ports}\nevents = {events}\n{more}\n'
    return parse(text.encode(), "1")


def layer(
    folder: Path,
    code: str = TALKER,
    name: str = "ext",
    *,
    ports: str = "[]",
    pythons: tuple[str, ...] = (OWN,),
    late: boot.Late = False,
    only: boot.Only | None = None,
    events: str = '["INVOKE", "SHUTDOWN"]',
    plugins: tuple[str, ...] = ("code:Main",),
    launcher: str = "native",
    more: str = "",
) -> Path:
    """A layer with the plug-in `code`, which is class ``Main`` unless `plugins` says otherwise."""
    about = manifest(name, ports, events, more)
    lib = folder / name / "lib"
    lib.mkdir(parents=True)
    (folder / "extensions").mkdir()
    (lib / "code.py").write_text(PLUGIN + code)
    (lib / "extension_kit").symlink_to(ROOT / "extension_kit")
    entry = folder / "extensions" / name
    given = (name, plugins, pythons, boot.ports_of(about))
    if launcher == "native":
        (folder / name / "launcher.conf").write_text(boot.launcher_conf(about, pythons, late, only))
        text = boot.boot_source(*given, late=late, only=only, events=about.events, may=boot.may_of(about))
        (folder / name / "boot.py").write_text(text)
        entry.write_bytes(LAUNCHER)
    else:
        text = boot.python_entry(*given, late=late, only=only, events=about.events, may=boot.may_of(about))
        entry.write_text(text)
    entry.chmod(0o755)
    return folder
