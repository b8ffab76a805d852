"""The text files between Lambda and the kit: ``launcher.conf``, ``boot.py``, and the entry in Python where one is wanted.

``boot.py`` is read by whatever Python there is, so it must parse in any Python 3; only then can it say that this is the
wrong one. The entry in Python is the same text after a first line that finds an interpreter: there is no launcher then, so
what the launcher does before Python is up (bind the ports, register) is done by the kit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from extension_kit.errors import ConfigError

if TYPE_CHECKING:
    from layer_build.manifest import Manifest

#: name, default, the variables that override it, the file that it is written to or ""; see `extension_kit.io.ports`
PortSpec = tuple[str, int, tuple[str, ...], str]
#: the plug-ins that are asked before the registration, as PLUGIN, or PLUGIN:VARIABLE where they need it only while that is
#: true; True where nobody knows which
Late = bool | tuple[str, ...]
#: by a port's name, whose it is, in the same words: it is opened where one of them is to run
Only = dict[str, tuple[str, ...]]

#: hosts and programs; see `extension_kit.egress`
May = tuple[tuple[str, ...], tuple[str, ...]]

_EVENTS = ("INVOKE", "SHUTDOWN")

_BOOT = '''\
"""What Python begins with: finds the kit in this layer and runs the plug-ins. Made by layer_build."""
import sys

NAME = "{name}"
PLUGINS = {plugins}
PYTHONS = {pythons}
PORTS = {ports}
LATE = {late}
ONLY = {only}
EVENTS = {events}
MAY = {may}

FOLDER = __file__.rpartition("/")[0]
OPT = FOLDER.rpartition("/")[0] if FOLDER.startswith("/") else (FOLDER or ".") + "/.."


def cannot_go_on(text):
    """Back to the launcher, which says so and then does what EXTENSION_KIT_ON_FAILURE wants; without one this is the end."""
    text = text.replace("\\n", " ")
    if len(sys.argv) < 4:
        sys.stderr.write("[" + NAME + "] " + text + "\\n")
        sys.exit(1)
    import posix

    launcher = OPT + "/extensions/" + NAME
    posix.execv(launcher, [launcher, "--idle", sys.argv[1], sys.argv[3], text])


def chosen_python():
    """Where there is no launcher: become the interpreter that EXTENSION_KIT_PYTHON names."""
    import posix

    wanted = posix.environ.get(b"EXTENSION_KIT_PYTHON", b"").strip().decode("utf-8", "surrogateescape")
    if wanted and wanted != sys.executable and "chosen" not in sys._xoptions:
        try:
            posix.execv(wanted, [wanted, "-I", "-S", "-X", "utf8", "-X", "chosen", __file__])
        except OSError as error:
            why = "EXTENSION_KIT_PYTHON=" + wanted + ": " + str(error.strerror)
            sys.stderr.write("[" + NAME + "] " + why + "; " + sys.executable + " is used instead\\n")


def main():
    if len(sys.argv) < 4:
        chosen_python()
    if sys.version_info[:2] not in PYTHONS:
        supported = ", ".join("%d.%d" % version for version in PYTHONS)
        found = "%d.%d" % sys.version_info[:2]
        cannot_go_on("this layer supports Python " + supported + ", but " + sys.executable + " is " + found)
    sys.path[0:0] = [OPT + "/" + NAME + "/lib"]
    try:
        from extension_kit.launched import run
    except Exception as error:
        cannot_go_on("the kit cannot be imported from " + sys.path[0] + ": " + type(error).__name__ + ": " + str(error))
    run(NAME, PLUGINS, sys.argv[1:], ports=PORTS, late=LATE, only=ONLY, events=EVENTS, may=MAY)


main()
'''

#: For several versions: sh reads it as commands, Python as a string that nobody uses. A function's sitecustomize, PYTHONPATH
#: and so on are of no effect with -I -S; what is in LD_PRELOAD has been loaded into sh already.
_POLYGLOT = """\
#!/bin/sh
''':'
for python in "$EXTENSION_KIT_PYTHON"{candidates}; do
  [ -n "$python" ] || continue
  [ -x "$python" ] && exec "$python" -I -S -X utf8 "$0"
  [ "$python" = "$EXTENSION_KIT_PYTHON" ] && break
done
echo "[{name}] no Python was found: this layer supports {supported}; looked for ${{EXTENSION_KIT_PYTHON:-{looked_for}}}" >&2
exit 1
'''
"""


def ports_of(manifest: Manifest) -> tuple[PortSpec, ...]:
    """The ports of a manifest as launcher and kit take them; ConfigError where two would be written to the same file."""
    specs = [
        (port.name, port.port, port.variables, manifest.port_file(port)) for port in manifest.ports if not port.optional
    ]
    files = [spec[3] for spec in specs if spec[3]]
    for file in files:
        if files.count(file) > 1:
            raise ConfigError(f"{manifest.name}: only one port may have fallback: its number stands in {file}")
    return tuple(specs)


def may_of(manifest: Manifest) -> May:
    """What the egress guard holds a process to: hosts, ``HOST when VARIABLE`` for some, and programs."""
    hosts = (f"{one.host} when {one.when}" if one.when else one.host for one in manifest.hosts)
    return tuple(dict.fromkeys(hosts)), tuple(dict.fromkeys(one.program for one in manifest.subprocesses))


def launcher_conf(manifest: Manifest, pythons: tuple[str, ...], late: Late, only: Only | None = None) -> str:
    """``launcher.conf``: `pythons` are the versions that the layer has byte-code for, best first.

    `late`: a plug-in has ``before_register``, so that Python registers, not the launcher. `only`: whose the ports are.
    """
    register = "late" if late is True else "late " + ",".join(late) if late else "early"
    lines = ["extension-kit-launcher 1", "pythons " + " ".join(pythons), f"register {register}"]
    lines.append("events " + " ".join(manifest.events))
    for name, port, variables, file in ports_of(manifest):
        who = ",".join((only or {}).get(name, ()))
        lines.append(f"port {name} {port} {','.join(variables) or '-'} {file or '-'} {who}".rstrip())
    for line in lines:
        if not line.isascii() or not line.isprintable():
            raise ConfigError(f"launcher.conf: {line!r}: only printable ASCII can stand there")
    return "\n".join(line.rstrip() for line in lines) + "\n"


def boot_source(
    name: str,
    plugins: tuple[str, ...],
    pythons: tuple[str, ...],
    ports: tuple[PortSpec, ...],
    *,
    late: Late = False,
    only: Only | None = None,
    events: tuple[str, ...] = _EVENTS,
    may: May = ((), ()),
) -> str:
    """``boot.py`` of the layer `name`: `plugins` as ``[NAME=]MODULE:CLASS``, `pythons` as "3.13", `ports` as of `ports_of`."""
    versions = tuple((int(major), int(minor)) for major, minor in (python.split(".") for python in pythons))
    return _BOOT.format(
        name=name,
        plugins=plugins,
        pythons=versions,
        ports=ports,
        late=late,
        only=only or {},
        events=tuple(events),
        may=may,
    )


def python_entry(
    name: str,
    plugins: tuple[str, ...],
    pythons: tuple[str, ...],
    ports: tuple[PortSpec, ...],
    *,
    late: Late = False,
    only: Only | None = None,
    events: tuple[str, ...] = _EVENTS,
    may: May = ((), ()),
) -> str:
    """``extensions/<name>`` in Python, instead of the launcher: for one version the kernel finds it, for several sh does."""
    source = boot_source(name, plugins, pythons, ports, late=late, only=only, events=events, may=may)
    if len(pythons) == 1:
        return f"#!/var/lang/bin/python{pythons[0]} -ISXutf8\n{source}"
    paths = [f"/var/lang/bin/python{python}" for python in pythons]
    first = _POLYGLOT.format(
        name=name,
        candidates="".join(f" {path}" for path in paths),
        supported=" ".join(pythons),
        looked_for=" ".join(paths),
    )
    return first + source
