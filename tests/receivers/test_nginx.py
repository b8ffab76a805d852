"""nginx passes on what is right and refuses what is not, with the statuses that senders must cope with."""

from __future__ import annotations

import pytest
import requests

from tests.receivers.aws.tls import Authority
from tests.receivers.collector import Collector
from tests.receivers.nginx import Nginx
from tests.receivers.programs import or_skip

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def fake():
    with Collector() as running:
        yield running


def post(nginx, data=b"[1]", **options):
    return requests.post(nginx.url, data=data, headers=JSON, timeout=10, **options)


def test_with_a_certificate_and_without(fake, tmp_path):
    """TLS that trusts one authority in both directions; nothing of who has no certificate gets through."""
    authority = Authority(tmp_path)
    mine = str(authority.signed("sender", "sender"))
    (other := tmp_path / "other").mkdir()
    stranger = str(Authority(other).signed("sender", "sender"))
    with or_skip(Nginx, tmp_path, fake.url, authority=authority, mutual=True) as nginx:
        assert post(nginx, cert=mine, verify=str(authority.bundle)).status_code == 200
        assert post(nginx, verify=str(authority.bundle)).status_code == 400
        assert post(nginx, cert=stranger, verify=str(authority.bundle)).status_code == 400
        with pytest.raises(requests.exceptions.SSLError):
            post(nginx, cert=mine)
        assert nginx.listens() == {"127.0.0.1"}
        assert [status for status in nginx.statuses() if status != 400] == [200]
    assert fake.accepted == [1]


def test_too_many_and_too_large(fake, tmp_path):
    """By a real limiter: the second request within the second is told when to come again."""
    with or_skip(Nginx, tmp_path, fake.url, rate="1r/s", retry_after=7, largest="1k") as nginx:
        assert post(nginx).status_code == 200
        busy = post(nginx, b"[2]")
        assert (busy.status_code, busy.headers["Retry-After"]) == (429, "7")
    (tmp_path / "next").mkdir()
    with or_skip(Nginx, tmp_path / "next", fake.url, largest="1k") as nginx:
        assert post(nginx, b"[%s]" % (b"1" * 2_000)).status_code == 413
        fake.close()
        assert post(nginx, b"[3]").status_code == 502
    assert fake.accepted == [1]
