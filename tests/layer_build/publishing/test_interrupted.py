"""``publish`` is stopped at each of its calls and run again; throttled, refused, cheated: nothing doubled, nothing lost."""

from __future__ import annotations

import json

import pytest

from layer_build.cli import main
from tests.layer_build import sample
from tests.layer_build.publishing.conftest import REGIONS, Killed, answer, held, layers, publish

pytestmark = pytest.mark.once

TWO = ("eu-west-1", "us-east-1")
GRANTS = ("--public", "--account", "210987654321", "--yes")


@pytest.fixture
def one(tmp_path):
    return layers(tmp_path / "dist", arches=("x86_64",))


def clear(url):
    import requests

    requests.post(f"{url}/moto-api/reset", timeout=10)


def quiet(*_):
    return None


@pytest.mark.parametrize("when", ["before", "after"])
def test_stopped_at_every_call_and_run_again(wire, one, empty_moto, when):
    """`before`: AWS never got the call; `after`: it was carried out, and the process died before it heard so."""
    assert publish(one, *GRANTS, regions=TWO) == 0
    calls = len(wire.calls)
    changing = [at for at, call in enumerate(wire.calls, 1) if call.startswith(("Publish", "Add", "Put"))]
    # What is there after a call is what is there before the next one: but for the last, and one to show it.
    unheard = [changing[0], changing[-1]]
    wanted = held(TWO)
    index = (one / "index.json").read_bytes()
    assert calls > 15
    for stop in range(1, calls + 1) if when == "before" else unheard:
        clear(empty_moto)
        for path in (*one.glob("*.json"),):
            path.unlink()
        wire.calls.clear()

        def fault(region, operation, request, stop=stop):
            if len(wire.calls) == stop:
                if when == "after":
                    wire.carried_out(request)
                raise Killed

        wire.fault = fault
        with pytest.raises(Killed):
            publish(one, *GRANTS, regions=TWO)
        wire.fault = quiet
        assert not (one / "index.json").exists()
        for region in held(TWO).values():  # who follows `latest` finds a version that he may use
            if any(name.endswith("/latest") for name in region["parameters"]):
                assert all(len(version["grants"]) == 2 for version in region["layers"].values())
        assert publish(one, *GRANTS, regions=TWO) == 0
        assert held(TWO) == wanted, f"stopped {when} call {stop}"
        assert (one / "index.json").read_bytes() == index


@pytest.mark.parametrize("operation", ["PublishLayerVersion", "AddLayerVersionPermission", "PutParameter"])
def test_an_answer_that_is_lost_doubles_nothing(wire, one, empty_moto, monkeypatch, capsys, operation):
    """The call was carried out, the connection broke: the same run finds what it did."""
    from botocore.exceptions import ConnectionClosedError

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    assert publish(one, *GRANTS, regions=TWO) == 0
    wanted = {region: found["layers"] for region, found in held(TWO).items()}
    clear(empty_moto)
    wire.calls.clear()

    def fault(region, name, request):
        if name == operation and wire.count(name) in (1, 3):
            wire.carried_out(request)
            raise ConnectionClosedError(endpoint_url=request.url)

    wire.fault = fault
    assert publish(one, *GRANTS, regions=TWO) == 0
    wire.fault = quiet
    assert {region: found["layers"] for region, found in held(TWO).items()} == wanted
    assert "FAILED" not in capsys.readouterr().err


def test_a_throttled_call_is_made_again(wire, one, monkeypatch):
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")

    def fault(region, name, request):
        if name == "PublishLayerVersion" and wire.count(name) == 1:
            return answer(request, 429, "TooManyRequestsException")
        return None

    wire.fault = fault
    assert publish(one, *GRANTS, regions=TWO) == 0
    assert wire.count("PublishLayerVersion") == 3
    assert all(len(found["layers"]) == 1 for found in held(TWO).values())


@pytest.mark.parametrize(
    ("operation", "status", "code", "said"),
    [
        (
            "PublishLayerVersion",
            429,
            "TooManyRequestsException",
            "throttled: AWS takes no more calls of PublishLayerVersion",
        ),
        ("PublishLayerVersion", 403, "AccessDeniedException", "access denied: these credentials may not call Publish"),
        ("PublishLayerVersion", 400, "CodeStorageExceededException", "was refused: CodeStorageExceededException: no"),
        (
            "AddLayerVersionPermission",
            403,
            "AccessDeniedException",
            "access denied: these credentials may not call AddLayer",
        ),
        ("PutParameter", 400, "ThrottlingException", "throttled: AWS takes no more calls of PutParameter"),
    ],
)
def test_one_region_fails(wire, one, capsys, operation, status, code, said):
    """The others are taken as far as this step; no parameter names what is not everywhere; the next run does the rest."""

    def fault(region, name, request):
        return answer(request, status, code) if (region, name) == ("us-east-1", operation) else None

    wire.fault = fault
    assert publish(one, *GRANTS) == 1
    wire.fault = quiet
    out, err = capsys.readouterr()
    assert "  FAILED us-east-1: " in err
    assert said in err
    assert out.splitlines()[-1].endswith("run it again, it goes on from there")
    assert not (one / "index.json").exists()
    found = held()
    if operation != "PutParameter":
        assert all(not region["parameters"] for region in found.values())
    assert found["ap-southeast-2"]["layers"]
    assert publish(one, *GRANTS) == 0
    assert all(len(region["layers"]) == 1 and len(region["parameters"]) == 2 for region in held().values())


@pytest.mark.parametrize(
    ("operation", "status", "code", "said"),
    [
        (
            "GetCallerIdentity",
            403,
            "InvalidClientTokenId",
            "the credentials are not taken, or the region is not enabled",
        ),
        (
            "ListLayerVersions",
            403,
            "AccessDeniedException",
            "access denied: these credentials may not call ListLayerVersions",
        ),
        ("GetParameters", 400, "AccessDeniedException", "access denied: these credentials may not call GetParameters"),
        (
            "ListLayerVersions",
            429,
            "TooManyRequestsException",
            "throttled: AWS takes no more calls of ListLayerVersions",
        ),
    ],
)
def test_a_region_that_cannot_be_read_stops_all_before_anything_is_done(
    wire, one, capsys, operation, status, code, said
):
    def fault(region, name, request):
        return answer(request, status, code) if (region, name) == ("us-east-1", operation) else None

    wire.fault = fault
    assert publish(one, *GRANTS) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines()[0].startswith("  us-east-1: ")
    assert said in err
    assert err.splitlines()[-1] == "layer_build publish: 1 of 3 region(s) cannot be read; nothing was begun"
    assert not any(call.startswith(("Publish", "Add", "Put")) for call in wire.calls)
    wire.fault = quiet
    assert all(found == {"layers": {}, "parameters": {}} for found in held().values())


def test_no_credentials_is_one_line_for_each_region(wire, one, capsys, monkeypatch, tmp_path):
    import boto3
    import botocore.session

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    boto3.setup_default_session(botocore_session=botocore.session.Session())
    assert publish(one, *GRANTS) == 2
    assert capsys.readouterr().err.count("NoCredentialsError: Unable to locate credentials") == 3


def test_a_tampered_zip_is_not_published(wire, one, capsys):
    path = next(one.glob("*.zip"))
    files = dict(sample.tree.read(path))
    files["extensions/log-shipper"] = sample.Entry(
        b"\x7fELF" + files["extensions/log-shipper"].data[4:] + b"more", 0o755
    )
    sample.zipped(path, files)
    assert publish(one, *GRANTS) == 2
    assert "error(s) found by verify; it is not published" in capsys.readouterr().err
    assert wire.calls == []


def test_a_cut_zip_is_not_published(wire, one, capsys):
    path = next(one.glob("*.zip"))
    path.write_bytes(path.read_bytes()[:-400])
    assert publish(one, *GRANTS) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert wire.calls == []


def test_another_zip_than_the_index_expects(wire, one, tmp_path, capsys):
    expected = tmp_path / "expected.json"
    assert main(["index", str(one), "--out", str(expected)]) == 0
    assert publish(one, *GRANTS, "--expect", expected) == 0
    document = json.loads(expected.read_text())
    document["layers"][0]["sha256"] = "0" * 64
    expected.write_text(json.dumps(document))
    calls = len(wire.calls)
    assert publish(one, *GRANTS, "--expect", expected) == 2
    assert "not what was built; nothing was published" in capsys.readouterr().err
    assert len(wire.calls) == calls


def test_a_published_version_does_not_change(wire, one, capsys):
    assert publish(one, *GRANTS) == 0
    path = next(one.glob("*.zip"))
    files = dict(sample.tree.read(path))
    files["log-shipper/licenses/new/LICENSE"] = sample.Entry(b"other")
    sample.zipped(path, files)
    assert publish(one, *GRANTS) == 2
    assert "what was published under a version stays as it is; raise the version" in capsys.readouterr().err
    assert publish(one, *GRANTS, "--rebuilt") == 0
    found = held()["us-east-1"]
    assert sorted(found["layers"]) == ["log-shipper-x86_64-python313:1", "log-shipper-x86_64-python313:2"]
    assert found["parameters"]["/extension-kit/log-shipper/x86_64/python3.13/latest"][0].endswith(":2")


def test_the_sbom_of_another_zip(wire, one, capsys):
    next(one.glob("*.zip")).with_suffix(".cdx.json").write_text("{}")
    assert publish(one, *GRANTS) == 2
    assert "is the SBOM of another zip; it is not published" in capsys.readouterr().err


def test_what_aws_has_is_not_what_was_sent(wire, one, capsys):
    """The answer's hash is that of other bytes: told, and no parameter names the version."""

    def fault(region, name, request):
        if name == "PublishLayerVersion":
            body = json.loads(request.body)
            body["Content"]["ZipFile"] = "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA=="
            request.body = json.dumps(body).encode()
            request.headers["Content-Length"] = str(len(request.body))

    wire.fault = fault
    assert publish(one, *GRANTS, regions=TWO) == 1
    wire.fault = quiet
    assert capsys.readouterr().err.count("what was published is not what was built; no parameter names it") == 2
    assert all(found["parameters"] == {} for found in held(TWO).values())


def test_regions_are_those_asked_for(wire, one):
    assert publish(one, *GRANTS) == 0
    assert set(wire.regions) == set(REGIONS)
