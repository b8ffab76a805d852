"""`extension-kit check`: what it finds, how bad it is, and that each finding comes with its fix."""

from __future__ import annotations

import json
import os
import re
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from extension_kit.checking import known
from extension_kit.cli import main
from layer_build import manifest

ROOT = Path(__file__).parents[2]
SHIPPER = "extensions.log_shipper.plugin:LogShipper"
CACHE = "extensions.secret_cache.plugin:SecretCache"
COLLECTOR = "extensions.metrics_collector.plugin:MetricsCollector"
LEVELS = {"error", "warning", "note"}


@pytest.fixture
def check(capsys, monkeypatch, tmp_path):
    """Findings (but notes of this machine) as (group, level, about, finding); the environment is as before afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])  # undone: the command puts this directory there
    monkeypatch.setattr("extension_kit.commands.check.environment.check", list)

    def run(*options, status, **variables):
        before = dict(os.environ)
        words = [word for name, value in variables.items() for word in ("--env", f"{name}={value}")]
        found_status = main(["check", "--offline", "--json", *map(str, options), *words])
        found = json.loads(capsys.readouterr().out)
        assert dict(os.environ) == before
        for one in found:
            assert set(one) == {"group", "level", "about", "finding", "fix"}
            assert one["level"] in LEVELS
            assert one["fix"]
            assert "\n" not in one["finding"] + one["fix"]
        assert found_status == status == int(any(one["level"] != "note" for one in found)), found
        return [(one["group"], one["level"], one["about"], one["finding"], one["fix"]) for one in found]

    return run


def layer(folder, name="x", files=(), **entries):
    """A zip with an extension of somebody's, and what else is wanted."""
    path = folder / f"{name}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for place, (mode, data) in {f"extensions/{name}": (0o755, "#!/bin/sh\n"), **dict(files), **entries}.items():
            info = zipfile.ZipInfo(place)
            info.external_attr = (0o100000 | mode) << 16
            archive.writestr(info, data)
    return path


def test_all_is_well(check):
    """Notes alone: what the role needs; the exit status is 0."""
    (one,) = check("--plugin", SHIPPER, LOG_SHIPPER_SINK="cloudwatch", status=0)
    assert one[:4] == ("iam", "note", "log-shipper",
                       "with these settings the function's role needs logs:PutLogEvents, logs:CreateLogStream")  # fmt: skip
    assert check("--plugin", COLLECTOR, status=0) == []


@pytest.mark.parametrize(
    ("variables", "level", "finding", "fix"),
    [
        ({"LOG_SHIPPER_SINKS": "x"}, "warning", "LOG_SHIPPER_SINKS is not a setting", "set LOG_SHIPPER_SINK instead of"),
        ({"LOG_SHIPPER_SINK": "x"}, "warning", 'LOG_SHIPPER_SINK="x" is not allowed', "set LOG_SHIPPER_SINK to one of none"),
        ({"EXTENSION_KIT_FLUSH": "x"}, "warning", 'EXTENSION_KIT_FLUSH="x" is not', "set EXTENSION_KIT_FLUSH to end"),
        ({"CHAOS_ENABLED": "1"}, "warning", "CHAOS_ENABLED is set, and chaos-injector is not attached", "attach the layer"),
        ({"LOGSHIPPER_ENDPOINT": "x"}, "warning", "did you mean LOG_SHIPPER_ENDPOINT?", "set LOG_SHIPPER_ENDPOINT"),
        ({"log_shipper_sink": "x"}, "warning", "log_shipper_sink is read by no extension; did you mean LOG_SHIPPER_SINK?", ""),
        ({"EXTENSION_KIT_PLUGINS": "log-shiper"}, "warning", "names log-shiper, which is not attached", "name log-shipper"),
        ({"HTTPS_PROXY": "http://p"}, "warning", "HTTPS_PROXY: extensions do not go through it", "set LOG_SHIPPER_PROXY"),
        ({"SSL_CERT_FILE": "/x"}, "warning", "SSL_CERT_FILE: extensions do not read it",
         "set EXTENSION_KIT_CA_BUNDLE for AWS's services, LOG_SHIPPER_CA_BUNDLE"),
        ({"PYTHONPATH": "/x"}, "note", "it does not reach extensions", "nothing, if"),
        ({"AWS_ENDPOINT_URL_S3": "http://x"}, "note", "calls to AWS do not read it", "set EXTENSION_KIT_AWS_ENDPOINT_URL_S3"),
        ({"MINE": "x" * 4093}, "error", "its variables have 4,097 bytes; Lambda takes 4,096", "keep what is long"),
    ],
)  # fmt: skip
def test_variables(check, variables, level, finding, fix):
    found = check("--plugin", SHIPPER, status=int(level != "note"), **variables)
    (one,) = [one for one in found if one[0] != "iam"]
    assert (one[1], finding in one[3], fix in one[4]) == (level, True, True), one


def test_variables_of_the_function_itself_are_its_own(check):
    """What only resembles nothing is left alone, and so is this machine's proxy."""
    assert check("--plugin", COLLECTOR, TABLE="x", LOG_LEVEL="info", CHAOS_ENABLED="1", status=0) == []
    # The metrics collector's manifest says that it reads CHAOS_ENABLED.


def test_this_machines_proxy_is_not_the_functions(check, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:3128")
    assert check("--plugin", COLLECTOR, status=0) == []


def test_a_secret_is_not_shown(check):
    found = check("--plugin", SHIPPER, LOG_SHIPPER_SINK="datadog", LOG_SHIPPER_API_KEYS="s3cr3t", status=1)
    assert "s3cr3t" not in str(found)


PLUGIN = """
from extension_kit import Plugin, Settings
from extension_kit.settings import text
class MineSettings(Settings):
    prefix = "MINE_"
    place = text("", help="x")
class Mine(Plugin):
    name = "mine"
    settings = MineSettings
    telemetry = ("platform", "function")
    def on_invoke(self, event): pass
    def check(self, context): {check}
"""
GOOD = ('name = "mine"\nplugins = ["{package}.plugin:Mine"]\n[capabilities]\nvariables = ["MINE_*"]\n'
        'telemetry = ["platform", "function"]\n')  # fmt: skip


def author(folder, name, text, check="return ()"):
    """A package with a plug-in and the manifest `text`, in this directory."""
    place = folder / name
    place.mkdir()
    (place / "__init__.py").write_text("")
    (place / "plugin.py").write_text(PLUGIN.replace("{check}", check))
    if text is not None:
        (place / "manifest.toml").write_text(text.replace("{package}", name))
    return f"{name}.plugin:Mine"


@pytest.mark.parametrize(
    ("old", "new", "level", "finding", "fix"),
    [
        ('["MINE_*"]', "[]", "error", "it reads MINE_PLACE, which its manifest does not say", '"MINE_*" for all'),
        ('["platform", "function"]', '["function"]', "error", "it hears platform telemetry", 'add "platform"'),
        ("[capabilities]", '[capabilities]\nevents = ["SHUTDOWN"]', "error", "does not name the event INVOKE", 'add "INVOKE"'),
        ('name = "mine"', 'name = "other"', "warning", "calls itself mine, its layer would register as other", "same name"),
        ("plugin:Mine", "plugin:Yours", "error", "not {package}.plugin:Mine", 'plugins = ["{package}.plugin:Mine"]'),
        ("[capabilities]", "[capabilites]", "error", "capabilites is not known; known here", "correct it"),
        ("name =", "name", "error", "not TOML", "correct it"),
    ],
)  # fmt: skip
def test_a_manifest_against_its_plugin(check, tmp_path, request, old, new, level, finding, fix):
    package = f"mine_{abs(hash(request.node.name))}"  # modules stay imported
    spec = author(tmp_path, package, GOOD.replace(old, new))
    found = check("--plugin", spec, status=1)
    (one,) = [one for one in found if one[0] == "manifest"]
    assert (one[1], finding.format(package=package) in one[3], fix.format(package=package) in one[4]) == (
        level,
        True,
        True,
    ), one


def test_without_options_the_project_here_is_checked(check, tmp_path):
    author(tmp_path, "mine_here", GOOD, check='return ["it does not work"]')
    assert check(status=0) == []
    broken = author(tmp_path, "mine_broken", "name = 1\nplugins = 1\n")
    (one,) = check(status=1)
    assert (one[:3], "name is 1" in one[3]) == (("manifest", "error", "mine_broken/manifest.toml"), True)
    (tmp_path / "mine_broken/manifest.toml").write_text(f'name = "b"\nplugins = ["{broken}s"]\n')
    (one,) = check(status=1)
    assert "mine_broken.plugin has no Mines" in one[3]
    assert one[4] == "correct plugins in mine_broken/manifest.toml, or what it names"


@pytest.mark.parametrize(
    ("file", "text", "group", "finding", "fix"),
    [
        ("manifest.toml", b'name = "b"\nplugins = ', "manifest", "not TOML: Invalid value", "manifest.toml: "),
        ("manifest.toml", b'name = "b"\n# \xff\n', "manifest", "not TOML: line 2 is not UTF-8", "manifest.toml: "),
        ("plugin.py", b"import os\ndef\n", "plugin", "SyntaxError", "plugin.py, line 2"),
        ("plugin.py", b"import os\n\n1 / 0\n", "plugin", "ZeroDivisionError", "plugin.py, line 3"),
        ("plugin.py", b"from {package} import other\n", "plugin", "KeyError", "other.py, line 2"),
        ("plugin.py", b"import os\nclass Mine: pass\n", "manifest", "Mine is no plug-in", "manifest.toml"),
    ],
)  # fmt: skip
def test_where_a_project_is_broken(check, tmp_path, request, file, text, group, finding, fix):
    """The file, and the line where Python knows it."""
    package = f"mine_{abs(hash(request.node.name))}"
    author(tmp_path, package, GOOD)
    (tmp_path / package / "other.py").write_text("import json\n{}['x']\n")
    (tmp_path / package / file).write_bytes(text.replace(b"{package}", package.encode()))
    (one,) = check(status=1)
    assert (one[0], one[2].startswith(f"{package}/"), finding in one[3]) == (group, True, True), one
    assert one[4].startswith((f"correct {package}/{fix}", f"correct plugins in {package}/{fix}")), one


def test_nothing_to_check_and_no_manifest_are_told(check, tmp_path):
    """A job that runs in the wrong folder is not green; where there is something else to look at, it is a note."""
    (one,) = check(status=1)
    assert (one[1], "nothing to look at" in one[3]) == ("warning", True)
    (one,) = check(status=0, TABLE="x")
    assert (one[1], "little to look at" in one[3]) == ("note", True)
    (one,) = check("--plugin", author(tmp_path, "mine_bare", None), status=0)
    assert (one[1], "no manifest.toml beside mine_bare.plugin" in one[3]) == ("note", True)


@pytest.mark.parametrize(("body", "level", "finding"), [
    ('return ["sink a: refused with 403"]', "warning", "sink a: refused with 403"),
    ("return 1 / 0", "error", "its check has failed: ZeroDivisionError"),
])  # fmt: skip
def test_what_a_plugin_finds_by_trying(tmp_path, monkeypatch, capsys, body, level, finding):
    """Not offline: its own `check` is called; one that fails is a finding itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr("extension_kit.commands.check.environment.check", list)
    spec = author(tmp_path, f"mine_tries_{level}", GOOD, check=body)
    assert main(["check", "--plugin", spec, "--json"]) == 1
    (one,) = json.loads(capsys.readouterr().out)
    assert (one["level"], finding in one["finding"]) == (level, True)


def test_layers_by_themselves_and_together(check, tmp_path):
    """What `verify` says of each; two extensions of one name; more than Lambda attaches."""
    good = layer(tmp_path, "good")
    bad = layer(tmp_path, "bad", {"extensions/good": (0o644, "#!/bin/sh\n")})
    found = check("--layer", good, "--layer", bad, status=1)
    levels = {(one[0], one[1], one[2]) for one in found}
    assert ("layer", "error", "bad.zip") in levels
    assert ("layer", "warning", "bad.zip") in levels
    assert any("extensions/good is in good.zip as well" in one[3] for one in found)
    assert not [one for one in found if one[2] == "good.zip"]

    many = [word for number in range(6) for word in ("--layer", layer(tmp_path, f"l{number}"))]
    assert any("6 layers; Lambda attaches 5 at most" in one[3] for one in check(*many, status=1))
    crowd = layer(tmp_path, "crowd", {f"extensions/e{number}": (0o755, "#!/bin/sh\n") for number in range(10)})
    assert any("11 extensions; Lambda registers 10 at most" in one[3] for one in check("--layer", crowd, status=1))


def test_settings_of_what_is_in_a_layer(check, tmp_path):
    """Where its code can be imported, as in its own project, they are looked at; elsewhere it is said that they are not."""
    spec = author(tmp_path, "mine_laid", GOOD)
    said = (tmp_path / "mine_laid/manifest.toml").read_text()
    good = layer(tmp_path, "mine", {"mine/manifest.toml": (0o644, said), "mine/provenance.json": (0o644, "{}")})
    found = [one for one in check("--layer", good, MINE_PLCE="x", status=1) if one[0] == "settings"]
    assert [(one[1], one[2], "did you mean MINE_PLACE?" in one[3]) for one in found] == [("warning", "mine", True)]

    (tmp_path / "mine_laid/plugin.py").rename(tmp_path / "elsewhere.py")
    sys.modules.pop("mine_laid.plugin")
    found = [one for one in check("--layer", good, status=1) if one[0] == "settings"]
    assert [(one[1], one[2]) for one in found] == [("note", spec)]


def ours(folder, name, *plugins):
    """A layer of ours, as far as its manifest says."""
    variables = '["LOG_SHIPPER_*", "METRICS_COLLECTOR_*", "SECRET_CACHE_*", "CHAOS_ENABLED"]'
    text = f'name = "{name}"\nplugins = {json.dumps(plugins)}\n[capabilities]\nvariables = {variables}\n'
    return layer(folder, name, {f"{name}/manifest.toml": (0o644, text), f"{name}/provenance.json": (0o644, "{}")})


def test_a_plugin_that_is_in_two_layers(check, tmp_path):
    """In the function both would run; not where it is chosen in neither, nor where one file takes the other's place."""
    both, alone = ours(tmp_path, "extension-kit", SHIPPER, CACHE), ours(tmp_path, "log-shipper", SHIPPER)
    words = ("--layer", both, "--layer", alone)

    def found(*words, **variables):
        return [one[1:4] for one in check(*words, status=1, **variables) if "run twice" in one[3]]

    told = (
        "warning",
        "log-shipper.zip",
        f"{SHIPPER} is in extension-kit.zip as well: it would run twice, in extension-kit too",
    )
    assert found(*words) == [told]
    assert found(*words, EXTENSION_KIT_PLUGINS="log-shipper") == [told]
    assert found(*words, EXTENSION_KIT_PLUGINS="secret-cache") == []
    assert found("--layer", alone, "--layer", alone) == []


def test_what_is_not_chosen_does_not_run(check, tmp_path):
    """Its settings are not looked at, and who sets them is told that they do nothing."""
    both = ours(tmp_path, "extension-kit", SHIPPER, CACHE, COLLECTOR)

    def found(**variables):
        rows = check("--layer", both, status=1, **variables)
        return [(one[0], one[2], one[3].partition(";")[0]) for one in rows if one[0] in ("settings", "variables")]

    wrong = {"METRICS_COLLECTOR_EXPORT": "hunter"}
    ((group, about, _what),) = found(**wrong)
    assert (group, about) == ("settings", "metrics-collector")
    left_out = (
        "variables",
        "metrics-collector",
        "METRICS_COLLECTOR_EXPORT is set, and EXTENSION_KIT_PLUGINS leaves metrics-collector out",
    )
    assert found(**wrong, EXTENSION_KIT_PLUGINS="secret-cache") == [left_out]
    ((group, about, _what),) = found(**wrong, EXTENSION_KIT_PLUGINS="secret-cache,metrics-collector")
    assert (group, about) == ("settings", "metrics-collector")


def test_a_plugin_that_is_not_chosen_is_not_tried(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr("extension_kit.commands.check.environment.check", list)
    spec = author(tmp_path, "mine_unchosen", GOOD, check='return ["tried"]')
    for chosen, said in (("mine", ["tried"]), ("other", [])):
        main(["check", "--plugin", spec, "--json", "--env", f"EXTENSION_KIT_PLUGINS={chosen}"])
        assert [one["finding"] for one in json.loads(capsys.readouterr().out) if one["group"] == "settings"] == said


def test_sizes_of_layers_and_function_together(check, tmp_path):
    """To the byte: 262,144,000 are enough, one more is too much."""
    one = layer(tmp_path, "one", {"data": (0o644, "x" * 1000)})
    own = 1000 + len("#!/bin/sh\n")
    function = tmp_path / "function"
    function.mkdir()
    with (function / "data").open("wb") as file:
        file.truncate(262_144_000 - own)
    (found,) = check("--layer", one, "--function", function, status=0)
    assert found[:2] == ("sizes", "note")
    assert found[3].startswith("262,144,000 of 262,144,000 bytes unzipped: the function 262,142,990, one.zip 1,010")
    (function / "more").write_bytes(b"x")
    (found,) = check("--layer", one, "--function", function, status=1)
    assert (found[:2], "1 more than Lambda takes" in found[3]) == (("sizes", "error"), True)


def test_a_wrapper_must_be_in_a_layer(check, tmp_path):
    path = layer(tmp_path, "wrapped", {"x/wrapper": (0o755, "#!/bin/sh\n"), "x/plain": (0o644, "")})
    for wrapper, says in (("wrapper", ""), ("none", "is in none of the layers"), ("plain", "is not executable")):
        found = check("--layer", path, AWS_LAMBDA_EXEC_WRAPPER=f"/opt/x/{wrapper}", status=int(bool(says)))
        assert [one[3] for one in found if one[0] == "variables" and says in one[3]] == [
            f"AWS_LAMBDA_EXEC_WRAPPER=/opt/x/{wrapper} {says}: the function would not start"
        ][: bool(says)]


def test_a_policy_against_what_is_needed(check, tmp_path):
    """Needed and not granted: an error; perhaps needed: a note; granted: nothing."""
    path = tmp_path / "policy.json"
    grant = {"Effect": "Allow", "Action": ["logs:PutLogEvents", "logs:CreateLogStream"], "Resource": "*"}
    path.write_text(json.dumps({"Statement": [{**grant, "Action": "logs:PutLogEvents"}]}))
    options = ("--plugin", SHIPPER, "--plugin", CACHE, "--policy", path)
    found = [one[1:4] for one in check(*options, LOG_SHIPPER_SINK="cloudwatch", status=1)]
    assert found == [
        ("error", "log-shipper", "logs:CreateLogStream is not allowed (sink cloudwatch; its resource is yours to narrow)"),
        ("note", "secret-cache", "secretsmanager:GetSecretValue is not allowed (each secret that is asked for; its resource is "
         "yours to narrow)"),
        ("note", "secret-cache", "ssm:GetParameter is not allowed (each parameter that is asked for; likewise)"),
    ]  # fmt: skip
    path.write_text(json.dumps({"Statement": [grant]}))
    assert check("--plugin", SHIPPER, "--policy", path, LOG_SHIPPER_SINK="cloudwatch", status=0) == []


def test_for_people_what_must_be_done_comes_first(capsys, monkeypatch, tmp_path):
    """Grouped, each with its fix, notes after all of it, the count last."""
    monkeypatch.chdir(tmp_path)
    assert main(["check", "--offline", "--plugin", SHIPPER, "--env", "LOG_SHIPPER_SINKS=x", "--env", "CHAOS_OFF=1",
                 "--env", "PYTHONPATH=x"]) == 1  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if not line.startswith(" ")]
    assert heads[:-1] == ["settings", "variables", "notes"]
    assert re.fullmatch(r"check: 2 finding\(s\), \d+ note\(s\)", heads[-1])
    bodies = [line for line in lines if line.startswith(" ")]
    assert all(line.startswith("    fix: ") for line in bodies[1::2])
    assert not any(line.startswith("    ") for line in bodies[::2])


def test_this_machine(monkeypatch, capsys):
    """Whatever is missing is a note with a fix, and changes no exit status."""
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *more: None if name == "awslambdaric" else find(name, *more)
    )
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert main(["check", "--offline", "--json", "--plugin", COLLECTOR]) == 0
    found = [one for one in json.loads(capsys.readouterr().out) if one["group"] == "environment"]
    assert {one["level"] for one in found} == {"note"}
    assert any("awslambdaric is not installed" in one["finding"] for one in found)
    assert any("no Docker engine answers at unix:///nowhere/docker.sock" in one["finding"] for one in found)


def test_the_table_of_prefixes_is_that_of_the_extensions():
    """By their manifests: each prefix is among the variables, and every one of ours is in the table."""
    ours = {path.parent.name.replace("_", "-"): path for path in ROOT.glob(f"extensions/*/{manifest.FILE}")}
    assert known.OURS.keys() == ours.keys()
    for name, prefixes in known.OURS.items():
        said = tomllib.loads(ours[name].read_text())["capabilities"]["variables"]
        assert {f"{prefix}*" for prefix in prefixes} <= set(said)
        for prefix in prefixes:
            assert known.owner(f"{prefix}X") == name


def test_the_tables_of_prefixes_cover_all_that_ours_read():
    """By whatever name a setting is read: an extension of such a name would be told of variables that are not its own."""
    import importlib

    prefixes = (
        known.KIT,
        known.AWS,
        *(one for table in (known.OURS, known.READ_TOO) for some in table.values() for one in some),
    )
    for name in known.OURS:
        module = importlib.import_module(f"extensions.{name.replace('-', '_')}.settings")
        for one in vars(module).values():
            for setting in one.declared() if isinstance(one, type) and hasattr(one, "declared") else ():
                assert all(variable.startswith(prefixes) for variable in (setting.variable, *setting.aliases)), setting


def test_conditions_in_our_manifests_name_variables_that_exist():
    """A slip of the pen in `when` would make a needed permission never needed."""
    import importlib

    for path in ROOT.glob(f"extensions/*/{manifest.FILE}"):
        read = manifest.load(path.parent, "0")
        module = importlib.import_module(f"extensions.{path.parent.name}.settings")
        names = {
            name
            for one in vars(module).values()
            if isinstance(one, type) and hasattr(one, "declared")
            for setting in one.declared()
            for name in (setting.variable, *setting.aliases)
        }
        for permission in read.iam:
            for condition in permission.when:
                variable = condition.removesuffix("?").partition("=")[0]
                assert not variable or variable in names, condition
