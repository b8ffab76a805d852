"""A function that needs a secret before it can do anything: it asks the secret cache in its module."""

import http.client
import json
import os

connection = http.client.HTTPConnection("localhost", 2773, timeout=9)
token = os.environ["AWS_SESSION_TOKEN"]
connection.request("GET", "/secretsmanager/get?secretId=bench", headers={"X-Aws-Parameters-Secrets-Token": token})
answer = connection.getresponse()
SECRET = json.loads(answer.read())["SecretString"]


def handler(event, context):
    return len(SECRET)
