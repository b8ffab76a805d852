"""What the function sends, by the clients that functions use, over real sockets: kept until the flush, forwarded, counted."""

from __future__ import annotations

import contextlib
import json
import socket
import time

import pytest
from datadog.dogstatsd import DogStatsd
from statsd import StatsClient

from extension_kit.events import Shutdown
from extension_kit.io.loop import Loop
from extension_kit.protocol.deadline import Deadline
from extensions.metrics_collector import intake, sent
from extensions.metrics_collector.intake import Datagrams
from extensions.metrics_collector.statsd import Aggregator
from tests.extensions.metrics_collector.test_invocations import done
from tests.receivers.otlp_metrics import OtlpMetrics

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def has_ipv6():
    """Whether ::1 can be had here."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
            sock.bind(("::1", 0))
    except OSError:
        return False
    return True


def deadline(ms=2_000, reason="end"):
    return Deadline(int(time.time() * 1000) + ms, lambda: int(time.time() * 1000), 0, reason)


def until(condition, seconds=5.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def end(plugin, ms=2_000, reason="end"):
    """The invocation ends, and the kit flushes."""
    plugin.on_telemetry([done("r1", int(time.time() * 1000))])
    plugin.flush(reason, deadline(ms, reason))


def documents(capfd):
    return [json.loads(line) for line in capfd.readouterr().out.splitlines()]


def to(port, *datagrams, host="127.0.0.1"):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        for datagram in datagrams:
            sock.sendto(datagram, (host, port))


def test_by_default_nothing_listens(plugin_of):
    assert plugin_of()._intake is None


def test_clients_of_statsd_and_of_datadog(plugin_of, capfd):
    """Both, with what each has of its own."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    plain = StatsClient("127.0.0.1", port, prefix="shop")
    plain.incr("orders", 3)
    plain.timing("took", 320)
    plain.gauge("level", 10)
    plain.gauge("level", -4, delta=True)
    plain.set("users", "anna")
    with plain.pipeline() as several:
        several.incr("orders")
        several.decr("orders", 2)
    dog = DogStatsd("127.0.0.1", port, constant_tags=["env:prod"])
    dog.increment("dog.orders", 2, tags=["kind:book"])
    dog.distribution("dog.took", 0.5)
    dog.histogram("dog.size", 7)
    dog.gauge("dog.level", 5)
    dog.set("dog.users", "anna")
    dog.event("deployed", "it was")  # no metric
    dog.flush()
    end(plugin)
    ours, *theirs = documents(capfd)
    assert ours["lambda.statsd.malformed"] == 1.0
    found = {name: one[name] for one in theirs for name in one if name.startswith(("shop.", "dog."))}
    assert found == {
        "shop.orders": [2.0], "shop.took": [320.0], "shop.level": [6.0], "shop.users": [1.0], "dog.orders": [2.0],
        "dog.took": [0.5], "dog.size": [7.0], "dog.level": [5.0], "dog.users": [1.0],
    }  # fmt: skip
    (orders,) = [one for one in theirs if "dog.orders" in one]
    assert (orders["env"], orders["kind"], orders["faas.name"]) == ("prod", "book", "orders")
    assert orders["_aws"]["CloudWatchMetrics"][0]["Dimensions"] == [["env", "kind", "faas.name"]]
    dog.close_socket()
    plain.close()


def test_both_exporters_get_it(plugin_of, capfd):
    port = free_port(socket.SOCK_DGRAM)
    with OtlpMetrics() as receiver:
        plugin = plugin_of(statsd_port=port, export=("emf", "otlp"), endpoint=receiver.url)
        for number in (1, 2):
            to(port, b"hits:%d|c\ntook:%d|ms" % (number, number))
            end(plugin)
        assert receiver.refused == []
        assert (receiver.total("hits"), receiver.total("took")) == (3.0, 3.0)
    found = documents(capfd)
    assert [one["hits"] for one in found if "hits" in one] == [[1.0], [2.0]]


def test_only_loopback_is_listened_on(plugin_of):
    """Of both kinds, and 127.0.0.1 at least."""
    plugin = plugin_of(statsd_port=free_port(socket.SOCK_DGRAM), otlp_port=free_port())
    sockets = [*plugin._intake.datagrams._sockets, *plugin._intake.requests._server._listeners]
    hosts = {sock.getsockname()[0] for sock in sockets}
    assert "127.0.0.1" in hosts
    assert hosts <= {"127.0.0.1", "::1"}


def test_ipv6_is_listened_on_where_there_is_any(plugin_of, capfd):
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port, otlp_port=free_port())
    expected = ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]
    assert [sock.getsockname()[0] for sock in plugin._intake.datagrams._sockets] == expected
    assert [sock.getsockname()[0] for sock in plugin._intake.requests._server._listeners] == expected
    for host in expected:
        to(port, b"six:3|c", host=host)
    end(plugin)
    assert [one["six"] for one in documents(capfd) if "six" in one] == [[3.0 * len(expected)]]


@pytest.mark.parametrize(("name", "kind"), [("statsd_port", socket.SOCK_DGRAM), ("otlp_port", socket.SOCK_STREAM)])
def test_another_process_that_has_the_port_on_ipv6_is_said(plugin_of, said, name, kind):
    """Or what is sent to "localhost" would be gone without a word; where there is no IPv6 there is nothing to say."""
    port = free_port(kind)
    with contextlib.ExitStack() as held:
        if has_ipv6():
            other = held.enter_context(socket.socket(socket.AF_INET6, kind))
            other.bind(("::1", port))
            if kind == socket.SOCK_STREAM:
                other.listen()
        plugin = plugin_of(**{name: port}, export=("otlp",), endpoint="http://127.0.0.1:1")
        assert (plugin._intake.datagrams or plugin._intake.requests) is not None
    expected = (
        f"[metrics-collector] WARNING METRICS_COLLECTOR_{name.upper()}: port {port} on ::1: Address already in use; only what "
        "is sent to 127.0.0.1 is taken\n"
    )
    assert said == ([expected] if has_ipv6() else [])


def test_nothing_is_read_before_the_response(plugin_of, capfd):
    """Datagrams are fetched from the kernel at most, and what reads them is not even made."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    to(port, *[b"hits:1|c"] * 50)
    until(lambda: len(plugin._intake.datagrams._waiting) == 50)
    assert plugin._collecting is None
    end(plugin)
    assert [one["hits"] for one in documents(capfd) if "hits" in one] == [[50.0]]


def test_what_comes_before_the_interval_is_over_goes_with_what_follows(plugin_of, capfd):
    """And at the end all of it, also what has come after the last flush."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port, interval=600_000)
    to(port, b"hits:1|c")
    end(plugin)
    to(port, b"hits:2|c")
    plugin.flush("end", deadline())
    to(port, b"hits:3|c")
    plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline())
    assert [one["hits"] for one in documents(capfd) if "hits" in one] == [[1.0], [5.0]]


def test_what_the_kernel_had_no_room_for_is_counted():
    """While nobody fetches anything: taken and lost are what was sent."""
    port = free_port(socket.SOCK_DGRAM)
    loop = Loop()
    datagrams = Datagrams(loop, [intake._udp("127.0.0.1", port)])
    try:
        to(port, *[b"hits:1|c|#padding:" + b"x" * 400] * 40_000)
        taken = 0
        while some := datagrams.take():
            assert len(some) < 3_000  # a megabyte
            taken += len(some)
        lost = datagrams.lost()
        assert 0 < taken < 40_000
        assert taken + lost == 40_000
        assert datagrams.lost() == 0
    finally:
        datagrams.close()
        loop.close()


def test_a_flood_is_bounded_and_what_is_lost_is_told(plugin_of, capfd):
    """Here in the list and there in the kernel; afterwards there is room again."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    to(port, *[b"hits:1|c|#padding:" + b"x" * 1_000] * 30_000)
    assert plugin._intake.datagrams._size < 1_200_000
    end(plugin, 10_000)
    while kernel_has(plugin) or plugin._intake.datagrams._waiting:  # a flush does not read for as long as there is any
        plugin.flush("end", deadline(10_000))
    to(port, b"later:1|c")
    until(lambda: len(plugin._intake.datagrams._waiting) == 1)  # fetched by the loop, which watches again
    end(plugin, 10_000)
    found = documents(capfd)
    hits = sum(sum(one["hits"]) for one in found if "hits" in one)
    lost = sum(one["lambda.statsd.lost"] for one in found if "lambda.statsd.lost" in one)
    assert hits > 0
    assert hits + lost == 30_000
    assert [one["later"] for one in found if "later" in one] == [[1.0]]


def test_a_function_that_floods_does_not_keep_the_flush(plugin_of, capfd, monkeypatch):
    """One looks a few times for more, not for as long as there is any. The rest waits, or is read at the end."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    datagrams = plugin._intake.datagrams
    take, turns = datagrams.take, []

    def take_while_more_comes():
        if len(turns) < 500:
            turns.append(1)
            to(port, b"hits:1|c")
        return take()

    monkeypatch.setattr(datagrams, "take", take_while_more_comes)
    end(plugin, 10_000)
    assert 0 < len(turns) <= sent._TURNS
    to(port, b"hits:1|c")
    plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline(10_000, "shutdown"))
    assert len(turns) == 500
    assert sum(sum(one["hits"]) for one in documents(capfd) if "hits" in one) == 501.0


def test_much_that_waits_is_read_though_nothing_is_exported(plugin_of, capfd):
    """Or a busy function would lose it before the interval is over."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port, interval=600_000)
    end(plugin)
    for _ in range(20):
        for _ in range(10):
            to(port, *[b"hits:1|c|#padding:" + b"x" * 1_000] * 20)
            until(lambda: not kernel_has(plugin))
        plugin.flush("end", deadline())
    plugin.on_shutdown(Shutdown({"shutdownReason": "spindown"}), deadline(10_000))
    assert [one["hits"] for one in documents(capfd) if "hits" in one] == [[4_000.0]]


def kernel_has(plugin):
    """Whether something is left there."""
    for sock in plugin._intake.datagrams._sockets:
        try:
            sock.recv(1, socket.MSG_PEEK)
            return True
        except BlockingIOError:
            continue
    return False


def test_what_there_is_no_time_for_waits(plugin_of, capfd):
    """A flush with hardly any time reads nothing that it could not send."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    to(port, *[b"hits:1|c"] * 150)
    end(plugin, sent._KEPT_MS // 2)
    end(plugin)
    assert [one["hits"] for one in documents(capfd) if "hits" in one] == [[150.0]]


def test_no_line_costs_those_that_came_with_it(plugin_of, capfd, monkeypatch):
    """Whatever is wrong with it, also what nobody has thought of."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port)
    take_in = Aggregator._take_in

    def odd(self, line, at_ms):
        if line.startswith("odd"):
            raise ZeroDivisionError("nobody has thought of this")
        take_in(self, line, at_ms)

    monkeypatch.setattr(Aggregator, "_take_in", odd)
    to(port, b"hits:1|c", b"hits:1|ms|@1e-310\nodd:1|c", b"hits:1|c")
    end(plugin)
    found = documents(capfd)
    assert [one["hits"] for one in found if "hits" in one] == [[2.0]]
    assert found[0]["lambda.statsd.malformed"] == 2.0


def test_one_line_says_what_is_wrong(plugin_of, said, capfd):
    """Of the first that is no metric; all are counted."""
    port = free_port(socket.SOCK_DGRAM)
    plugin = plugin_of(statsd_port=port, statsd_series=2)
    for _ in range(3):
        to(port, b"hits:many|c\nhits:1|q", b"a:1|c\nb:1|c\nc:1|c")
        end(plugin)
    assert said == [
        "[metrics-collector] WARNING StatsD from the function: 'hits:many|c': 'many' is no number; it and others like it "
        "are left out, and counted\n"
    ]
    found = [one for one in documents(capfd) if "lambda.statsd.malformed" in one]
    assert [one["lambda.statsd.malformed"] for one in found] == [2.0] * 3
    assert [one["lambda.statsd.overflow"] for one in found] == [1.0] * 3


@pytest.mark.parametrize(("name", "kind"), [("statsd_port", socket.SOCK_DGRAM), ("otlp_port", socket.SOCK_STREAM)])
def test_a_port_that_is_taken_is_one_line(plugin_of, said, capfd, name, kind):
    """And everything else goes on."""
    with socket.socket(socket.AF_INET, kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        port = other.getsockname()[1]
        plugin = plugin_of(**{name: port})
        end(plugin)
    variable = f"METRICS_COLLECTOR_{name.upper()}"
    assert said == [
        f"[metrics-collector] ERROR {variable}: port {port}: Address already in use; nothing is taken there\n"
    ]
    assert documents(capfd)[0]["faas.invocations"] == [1.0]


def test_series_that_could_not_be_sent_wait_as_one(plugin_of):
    """An endpoint that is away for long costs no memory, and nothing of what was counted."""
    port = free_port(socket.SOCK_DGRAM)
    with OtlpMetrics() as receiver:
        plugin = plugin_of(statsd_port=port, export=("otlp",), endpoint=receiver.url)
        receiver.dead = True
        for _ in range(20):
            to(port, b"hits:1|c\ntook:5|ms")
            end(plugin, 200)
            assert plugin._collecting.pending
        (outlet,) = plugin._collecting._outlets
        assert len(outlet._series) <= 2
        receiver.dead = False
        plugin.flush("shutdown", deadline(5_000, "shutdown"))
        assert (receiver.total("hits"), receiver.total("took")) == (20.0, 100.0)
        assert plugin._collecting.pending == 0
