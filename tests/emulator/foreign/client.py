#!/usr/bin/env python3
"""An extension with http.client, a new connection for each call."""

import http.client
import json
import os
import sys

NAME = os.path.basename(sys.argv[0])


def call(method, path, headers, body=None):
    connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    connection.request(method, "/2020-01-01/extension/" + path, body, headers)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.headers, content


headers, _ = call("POST", "register", {"Lambda-Extension-Name": NAME}, '{"events": ["INVOKE", "SHUTDOWN"]}')
identity = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
while True:
    _, event = call("GET", "event/next", identity)
    print(event["eventType"], flush=True)
    if event["eventType"] == "SHUTDOWN":
        sys.exit(0)
