"""A dependency that phones home, in every way that a Python library may, and a plug-in that has it."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

#: for ``import phoner``; of its ways those that need a package are left out where that is missing
PHONER = '''
import asyncio, http.client, os, pty, socket, subprocess, sys, threading, urllib.request
from importlib.util import find_spec

def on_thread(call):
    errors = []
    def work():
        try:
            call()
        except BaseException as error:
            errors.append(error)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]

def tcp(family, address, port):
    with socket.socket(family) as sock:
        sock.settimeout(3)
        sock.connect((address, port))

def not_blocking(address, port):
    with socket.socket() as sock:
        sock.setblocking(False)
        if sock.connect_ex((address, port)) not in (0, 115):
            raise OSError("connect_ex")

def datagram(method, address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        if method == "sendto":
            sock.sendto(b"home", (address, port))
        else:
            sock.sendmsg([b"home"], [], 0, (address, port))

def fetched(address, port):
    connection = http.client.HTTPConnection(address, port, timeout=3)
    connection.request("GET", "/")
    connection.getresponse().read()
    connection.close()

async def streams(address, port):
    reader, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 3)
    writer.close()

def by_requests(url):
    import requests
    session = requests.Session()
    session.trust_env = False
    session.get(url, timeout=3)

def by_aiohttp(url):
    import aiohttp
    async def get():
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(3)) as session:
            async with session.get(url) as response:
                await response.read()
    asyncio.run(get())

def by_botocore(url):
    import botocore.session
    from botocore.config import Config
    client = botocore.session.Session().create_client(
        "s3", region_name="eu-west-1", aws_access_key_id="A", aws_secret_access_key="S", endpoint_url=url,
        config=Config(connect_timeout=3, read_timeout=3, retries={"max_attempts": 0}))
    client.list_buckets()

def forked():
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)

def multiprocessed(method):
    import multiprocessing
    process = multiprocessing.get_context(method).Process(target=int)
    process.start()
    process.join()

def typed():
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)

def by_address(v4, v6, port):
    yield "IPv4", lambda: tcp(socket.AF_INET, v4, port)
    yield "IPv4 as one number", lambda: tcp(socket.AF_INET, str(int.from_bytes(socket.inet_aton(v4), "big")), port)
    yield "IPv4 as IPv6", lambda: tcp(socket.AF_INET6, "::ffff:" + v4, port)
    yield "IPv6", lambda: tcp(socket.AF_INET6, v6, port)
    yield "create_connection", lambda: socket.create_connection((v4, port), 3).close()
    yield "not blocking", lambda: not_blocking(v4, port)
    yield "sendto", lambda: datagram("sendto", v4, port)
    yield "sendmsg", lambda: datagram("sendmsg", v4, port)
    yield "thread", lambda: on_thread(lambda: tcp(socket.AF_INET, v4, port))
    yield "asyncio", lambda: asyncio.run(streams(v4, port))
    yield "http.client", lambda: fetched(v4, port)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    yield "urllib", lambda: opener.open(f"http://{v4}:{port}/", timeout=3).read()
    if find_spec("requests"):
        yield "requests", lambda: by_requests(f"http://{v4}:{port}/")
    if find_spec("aiohttp"):
        yield "aiohttp", lambda: by_aiohttp(f"http://{v4}:{port}/")
    if find_spec("botocore"):
        yield "botocore", lambda: by_botocore(f"http://{v4}:{port}")

def by_name(name, port):
    yield "getaddrinfo", lambda: socket.getaddrinfo(name, port)
    yield "gethostbyname", lambda: socket.gethostbyname(name)
    yield "gethostbyname_ex", lambda: socket.gethostbyname_ex(name)
    yield "gethostbyaddr", lambda: socket.gethostbyaddr(name)
    yield "name, create_connection", lambda: socket.create_connection((name, port), 3)
    yield "name, thread", lambda: on_thread(lambda: socket.create_connection((name, port), 3))
    yield "name, asyncio", lambda: asyncio.run(streams(name, port))
    yield "name, http.client", lambda: fetched(name, port)
    if find_spec("requests"):
        yield "name, requests", lambda: by_requests(f"http://{name}:{port}/")

def by_program():
    yield "subprocess", lambda: subprocess.run(["true"], check=True)
    yield "subprocess, shell", lambda: subprocess.run("true", shell=True, check=True)
    yield "os.popen", lambda: os.popen("true").read()
    yield "os.system", lambda: os.system("true")
    yield "os.fork", forked
    yield "os.posix_spawn", typed
    yield "os.spawnv", lambda: os.spawnv(os.P_WAIT, "/bin/true", ["true"])
    yield "pty.spawn", lambda: pty.spawn(["true"], lambda fd: b"")
    yield "multiprocessing, spawn", lambda: multiprocessed("spawn")
    yield "multiprocessing, fork", lambda: multiprocessed("fork")

def outcome(call):
    """``refused`` by the guard, ``reached``, or what happened instead."""
    try:
        call()
    except BaseException as error:
        chain, text = error, ""
        while chain is not None:
            text += f"{type(chain).__name__}: {chain}; "
            chain = chain.__cause__ or chain.__context__
        return "refused" if "egress guard" in text else text
    return "reached"

def phone(v4, v6, name, port):
    ways = [*by_address(v4, v6, port), *by_name(name, port), *by_program()]
    return {label: outcome(call) for label, call in ways[:: int(os.environ.get("HOME_STEP", "1"))]}
'''
#: ``caller.plugin:Caller``, with a manifest beside it: calls home at each invocation, then does its own work
CALLER = """
import http.client, json, os
from extension_kit import Plugin
import phoner

class Caller(Plugin):
    name = "caller"
    budgets = {"on_invoke": 60.0}
    def start(self, context):
        self.context = context
    def on_invoke(self, event):
        v4, v6, name, port, own = json.loads(os.environ["HOME_ADDRESS"])
        print("CALLED " + json.dumps(phoner.phone(v4, v6, name, port)), flush=True)
        own_work = http.client.HTTPConnection("127.0.0.1", own, timeout=5)
        own_work.request("GET", "/")
        print("OWN", own_work.getresponse().status, flush=True)
    def on_shutdown(self, event, deadline):
        print("COUNTED " + json.dumps(self.context.counters), flush=True)
"""
MANIFEST = """
name = "caller"
plugins = ["caller.plugin:Caller"]
[capabilities]
hosts = ["logs.example.com"]
"""
NAME = "phone-home.test"


def write(folder: Path, manifest: str = MANIFEST) -> Path:
    """The packages, below `folder`."""
    package = folder / "caller"
    package.mkdir(parents=True)
    (folder / "phoner.py").write_text(PHONER)
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(CALLER)
    if manifest:
        (package / "manifest.toml").write_text(manifest)
    return folder


class Home:
    """Listens on an address of this machine that is not loopback, where it has one; ``calls``: how many it has had."""

    def __init__(self) -> None:
        self.v4 = _own(socket.AF_INET, "192.0.2.1") or ""
        self.v6 = _own(socket.AF_INET6, "2001:db8::1") or ""
        self.calls = 0
        self._sockets: list[socket.socket] = []
        self.port = 9
        for family, address in ((socket.AF_INET, self.v4), (socket.AF_INET6, self.v6)):
            if address:
                self._listen(family, address)
        self.own_port = self._listen(socket.AF_INET, "127.0.0.1", counted=False)

    def variable(self) -> str:
        """HOME_ADDRESS: addresses of this machine, or of nobody's (RFC 5737, RFC 3849)."""
        return json.dumps([self.v4 or "192.0.2.1", self.v6 or "2001:db8::1", NAME, self.port, self.own_port])

    def _listen(self, family: int, address: str, *, counted: bool = True) -> int:
        port = self.port if counted and self.port != 9 else 0
        server = socket.create_server((address, port), family=family)
        self._sockets.append(server)
        threading.Thread(target=self._serve, args=(server, counted), daemon=True).start()
        if counted:
            self.port = server.getsockname()[1]
        if counted and family == socket.AF_INET:
            datagrams = socket.socket(family, socket.SOCK_DGRAM)
            datagrams.bind((address, self.port))
            self._sockets.append(datagrams)
        return server.getsockname()[1]

    def _serve(self, server: socket.socket, counted: bool) -> None:
        with suppress(OSError):
            while True:
                peer, _address = server.accept()
                self.calls += counted
                with peer, suppress(OSError):
                    peer.settimeout(2)
                    if peer.recv(65_536):
                        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def close(self) -> None:
        for one in self._sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


def _own(family: int, target: str) -> str | None:
    """The address from which `target` would be reached; nothing is sent."""
    with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect((target, 9))
        return str(sock.getsockname()[0])
    return None
