"""``verify ARN``: what was downloaded, beside AWS's hash, the index and the SBOM."""

from __future__ import annotations

import json

import pytest

from layer_build.cli import main
from tests.layer_build import sample
from tests.layer_build.publishing.conftest import answer, layers, publish

pytestmark = pytest.mark.once

ARN = "arn:aws:lambda:eu-west-1:123456789012:layer:log-shipper-x86_64-python313:1"


@pytest.fixture
def published(fake, tmp_path, monkeypatch):
    """A layer that was published, its index and SBOM; its content is the fake's to give."""
    folder = layers(tmp_path / "dist", arches=("x86_64",))
    assert publish(folder, "--yes", regions=("eu-west-1",)) == 0
    zip_ = next(folder.glob("*.zip"))
    (folder / "kept.json").write_bytes(sample.tree.read(zip_)["log-shipper/sbom.cdx.json"].data)
    fake.layers[ARN] = zip_.read_bytes()
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", fake.url)
    return folder


def words(folder):
    return [ARN, "--index", str(folder / "index.json"), "--sbom", str(folder / "kept.json")]


def test_what_was_published_is_there(published, capsys):
    capsys.readouterr()
    assert main(["verify", *words(published)]) == 0
    assert capsys.readouterr().out.endswith(f"{ARN}: what AWS has is what was published\n")
    assert main(["verify", *words(published), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["published"] == {ARN: []}


def test_a_tampered_layer(published, fake, capsys):
    """AWS itself says that it has it: the index does not."""
    files = dict(sample.tree.read(next(published.glob("*.zip"))))
    files["extensions/log-shipper"] = sample.Entry(files["extensions/log-shipper"].data + b"more", 0o755)
    fake.layers[ARN] = sample.zipped(published / "other", files).read_bytes()
    assert main(["verify", *words(published)]) == 1
    out = capsys.readouterr().out
    assert f"{ARN}: its SHA-256 is " in out
    assert "extensions/log-shipper has SHA-256" in out
    assert "what was published" not in out.splitlines()[-1]


def test_a_damaged_download(published, fake, capsys):
    fake.said["CodeSha256"] = "AAAA"
    assert main(["verify", *words(published)]) == 1
    assert "AWS says 000000: damaged or exchanged on the way" in capsys.readouterr().out


def test_a_cut_download(published, fake, capsys):
    fake.cut = True
    assert main(["verify", *words(published)]) == 1
    assert "damaged or exchanged on the way" in capsys.readouterr().out


def test_another_sbom(published, capsys):
    (published / "kept.json").write_text("{}")
    assert main(["verify", *words(published)]) == 1
    assert "the SBOM in it is not the one that was kept" in capsys.readouterr().out


def test_unsigned(published, fake, capsys):
    assert main(["verify", *words(published), "--signed"]) == 1
    assert capsys.readouterr().out.endswith(f"{ARN}: it is not signed: AWS names no signing job for it\n")
    fake.said["SigningJobArn"] = "arn:aws:signer:eu-west-1:123456789012:/signing-jobs/x"
    assert main(["verify", *words(published), "--signed"]) == 0


def test_not_in_the_index(published, capsys):
    (published / "index.json").write_text('{"format": 1, "layers": []}')
    assert main(["verify", *words(published)]) == 1
    assert "the index does not have it: nobody says what should be in it" in capsys.readouterr().out
    assert main(["verify", ARN, "--no-index"]) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ([ARN], "name the index with --index, or say --no-index"),
        ([ARN, "--index", "none.json"], "none.json: no such index"),
        ([ARN, "--no-index", "--sbom", "none.json"], "--sbom none.json: cannot be read: No such file"),
        ([ARN[:-1], "--no-index"], "the ARN of a layer version wanted"),
        ([ARN[:-1] + "9", "--no-index"], "GetLayerVersionByArn was refused: ResourceNotFoundException"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(published, capsys, more, said):
    capsys.readouterr()
    assert main(["verify", *more]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert said in err


def test_access_denied(published, wire, capsys):
    def fault(region, name, request):
        return answer(request, 403, "AccessDeniedException") if name.startswith("GetLayerVersion") else None

    wire.fault = fault
    assert main(["verify", *words(published)]) == 2
    assert "access denied: these credentials may not call GetLayerVersion" in capsys.readouterr().err
