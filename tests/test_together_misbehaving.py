"""A plug-in that misbehaves, in one process with three of ours: these deliver everything that they would without it.

KIT_TESTS_MISBEHAVIOURS says how many of the ways in which it can are tried, drawn with a seed (`make soak`: all).
"""

from __future__ import annotations

import os
import random

import pytest

from tests.conftest import ISOLATED
from tests.test_do_no_harm_matrix import MATRIX, bad_plugin, check_reports
from tests.together import FUNCTION, PLUGINS, SHIPPER, World

pytestmark = [pytest.mark.skipif(not ISOLATED, reason="namespaces are refused here"), pytest.mark.once]

INVOKES = 5
LINES = 3
OTHERS = [plugin for name, plugin in PLUGINS.items() if name != "chaos-injector"]
#: what has harmed others before is always tried
ALWAYS = [
    row
    for row in MATRIX
    if any(word in row[1] for word in ("os.dup", "self.leak.append", "os.close", ".clear", "setrlimit", "fallocate"))
]
REST = [row for row in MATRIX if row not in ALWAYS]
COUNT = int(os.environ.get("KIT_TESTS_MISBEHAVIOURS", "3"))
ROWS = [*ALWAYS, *random.Random(20_100).sample(REST, min(COUNT, len(REST)))]


@pytest.fixture
def world():
    with World() as made:
        yield made


@pytest.mark.parametrize(("hook", "body", "fault", "times"), ROWS, ids=[f"{row[0]}: {row[1][:30]}" for row in ROWS])
def test_the_three_others_never_notice(hook, body, fault, times, lab, world):
    """Every secret is answered, every line and every metric arrives, the accounts agree; what the one did is reported."""
    extension = lab.plugin("ext", f"{bad_plugin(hook, body)}run(Bad(), *{OTHERS!r})")
    environment = lab.start(extension, function=lab.function(FUNCTION), variables=world.variables(), timeout=10.0)
    for n in range(INVOKES):
        if n == INVOKES - 2:
            world.aws.rotate("db", "two")
        result = lab.invoke(environment, {"n": n, "lines": LINES})
        assert not result.function_error, (result.payload, lab.lines(environment, "ext"))
        assert result.payload == b'{"n": %d, "lines": 3, "secret": "one", "parameter": "5"}' % n
        environment.idle(10)
    environment.shutdown()

    assert world.lines.lines() == [f"line {n} {line}" for n in range(INVOKES) for line in range(LINES)]
    ends = [one["record"]["status"] for one in world.lines.accepted if one["type"] == "platform.runtimeDone"]
    assert ends == ["success"] * INVOKES
    assert len([one for one in world.lines.accepted if one["type"] == "platform.report"]) == INVOKES
    assert world.metrics.total("faas.invocations") == INVOKES
    assert [*world.lines.refused, *world.metrics.refused, *world.aws.refusals] == []
    assert lab.exits(environment)["ext"] == "exit status 0"
    said = [line for line in lab.lines(environment, "ext") if len(line) < 2000]
    for name in (SHIPPER, "metrics-collector"):
        (account,) = [line for line in said if f"plug-in {name}: " in line]
        assert " + 0 dropped + 0 pending; " in account
    mended = [line for line in said if line.startswith(f"[ext] after {hook} of plug-in bad ")]
    assert len(mended) == (1 if (hook, body) in {row[:2] for row in ALWAYS if "fallocate" not in row[1]} else 0)
    check_reports(said, fault, times, body)
