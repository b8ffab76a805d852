"""manifest.toml: what is right is read, what is wrong is said with the place."""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from extension_kit.errors import ConfigError
from layer_build import manifest
from layer_build.assemble import Source, joint
from layer_build.boot import launcher_conf, may_of, ports_of
from layer_build.explain import explain
from layer_build.manifest import Host, Manifest, Permission, Port, Program

ROOT = Path(__file__).parents[2]
LEAST = b'name = "x"\nplugins = ["x.plugin:X"]\n'


def test_the_least_that_is_needed():
    """What is not said is the default: nothing may be done, all Pythons, both events."""
    read = manifest.parse(LEAST, "1.2")

    assert (read.name, read.version, read.pythons) == ("x", "1.2", ("3.11", "3.12", "3.13", "3.14"))
    assert (read.hosts, read.iam, read.ports, read.variables, read.writes, read.telemetry) == ((), (), (), (), (), ())
    assert read.events == ("INVOKE", "SHUTDOWN")


def test_the_example_in_the_module_is_read():
    """The documentation is right about itself."""
    text = manifest.__doc__.partition("operator reads it")[2].partition("\n\n")[2].partition("\nWhere a table")[0]
    lines = "\n".join(line.removeprefix("    ") for line in text.splitlines())

    read = manifest.parse(lines.encode(), "0")

    assert read.name == "my-shipper"
    assert read.hosts == (Host("logs.example.com", "where the lines go"),)
    assert read.subprocesses == (Program("tar", "packs what is sent"),)
    assert read.iam == (Permission(("s3:PutObject",), ("arn:aws:s3:::my-bucket/*",), "a copy of each batch"),)
    assert read.ports == (Port("http", 2773, ("MY_PORT",), False, "what the function asks"),)
    assert (read.lock, read.leave_out) == ("requirements.lock", ("requests/help.py",))
    assert (read.own_leave_out, read.source_only) == (("my_shipper/command.py",), ("my_shipper/rare/*",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"name = ", "not TOML"),
        (b'plugins = ["x:X"]', "name is missing"),
        (b'name = "X y"\nplugins = ["x:X"]', "name is 'X y': lower-case letters"),
        (b'name = "../x"\nplugins = ["x:X"]', "name is '../x'"),
        (b'name = "x"', "plugins is []"),
        (b'name = "x"\nplugins = ["x.plugin"]', "plugins is 'x.plugin': MODULE:CLASS"),
        (LEAST + b'pythons = ["3.9"]', "pythons is '3.9': some of 3.11, 3.12"),
        (LEAST + b"capabilites = {}", "capabilites is not known; known here: name, version"),
        (LEAST + b"[capabilities]\nhost = []", "capabilities.host is not known"),
        (LEAST + b'[capabilities]\nhosts = ["a b"]', "hosts: host is 'a b'"),
        (LEAST + b'[capabilities]\nhosts = ["a*.example.com"]', "hosts: host is 'a*.example.com'"),
        (LEAST + b'[capabilities]\nhosts = [{ host = "*", when = "A=1" }]', "hosts: when is 'A=1': a variable"),
        (LEAST + b'[capabilities]\nsubprocesses = ["rm -r x"]', "subprocesses: program is 'rm -r x': a program"),
        (LEAST + b"[capabilities]\nports = [2773]", "capabilities.ports is 2773: a table"),
        (LEAST + b'[capabilities]\nports = [{name="h", port=70000}]', "port is 70000: a port, 0 to 65535"),
        (LEAST + b'[capabilities]\nports = [{name="h", port=1}, {name="h", port=2}]', "two have the same name"),
        (
            LEAST + b'[capabilities]\nports = [{name="h", port=1, optional=true}]',
            "optional is True: true or false, and",
        ),
        (LEAST + b'[capabilities]\nports = [{name="h", port=1, protocol="udp"}]', "protocol is 'udp': \"tcp\", or"),
        (LEAST + b'[capabilities]\niam = ["everything"]', "actions is 'everything': service:Action"),
        (
            LEAST + b'[capabilities]\niam = [{actions=["s3:GetObject"], when=["A B"]}]',
            "when is 'A B': VARIABLE, VARIABLE=VALUE, either with a ? behind it, or ? wanted",
        ),
        (LEAST + b'[capabilities]\nevents = ["invoke"]', "events is 'invoke': some of INVOKE, SHUTDOWN"),
        (LEAST + b'[capabilities]\nwrites = ["/var/x"]', "writes is '/var/x': paths below /tmp"),
        (LEAST + b'[dependencies]\nlock = "/etc/passwd"', "lock is '/etc/passwd'"),
        (b"name = 7\nplugins = 7", "name is 7"),
        (b"\xff", "not TOML"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(text, said):
    """An author finds the line without a search."""
    with pytest.raises(ConfigError) as caught:
        manifest.parse(text, "1", "here.toml")

    assert str(caught.value).startswith("here.toml: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value).strip()


def test_a_folder_without_one(tmp_path):
    """The commonest mistake of somebody who begins."""
    with pytest.raises(ConfigError, match=r"no manifest\.toml: it says what"):
        manifest.load(tmp_path, "1")


NAMES = st.from_regex(r"[A-Z_]{1,8}", fullmatch=True)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=30)
MANIFESTS = st.builds(
    Manifest, name=st.just("x"), version=st.just("1.0"), summary=TEXTS, plugins=st.just(("x.p:X",)),
    pythons=st.sampled_from([("3.11",), ("3.12", "3.14")]),
    hosts=st.lists(st.builds(Host, st.sampled_from(["a.example", "s3.{region}.amazonaws.com:443"]), TEXTS,
                            st.sampled_from(["", "A_SWITCH"]))).map(tuple),
    variables=st.lists(NAMES).map(tuple),
    iam=st.lists(st.builds(Permission, st.just(("s3:Get*",)), st.just(("*",)), TEXTS)).map(tuple),
    ports=st.lists(st.builds(Port, st.sampled_from("abc"), st.integers(0, 65535), st.lists(NAMES).map(tuple),
                             st.booleans(), TEXTS), unique_by=lambda port: port.name).map(tuple),
    events=st.sampled_from([("INVOKE", "SHUTDOWN"), ("SHUTDOWN",), ()]), telemetry=st.sampled_from([(), ("platform",)]),
    writes=st.sampled_from([(), ("/tmp/x",)]), lock=st.just(""), leave_out=st.just(()),
    source_only=st.sampled_from([(), ("x/rare/*",)]), only_if=st.sampled_from(["", "X_ON"]),
    subprocesses=st.lists(st.builds(Program, st.sampled_from(["tar", "python x/child.py"]), TEXTS)).map(tuple),
    parts=st.sampled_from([(), ("a", "b")]),
)  # fmt: skip


def test_an_optional_port_is_the_plugins_own():
    """Neither the launcher nor the kit opens it; an operator reads of it all the same."""
    port = b'{name="m", port=8125, protocol="udp", optional=true, variables=["M_PORT"], why="metrics"}'
    read = manifest.parse(LEAST + b"[capabilities]\nports = [" + port + b"]", "1")
    assert read.ports == (Port("m", 8125, ("M_PORT",), False, "metrics", True, "udp"),)
    assert ports_of(read) == ()
    assert "port" not in launcher_conf(read, ("3.13",), late=False)
    assert "It listens on 127.0.0.1 by UDP, only where M_PORT says (metrics)." in explain(read)
    assert manifest.parse(manifest.dump(read).encode(), "other") == read


@given(MANIFESTS)
def test_a_written_manifest_reads_the_same(one):
    """A joint layer's manifest is written by us, and an operator's tools read it."""
    assert manifest.parse(manifest.dump(one).encode(), "other") == one


def test_what_the_guard_is_told_of_a_joint_layer_is_what_any_of_its_extensions_may():
    """Each host and program once, its condition with it."""
    folders = [path.parent for path in sorted((ROOT / "extensions").glob("*/manifest.toml"))]
    parts = [Source(folder, manifest.load(folder, "1")) for folder in folders]

    hosts, programs = may_of(joint(parts, "all", "1"))

    assert len(set(hosts)) == len(hosts)
    assert {"* when CHAOS_EGRESS", "*", "sts.{region}.amazonaws.com", "http-intake.logs.datadoghq.com"} <= set(hosts)
    assert set(hosts) == {host for part in parts for host in may_of(part.manifest)[0]}
    assert programs == ("python extensions/chaos_injector/faults/helper.py",)


@pytest.mark.parametrize(
    "folder", sorted((ROOT / "extensions").glob("*/manifest.toml")), ids=lambda path: path.parent.name
)
def test_ours_name_the_variables_that_their_settings_have(folder):
    """A setting is declared once; the manifest must not forget one."""
    import importlib

    read = manifest.load(folder.parent, "1")
    module, _, name = read.plugins[0].partition(":")
    plugin = getattr(importlib.import_module(module), name)

    assert plugin.name == read.name
    assert set(plugin.telemetry) <= set(read.telemetry)
    declared = [name for one in plugin.settings.declared() for name in (one.variable, *one.aliases)]
    unnamed = [name for name in declared if not any(fnmatchcase(name, pattern) for pattern in read.variables)]
    unread = [
        pattern for pattern in read.variables if pattern.startswith(plugin.settings.prefix) and "*" not in pattern
    ]
    assert unnamed == []
    assert set(unread) <= set(declared)
