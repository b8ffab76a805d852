"""Bytes between two sockets: by the kernel where it can, through a buffer where it cannot, in full in any case."""

from __future__ import annotations

import errno
import os
import posix
import select
import socket
import threading

import pytest

from extension_kit.io import relay

PATIENCE = 20.0
DATA = os.urandom(1_000_003)


@pytest.fixture
def pairs():
    """(a writer, the source), (the sink, a reader)."""
    made = [_connected() for _ in range(2)]
    (writer, source), (reader, sink) = made
    yield writer, source, sink, reader
    for pair in made:
        for sock in pair:
            sock.close()


def _connected():
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname(), PATIENCE)
        other, _ = server.accept()
    return one, other


@pytest.fixture(autouse=True)
def as_found(monkeypatch):
    monkeypatch.setattr(relay.Pipe, "usable", True)
    monkeypatch.setattr(relay.Pipe, "kept", [])
    yield
    for pipe in relay.Pipe.kept:
        os.close(pipe.out)
        os.close(pipe.into)


def read(sock, count, into):
    while len(into) < count:
        piece = sock.recv(262_144)
        if not piece:
            return
        into += piece


def moved(pairs, data=DATA, *, pending=b""):
    """What arrives of `data`."""
    writer, source, sink, reader = pairs
    got = bytearray()
    threads = [
        threading.Thread(target=writer.sendall, args=(data,)),
        threading.Thread(target=read, args=(reader, len(pending) + len(data), got)),
    ]
    for thread in threads:
        thread.start()
    relay.relay(source, sink, len(data), lambda: relay.WATCH, pending)
    for thread in threads:
        thread.join(PATIENCE)
    assert source.gettimeout() is sink.gettimeout() is None
    return bytes(got)


def test_the_kernel_moves_what_is_large(pairs):
    """The pipe is kept for the next body."""
    assert moved(pairs) == DATA
    assert len(relay.Pipe.kept) == 1
    pipe = relay.Pipe.kept[0]
    assert moved(pairs, pending=b"first") == b"first" + DATA
    assert relay.Pipe.kept == [pipe]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOSYS])
def test_a_kernel_that_cannot_splice_from_a_socket(pairs, monkeypatch, number):
    """Once it has said so, it is not asked again."""
    asked = []

    def refuse(*arguments, **_flags):
        asked.append(arguments)
        raise OSError(number, "no")

    monkeypatch.setattr(posix, "splice", refuse)
    assert moved(pairs) == DATA
    assert moved(pairs) == DATA
    assert len(asked) == 1


def test_a_kernel_that_cannot_splice_to_a_socket(pairs, monkeypatch):
    """What is in the pipe by then is read from it."""
    splice = posix.splice
    sink = pairs[2].fileno()

    def refuse(source, target, count, flags=0):
        if target == sink:
            raise OSError(errno.EINVAL, "no")
        return splice(source, target, count, flags=flags)

    monkeypatch.setattr(posix, "splice", refuse)
    assert moved(pairs) == DATA
    assert not relay.Pipe.usable


def test_no_descriptor_is_left_for_a_pipe(pairs, monkeypatch):
    def none_left():
        raise OSError(errno.EMFILE, "no")

    monkeypatch.setattr(posix, "pipe", none_left)
    assert moved(pairs) == DATA
    assert relay.Pipe.usable


@pytest.mark.parametrize("usable", [True, False])
def test_the_source_ends_too_early(pairs, monkeypatch, usable):
    """A pipe with bytes in it is not used again."""
    monkeypatch.setattr(relay.Pipe, "usable", usable)
    writer, source, sink, reader = pairs
    writer.sendall(DATA[:1_000])
    writer.close()
    with pytest.raises(relay.Ended):
        relay.relay(source, sink, len(DATA), lambda: relay.WATCH)
    sink.close()
    got = bytearray()
    read(reader, 10_000, got)
    assert got == DATA[:1_000]


@pytest.mark.parametrize("usable", [True, False])
def test_the_sink_goes(pairs, monkeypatch, usable):
    monkeypatch.setattr(relay.Pipe, "usable", usable)
    writer, source, sink, reader = pairs
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    reader.close()
    with pytest.raises(OSError):  # noqa: PT011 - whichever the kernel notices first
        relay.relay(source, sink, 100_000_000, lambda: relay.IGNORE)
    writer.close()


def test_a_sink_that_speaks_is_heard_once(pairs):
    """And not any more, once nobody wants to."""
    writer, source, sink, reader = pairs
    heard = []

    def spoken():
        heard.append(sink.recv(100))
        writer.sendall(DATA)
        return relay.IGNORE

    reader.sendall(b"hello")
    got = bytearray()
    thread = threading.Thread(target=read, args=(reader, len(DATA), got))
    thread.start()
    relay.relay(source, sink, len(DATA), spoken)
    thread.join(PATIENCE)
    assert (heard, got) == ([b"hello"], DATA)


def test_what_is_offered_is_refused(pairs):
    """The other end speaks before it has taken all."""
    _writer, _source, sink, reader = pairs
    thread = threading.Timer(0.05, reader.sendall, (b"no",))
    thread.start()
    assert relay.offer(sink, bytes(100_000_000), lambda: relay.ANSWERED) is False
    thread.join(PATIENCE)


def test_what_is_offered_is_taken(pairs):
    _writer, _source, sink, reader = pairs
    got = bytearray()
    thread = threading.Thread(target=read, args=(reader, len(DATA), got))
    thread.start()
    assert relay.offer(sink, DATA, lambda: relay.ANSWERED) is True
    thread.join(PATIENCE)
    assert got == DATA


def test_a_tunnel_ends_when_both_ends_have(pairs):
    """Half of it may end first."""
    writer, source, sink, reader = pairs
    thread = threading.Thread(target=relay.tunnel, args=(source, sink, b"begun "))
    thread.start()
    writer.sendall(b"one way")
    writer.shutdown(socket.SHUT_WR)
    got = bytearray()
    read(reader, 1_000, got)
    assert got == b"begun one way"
    reader.sendall(b"the other")
    reader.close()
    back = bytearray()
    read(writer, 1_000, back)
    assert back == b"the other"
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_tunnel_moves_much_both_ways(pairs):
    writer, source, sink, reader = pairs
    threads = [threading.Thread(target=relay.tunnel, args=(source, sink, b""))]
    got, back = bytearray(), bytearray()
    threads += [threading.Thread(target=read, args=(reader, len(DATA), got))]
    threads += [threading.Thread(target=read, args=(writer, len(DATA), back))]
    threads += [threading.Thread(target=sock.sendall, args=(DATA,)) for sock in (writer, reader)]
    for thread in threads:
        thread.start()
    for thread in threads[1:]:
        thread.join(PATIENCE)
    assert (got, back) == (DATA, DATA)
    writer.close()
    reader.close()
    threads[0].join(PATIENCE)
    assert not threads[0].is_alive()


@pytest.mark.parametrize("usable", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_a_sink_that_has_refused_need_not_have_all(pairs, monkeypatch, usable, whole):
    """It reads no more: what it does not take is thrown away, and nobody waits for it."""
    monkeypatch.setattr(relay.Pipe, "usable", usable)
    writer, source, sink, reader = pairs
    reader.sendall(b"no")
    thread = threading.Thread(target=lambda: (writer.sendall(bytes(50_000_000)), writer.close()))
    thread.start()
    if whole:
        assert relay.relay(source, sink, 50_000_000, lambda: len(sink.recv(2)) and relay.ANSWERED) is False
    else:
        with pytest.raises(relay.Ended):
            relay.relay(source, sink, 50_000_001, lambda: len(sink.recv(2)) and relay.ANSWERED)
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert relay.Pipe.kept == []  # what was in it is not for the next body


def test_what_a_closed_source_has_sent_is_not_lost(pairs):
    """The sink has said something, is slow, and gets all."""
    writer, source, sink, reader = pairs
    reader.sendall(b"x")
    thread = threading.Thread(target=lambda: (writer.sendall(DATA), writer.close()))
    relaying = threading.Thread(
        target=relay.relay, args=(source, sink, len(DATA), lambda: len(sink.recv(100)) and relay.IGNORE)
    )
    thread.start()
    relaying.start()
    thread.join(PATIENCE)
    got = bytearray()
    read(reader, len(DATA), got)
    relaying.join(PATIENCE)
    assert got == DATA


def test_a_tunnel_loses_nothing_for_a_slow_reader(pairs):
    """Both ways have ended, and most of the answer still waits: that is no reset."""
    writer, source, sink, reader = pairs
    data = DATA[:200_000]
    writer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    source.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1_000_000)
    failed = []

    def tunnel():
        try:
            relay.tunnel(source, sink, b"")
        except OSError as error:
            failed.append(error)
        source.close()

    thread = threading.Thread(target=tunnel)
    thread.start()
    writer.shutdown(socket.SHUT_WR)
    assert reader.recv(1) == b""
    reader.sendall(data)
    reader.shutdown(socket.SHUT_WR)
    poll = select.poll()
    poll.register(sink, 0)
    assert poll.poll(PATIENCE * 1_000) == [(sink.fileno(), select.POLLHUP)]
    got = bytearray()
    read(writer, len(data) + 1, got)
    thread.join(PATIENCE)
    assert (failed, got == data) == ([], True)


@pytest.mark.parametrize("held", [False, True], ids=["idle", "while bytes wait"])
def test_a_tunnel_ends_with_a_reset(pairs, held):
    """Also where the other end does not read."""
    _writer, source, sink, reader = pairs
    failed = []

    def tunnel():
        try:
            relay.tunnel(source, sink, b"")
        except OSError as error:
            failed.append(error)

    thread = threading.Thread(target=tunnel)
    if held:
        reader.setblocking(False)
        try:
            while True:
                reader.send(DATA)
        except BlockingIOError:
            pass
    thread.start()
    relay.linger_reset(reader)
    reader.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert len(failed) == 1


def test_what_is_offered_is_heard(pairs):
    """An interim answer is no end of it; one that has accepted is not listened to again."""
    _writer, _source, sink, reader = pairs
    verdicts = [relay.WATCH, relay.IGNORE]
    heard = bytearray()

    def spoken():
        heard.extend(sink.recv(1))
        return verdicts.pop(0)

    reader.sendall(b"abc")
    got = bytearray()
    thread = threading.Thread(target=read, args=(reader, len(DATA), got))
    thread.start()
    assert relay.offer(sink, DATA, spoken) is True
    thread.join(PATIENCE)
    assert (bytes(heard), got == DATA, sink.getblocking()) == (b"ab", True, True)
