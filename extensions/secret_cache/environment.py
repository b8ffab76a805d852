"""What the wrapper runs: reads what SECRET_CACHE_ENVIRONMENT lists, then becomes the runtime with these variables added.

    SECRET_CACHE_ENVIRONMENT="DB_PASSWORD=secret:prod/db#password,LIMIT=parameter:/app/limit,*=secret:prod/settings"

An entry is ``NAME=secret:ID``, ``NAME=secret:ID#KEY`` (a member of a JSON secret), ``NAME=parameter:NAME`` or ``*=secret:ID``
(each member of a JSON secret becomes a variable of its name). Entries are separated by commas, and white space around
them does not count. Earlier entries win, those with a name win over ``*``.

| variable | default | meaning |
|---|---|---|
| SECRET_CACHE_WRAPPER_TIMEOUT_MS | 5000 | for everything together, the daemon's start included (100 to 9000: init has 10 s) |
| SECRET_CACHE_WRAPPER_ON_ERROR | start | ``fail``: exit with 1 instead of starting the runtime without them |
| SECRET_CACHE_ENVIRONMENT_OVERWRITE | false | whether a variable that is there already gets the new value |

All or nothing: where one value cannot be had, the runtime starts with the environment that it would have had, after one
line on stderr. No line holds a value. A variable keeps its value for the life of the environment, whatever is rotated,
and with SnapStart it becomes part of the snapshot: the server on localhost has neither fault.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _socket
import os
import sys
from time import monotonic, sleep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

    Entry = tuple[str, str, str, str]  # variable ("*": one for each member), kind, id, key ("": the whole value)
    Environment = dict[bytes, bytes]
    Values = dict[tuple[str, str], str | bytes]  # by kind and id

__all__ = ["Problem", "main", "parse", "reserved"]

#: Lambda's own variables, the kit's, and those that make a runtime load code: no secret may bring them.
_RESERVED_BEGINNINGS = (
    "AWS_", "LAMBDA_", "_", "LD_", "PYTHON", "SECRET_CACHE_", "EXTENSION_KIT_", "PARAMETERS_SECRETS_EXTENSION_",
    "BASH_", "PERL5", "CORECLR_", "DOTNET_", "GLIBC_", "MALLOC_",
)  # fmt: skip
_RESERVED = (
    "PATH", "ENV", "IFS", "SHELLOPTS", "BASHOPTS", "PS4", "TZ", "NODE_OPTIONS", "NODE_PATH", "JAVA_TOOL_OPTIONS",
    "JDK_JAVA_OPTIONS", "CLASSPATH", "RUBYOPT", "RUBYLIB", "GEM_PATH", "GEM_HOME", "GCONV_PATH",
)  # fmt: skip
_NAME = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_LONGEST = 131_071  # bytes of NAME=VALUE; with the zero at its end 32 pages: execve(2)
_TIMEOUT_MS = 5000
_TIMEOUTS_MS = (100, 9000)  # init has 10 s
_PORT_VARIABLE = "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT"
_PORT = 2773
#: in the order of AWS's own agent; each may be ``file://`` and a path
_TOKEN_VARIABLES = (
    "AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
)  # fmt: skip
_LONGEST_TOKEN = 65_536
_PAUSE = 0.02  # seconds between two knocks
_BATCH = 20  # what AWS's own batches hold
_TRUE = ("true", "1", "yes", "on")
_SHOWN = 5  # names in a line


class Problem(Exception):
    """Why the variables cannot be set, in words that hold no value."""


def parse(text: str) -> list[Entry]:
    """The entries of SECRET_CACHE_ENVIRONMENT; Problem for the first that is none."""
    entries = []
    for number, written in enumerate(text.split(","), 1):
        if not written.strip():
            continue
        name, equals, rest = (part.strip() for part in written.partition("="))
        # What stands after the name is not shown: it may be a value that somebody took for an entry.
        entry = f"the entry of {name!r}" if equals else f"entry {number}"
        kind, _, rest = (part.strip() for part in rest.partition(":"))
        id, marked, key = (part.strip() for part in rest.partition("#"))
        if kind not in ("secret", "parameter") or not name or not id or (marked and not key):
            raise Problem(f"{entry} is not NAME=secret:ID, NAME=secret:ID#KEY or NAME=parameter:NAME")
        if (kind == "parameter" and (key or name == "*")) or (key and name == "*"):
            raise Problem(f"{entry}: only a secret has keys, and only a whole one can be spread with *")
        if name != "*" and reserved(name):
            raise Problem(f"{name!r} cannot be set: it is reserved, or no name of a variable")
        entries.append((name, kind, id, key))
    return entries


def reserved(name: str) -> bool:
    """Whether no secret may bring this variable, or it is no name (letters, digits and _, a letter first)."""
    upper = name.upper()
    plain = bool(name) and _NAME.issuperset(name) and not name[0].isdigit()
    return not plain or upper in _RESERVED or upper.startswith(_RESERVED_BEGINNINGS)


def main() -> NoReturn:
    """Become the command in ``sys.argv``, with the variables where that works."""
    command = [one.encode("utf-8", "surrogateescape") for one in sys.argv[1:]]
    before = _environment()
    try:
        _become(command, _with_secrets(before))
    except BaseException as error:
        _say(f"no variable of SECRET_CACHE_ENVIRONMENT is set: {_reason(error)}")
        if before.get(b"SECRET_CACHE_WRAPPER_ON_ERROR", b"").strip().lower() == b"fail":
            sys.exit(1)
    try:
        _become(command, before)
    except Exception as error:
        _say(f"{sys.argv[1]!r} cannot be started: {_reason(error)}")
    sys.exit(127)


def _environment() -> Environment:
    """What this process was given, to the byte: in the C locale the interpreter has added a variable of its own."""
    try:
        with open("/proc/self/environ", "rb") as file:
            pairs = [item.split(b"=", 1) for item in file.read().split(b"\0") if b"=" in item]
    except OSError:
        pairs = []
    return {pair[0]: pair[1] for pair in reversed(pairs)} or dict(os.environb)


def _become(command: list[bytes], environment: Environment) -> NoReturn:
    # The interpreter ignores these two, and what it ignores would stay ignored in the runtime.
    _signal.signal(_signal.SIGPIPE, _signal.SIG_DFL)
    _signal.signal(_signal.SIGXFSZ, _signal.SIG_DFL)
    os.execvpe(command[0], command, environment)


def _with_secrets(before: Environment) -> Environment:
    """The environment with the variables; Problem, or an error of the kit, where they cannot all be had."""
    entries = parse(_text(before, "SECRET_CACHE_ENVIRONMENT"))
    overwrite = _text(before, "SECRET_CACHE_ENVIRONMENT_OVERWRITE").lower() in _TRUE
    there = frozenset() if overwrite else frozenset(before)
    wanted = [entry for entry in entries if entry[0].encode() not in there]
    kept = [entry[0] for entry in entries if entry[0].encode() in there]
    left_out: list[str] = []
    added: Environment = {}
    if wanted:
        values = _fetched(wanted, _timeout_ms(before) / 1000)
        for entry in wanted:
            if entry[0] != "*":
                added.setdefault(entry[0].encode(), _value(entry, values))
        for _, kind, id, _ in (entry for entry in wanted if entry[0] == "*"):
            for name, value in _members(values[kind, id], id):
                data = _encoded(name, value)
                if reserved(name) or data is None:
                    left_out.append(name)
                elif name.encode() in there:
                    kept.append(name)
                else:
                    added.setdefault(name.encode(), data)
    _tell(kept, left_out)
    return {**before, **added}


def _fetched(wanted: list[Entry], seconds: float) -> Values:
    """Every value that is wanted, once. The alarm bounds all of it, whatever the other end does."""
    sys.path[0:0] = [os.path.realpath(__file__).rsplit("/", 3)[0]]
    armed = [True]

    def ring(_signum: int, _frame: object) -> None:
        if armed:
            raise Problem(f"the cache did not answer within {seconds * 1000:.0f} ms")

    until = monotonic() + seconds
    before = _signal.signal(_signal.SIGALRM, ring)
    _signal.setitimer(_signal.ITIMER_REAL, seconds)
    try:
        return _asked(dict.fromkeys((kind, id) for _, kind, id, _ in wanted), until - seconds / 8)
    finally:
        armed.clear()  # one that is ringing now is too late to do harm
        _signal.setitimer(_signal.ITIMER_REAL, 0)  # a timer outlives execve(2), and would kill the runtime
        _signal.signal(_signal.SIGALRM, before)


def _asked(wanted: Iterable[tuple[str, str]], until: float) -> Values:
    """What the cache answers for each kind and id: in batches, so that it can ask AWS so; then, for its error, one by one.

    `until` (monotonic) it is waited for where nobody listens, which ends before the alarm does, so as to say so.
    """
    from extension_kit.aws.signature import quote
    from extension_kit.clients import answers

    connection = _connect(_port(), until)
    found: Values = {}
    for kind, batch, single, end, read_batch, read_one in (
        ("secret", "secretsmanager/batch?secretId=", "secretsmanager/get?secretId=", "", answers.secrets, answers.secret),
        ("parameter", "systemsmanager/parameters/batch?name=", "systemsmanager/parameters/get?name=",
         "&withDecryption=true", answers.parameters, answers.parameter),
    ):  # fmt: skip
        ids = [id for one, id in wanted if one == kind]
        for begin in range(0, len(ids), _BATCH):
            part = [quote(id) for id in ids[begin : begin + _BATCH]]
            between = "&" + batch.partition("?")[2]
            known = read_batch(_get(connection, f"/{batch}{between.join(part)}{end}", f"{kind}s"), f"{kind}s")
            for id, written in zip(ids[begin : begin + _BATCH], part, strict=True):
                what = f"{kind} {id!r}"
                value = known.get(id)
                found[kind, id] = (
                    read_one(_get(connection, f"/{single}{written}{end}", what), what) if value is None else value
                )
    connection.close()
    return found


def _port() -> int:
    written = os.environ.get(_PORT_VARIABLE, "").strip()
    return int(written) if written.isascii() and written.isdigit() and 0 < int(written[:6]) < 65_536 else _PORT


def _connect(port: int, until: float) -> _socket.socket:
    """To where the cache listens, or will in a moment: it starts beside us."""
    while True:
        for family, address in ((_socket.AF_INET, "127.0.0.1"), (_socket.AF_INET6, "::1")):
            connection = _socket.socket(family, _socket.SOCK_STREAM)
            try:
                connection.connect((address, port))
                return connection
            except OSError:
                connection.close()
        if monotonic() + _PAUSE >= until:
            raise Problem(f"nobody answers on port {port} of this machine: is the layer attached?")
        sleep(_PAUSE)


def _get(connection: _socket.socket, target: str, what: str) -> bytes:
    """The body of the answer; an error that calls the request `what` for any other than 200."""
    from extension_kit.clients.errors import refusal
    from extension_kit.protocol import http1

    token = _token()
    head = (
        (b"Host", b"localhost:%d" % connection.getpeername()[1]),
        (b"X-Aws-Parameters-Secrets-Token", token.encode("utf-8", "surrogateescape")),
    )
    connection.sendall(http1.encode_request(b"GET", target.encode("ascii"), head))
    reader = http1.MessageReader(http1.CLIENT)
    while not isinstance(message := reader.next_message(), http1.Message):
        data = connection.recv(65_536)
        if not data:
            raise Problem(f"{what}: the connection was closed before an answer came")
        reader.receive(data)
    assert isinstance(message.head, http1.ResponseHead)
    if message.head.status != 200:
        code = (message.head.headers.get(b"x-amzn-errortype") or b"").partition(b":")[0].decode("latin-1")
        raise refusal(what, message.head.status, code, message.body, token)
    return message.body


def _token() -> str:
    """What shows the cache who asks; "" where there is none."""
    for name in _TOKEN_VARIABLES:
        value = os.environ.get(name, "")
        path = value[7:] if value.startswith("file://") else value if name.endswith("_FILE") else ""
        if path:
            try:
                with open(path, encoding="latin-1") as file:
                    value = file.read(_LONGEST_TOKEN).strip()
            except OSError:
                value = ""
        if value:
            return value
    return ""


def _members(value: str | bytes, id: str) -> list[tuple[str, str]]:
    from extension_kit.clients import answers

    return list(answers.spread(value, f"secret {id!r}").items())


def _value(entry: Entry, values: Values) -> bytes:
    from extension_kit.clients import answers

    name, kind, id, key = entry
    value = values[kind, id]
    data = _encoded(name, answers.member(value, key, f"secret {id!r}") if key else value)
    if data is None:
        raise Problem(
            f"{kind} {id!r} cannot be a variable: it is binary, holds a zero or is longer than {_LONGEST} bytes"
        )
    return data


def _encoded(name: str, value: str | bytes) -> bytes | None:
    """As a variable holds it; None for what none can hold."""
    if isinstance(value, bytes) or "\0" in value:
        return None
    try:
        data = value.encode()
    except UnicodeEncodeError:
        return None
    return data if len(name) + 1 + len(data) <= _LONGEST else None


def _timeout_ms(before: Environment) -> int:
    written = _text(before, "SECRET_CACHE_WRAPPER_TIMEOUT_MS")
    lowest, highest = _TIMEOUTS_MS
    if written.isascii() and written.isdigit() and lowest <= int(written[:9]) <= highest:
        return int(written)
    if written:
        _say(f"SECRET_CACHE_WRAPPER_TIMEOUT_MS={written!r} is not from {lowest} to {highest}: {_TIMEOUT_MS} is used")
    return _TIMEOUT_MS


def _text(before: Environment, name: str) -> str:
    return before.get(name.encode(), b"").decode("utf-8", "surrogateescape").strip()


def _reason(error: BaseException) -> str:
    """Words of ours only: those of other errors may hold anything."""
    if isinstance(error, (Problem, ImportError)) or type(error).__module__.startswith("extension_kit."):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return f"{type(error).__name__}: {error.strerror}"
    return type(error).__name__


def _tell(kept: list[str], left_out: list[str]) -> None:
    """Names of variables; those that a secret brings are shown as Python would write them, since they may hold anything."""
    parts = [("set already, so kept", kept), ("not usable as a variable, so left out", left_out)]
    said = [
        f"{what}: {', '.join(map(ascii, names[:_SHOWN]))}{' ...' * (len(names) > _SHOWN)}"
        for what, names in parts
        if names
    ]
    if said:
        _say("; ".join(said))


def _say(text: str) -> None:
    """One line, whatever the text holds."""
    line = text.encode("utf-8", "backslashreplace").replace(b"\n", b" ")
    try:
        os.write(2, b"[secret-cache] wrapper: " + line + b"\n")
    except OSError:
        pass  # nobody reads: no reason not to start


if __name__ == "__main__":
    main()
