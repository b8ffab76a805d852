"""The egress guard: what a process of ours connects to, looks up and starts is held to what its manifest and settings name.

An audit hook (PEP 578) sees every connection, look-up and program start that goes through the interpreter, of every plug-in
and library, on every thread. It is put in once the registration has left and before any plug-in is imported, where

- the layer, or a ``manifest.toml`` beside some plug-in's module, says what it may do; or EXTENSION_KIT_EGRESS_ALLOW says more;
- and not EXTENSION_KIT_EGRESS_ALLOW=``*``, which switches it off.

Where nothing does (a script, say) the first that it would refuse is told.
What is refused raises PermissionError, an OSError as every library expects one; it is told once for each target and counted.

A hook sees a name before it is looked up, and later an address without a name. So the look-ups of `_socket`, through which all
others go, are wrapped: what they find for an allowed name may be connected to on the name's ports, for `_FORGET_MS`, the last
`_MOST_ADDRESSES`. That is long: a refusal by mistake costs data, an address that has a new owner costs little.

Every mistake in here refuses what was asked for, and does nothing else. What passes the guard stands in README.md, "Glass box".
Rules are made (`egress_rules`) when the first target is no address of this host: this module is on the path to the first event.
"""

from __future__ import annotations

import _socket
import sys
from _thread import RLock, get_ident

from extension_kit.declarations import clean

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from extension_kit.io.clock import Clock
    from extension_kit.plugin import Context
    from extension_kit.protocol.hosts import Rules
    from extension_kit.settings import Settings

    #: kind of the attempt, what it was for, what EXTENSION_KIT_EGRESS_ALLOW would have to name
    Refused = tuple[str, str, str]

__all__ = ["OWN_NAMES", "Guard", "OnBehalfOfFunction", "guard", "packed"]

_FORGET_MS = 21_600_000
_MOST_ADDRESSES = 512
_MOST_NAMES = 64  # of one address
_MOST_LINES = 20
_LOCK_SECONDS = 5.0  # the lock may be held by a thread that a fork has left behind
#: of sockets to this host: those of other programs, and of the kernel
_INTERNET = (_socket.AF_INET, _socket.AF_INET6)
_LOCAL_FAMILIES = tuple(getattr(_socket, name, -1) for name in ("AF_UNIX", "AF_NETLINK"))
_ANY = (b"\0\0\0\0", bytes(16))  # a connection to "any address" is one to this host
_LOOPBACK = bytes(15) + b"\1"
_DIGITS = frozenset("0123456789")
_NUMERIC = frozenset("0123456789abcdefABCDEFxX.")
_WHAT = {"connections": "a connection to", "lookups": "a look-up of", "programs": "the start of"}
#: audit events (CPython docs, "Audit events table"): the kind of attempt
_WATCHED = {
    "socket.__new__": "connections", "socket.connect": "connections", "socket.sendto": "connections",
    "socket.sendmsg": "connections",
    "socket.getaddrinfo": "lookups", "socket.gethostbyname": "lookups", "socket.gethostbyaddr": "lookups",
    "socket.getnameinfo": "lookups",
    "subprocess.Popen": "programs", "os.posix_spawn": "programs", "os.exec": "programs", "os.fork": "programs",
    "os.forkpty": "programs", "os.system": "programs", "os.spawn": "programs", "pty.spawn": "programs",
}  # fmt: skip
_REVERSE = ("socket.gethostbyaddr", "socket.getnameinfo")
_family = _socket.socket.family.__get__

#: of this process; hooks cannot be taken out, so there is one at most
_guard: Guard | None = None


def guard(
    specs: Iterable[Any],
    declared: tuple[tuple[str, ...], tuple[str, ...]] | None,
    allowed: tuple[str, ...],
    environ: Mapping[str, str],
    clock: Clock,
    say: Callable[[str], object],
    owner: Callable[[int], Context | None],
) -> tuple[Guard | None, str]:
    """The guard, on duty, or only telling (`Guard.refuses`); or None and why.

    ``declared``: hosts and programs of the layer's manifest; None: what stands beside the modules of ``specs`` (plug-ins, or
    ``module:Class``) counts. ``allowed``: EXTENSION_KIT_EGRESS_ALLOW. ``owner``: whose thread it is, by its number.
    """
    global _guard
    if "*" in allowed:
        return None, "EXTENSION_KIT_EGRESS_ALLOW=*"
    manifests: list[str] = []
    refuses = True
    if declared is None:
        from extension_kit.egress_manifest import beside

        manifests = [path for path in map(beside, specs) if path]
        refuses = bool(allowed or manifests)
    made = Guard(declared or ((), ()), manifests, allowed, environ, clock, say, owner, refuses)
    _wrap_lookups()
    _wrap_fork_exec()
    if _guard is None:
        sys.addaudithook(_hook)
    _guard = made
    return made, ""


def _hook(event: str, arguments: tuple[Any, ...], _watched: Mapping[str, str] = _WATCHED) -> None:
    """Called for every audited event there is, some 10,000 while a program is imported; also when our names are gone."""
    if event in _watched and _guard is not None:
        _guard.judge(event, arguments)


class Guard:
    """Judges what is asked for, by any thread, also within another judgement. ``refused``: attempts by kind."""

    def __init__(
        self,
        declared: tuple[tuple[str, ...], tuple[str, ...]],
        manifests: list[str],
        allowed: tuple[str, ...],
        environ: Mapping[str, str],
        clock: Clock,
        say: Callable[[str], object],
        owner: Callable[[int], Context | None],
        refuses: bool = True,
    ) -> None:
        self.refuses = refuses
        self.refused: dict[str, int] = {}
        self._hosts, self._programs = declared
        self._manifests = manifests
        self._allowed = allowed
        self._environ = environ
        self._clock = clock
        self._say = say
        self._owner = owner
        self._settings: list[Settings] = []
        self._rules: tuple[int, Rules, tuple[str, ...], bool] | None = None  # first: of how many settings
        self._addresses: dict[bytes, dict[str, int]] = {}  # found for names that are allowed: when, in ms
        self._told: set[tuple[str, str]] = set()
        self._said: set[str] = set()
        self._passing: dict[int, int] = {}  # threads that act for the function: how often
        self._own_name = ""
        self._lock = RLock()
        self._untold = [True]
        self._passes_all = False  # it was told that there is no guard

    def add(self, settings: Settings) -> None:
        """Let pass what these settings name (`names` of their declarations)."""
        self._settings.append(settings)

    def account(self) -> str:
        """What was refused in all, in one line; "" where nothing was."""
        if not self.refused:
            return ""
        return "egress guard: refused in all: " + ", ".join(f"{kind} {n}" for kind, n in sorted(self.refused.items()))

    # judging

    def judge(self, event: str, arguments: tuple[Any, ...]) -> None:
        """PermissionError where this may not be; any mistake of ours counts as that."""
        if self._passes_all:
            return
        kind = _WATCHED[event]
        try:
            if event == "socket.__new__":
                refused = _of_family(arguments[1])
            elif kind == "connections":
                refused = self._connection(*arguments)
            elif kind == "lookups":
                refused = self._lookup(arguments[0], event in _REVERSE)
            else:
                refused = self._program(event, arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not allowed then
            refused = (kind, f"what cannot be judged ({type(error).__name__})", "")
        if refused and self.refuses:
            raise self._refusal(*refused)
        if refused:
            self._passes_all = True
            from extension_kit.egress_manifest import tell_of_none

            tell_of_none(self._untold, self._say, f"{_WHAT[refused[0]]} {clean(refused[1])}")

    def _connection(self, sock: Any, address: Any) -> Refused | None:
        if address is None:
            return None  # of a socket that is connected, which was judged then
        family = _family(sock)
        if family not in _INTERNET:
            return _of_family(family)
        host, port = _text(address[0]), address[1]
        if self._may_reach(host, port):
            return None
        shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        names = ", ".join(self._names(packed(host)))
        return "connections", f"{shown} ({names})" if names else shown, f"{names or shown}"

    def _lookup(self, host: Any, reverse: bool) -> Refused | None:
        if host is None:
            return None
        host = _text(host[0] if type(host) is tuple else host)
        if packed(host) is not None:
            # Nothing is asked of anybody for an address; but for its name.
            return ("lookups", host, host) if reverse and not self._may_reach(host, None) else None
        if self._may_reach(host, None) or host == self._hostname():
            return None
        return "lookups", host, host

    def _may_reach(self, host: str, port: int | None) -> bool:
        address = packed(host)
        if host.lower() in OWN_NAMES if address is None else _is_local(address):
            return True
        from extension_kit.protocol.hosts import normal

        _count, rules, _programs, open_for_function = self._made_rules()
        if open_for_function and get_ident() in self._passing:
            return True
        if address is None:
            name = normal(host)
            return bool(name) and rules.admits_name(name, port)
        return rules.admits_address(address, port) or any(
            rules.admits_name(name, port) for name in self._names(address)
        )

    def _names(self, address: bytes | None) -> list[str]:
        """The names for which an address was found, and not too long ago."""
        found = self._addresses.get(address) if address is not None else None
        if not found:
            return []
        now = self._clock.wall_ms()
        return [name for name, at in tuple(found.items()) if now - at < _FORGET_MS]

    def _hostname(self) -> str:
        """This host's own: libraries look it up to say where they are."""
        self._own_name = self._own_name or _socket.gethostname()
        return self._own_name

    def _made_rules(self) -> tuple[int, Rules, tuple[str, ...], bool]:
        """Of all settings; another thread may add some meanwhile."""
        made = self._rules
        while made is None or made[0] != len(self._settings):
            from extension_kit.egress_rules import make

            settings = tuple(self._settings)
            rules = make(
                self._hosts, self._programs, self._manifests, self._allowed, settings, self._environ, self._say_once
            )
            made = self._rules = (len(settings), *rules)
        return made

    def _program(self, event: str, arguments: tuple[Any, ...]) -> Refused | None:
        from extension_kit.egress_programs import command, may_start

        path, words = command(event, arguments)
        if may_start(self._made_rules()[2], path, words):
            return None
        return "programs", "a copy of this process (fork)" if path == "fork" else path, ""

    def _refusal(self, kind: str, target: str, hint: str) -> OSError:
        """Counted, told where it is new, and as an error."""
        shown = clean(target)
        if kind == "programs":
            way = "the manifest's capabilities.subprocesses does not name it"
        else:
            way = "neither the manifest nor a setting names it"
            way += f"; EXTENSION_KIT_EGRESS_ALLOW={clean(hint)} would allow it" if hint else ""
        text = f"egress guard: {_WHAT[kind]} {shown} was refused: {way}"
        try:
            self._note_refusal(kind, shown, text)
        except Exception:  # noqa: BLE001, S110 - it is refused all the same
            pass
        return OSError(1, text)

    def _note_refusal(self, kind: str, target: str, text: str) -> None:
        context = self._owner(get_ident())
        is_held = self._lock.acquire(True, _LOCK_SECONDS)
        try:
            self.refused[kind] = self.refused.get(kind, 0) + 1
            if context is not None:
                context.count(f"egress_refused_{kind}")
            is_new = (kind, target) not in self._told and len(self._told) < _MOST_LINES
            if is_new:
                self._told.add((kind, target))
            last = len(self._told) == _MOST_LINES
        finally:
            if is_held:
                self._lock.release()
        if is_new:
            self._say(text + ("; from here on refusals are only counted" if last else ""))

    def _say_once(self, text: str) -> None:
        """What is wrong with the rules, which may be made several times."""
        if text not in self._said and len(self._said) < _MOST_LINES:
            self._said.add(text)
            self._say(text)

    def note(self, host: Any, found: Iterable[str]) -> None:
        """`found` are addresses of a name that is allowed: else the look-up would have been refused."""
        text = _text(host)
        if not text or packed(text) is not None or get_ident() in self._passing:
            return
        name = text.lower()
        if name not in OWN_NAMES:
            from extension_kit.protocol.hosts import normal

            name = normal(text)
        now = self._clock.wall_ms()
        for one in found:
            address = packed(one)
            names = None
            while address is not None and self._addresses.get(address, self) is not names:
                # Again where another thread has dropped it meanwhile as the oldest, which it is no more.
                names = self._addresses.setdefault(address, {})
                names[name] = now
                _keep(names, _MOST_NAMES, lambda at: at)
        _keep(self._addresses, _MOST_ADDRESSES, lambda names: max(tuple(names.values()), default=now))


class OnBehalfOfFunction:
    """``with``: what this thread connects to meanwhile is what the function asks for, through a proxy of ours.

    Only where the manifest says so (a host ``*`` with a ``when``), and while that is on; else it changes nothing.
    """

    def __enter__(self) -> None:
        if _guard is not None:
            thread = get_ident()
            _guard._passing[thread] = _guard._passing.get(thread, 0) + 1

    def __exit__(self, *_error: object) -> None:
        if _guard is not None:
            thread = get_ident()
            left = _guard._passing.pop(thread, 1) - 1
            if left:
                _guard._passing[thread] = left


#: names of this host, and of the environment's own network (AWS docs, Telemetry API: sandbox.localdomain)
OWN_NAMES = frozenset((
    "localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback", "sandbox.localdomain",
))  # fmt: skip


def packed(host: str) -> bytes | None:
    """The address that `host` is in any of its forms (``0x7f.1``, ``::ffff:127.0.0.1``), as the C library reads it; None for
    a name. "" is any address, as `socket` has it.
    """
    if not host:
        return b"\0\0\0\0"
    if ":" in host:
        try:
            address = _socket.inet_pton(_socket.AF_INET6, host.partition("%")[0])
        except (OSError, ValueError):
            return None
        return address[12:] if address.startswith(b"\0\0\0\0\0\0\0\0\0\0\xff\xff") else address
    if host[0] in _DIGITS and _NUMERIC.issuperset(host):
        try:
            return _socket.inet_aton(host)
        except OSError:
            return None
    return b"\xff\xff\xff\xff" if host == "<broadcast>" else None


def _is_local(address: bytes) -> bool:
    return address in _ANY or address == _LOOPBACK or (len(address) == 4 and address[0] == 127)


def _text(host: Any) -> str:
    """A host as `socket` takes it: a text, bytes; of other letters as IDNA has it in ASCII. UnicodeError, TypeError."""
    if isinstance(host, (bytes, bytearray)):
        return bytes(host).decode("ascii")
    if not isinstance(host, str):
        raise TypeError("no host")
    return host if host.isascii() else host.encode("idna").decode("ascii")


def _of_family(family: int) -> Refused | None:
    """Others send without a connection that could be judged (AF_PACKET)."""
    is_known = (
        family in _INTERNET or family in _LOCAL_FAMILIES or family < 0
    )  # below: the usual one, or of a descriptor
    return None if is_known else ("connections", f"a socket of family {family}", "")


def _keep(found: dict[Any, Any], most: int, age: Callable[[Any], int]) -> None:
    """Drop the oldest beyond so many."""
    while len(found) > most:
        found.pop(min(tuple(found.items()), key=lambda item: age(item[1]))[0], None)


def _noting(original: Any, name: str) -> Any:
    """A look-up that tells the guard what it has found."""

    def look_up(*arguments: Any, **named: Any) -> Any:
        found = original(*arguments, **named)
        try:
            if name == "getaddrinfo":
                addresses = [one[4][0] for one in found]
            else:
                addresses = [found] if name == "gethostbyname" else found[2]
            host = arguments[0] if arguments else named.get("host")
            if _guard is not None and host is not None:
                _guard.note(host, addresses)
        except Exception:  # noqa: BLE001, S110 - it is found all the same; to connect there is refused
            pass
        return found

    look_up.original = original  # type: ignore[attr-defined]
    look_up.__name__ = name
    return look_up


def _wrap_lookups() -> None:
    """Note what is found from now on, also where `socket` has taken the functions over already."""
    loaded = sys.modules.get("socket")
    for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr"):
        original = getattr(_socket, name)
        wrapped = _noting(getattr(original, "original", original), name)
        setattr(_socket, name, wrapped)
        if loaded is not None and getattr(loaded, name, None) is original:
            setattr(loaded, name, wrapped)


def _wrap_fork_exec() -> None:
    """Judge what starts programs for `multiprocessing`, which is not audited; nor is every way to import this."""
    try:
        module: Any = __import__("_posixsubprocess")
        original = module.fork_exec
    except Exception:  # noqa: BLE001 - who imports it is told
        return
    if hasattr(original, "original"):
        return

    def fork_exec(*arguments: Any) -> int:
        if _guard is not None:
            _guard.judge("os.posix_spawn", (arguments[1][0], arguments[0]))
        started: int = original(*arguments)
        return started

    fork_exec.original = original  # type: ignore[attr-defined]
    module.fork_exec = fork_exec
