"""Pinned sources: the right bytes from the first place that has them, or one clear line."""

from __future__ import annotations

import hashlib
import http.server
import threading

import pytest

from extension_kit.errors import ConfigError
from layer_build.interpreter.fetch import fetch
from layer_build.interpreter.pins import SOURCES, Source

CONTENT = b"the source" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    """Serves /right, /wrong and /short; everything else is 404. Its address, and the paths that were asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):  # noqa: N802 - http.server's name
            asked.append(self.path)
            body = {"/right": CONTENT, "/wrong": b"something else", "/short": CONTENT[:100]}.get(self.path)
            self.send_response(200 if body else 404)
            self.send_header("Content-Length", str(len(CONTENT if self.path == "/short" else body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}", asked
        listening.shutdown()
        thread.join(10)


def source(*places):
    return Source("source.tar.xz", SHA256, places)


def test_from_the_first_place_that_has_it(tmp_path, server):
    url, asked = server
    said = []

    path = fetch(
        source(f"{url}/none", f"{url}/wrong", f"{url}/short", f"{url}/right"), [tmp_path / "cache"], said.append
    )

    assert path.read_bytes() == CONTENT
    assert asked == ["/none", "/wrong", "/short", "/right"]
    assert said[-1] == f"fetching {url}/right"
    assert [one.name for one in (tmp_path / "cache").iterdir()] == ["source.tar.xz"]


def test_the_second_time_nobody_is_asked(tmp_path, server):
    url, asked = server
    fetch(source(f"{url}/right"), [tmp_path], print)

    fetch(source(f"{url}/right"), [tmp_path], print)

    assert asked == ["/right"]


def test_a_copy_of_ones_own(tmp_path):
    """Without a network: --sources."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "source.tar.xz").write_bytes(CONTENT)

    assert fetch(source(), [tmp_path / "cache", tmp_path / "mine"], print) == tmp_path / "mine" / "source.tar.xz"


def test_a_damaged_copy_is_not_used(tmp_path, server):
    url, _asked = server
    (tmp_path / "source.tar.xz").write_bytes(b"damaged")

    assert fetch(source(f"{url}/right"), [tmp_path], print).read_bytes() == CONTENT


def test_nobody_has_it(tmp_path, server):
    """One line: what is missing, what each place answered, what can be done."""
    url, _asked = server

    with pytest.raises(ConfigError) as raised:
        fetch(source(f"{url}/none", f"{url}/wrong", "http://127.0.0.1:1/x"), [tmp_path], print)

    text = str(raised.value)
    assert "\n" not in text
    for part in (
        "source.tar.xz",
        SHA256,
        "/none: 404",
        "which is not the pinned one",
        "Connection refused",
        "--sources",
    ):
        assert part in text
    assert list(tmp_path.iterdir()) == []


def test_every_pinned_source_can_be_had_from_two_places():
    for one in SOURCES:
        hosts = [place.split("/")[2] for place in one.places]
        assert len(set(hosts)) >= 2, one.name
        assert len(one.sha256) == 64
        assert all(place.startswith("https://") for place in one.places)
