"""A manifest in sentences: an operator learns from them alone what the extension may do."""

from __future__ import annotations

import pytest

from layer_build.explain import abilities, explain
from layer_build.manifest import Manifest, parse
from tests.layer_build import sample


def manifest(text: str = sample.MANIFEST) -> Manifest:
    return parse(text.encode(), "1.0.0")


def test_all_that_it_may_do_is_said():
    assert explain(manifest()) == [
        "It may talk to: logs.example.com (where the lines go); s3.{region}.amazonaws.com.",
        "{region} stands for the function's region.",
        "It may start no program.",
        "It reads these variables: LOG_SHIPPER_ENDPOINT; LOG_SHIPPER_* (all that begin so); AWS_REGION.",
        "It needs these IAM actions: s3:PutObject on arn:aws:s3:::{bucket}/{region}/* (a copy of each batch).",
        "It listens on 127.0.0.1:2773, or where LOG_SHIPPER_PORT says (what the function asks).",
        "It writes below: /tmp/.extension-kit/log-shipper/.",
        "It is told of: INVOKE; SHUTDOWN.",
        "It hears: platform telemetry (when the function starts and ends, and its figures); "
        "function telemetry (the function's log lines).",
    ]


def test_what_it_may_not_do_is_said_as_well():
    assert explain(manifest(sample.BARE)) == [
        "It may talk to: nobody.",
        "It may start no program.",
        "It reads these variables: none of its own.",
        "It needs these IAM actions: none.",
        "It listens on no port for the function.",
        "It writes below: nothing.",
        "It is told of: nothing by events.",
        "It hears: no telemetry.",
    ]


@pytest.mark.parametrize(
    ("port", "words"),
    [
        ("port = 9009, fallback = true", "127.0.0.1:9009, or any free port where that is taken"),
        ("port = 0, fallback = true", "127.0.0.1, any free port"),
        ('port = 1, variables = ["A", "B"]', "127.0.0.1:1, or where A or B says"),
        ('port = 1, why = "Because."', "127.0.0.1:1 (Because)"),
    ],
)
def test_ports(port, words):
    made = manifest(f'name = "x"\nplugins = ["x:X"]\n[capabilities]\nports = [{{ name = "p", {port} }}]')
    assert f"It listens on {words}." in explain(made)
    assert f"listen on {words}" in abilities(made).values()


def test_an_action_on_everything_is_called_so():
    made = manifest('name = "x"\nplugins = ["x:X"]\n[capabilities]\niam = ["ssm:GetParameter"]')
    assert "It needs these IAM actions: ssm:GetParameter on everything." in explain(made)


def test_an_author_cannot_write_into_the_operators_terminal():
    text = sample.MANIFEST.replace("where the lines go", r"a\nb\u001b[2Jc\u202ed\u0007")
    lines = [*explain(manifest(text)), *abilities(manifest(text)).values()]
    assert "talk to logs.example.com (a b[2Jcd)" in lines
    assert all(line.isprintable() for line in lines)
