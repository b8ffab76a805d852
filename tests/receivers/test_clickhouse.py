"""A row that came as a line of JSON is in the database."""

from __future__ import annotations

import gzip

import pytest
import requests

from tests.receivers.clickhouse import ClickHouse, Wrong
from tests.receivers.programs import or_skip


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    with or_skip(ClickHouse, tmp_path_factory.mktemp("clickhouse")) as running:
        running.query("CREATE TABLE logs (request String, n UInt32, line String) ENGINE = Memory")
        yield running


def test_lines_become_rows(house):
    """With and without gzip; a field that the table lacks is passed over."""
    one, two = b'{"request":"a","n":1,"line":"x \\u00e9\\n"}\n', b'{"n":2,"more":{"deep":[1]},"line":"y"}\n'
    assert requests.post(house.insert_url("logs"), data=one, timeout=10).status_code == 200
    headers = {"Content-Encoding": "gzip"}
    answer = requests.post(house.insert_url("logs"), data=gzip.compress(two), headers=headers, timeout=10)
    assert answer.status_code == 200
    assert house.query("SELECT request, n, line FROM logs ORDER BY n") == [
        {"request": "a", "n": 1, "line": "x é\n"}, {"request": "", "n": 2, "line": "y"},
    ]  # fmt: skip


def test_what_is_no_row_is_refused(house):
    """So that a sink that sends nonsense is found out."""
    before = house.query("SELECT count() AS rows FROM logs")
    for bad in (b'{"n":"many"}\n', b'{"n":1', b"plain\n"):
        assert requests.post(house.insert_url("logs"), data=bad, timeout=10).status_code >= 400
    assert house.query("SELECT count() AS rows FROM logs") == before
    with pytest.raises(Wrong, match="nowhere"):
        house.query("SELECT 1 FROM nowhere")


def test_only_this_machine_reaches_it(house):
    """Tests open nothing to the network."""
    assert house.listens() == {"127.0.0.1"}
