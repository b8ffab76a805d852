"""The AWS SDK for JavaScript, unchanged: its endpoint is the cache, by the variables that AWS has for that."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest

from tests.receivers import node_sdk

SCRIPT = """
import {SecretsManagerClient, GetSecretValueCommand, BatchGetSecretValueCommand, ListSecretsCommand}
  from "@aws-sdk/client-secrets-manager";
import {SSMClient, GetParameterCommand, GetParametersCommand, GetParametersByPathCommand} from "@aws-sdk/client-ssm";
const manager = new SecretsManagerClient({maxAttempts: 1}), store = new SSMClient({maxAttempts: 1});
const failure = async (call) => { try { await call; return "none" } catch (error) { return error.name } };
const found = {};
for (let round = 0; round < 2; round++) {
  found.secret = (await manager.send(new GetSecretValueCommand({SecretId: "db"}))).SecretString;
  found.created = (await manager.send(new GetSecretValueCommand({SecretId: "db"}))).CreatedDate instanceof Date;
  found.binary = [...(await manager.send(new GetSecretValueCommand({SecretId: "raw"}))).SecretBinary];
  found.batch = (await manager.send(new BatchGetSecretValueCommand({SecretIdList: ["db", "none"]})))
    .SecretValues.map((one) => one.Name);
  found.parameter = (await store.send(new GetParameterCommand({Name: "/app/a"}))).Parameter.Value;
  found.parameters = (await store.send(new GetParametersCommand({Names: ["/app/a", "/none"]}))).InvalidParameters;
  found.path = (await store.send(new GetParametersByPathCommand({Path: "/app"}))).Parameters.length;
}
found.missing = await failure(manager.send(new GetSecretValueCommand({SecretId: "none"})));
found.unserved = await failure(manager.send(new ListSecretsCommand({})));
console.log(JSON.stringify(found));
"""


FETCH = """
const url = `http://localhost:${process.env.PORT}/secretsmanager/get?secretId=db`;
const answer = await fetch(url, {headers: {"X-Aws-Parameters-Secrets-Token": process.env.AWS_SESSION_TOKEN}});
console.log(answer.status, (await answer.json()).SecretString);
"""


def test_nodes_own_fetch(aws, cache, tmp_path):
    """It sends Sec-Fetch-Mode with every request, as a browser does."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node here")
    aws.put_secret("db", "one")
    (tmp_path / "index.mjs").write_text(FETCH)

    done = subprocess.run(
        [node, "index.mjs"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={"PATH": os.environ["PATH"], "PORT": str(cache.port), "AWS_SESSION_TOKEN": "function-session-token"},
    )  # fmt: skip

    assert (done.stdout, done.stderr) == ("200 one\n", "")


def test_the_node_sdk(aws, cache, tmp_path):
    node = shutil.which("node")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30).stdout if node else "v0"
    if node is None or int(version.lstrip("v").partition(".")[0]) < 20:
        pytest.skip("no node 20 or newer here, which this SDK needs")
    aws.put_secret("db", "one")
    aws.put_secret("raw", b"\x00\xff")
    aws.put_parameter("/app/a", "1")
    folder = tmp_path / "function"
    folder.mkdir()
    (folder / "index.mjs").write_text(SCRIPT)
    (folder / "node_modules").symlink_to(node_sdk.packages() / "node_modules")
    here = f"http://localhost:{cache.port}"

    done = subprocess.run(
        [node, "index.mjs"], cwd=folder, capture_output=True, text=True, timeout=100, check=False,
        env={
            "PATH": os.environ["PATH"], "AWS_ENDPOINT_URL_SECRETS_MANAGER": here, "AWS_ENDPOINT_URL_SSM": here,
            "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "AKIAFUNCTION",
            "AWS_SECRET_ACCESS_KEY": "function-secret-key", "AWS_SESSION_TOKEN": "function-session-token",
        },
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "secret": "one", "created": True, "binary": [0, 255], "batch": ["db"], "parameter": "1", "parameters": ["/none"],
        "path": 1, "missing": "ResourceNotFoundException", "unserved": "UnknownOperationException",
    }  # fmt: skip
    assert aws.count("GetSecretValue", "db") == 1
