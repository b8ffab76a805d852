"""The same as stream.js, where there is no Node."""

import http.client
import json
import os
import time

BASE = "/2018-06-01/runtime/invocation/"


def parcels(event):
    for parcel in range(1, event["parcels"] + 1):
        yield f'{{"order": {event["order"]}, "parcel": {parcel}}}\n'.encode()
        time.sleep(0.005)
    packed = {"level": "INFO", "message": "order packed", "order": event["order"], "parcels": event["parcels"]}
    print(json.dumps(packed), flush=True)


api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
while True:
    api.request("GET", BASE + "next")
    answer = api.getresponse()
    event = json.loads(answer.read())
    headers = {
        "Content-Type": "application/x-ndjson", "Lambda-Runtime-Function-Response-Mode": "streaming",
        "Transfer-Encoding": "chunked",
    }  # fmt: skip
    path = BASE + answer.headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
    try:
        api.request("POST", path, parcels(event), headers, encode_chunked=True)
        api.getresponse().read()
    except (OSError, http.client.HTTPException) as error:
        print(f"the caller has gone: {error!r}", flush=True)
        api.close()
