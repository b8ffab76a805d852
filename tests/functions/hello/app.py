"""A sample function: spends a little CPU and memory, writes to /tmp, prints one line."""

import pathlib
import time


def handler(event, context):
    spend_ms = event.get("spend_ms", 20)
    until = time.process_time() + spend_ms / 1000
    rounds = 0
    while time.process_time() < until:
        rounds += 1
    path = pathlib.Path("/tmp/hello.bin")
    with path.open("ab") as file:
        file.write(bytes(event.get("write_bytes", 100_000)))
    print(f"hello from {context.aws_request_id}: {rounds} rounds")
    return {"spent_ms": spend_ms, "tmp_bytes": path.stat().st_size}
