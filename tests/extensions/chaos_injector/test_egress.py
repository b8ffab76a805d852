"""Outgoing requests: what no fault is for passes untouched; Toxiproxy's faults are what Toxiproxy makes of them."""

from __future__ import annotations

import http.client
import http.server
import os
import socket
import threading
import time

import pytest

from extensions.chaos_injector.faults.egress import MOST_CONNECTIONS, Egress
from extensions.chaos_injector.faults.toxics import Toxics
from tests.extensions.chaos_injector.conftest import experiment
from tests.extensions.chaos_injector.test_resources import fault, until

PATIENCE = 20.0
OPEN = []  # sockets of the test that runs


@pytest.fixture(autouse=True)
def closed():
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def egress():
    egress = Egress()
    egress.port = egress.listen()
    yield egress
    egress.close()


class Listening:
    def __init__(self, listener):
        self.port = listener.getsockname()[1]
        self._listener = listener

    def accept(self):
        end, peer = self._listener.accept()
        OPEN.append(end)
        return end, peer


@pytest.fixture
def server():
    """Listens on 127.0.0.1, which has two names here: 127.0.0.1 and localhost."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)
        yield Listening(listener)


def connect(egress):
    sock = socket.create_connection(("127.0.0.1", egress.port), PATIENCE)
    OPEN.append(sock)
    sock.settimeout(PATIENCE)
    return sock


def tunnel(egress, server, host="127.0.0.1"):
    """Both ends of a connection through the proxy."""
    client = connect(egress)
    client.sendall(b"CONNECT %s:%d HTTP/1.1\r\nHost: x\r\n\r\n" % (host.encode(), server.port))
    end, _ = server.accept()
    end.settimeout(PATIENCE)
    assert receive(client, 39) == b"HTTP/1.1 200 Connection established\r\n\r\n"
    return client, end


def receive(sock, size):
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            break
        data += more
    return data


def rest(sock):
    """Until its end: what came, and how it ended."""
    data = b""
    try:
        while more := sock.recv(65_536):
            data += more
    except ConnectionResetError:
        return data, "reset"
    return data, "closed"


def order(egress, kind, request_id="r", **params):
    one = fault(kind, **{"hosts": ("localhost",), **params})
    egress.begin(one, request_id)
    until(lambda: one in egress.faults_for("localhost") or "localhost" not in params.get("hosts", ("localhost",)))
    settle(egress)
    return one


def settle(egress):
    """Wait until what was ordered has been heard on the loop's thread."""
    heard = threading.Event()
    egress._loop.call_soon_threadsafe(heard.set)
    assert heard.wait(PATIENCE)


class TestUntouched:
    @pytest.mark.parametrize("size", [0, 1, 65_536, 10_000_000])
    def test_bytes_both_ways(self, egress, server, size):
        order(egress, "egress_latency", latency=5_000, hosts=("elsewhere.example",))
        client, end = tunnel(egress, server)
        data = os.urandom(size)
        senders = [threading.Thread(target=sock.sendall, args=(data,)) for sock in (client, end)]
        for sender in senders:
            sender.start()
        got = []
        reader = threading.Thread(target=lambda: got.append(receive(end, size)))
        reader.start()
        assert receive(client, size) == data
        for thread in (*senders, reader):
            thread.join(PATIENCE)
        assert got == [data]

    def test_one_end_may_be_done_before_the_other(self, egress, server):
        client, end = tunnel(egress, server)
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        assert rest(end) == (b"question", "closed")
        end.sendall(b"answer")
        end.close()
        assert rest(client) == (b"answer", "closed")

    def test_what_is_sent_with_the_request_to_connect(self, egress, server):
        client = connect(egress)
        client.sendall(b"CONNECT localhost:%d HTTP/1.1\r\n\r\nearly" % server.port)
        end, _ = server.accept()
        assert receive(end, 5) == b"early"

    def test_plain_http(self, egress, server):
        """Another request may be for another host: each has its own connection to its server."""
        client = connect(egress)
        client.sendall(
            b"POST http://user@localhost:%d/a/b?c=d HTTP/1.1\r\nHost: h\r\nProxy-Connection: keep-alive\r\n"
            b"Connection: keep-alive\r\nContent-Length: 4\r\nX-Other: yes\r\n\r\nbody" % server.port
        )
        end, _ = server.accept()
        expected = (
            b"POST /a/b?c=d HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nX-Other: yes\r\nConnection: close\r\n\r\nbody"
        )
        assert receive(end, len(expected)) == expected
        end.sendall(
            b"HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=5\r\nConnection: keep-alive\r\nX-Other: no\r\n\r\n"
        )
        end.close()
        assert rest(client) == (b"HTTP/1.1 204 No Content\r\nX-Other: no\r\nConnection: close\r\n\r\n", "closed")

    def test_many_at_a_time(self, egress, server):
        pairs = [tunnel(egress, server) for _ in range(60)]
        for number, (client, _end) in enumerate(pairs):
            client.sendall(b"%04d" % number)
        for number, (_client, end) in enumerate(pairs):
            assert receive(end, 4) == b"%04d" % number
        for client, end in pairs:
            client.close()
            end.close()
        until(lambda: not egress._connections)

    def test_many_connections_are_made_at_a_time(self, egress, server):
        """More than there are threads for: the others wait for their turn."""
        clients = [connect(egress) for _ in range(100)]
        for client in clients:
            client.sendall(b"CONNECT localhost:%d HTTP/1.1\r\n\r\n" % server.port)
        ends = [server.accept()[0] for _ in clients]
        assert all(receive(client, 12) == b"HTTP/1.1 200" for client in clients)
        assert len(ends) == 100

    def test_idle_connections_make_room(self, egress, server, monkeypatch):
        """A function that never closes what it has opened."""
        monkeypatch.setattr("extensions.chaos_injector.faults.egress.MOST_CONNECTIONS", 5)
        monkeypatch.setattr("extensions.chaos_injector.faults.egress._IDLE_S", 0.2)
        pairs = [tunnel(egress, server) for _ in range(5)]
        time.sleep(0.3)
        pairs[0][0].sendall(b"x")
        assert receive(pairs[0][1], 1) == b"x"
        for _ in range(3):
            tunnel(egress, server)
        assert rest(pairs[1][0]) == (b"", "closed")
        pairs[0][0].sendall(b"y")
        assert receive(pairs[0][1], 1) == b"y", "one that was used stays"

    def test_more_than_it_takes_must_wait(self, egress, server):
        """Nobody is refused; as one ends, the next one is served."""
        clients = [connect(egress) for _ in range(MOST_CONNECTIONS + 5)]
        until(lambda: egress.accepted == MOST_CONNECTIONS)
        late = clients[-1]
        late.sendall(b"CONNECT localhost:%d HTTP/1.1\r\n\r\n" % server.port)
        for client in clients[:10]:
            client.close()
        assert receive(late, 12) == b"HTTP/1.1 200"
        for client in clients:
            client.close()

    def test_a_reader_that_is_slow_holds_back_the_sender(self, egress, server):
        """What waits here is bounded."""
        client, end = tunnel(egress, server)
        end.setblocking(False)
        sent = 0
        deadline = time.monotonic() + PATIENCE
        quiet = 0
        while quiet < 20 and time.monotonic() < deadline:
            try:
                sent += end.send(bytes(65_536))
                quiet = 0
            except BlockingIOError:
                quiet += 1
                time.sleep(0.01)
        (connection,) = egress._connections
        assert max(pipe._size + len(pipe._out) for pipe in connection._pipes) <= 400_000
        end.setblocking(True)
        end.close()
        assert len(rest(client)[0]) == sent


class TestPlainHttp:
    """One request a connection, and both sides know it: clients keep theirs, and may ask for another host on them."""

    @staticmethod
    def ask(egress, server, fields=b"", method=b"GET"):
        client = connect(egress)
        client.sendall(b"%s http://localhost:%d/a HTTP/1.1\r\nHost: h\r\n%s\r\n" % (method, server.port, fields))
        end, _ = server.accept()
        end.settimeout(PATIENCE)
        return client, end

    def test_a_client_that_keeps_its_connection(self, egress):
        """Nothing is armed: each request must be answered, as without a proxy."""

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments):
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            client = http.client.HTTPConnection("127.0.0.1", egress.port, timeout=PATIENCE)
            for number in range(50):
                client.request("POST", f"http://127.0.0.1:{server.server_port}/", b"%d" % number)
                assert client.getresponse().read() == b"%d" % number
            client.close()
            server.shutdown()

    @pytest.mark.parametrize(
        ("fields", "body"),
        [
            (b"", b""),
            (b"Content-Length: 4\r\n", b"body"),
            (b"Transfer-Encoding: chunked\r\n", b"4\r\nbody\r\n3\r\nand\r\n0\r\nX: trailer\r\n\r\n"),
        ],
    )
    @pytest.mark.parametrize("piece", [1, 1_000])
    def test_another_request_is_not_for_the_first_ones_host(self, egress, server, fields, body, piece):
        """It may be for any host, and carry what is meant for that one alone."""
        client, end = self.ask(egress, server, fields, b"POST")
        later = b"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\nAuthorization: secret\r\n\r\n"
        sent = body + later
        for at in range(0, len(sent), piece):
            client.sendall(sent[at : at + piece])
        client.shutdown(socket.SHUT_WR)

        data, how = rest(end)

        assert (data.partition(b"\r\n\r\n")[2], how) == (body, "closed")
        end.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
        end.close()
        assert rest(client) == (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi", "closed")

    def test_interim_answers(self, egress, server):
        client, end = self.ask(egress, server, b"Expect: 100-continue\r\nContent-Length: 4\r\n", b"POST")
        interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        end.sendall(interim)
        assert receive(client, len(interim)) == interim
        client.sendall(b"body")
        client.shutdown(socket.SHUT_WR)
        assert rest(end)[0].endswith(b"\r\n\r\nbody")
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n":
            end.send(bytes((byte,)))
        expected = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        assert receive(client, len(expected)) == expected

    def test_an_upgrade_is_left_alone(self, egress, server):
        """WebSocket: after 101 both sides speak something else, and it is theirs."""
        fields = b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        client, end = self.ask(egress, server, fields + b"Sec-WebSocket-Key: k\r\n")
        expected = (
            b"GET /a HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\nConnection: Upgrade\r\n\r\n"
        )
        assert receive(end, len(expected)) == expected
        client.sendall(b"early;")
        granted = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello"
        end.sendall(granted)
        assert receive(client, len(granted)) == granted
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert receive(end, 24) == b"early;GET / HTTP/1.1\r\n\r\n"
        end.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        assert receive(client, 19) == b"HTTP/1.1 200 OK\r\n\r\n"

    @pytest.mark.parametrize(
        "answer", [b"", b"HTTP/1.1 200 O", b"not HTTP\r\n\r\nat all", b"HTTP/1.1 abc\r\n\r\n", b"H"]
    )
    def test_an_answer_that_is_none_passes_as_it_is(self, egress, server, answer):
        client, end = self.ask(egress, server)
        end.sendall(answer)
        end.shutdown(socket.SHUT_WR)
        assert rest(client) == (answer, "closed")

    def test_a_body_that_is_none_ends_the_connection(self, egress, server):
        """Nobody can tell any more where the request ends."""
        client, end = self.ask(egress, server, b"Transfer-Encoding: chunked\r\n", b"POST")
        client.sendall(b"none\r\n")
        assert b"none" not in rest(end)[0]
        assert rest(client)[0] == b""

    @pytest.mark.parametrize("fields", [b"Content-Length: x\r\n", b"Transfer-Encoding: gzip\r\n"])
    def test_a_body_whose_end_cannot_be_told_is_refused(self, egress, server, fields):
        client = connect(egress)
        client.sendall(b"POST http://localhost:%d/ HTTP/1.1\r\n%s\r\n" % (server.port, fields))
        assert rest(client)[0].startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT nowhere HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT h:0 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT h:70000 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT :80 HTTP/1.1\r\n\r\n", 400),
        (b"GET https://h/ HTTP/1.1\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\r\n\r\n", 400),
        (b"CONNECT no-such-host.invalid:80 HTTP/1.1\r\n\r\n", 502),
        (b"CONNECT " + b"x" * 300 + b".example:80 HTTP/1.1\r\n\r\n", 502),
        (b"CONNECT \xff\xfe:80 HTTP/1.1\r\n\r\n", 502),
        (b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20_000, 431),
    ],
)
def test_odd_requests(egress, request_bytes, status):
    client = connect(egress)
    try:
        client.sendall(request_bytes)
    except OSError:
        pass
    answer, _how = rest(client)
    assert answer.startswith(b"HTTP/1.1 %d " % status) or (status == 431 and not answer)
    until(lambda: not egress._connections)


def test_a_port_where_nobody_listens(egress):
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    client = connect(egress)
    client.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % port)
    assert b"Connection refused" in rest(client)[0]


class TestFaults:
    def test_latency(self, egress, server):
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_latency", latency=300)
        began = time.monotonic()
        end.sendall(b"one")
        assert receive(client, 3) == b"one"
        assert time.monotonic() - began >= 0.29
        client.sendall(b"up")  # towards the server it is as ever
        assert receive(end, 2) == b"up"

    def test_latency_towards_the_server(self, egress, server):
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_latency", latency=300, stream="upstream")
        began = time.monotonic()
        client.sendall(b"one")
        assert receive(end, 3) == b"one"
        assert time.monotonic() - began >= 0.29

    def test_latency_keeps_the_order_and_not_the_rate(self, egress, server):
        """100 pieces with 200 ms each are there after 200 ms, not after 20 s."""
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_latency", latency=200, jitter=50)
        began = time.monotonic()
        expected = b"".join(b"%04d" % number for number in range(100))
        for number in range(100):
            end.sendall(b"%04d" % number)
        assert receive(client, len(expected)) == expected
        assert time.monotonic() - began < 15

    def test_bandwidth(self, egress, server):
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_bandwidth", rate=100)
        began = time.monotonic()
        end.sendall(bytes(51_200))
        assert receive(client, 51_200) == bytes(51_200)
        assert time.monotonic() - began >= 0.45

    def test_slow_close(self, egress, server):
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_slow_close", delay=300)
        began = time.monotonic()
        end.sendall(b"last")
        end.close()
        assert rest(client) == (b"last", "closed")
        assert time.monotonic() - began >= 0.29

    def test_timeout(self, egress, server):
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_timeout", timeout=300)
        began = time.monotonic()
        end.sendall(b"never seen")
        assert rest(client) == (b"", "closed")
        assert time.monotonic() - began >= 0.25

    def test_timeout_without_an_end_lasts_as_long_as_it_is_wanted(self, egress, server):
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_timeout", timeout=0)
        end.sendall(b"never seen")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(1)
        client.settimeout(PATIENCE)
        egress.done("r")
        assert rest(client)[0] == b""

    def test_reset(self, egress, server):
        client, _end = tunnel(egress, server, "localhost")
        order(egress, "egress_reset", timeout=0)
        assert rest(client) == (b"", "reset")

    def test_reset_later(self, egress, server):
        client, end = tunnel(egress, server, "localhost")
        began = time.monotonic()
        order(egress, "egress_reset", timeout=300)
        end.sendall(b"until then all is well")
        assert rest(client) == (b"until then all is well", "reset")
        assert time.monotonic() - began >= 0.29

    def test_slicer(self, egress, server):
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_slicer", average_size=100, size_variation=20, delay=20_000)
        began = time.monotonic()
        data = os.urandom(1_500)
        end.sendall(data)
        pieces = []
        while sum(map(len, pieces)) < 1_500:
            pieces.append(client.recv(65_536))
        assert b"".join(pieces) == data
        assert time.monotonic() - began >= 0.2
        assert len(pieces) >= 3

    def test_slices_of_a_byte(self, egress, server):
        """As many as there are bytes, and no stack that grows with them."""
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_slicer", average_size=1)
        data = os.urandom(60_000)
        end.sendall(data)
        assert receive(client, 60_000) == data

    @pytest.mark.parametrize("size", [0, 1, 5, 12])
    def test_limit(self, egress, server, size):
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_limit", bytes=size)
        end.sendall(b"twelve bytes and more")
        assert rest(client)[0] == b"twelve bytes"[:size]

    @pytest.mark.parametrize(
        ("kind", "why"), [("egress_refuse", "Connection refused"), ("egress_dns", "Name or service not known")]
    )
    def test_no_connection(self, egress, server, kind, why):
        order(egress, kind)
        client = connect(egress)
        client.sendall(b"CONNECT localhost:%d HTTP/1.1\r\n\r\n" % server.port)
        answer, _ = rest(client)
        assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
        assert why.encode() in answer
        tunnel(egress, server, "127.0.0.1")  # another host

    def test_several_at_once(self, egress, server):
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_latency", latency=150)
        order(egress, "egress_limit", bytes=4)
        began = time.monotonic()
        end.sendall(b"four, not more")
        assert rest(client)[0] == b"four"
        assert time.monotonic() - began >= 0.14

    def test_it_ends_with_its_invocation_also_on_open_connections(self, egress, server):
        client, end = tunnel(egress, server, "localhost")
        order(egress, "egress_latency", latency=30_000)
        egress.begin(fault("egress_latency", hosts=("localhost",), latency=30_000), "other")
        egress.done("r")
        assert egress.busy
        egress.done("other")
        assert not egress.busy
        settle(egress)
        end.sendall(b"now")
        assert receive(client, 3) == b"now"


def test_what_waits_when_a_fault_ends_waits_no_longer(egress, server):
    """Also the end of the connection that is told late."""
    client, end = tunnel(egress, server, "localhost")
    order(egress, "egress_latency", latency=60_000)
    order(egress, "egress_slow_close", delay=60_000)
    end.sendall(b"late")
    end.close()
    (connection,) = egress._connections
    until(lambda: connection._pipes[1]._at_end is not None)
    egress.stop()
    assert rest(client) == (b"late", "closed")


def test_pieces_are_due_in_order_whatever_is_drawn():
    toxics = Toxics("downstream")
    toxics.set((fault("egress_latency", latency=100, jitter=100), fault("egress_slicer", average_size=3, delay=10)))
    due = [at for number in range(50) for at, _piece in toxics.shape(b"0123456789", number * 0.001)[0]]
    assert due == sorted(due)
    assert len({round(at, 6) for at in due}) > 50


@pytest.mark.parametrize("backend", ["emulator", "rie"])
class TestFunction:
    """A function that does as Python's own library does, and one in Node, whose library knows no proxies."""

    @pytest.fixture
    def outside(self):
        """Starts HTTP servers in an environment, on addresses that its NO_PROXY does not name."""
        servers = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"hello from " + self.headers["Host"].encode())

            def log_message(self, *_arguments):
                pass

        def outside(chaos, address):
            server = chaos.call(lambda: http.server.ThreadingHTTPServer((address, 0), Handler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            servers.append(server)
            return f"http://{address}:{server.server_address[1]}/"

        yield outside
        for server in servers:
            server.shutdown()
            server.server_close()

    def start(self, start, backend, *faults, runtime="python"):
        return start(
            experiment(*faults), backend=backend, runtime=runtime, variables={"CHAOS_EGRESS": "1"}
        )  # fmt: skip

    @pytest.mark.parametrize(
        ("kind", "params", "seen"),
        [
            ("egress_latency", {"latency": 400}, lambda found: found["status"] == 200 and found["ms"] >= 400),
            ("egress_bandwidth", {"rate": 1}, lambda found: found["status"] == 200 and found["ms"] >= 50),
            ("egress_slow_close", {"delay": 300}, lambda found: found["status"] == 200 and found["ms"] >= 290),
            ("egress_timeout", {"timeout": 200}, lambda found: "error" in found),
            (
                "egress_reset",
                {},
                lambda found: "ConnectionReset" in found["error"] or "Connection reset" in found["error"],
            ),
            (
                "egress_slicer",
                {"average_size": 9, "delay": 20_000},
                lambda found: found["status"] == 200 and found["ms"] > 100,
            ),
            ("egress_limit", {"bytes": 10}, lambda found: "error" in found),
            ("egress_refuse", {}, lambda found: "502" in found["error"]),
            ("egress_dns", {}, lambda found: "502" in found["error"]),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_each_fault_and_hosts_that_are_not_named(self, start, outside, backend, kind, params, seen):
        chaos = self.start(start, backend, (kind, {"hosts": ["127.0.0.2"], **params}))
        chaos.answer()
        url, other = outside(chaos, "127.0.0.2"), outside(chaos, "127.0.0.3")

        assert seen(chaos.answer({"look": "fetch", "url": url})["fetch"])
        assert chaos.answer({"look": "fetch", "url": other})["fetch"]["body"] == f"hello from {other[7:-1]}"
        assert {line["type"] for line in chaos.told("inject")} == {kind}
        chaos.write("off", "")
        chaos.answer()
        found = chaos.answer({"look": "fetch", "url": url})["fetch"]
        assert found["body"] == f"hello from {url[7:-1]}"
        assert chaos.is_clean()

    def test_node_passes_by(self, start, outside, backend):
        """Its library does not look at proxies: said in the README, and seen here."""
        chaos = self.start(start, backend, ("egress_refuse", {"hosts": ["*"]}), runtime="node")
        chaos.answer()
        found = chaos.answer({"fetch": outside(chaos, "127.0.0.2")})
        assert found["fetch"]["status"] == 200
        assert "HTTP_PROXY" in found["proxies"]

    def test_without_the_setting_there_is_no_proxy(self, start, backend):
        chaos = start(experiment(("egress_refuse", {})), backend=backend)
        assert chaos.answer()["proxies"] == {}
        (line,) = chaos.told("unable")
        assert "CHAOS_EGRESS" in line["reason"]
        assert "egress-port" not in chaos.files()


def test_the_kits_own_requests_do_not_go_through_it(egress, monkeypatch):
    """Whatever HTTP_PROXY says."""
    from extension_kit.io.clock import Clock
    from extension_kit.outbound import Http

    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{egress.port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{egress.port}")
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer():
            end, _ = server.accept()
            with end:
                end.recv(65_536)
                end.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        found = Http(Clock(), "X_").post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"", {}, 10)
        thread.join(10)
    assert found.status == 204
    assert egress.accepted == 0
