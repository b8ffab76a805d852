"""The section about the secret cache: what a hit costs, beside peers that do less; and what asking costs the function.

Each server is an extension on its own core; the caller is this process, on the other, with blocking sockets and requests that
are made beforehand, so that what is measured is the server. Ours and Go's ask an emulated AWS for the value once, and
answer from memory then.
"""

from __future__ import annotations

import _socket
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks import measure
from tests.benchmarks.platform_stub import BenchError, Session
from tests.benchmarks.rounds import Effort, Samples, medians, rotated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import ExitStack

    from tests.benchmarks.contenders import Contender
    from tests.benchmarks.report import Figures

CACHES = ("secret-cache", "go-secrets", "python-secrets", "aiohttp-secrets")
#: callers in a function; the server is ours, one process for all of them
CALLERS = ("client helper", "urllib.request", "requests.Session", "in-process dict")
_TOKEN = "IQoJb3JpZ2luX2VjE" + "x" * 600  # about as long as a session token is
_VALUE = json.dumps({"username": "application", "password": "correct horse battery staple", "port": 5432})
_TOGETHER = 8
_TARGET = "/secretsmanager/get?secretId=bench"


def _free_port() -> int:
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    port: int = sock.getsockname()[1]
    sock.close()
    return port


class _Caller:
    """One connection, one request, again and again."""

    def __init__(self, port: int) -> None:
        self.port = port
        lines = (
            f"GET {_TARGET} HTTP/1.1", f"Host: localhost:{port}", f"X-Aws-Parameters-Secrets-Token: {_TOKEN}",
            "User-Agent: bench", "Accept: */*", "", "",
        )  # fmt: skip
        self._request = "\r\n".join(lines).encode()
        self._sock: _socket.socket | None = None

    def ask(self) -> bytes:
        """The answer; BenchError for any but the right one."""
        if self._sock is None:
            self._sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
            self._sock.connect(("127.0.0.1", self.port))
            self._sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)
        self._sock.send(self._request)
        answer = self._sock.recv(65_536)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise BenchError(f"a hit was answered with {answer[:100]!r}")
        return answer

    def ask_anew(self) -> None:
        """The same on a connection of its own."""
        self.close()
        self.ask()

    def begin(self) -> None:
        """Ask, and leave the answer for `end`."""
        assert self._sock is not None
        self._sock.send(self._request)

    def end(self) -> None:
        assert self._sock is not None
        self._sock.recv(65_536)

    def close(self) -> None:
        if self._sock is not None:
            self._sock.close()
        self._sock = None


class Secrets:
    """The measurements."""

    def __init__(self, made: dict[str, Contender], placement: measure.Placement, effort: Effort) -> None:
        self.absent: dict[str, str] = {}
        self._made = {name: contender for name, contender in made.items() if name in CACHES}
        self._placement = placement
        self._effort = effort

    def hit(self) -> Figures:
        """A hit on an open connection and on a new one (us); the server's CPU for it, from one caller and from eight at a time
        (us); what is resident afterwards (MB).
        """
        latency: Samples = {}
        fresh: Samples = {}
        cpu: Samples = {}
        busy: Samples = {}
        pss: Samples = {}
        rss: Samples = {}
        effort = self._effort
        for _ in range(effort.batches):
            with contextlib.ExitStack() as stack:
                running = [(session, _Caller(port)) for session, port in self._start(stack)]
                for turn in range(effort.slices):
                    for session, caller in rotated(running, turn):
                        self._slice(session, caller, latency, cpu)
                        busy.setdefault(session.name, []).append(self._eight(session, caller.port))
                        caller.close()
                        fresh.setdefault(session.name, []).append(_median_us(caller.ask_anew, 50))
                for session, caller in running:
                    proportional, full = measure.memory_mb(session.pid)
                    pss.setdefault(session.name, []).append(proportional)
                    rss.setdefault(session.name, []).append(full)
                    caller.close()
                    session.end()
        return medians(
            hit_us=latency, hit_new_us=fresh, hit_cpu_us=cpu, hit_busy_cpu_us=busy, hit_pss_mb=pss, hit_rss_mb=rss
        )

    def _slice(self, session: Session, caller: _Caller, latency: Samples, cpu: Samples) -> None:
        for _ in range(self._effort.warm_hits):
            caller.ask()
        before = measure.cpu_ns(session.pid)
        latency.setdefault(session.name, []).append(_median_us(caller.ask, self._effort.hits))
        cpu.setdefault(session.name, []).append((measure.cpu_ns(session.pid) - before) / self._effort.hits / 1e3)

    def _eight(self, session: Session, port: int) -> float:
        """CPU of a hit where eight ask at the same time."""
        callers = [_Caller(port) for _ in range(_TOGETHER)]
        for caller in callers:
            caller.ask()
        rounds = self._effort.hits // _TOGETHER
        before = measure.cpu_ns(session.pid)
        for _ in range(rounds):
            for caller in callers:
                caller.begin()
            for caller in callers:
                caller.end()
        spent = measure.cpu_ns(session.pid) - before
        for caller in callers:
            caller.close()
        return spent / rounds / _TOGETHER / 1e3

    def first_hit(self) -> Figures:
        """From the start of the process until a hit on a value that was prefetched (ms), AWS being as near as can be."""
        samples: Samples = {}
        for _ in range(self._effort.starts):
            with contextlib.ExitStack() as stack:
                began = time.monotonic()
                for session, port in self._start(stack, ("secret-cache",), prefetch=True):
                    caller = _Caller(port)
                    while b"X-Cache: hit" not in caller.ask():
                        pass
                    samples.setdefault(session.name, []).append((time.monotonic() - began) * 1e3)
                    caller.close()
                    session.end()
        return medians(first_hit_ms=samples)

    def callers(self) -> Figures:
        """What a function pays for a value (us): by our helper, by others' clients, and where it keeps it itself."""
        samples: Samples = {}
        if "secret-cache" not in self._made:
            self.absent |= dict.fromkeys(CALLERS, "secret-cache is left out")
            return {}
        with contextlib.ExitStack() as stack:
            for session, port in self._start(stack, ("secret-cache",)):
                asks = _clients(port, stack)
                for turn in range(self._effort.slices * 2):
                    for name, ask in rotated(list(asks.items()), turn):
                        for _ in range(10):
                            ask()
                        samples.setdefault(name, []).append(_median_us(ask, self._effort.hits // 4))
                session.end()
        return medians(caller_us=samples)

    def _start(
        self, stack: ExitStack, names: tuple[str, ...] = CACHES, *, prefetch: bool = False
    ) -> list[tuple[Session, int]]:
        from tests.receivers.aws import AwsFake

        found = []
        for name in names:
            if name not in self._made:
                continue
            port = _free_port()
            given = {
                "AWS_SESSION_TOKEN": _TOKEN, "PARAMETERS_SECRETS_EXTENSION_HTTP_PORT": str(port),
                "AWS_APPCONFIG_EXTENSION_HTTP_PORT": str(_free_port()), "BENCH_ANSWER": _answer(),
            }  # fmt: skip
            if name in ("secret-cache", "go-secrets"):
                aws = stack.enter_context(AwsFake())
                aws.keys["AKIAFUNCTION"].token = _TOKEN
                aws.put_secret("bench", _VALUE)
                given |= {**aws.environ(), "EXTENSION_KIT_AWS_ENDPOINT_URL": aws.url}
            if prefetch:
                given["SECRET_CACHE_PREFETCH"] = "secret:bench"
            session = stack.enter_context(Session(self._made[name].program, self._placement, given))
            found.append((session, port))
        return found


@contextlib.contextmanager
def aws_behind_tls() -> Iterator[tuple[dict[str, str], Path]]:
    """The variables of a function whose secret is prefetched over TLS, and a folder that it must be able to read."""
    from tests.receivers.aws.tls import Authority

    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        authority = Authority(folder)
        fake, url = authority.behind_tls("localhost")
        with fake as aws:
            aws.put_secret("bench", _VALUE)
            yield {
                **aws.environ(), "EXTENSION_KIT_AWS_ENDPOINT_URL": url, "EXTENSION_KIT_CA_BUNDLE": str(authority.bundle),
                "SECRET_CACHE_PREFETCH": "secret:bench",
            }, folder  # fmt: skip


def _answer() -> str:
    """What the peers answer: as long as ours."""
    return json.dumps({
        "ARN": "arn:aws:secretsmanager:us-east-1:111122223333:secret:bench-AbCdEf",
        "CreatedDate": "2026-11-23T08:00:00.123Z", "Name": "bench", "SecretBinary": None, "SecretString": _VALUE,
        "VersionId": "6f1c1c52-5f0c-4b3e-9d0a-3f7c53a1f0de", "VersionStages": ["AWSCURRENT"], "ResultMetadata": {},
    })  # fmt: skip


def _clients(port: int, stack: ExitStack) -> dict[str, Callable[[], object]]:
    import urllib.request

    import requests

    from extension_kit.clients.secret_cache import SecretCache

    helper = SecretCache(host="127.0.0.1", port=port, token=_TOKEN)
    stack.callback(helper.close)
    session = stack.enter_context(requests.Session())
    session.trust_env = False
    url, headers = f"http://127.0.0.1:{port}{_TARGET}", {"X-Aws-Parameters-Secrets-Token": _TOKEN}
    kept = {"bench": _VALUE}

    def by_urllib() -> str:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers)) as answer:
            value: str = json.load(answer)["SecretString"]
            return value

    return {
        "client helper": lambda: helper.secret("bench"),
        "urllib.request": by_urllib,
        "requests.Session": lambda: session.get(url, headers=headers).json()["SecretString"],
        "in-process dict": lambda: kept["bench"],
    }


def _median_us(call: Callable[[], object], times: int) -> float:
    clock, took = time.perf_counter_ns, []
    for _ in range(times):
        began = clock()
        call()
        took.append(clock() - began)
    return statistics.median(took) / 1e3
