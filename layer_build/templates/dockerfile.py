"""A Dockerfile for image functions, which cannot have layers: the zip is unpacked into /opt, modes and all."""

from __future__ import annotations

import json

from extension_kit.errors import ConfigError
from layer_build.templates.shared import Subject, comment, fill_in

# The image of a Python function has Python, but no unzip; Python's own zipfile drops the modes.
_UNPACK = (
    "import os, zipfile; z = zipfile.ZipFile('/layer.zip'); "
    "[os.chmod(z.extract(i, '/layer'), i.external_attr >> 16 & 0o777 or 0o644) for i in z.infolist() if not i.is_dir()]"
)


def file_name(subject: Subject) -> str:
    """Where it is written."""
    return f"{subject.manifest.name}.Dockerfile"


def render(subject: Subject) -> str:
    """The Dockerfile; ConfigError for a layer with links, which it would turn into files."""
    if subject.has_links:
        raise ConfigError(f"{subject.manifest.name}: --kind dockerfile: the layer has links, and those it cannot carry")
    name = subject.zip.rpartition("/")[2]
    how = ["Build it with the folder of the zip as the context:", f"docker build -f {file_name(subject)} FOLDER"]
    if subject.layer_arn:
        how = [
            "Get the zip first, then build with its folder as the context:",
            f"curl -o {name} $(aws lambda get-layer-version-by-arn --arn {subject.layer_arn} "
            "--query Content.Location --output text)",
        ]
    names, families = fill_in(subject.variables)
    lines = [
        *comment([*subject.header(), *how]),
        f"ARG BASE=public.ecr.aws/lambda/python:{subject.pythons[-1]}",
        "",
        "FROM ${BASE} AS layer",
        f"COPY {json.dumps([name, '/layer.zip'])}",
        f"RUN {json.dumps(['python3', '-c', _UNPACK])}",
        "",
        "FROM ${BASE}",
        "COPY --from=layer /layer/ /opt/",
        *(f'# ENV {one}=""' for one in names),
        *comment(families),
        "# Your function:",
        "# COPY app.py ${LAMBDA_TASK_ROOT}/",
        '# CMD ["app.handler"]',
    ]
    return "\n".join(lines) + "\n"
