"""An extension as tutorials write it: ``requests`` from the layer, a new connection for every call, a line for each event."""

import json
import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.insert(0, str(HERE.parents[1] / HERE.name))

import requests  # noqa: E402 - found in the layer's folder, which is on the path only now

BASE = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2020-01-01/extension"


def register():
    """Register and return the identifier."""
    answer = requests.post(
        f"{BASE}/register", json={"events": ["INVOKE", "SHUTDOWN"]}, headers={"Lambda-Extension-Name": HERE.name}
    )
    answer.raise_for_status()
    return answer.headers["Lambda-Extension-Identifier"]


def main():
    """From one event to the next."""
    headers = {"Lambda-Extension-Identifier": register()}
    while True:
        answer = requests.get(f"{BASE}/event/next", headers=headers, timeout=None)
        answer.raise_for_status()
        event = answer.json()
        print(f"event: {json.dumps(event)}", flush=True)
        if event["eventType"] == "SHUTDOWN":
            return


main()
