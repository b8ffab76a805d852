"""One line of CloudWatch's embedded metric format, read back as CloudWatch would."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from extensions.metrics_collector import emf

FIGURES = {
    "cpu_user_ms": 30.0,
    "cpu_system_ms": 10.0,
    "memory_used_bytes": 1e8,
    "network_rx_bytes": 5.0,
    "network_tx_bytes": 6.0,
    "tmp_used_bytes": 4096.0,
}


@given(
    figures=st.dictionaries(st.sampled_from(sorted(FIGURES)), st.floats(0, 1e15), min_size=1),
    namespace=st.text(min_size=1),
    function=st.text(min_size=1),
    request_id=st.text(),
)
def test_a_line_is_what_the_specification_asks_for(figures, namespace, function, request_id):
    """Source: AWS docs, "Embedded metric format specification": every target member is in the root, once."""
    line = emf.line(
        figures,
        namespace=namespace,
        dimensions={"FunctionName": function},
        properties={"requestId": request_id},
        at_ms=1_700_000_000_000,
    )

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    root = json.loads(line)
    (directive,) = root["_aws"]["CloudWatchMetrics"]
    assert root["_aws"]["Timestamp"] == 1_700_000_000_000
    assert directive["Namespace"] == namespace
    assert directive["Dimensions"] == [["FunctionName"]]
    assert root["FunctionName"] == function
    assert root["requestId"] == request_id
    assert [root[metric["Name"]] for metric in directive["Metrics"]] == list(figures.values())
    assert {metric["Unit"] for metric in directive["Metrics"]} <= {"Milliseconds", "Bytes"}


def test_a_usual_line_is_written_in_one_piece():
    """No longer than PIPE_BUF (4096 on Linux): no other writer's bytes can come between."""
    line = emf.line(
        FIGURES,
        namespace="n" * 255,
        dimensions={"FunctionName": "f" * 140},
        properties={"requestId": "r" * 36},
        at_ms=1,
    )
    assert len(line) <= 4096
    assert [metric["Name"] for metric in json.loads(line)["_aws"]["CloudWatchMetrics"][0]["Metrics"]] == [
        "CpuUser", "CpuSystem", "MemoryUsed", "NetworkRx", "NetworkTx", "TmpUsed",
    ]  # fmt: skip
