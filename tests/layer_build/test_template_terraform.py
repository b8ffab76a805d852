"""The generated Terraform, read by Terraform itself with the AWS provider's schema."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from layer_build.templates import terraform
from tests.layer_build import sample
from tests.layer_build.subjects import ARN, HOSTILE, MANIFESTS, made

PROGRAM = shutil.which("terraform") or shutil.which("tofu") or ""
#: where installations keep copies of providers (Terraform's documentation, "Implied Local Mirror Directories", and /opt)
MIRRORS = ("/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins")
needed = pytest.mark.skipif(not PROGRAM, reason="no terraform here")


def terraformed(*words: str, folder: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Terraform's own word, without a call to its makers and without the user's configuration."""
    environment = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    return subprocess.run(
        [PROGRAM, *words],
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder in which Terraform knows the AWS provider, from a mirror on this machine: it is too large to be fetched."""
    found = [
        path
        for root in (*Path("/opt").glob("*"), *map(Path, MIRRORS))
        for path in root.glob("registry.*/hashicorp/aws")
    ]
    if not found:
        pytest.skip("no AWS provider for terraform here")
    made_folder = tmp_path_factory.mktemp("terraform")
    source = "/".join(found[0].parts[-3:])
    (made_folder / "main.tf").write_text(
        f'terraform {{\n  required_providers {{\n    aws = {{ source = "{source}" }}\n  }}\n}}\n'
    )
    done = terraformed(
        "init", "-backend=false", "-input=false", f"-plugin-dir={found[0].parents[2]}", folder=made_folder
    )
    assert done.returncode == 0, done.stderr
    return made_folder


def diagnostics(folder: Path) -> list[dict[str, Any]]:
    """What `validate` has to say."""
    found: list[dict[str, Any]] = json.loads(terraformed("validate", "-json", folder=folder).stdout)["diagnostics"]
    return found


@needed
def test_terraform_validates_all_of_them_in_one_folder(folder):
    for name, text in MANIFESTS.items():
        for arn in ("", ARN):
            part = text if not arn else re.sub('^name = "', 'name = "published-', text)
            (folder / f"{name}{len(arn)}.tf").write_text(terraform.render(made(part, layer_arn=arn)))
    assert diagnostics(folder) == []


@needed
def test_terraform_can_say_no(folder):
    text = terraform.render(made(sample.MANIFEST.replace('name = "log', 'name = "bad-log'))).replace(
        "handler ", "handle "
    )
    (folder / "bad.tf").write_text(text)
    try:
        found = diagnostics(folder)
    finally:
        (folder / "bad.tf").unlink()
    assert any("handle" in one["detail"] for one in found)


@needed
@pytest.mark.parametrize("name", MANIFESTS)
def test_terraform_has_nothing_to_format(tmp_path, name):
    text = terraform.render(made(MANIFESTS[name]))
    done = terraformed("fmt", "-no-color", "-", folder=tmp_path, text=text)
    assert (done.stdout, done.stderr) == (text, "")


@needed
@pytest.mark.parametrize("text", [HOSTILE, "$${a} $$${b} %%{c} ${", '\\${x} \\" $', "\x00\u202e\u2028\U000e0001"])
def test_terraform_reads_the_text_that_was_meant(tmp_path, text):
    done = terraformed("console", folder=tmp_path, text=f"jsonencode({terraform.text(text)})\n")
    assert json.loads(ast.literal_eval(done.stdout.strip())) == text


def test_the_hash_is_the_zips_or_left_to_terraform():
    text = terraform.render(made(sample.MANIFEST))
    assert 'source_code_hash         = "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="' in text
    unknown = terraform.render(made(sample.MANIFEST, sha256=""))
    assert 'source_code_hash         = filebase64sha256("${path.module}/dist/a layer.zip")' in unknown
