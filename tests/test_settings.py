"""Settings: whatever stands in the environment, a function starts; whatever is declared wrong, its author hears of it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from extension_kit.errors import ConfigError
from extension_kit.settings import (
    KNOWN_KIT_VARIABLES,
    KitSettings,
    Settings,
    byte_size,
    choice,
    comma_list,
    duration,
    flag,
    integer,
    number,
    text,
)


class Sample(Settings):
    """One setting of each kind."""

    prefix = "SAMPLE_"
    namespace = text("Kit", maximum_length=20, characters=" _-/", help="A name.")
    title = text("", help="Any line.", maximum_length=5000)
    cpu = flag(True, help="CPU times | cores.")
    interval_ms = integer(5, minimum=1, maximum=60000, unit="ms", help="Pause.")
    level = integer(0, help="No bounds.")
    ratio = number(0.5, minimum=0, maximum=1, help="Share.")
    clamped = integer(10, minimum=0, maximum=100, clamp=True, help="Nearest bound.")
    mode = choice("a", ("a", "Be"), help="Way.")
    hosts = comma_list((), help="Hosts.")
    kinds = comma_list(("x",), choices=("x", "y"), help="Kinds.")
    size = byte_size(64 * 1024 * 1024, minimum=1024, maximum=1 << 30, help="Room.")
    wait = duration(5000, maximum_ms=3_600_000, help="Patience.")
    api_key = text("", secret=True, maximum_length=8, help="Key.")
    old = flag(False, env="OTHER_NAME", aliases=("ANCIENT_NAME", "OLDER_NAME"), help="Renamed.")


DEFAULTS = Sample()
VARIABLES = [setting.variable for setting in Sample.declared()]


def parse_one(variable: str, written: str) -> tuple[object, tuple[str, ...]]:
    settings, warnings = Sample.parse({variable: written})
    attribute = next(setting.attribute for setting in Sample.declared() if setting.variable == variable)
    return getattr(settings, attribute), warnings


def test_nothing_set_gives_the_defaults() -> None:
    settings, warnings = Sample.parse({"PATH": "/bin", "sample_cpu": "lower case is another name"})
    assert settings == DEFAULTS
    assert warnings == ()
    assert (settings.cpu, settings.interval_ms, settings.ratio, settings.hosts) == (True, 5, 0.5, ())
    assert settings.size == 67108864


@pytest.mark.parametrize(
    ("variable", "written", "value"),
    [
        ("SAMPLE_NAMESPACE", " My App/x\n", "My App/x"),
        ("SAMPLE_TITLE", "größer\tals", None),
        ("SAMPLE_TITLE", "größer als | 漢字", "größer als | 漢字"),
        ("SAMPLE_CPU", "OFF", False),
        ("SAMPLE_CPU", "1", True),
        ("SAMPLE_INTERVAL_MS", "60000", 60000),
        ("SAMPLE_INTERVAL_MS", "+7", 7),
        ("SAMPLE_INTERVAL_MS", "0", None),
        ("SAMPLE_INTERVAL_MS", "1_000", None),
        ("SAMPLE_INTERVAL_MS", "٣", None),
        ("SAMPLE_INTERVAL_MS", "1.0", None),
        ("SAMPLE_INTERVAL_MS", "9" * 5000, None),
        ("SAMPLE_LEVEL", "-12", -12),
        ("SAMPLE_LEVEL", "-", None),
        ("SAMPLE_RATIO", "1e-3", 0.001),
        ("SAMPLE_RATIO", "1.01", None),
        ("SAMPLE_RATIO", "nan", None),
        ("SAMPLE_RATIO", "1e999", None),
        ("SAMPLE_RATIO", "0_1", None),
        ("SAMPLE_MODE", "bE", "Be"),
        ("SAMPLE_MODE", "c", None),
        ("SAMPLE_HOSTS", "a.example, b.example,,", ("a.example", "b.example")),
        ("SAMPLE_HOSTS", ",", ()),
        ("SAMPLE_HOSTS", "a,b\x1bc", None),
        ("SAMPLE_KINDS", "y,x", ("y", "x")),
        ("SAMPLE_KINDS", "x,z", None),
        ("SAMPLE_SIZE", "1k", 1024),
        ("SAMPLE_SIZE", "2 MB", 2 << 20),
        ("SAMPLE_SIZE", "1GiB", 1 << 30),
        ("SAMPLE_SIZE", "4096", 4096),
        ("SAMPLE_SIZE", "1000", None),
        ("SAMPLE_SIZE", "1.5GiB", None),
        ("SAMPLE_SIZE", "-1k", None),
        ("SAMPLE_SIZE", "k", None),
        ("SAMPLE_WAIT", "250ms", 250),
        ("SAMPLE_WAIT", "2m", 120_000),
        ("SAMPLE_WAIT", "0", 0),
        ("SAMPLE_WAIT", "5", None),
        ("SAMPLE_WAIT", "2h", None),
        ("OTHER_NAME", "yes", True),
        ("SAMPLE_TITLE", "\udcff", None),
    ],
)
def test_what_is_written_is_read_or_warned_about_once(variable: str, written: str, value: object) -> None:
    """``None``: not allowed, so the default stands, and one line says so."""
    found, warnings = parse_one(variable, written)
    if value is not None:
        assert (found, warnings) == (value, ())
        return
    setting = next(setting for setting in Sample.declared() if setting.variable == variable)
    assert found == setting.default
    (line,) = warnings
    assert line.startswith(f'{variable}="')
    assert f"use {setting.allowed}; " in line
    assert line.endswith(" is used instead")


@pytest.mark.parametrize(("written", "value"), [("-1", 0), ("101", 100), ("x", 10)])
def test_a_setting_that_clamps_takes_the_nearest_bound_and_still_says_so(written: str, value: int) -> None:
    found, (line,) = parse_one("SAMPLE_CLAMPED", written)
    assert found == value
    assert (
        line == f'SAMPLE_CLAMPED="{written}" is not allowed: use a whole number from 0 to 100; {value} is used instead'
    )


@pytest.mark.parametrize("empty", ["", " ", "\t\n"])
def test_an_empty_variable_is_not_set(empty: str) -> None:
    assert Sample.parse(dict.fromkeys(VARIABLES, empty)) == (DEFAULTS, ())


def test_a_secret_is_shown_nowhere() -> None:
    settings, _warnings = Sample.parse({"SAMPLE_API_KEY": "hunter2"})
    assert settings.api_key == "hunter2"
    assert "hunter2" not in repr(settings) + str(settings)
    assert "api_key=(not shown)" in repr(settings)
    _settings, (line,) = Sample.parse({"SAMPLE_API_KEY": "hunter2-and-more"})
    assert line.startswith(
        "SAMPLE_API_KEY=(not shown) is not allowed: use text on one line, up to 8 characters; nothing"
    )
    with pytest.raises(ConfigError, match="not shown") as caught:
        Sample(api_key="hunter2-and-more")
    assert "hunter2" not in str(caught.value)
    # A misspelled name may hold a secret too.
    _settings, (line,) = Sample.parse({"SAMPLE_APIKEY": "hunter2"})
    assert "hunter2" not in line


def test_the_first_of_the_aliases_that_is_set_counts() -> None:
    assert Sample.parse({"OLDER_NAME": "yes"})[0].old
    assert Sample.parse({"OTHER_NAME": "", "ANCIENT_NAME": "yes", "OLDER_NAME": "no"})[0].old
    settings, (line,) = Sample.parse({"ANCIENT_NAME": "wrong", "OLDER_NAME": "yes"})
    assert not settings.old
    assert line.startswith('ANCIENT_NAME="wrong"')


def test_an_unknown_name_with_the_prefix_is_answered_with_the_nearest_known_one() -> None:
    settings, warnings = Sample.parse({"SAMPLE_CPUS": "no", "SAMPLE_INTERVALL_MS": "7", "ELSEWHERE": "1"})
    assert settings == DEFAULTS
    assert warnings == (
        "SAMPLE_CPUS is not a setting and is ignored; did you mean SAMPLE_CPU?",
        "SAMPLE_INTERVALL_MS is not a setting and is ignored; did you mean SAMPLE_INTERVAL_MS?",
    )


def test_a_warning_is_one_short_line() -> None:
    for written in ("x" * 100_000, "\n".join("x" * 50), "\x1b[31m\u202e" * 50, "\udc80" * 300):
        _value, (line,) = parse_one("SAMPLE_CPU", written)
        assert line.isprintable()
        assert len(line) < 400
    _settings, (line,) = Sample.parse({"SAMPLE_\n" + "y" * 100_000: "1"})
    assert line.isprintable()
    assert len(line) < 400


environment_text = st.text(
    st.characters(exclude_characters="\0") | st.sampled_from([chr(code) for code in range(0xDC80, 0xDD00)]), max_size=30
)
likely_text = st.sampled_from(["1", "0", "-1", "1e5", "nan", "-inf", "64MiB", "5s", "a,b", "x,,y", "true", "=", "²"])


@given(st.dictionaries(st.sampled_from(VARIABLES), environment_text | likely_text))
@example({"SAMPLE_RATIO": "-inf", "SAMPLE_CLAMPED": "-" + "9" * 101})
def test_no_environment_makes_parsing_fail_and_every_wrong_value_is_one_line(environ: dict[str, str]) -> None:
    settings, warnings = Sample.parse(environ)
    for setting in Sample.declared():
        about = [line for line in warnings if line.startswith(f"{setting.variable}=")]
        value = getattr(settings, setting.attribute)
        assert type(value) is type(setting.default)
        if environ.get(setting.variable, "").strip():
            # What is used could have been written: so a line less than one means that it has been.
            assert len(about) == (value != _read(setting, environ[setting.variable]))
        else:
            assert (value, about) == (setting.default, [])
        setting.check(value)
    assert all(line.isprintable() for line in warnings)


def _read(setting: object, written: str) -> object:
    try:
        return setting.read(written.strip())  # type: ignore[attr-defined]
    except Exception:
        return NotImplemented


@given(st.dictionaries(environment_text.map(lambda name: "SAMPLE_" + name), environment_text))
def test_every_unknown_name_is_one_line(environ: dict[str, str]) -> None:
    unknown = [name for name in environ if name not in VARIABLES]
    _settings, warnings = Sample.parse(environ)
    assert len([line for line in warnings if "is not a setting" in line]) == len(unknown)
    assert all(line.isprintable() for line in warnings)


@given(st.integers(min_value=1024, max_value=1 << 30))
def test_a_size_is_shown_as_it_can_be_written(size: int) -> None:
    shown = next(setting for setting in Sample.declared() if setting.attribute == "size").show(size)
    assert parse_one("SAMPLE_SIZE", shown) == (size, ())


def test_settings_are_frozen_and_compare_by_value() -> None:
    assert Sample(cpu=False) == Sample.parse({"SAMPLE_CPU": "no"})[0] != DEFAULTS
    assert hash(Sample()) == hash(DEFAULTS)
    with pytest.raises(AttributeError, match="frozen"):
        DEFAULTS.cpu = False
    with pytest.raises(AttributeError, match="frozen"):
        del DEFAULTS.cpu


@pytest.mark.parametrize(
    "values", [{"cpus": True}, {"cpu": 1}, {"interval_ms": 0}, {"interval_ms": True}, {"mode": "be"}, {"hosts": ["a"]}]
)
def test_values_given_in_python_are_checked(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Sample(**values)
    assert Sample(ratio=1).ratio == 1.0


@pytest.mark.parametrize(
    "body",
    [
        {"one": lambda: integer(7, maximum=5, help="")},
        {"one": lambda: integer(0, minimum=1, help="")},
        {"one": lambda: integer(0, minimum=2, maximum=1, help="")},
        {"one": lambda: number(float("nan"), help="")},
        {"one": lambda: text("a\nb", help="")},
        {"one": lambda: text(" a ", help="", characters="x")},
        {"one": lambda: text("key", secret=True, help="")},
        {"one": lambda: choice("c", ("a", "b"), help="")},
        {"one": lambda: choice("a", ("a", "A"), help="")},
        {"one": lambda: choice("a", (), help="")},
        {"one": lambda: comma_list(("a,b",), help="")},
        {"one": lambda: comma_list(("c",), choices=("a",), help="")},
        {"one": lambda: duration(-1, help="")},
        {"one": lambda: byte_size(5, minimum=6, help="")},
        {"one": lambda: flag(True, help="", env="T_TWO"), "two": lambda: flag(True, help="")},
        {"one": lambda: flag(True, help="", aliases=("T_ONE",))},
        {"one": lambda: flag(True, help="", env="9LIVES")},
        {"parse": lambda: flag(True, help="")},
        {"_hidden": lambda: flag(True, help="")},
        {"prefix": lambda: "lower_"},
    ],
)
def test_a_declaration_that_contradicts_itself_is_an_error_of_its_author(body: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        type("Wrong", (Settings,), {"prefix": "T_", **{name: make() for name, make in body.items()}})  # type: ignore[operator]


def test_settings_can_be_inherited_and_redeclared() -> None:
    class More(Sample):
        cpu = flag(False, help="Off by default here.")
        extra = integer(3, help="More.")

    assert {setting.attribute for setting in More.declared()} == {"extra", *vars(DEFAULTS)}
    settings, warnings = More.parse({"SAMPLE_EXTRA": "4", "SAMPLE_MODE": "Be"})
    assert (settings.cpu, settings.extra, settings.mode, warnings) == (False, 4, "Be", ())
    assert Sample.parse({})[0].cpu
    with pytest.raises(ConfigError, match="prefix"):
        type("Moved", (Sample,), {"prefix": "MOVED_"})


def test_the_table_names_all_there_is_to_know() -> None:
    rows = {row[0]: row for row in Sample.table()}
    assert list(rows) == VARIABLES
    assert rows["SAMPLE_INTERVAL_MS"] == ("SAMPLE_INTERVAL_MS", "5", "a whole number from 1 to 60000 (ms)", "Pause.")
    assert rows["SAMPLE_SIZE"][1:3] == (
        "64MiB",
        "a size such as 512, 64KiB or 16MiB (k, m, g are powers of 1024) from 1KiB to 1GiB",
    )
    assert rows["OTHER_NAME"][3] == "Renamed. Also read from ANCIENT_NAME, OLDER_NAME."
    table = Sample.markdown().splitlines()
    assert len(table) == len(rows) + 2
    assert "| `SAMPLE_CPU` | `true` | true or false (also 1/0, yes/no, on/off) | CPU times \\| cores. |" in table


def test_the_kit_knows_its_own_variables_of_today_and_tomorrow() -> None:
    environ = {name.replace("*", "S3"): "" for name in KNOWN_KIT_VARIABLES}
    assert KitSettings.parse({**environ, "EXTENSION_KIT_FLUSH": "Periodic, 5"}) == (KitSettings(flush="periodic,5"), ())
    settings, (line,) = KitSettings.parse(
        {"EXTENSION_KIT_LOG_LEVEL": "INFO", "EXTENSION_KIT_PLUGINS": "a, b", "EXTENSION_KIT_ONFAILURE": "crash"}
    )
    assert (settings.log_level, settings.on_failure, settings.plugins) == ("info", "idle", ("a", "b"))
    assert line == "EXTENSION_KIT_ONFAILURE is not a setting and is ignored; did you mean EXTENSION_KIT_ON_FAILURE?"
    assert set(KNOWN_KIT_VARIABLES) >= {setting.variable for setting in KitSettings.declared()}


def test_importing_it_costs_nothing_heavy() -> None:
    heavy = ["dataclasses", "typing", "enum", "re", "json", "logging", "threading", "inspect", "pathlib", "difflib"]
    code = f"import sys, extension_kit.settings; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path}; {code}"],
                          capture_output=True, text=True, check=True, timeout=60)  # fmt: skip
    assert done.stdout == "[]\n"
