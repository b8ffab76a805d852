"""The servers of the contract that the tests of callers run against: to try another one, add it here."""

from __future__ import annotations

import pytest

from extension_kit.clients.secret_cache import SecretCache
from tests.clients.contract_server import TOKEN, ContractServer


@pytest.fixture
def contract():
    """The strict server; whatever was wrong in any request fails the test at its end."""
    server = ContractServer()
    try:
        yield server
    finally:
        server.stop()
    assert server.violations == []


@pytest.fixture
def cache(contract):
    """A caller of it, with the right token."""
    caller = SecretCache(port=contract.port, appconfig_port=contract.appconfig_port, token=TOKEN, timeout=10)
    yield caller
    caller.close()
