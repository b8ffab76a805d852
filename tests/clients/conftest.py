"""The servers of the contract that the tests of callers run against: to try another one, add it here."""

from __future__ import annotations

import pytest

from extension_kit.clients.secret_cache import SecretCache
from tests.clients.contract_server import TOKEN, serving


@pytest.fixture
def contract():
    with serving() as server:
        yield server


@pytest.fixture
def cache(contract):
    """A caller of it, with the right token."""
    caller = SecretCache(port=contract.port, appconfig_port=contract.appconfig_port, token=TOKEN, timeout=10)
    yield caller
    caller.close()
