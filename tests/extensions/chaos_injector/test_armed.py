"""When an experiment is armed in the middle of a function's life, and where several invocations run at once."""

from __future__ import annotations

import time

import pytest

from tests.emulator.test_managed import WORKERS
from tests.extensions.chaos_injector import conftest
from tests.extensions.chaos_injector.conftest import experiment
from tests.extensions.chaos_injector.injecting import Injecting
from tests.proxying import NEXT, OK, event


@pytest.mark.parametrize("fault", [("fail_init", {}), ("slow_init", {"ms": 9_000})], ids=["fail_init", "slow_init"])
def test_no_init_fault_after_init(tmp_path, fault):
    """An experiment that is armed later has no init to disturb: nothing is decided, and the next event is asked for."""
    one = Injecting(tmp_path, experiment(fault))
    one.proxy.hooks = None
    one.runtime.ask()
    up = one.upstream.accept()
    up.message()
    up.send(event(b"r1"))
    one.runtime.message()
    one.runtime.post(b"r1")
    up.message()
    up.send(OK)
    one.runtime.message()
    one.proxy.hooks = one.injector
    one.runtime.ask()
    assert up.message().head.target == NEXT
    assert [line["action"] for line in one.audit()] == ["arm"]
    one.close()


def test_workers_of_managed_instances_do_not_end_each_other_s_invocations(start, monkeypatch, tmp_path):
    """Each asks for its next event while the others are at work; faults after the handler are made all the same."""
    folder = tmp_path / "workers"
    folder.mkdir()
    (folder / "workers.sh").write_text(WORKERS)
    bootstrap = folder / "bootstrap"
    bootstrap.write_text('#!/bin/sh\nexec "$AWS_LAMBDA_EXEC_WRAPPER" /bin/sh "${0%/*}/workers.sh"\n')
    bootstrap.chmod(0o755)
    monkeypatch.setattr(conftest, "NODE", bootstrap)
    document = experiment(("error_after", {"error_type": "Chaos.After"}))
    chaos = start(document, init_type="lambda-managed-instances", runtime="node")
    chaos.environment.call(chaos.environment.platform.start)
    deadline = time.monotonic() + 20
    while chaos.environment.call(lambda: chaos.environment.platform.phase) != "ready":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    futures = [chaos.environment.invoke(seconds) for seconds in (b"1", b"1", b"0.1", b"0.1", b"0.1")]
    results = [future.result(30) for future in futures]
    assert [result.error_type for result in results] == ["Chaos.After"] * 5, chaos.lines
