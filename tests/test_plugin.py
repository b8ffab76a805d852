"""A plug-in that is wrong says so when it is loaded: what is wrong, and the fix."""

from __future__ import annotations

import pytest

from extension_kit.errors import ConfigError
from extension_kit.plugin import Context, Log, Plugin, load, validate


def plugin(**members: object) -> type[Plugin]:
    return type("Mine", (Plugin,), {"name": "mine", **members})


async def on_invoke_async(self, event): ...


WRONG = [
    (plugin(name=""), "Mine.name is ''"),
    (plugin(name="../up"), "Mine.name is '../up'"),
    (plugin(name=".."), "a letter or digit first"),
    (plugin(name=7), "Mine.name is 7"),
    (plugin(telemetry="platform"), "a tuple of some of"),
    (plugin(telemetry=("moon",)), "'platform', 'function', 'extension'"),
    (plugin(budgets=None), "a dictionary of hook: seconds"),
    (plugin(budgets={"on_moon": 1}), "budgets names 'on_moon'; hooks are before_register"),
    (plugin(budgets={"start": 0}), "seconds above 0"),
    (plugin(budgets={"start": "1"}), "budgets['start'] is '1'"),
    (plugin(settings=dict), "a subclass of extension_kit.Settings"),
    (plugin(on_invok=lambda self, event: None), "on_invok is no hook; did you mean on_invoke?"),
    (plugin(on_invoke=lambda self: None), "takes 1 arguments; write def on_invoke(self, event)"),
    (plugin(on_invoke=lambda self, event, more: None), "takes 3 arguments"),
    (plugin(on_invoke=lambda self, event, *, more: None), "write def on_invoke(self, event)"),
    (plugin(on_invoke=lambda self, event, more, *rest: None), "takes 3 arguments"),
    (plugin(on_invoke=on_invoke_async), "is async"),
    (object, "object is no plug-in: derive it from extension_kit.Plugin"),
    ("nonsense", "expected MODULE:CLASS"),
    ("no_such_module:Class", "no_such_module cannot be imported"),
    ("extension_kit.plugin:Nothing", "extension_kit.plugin has no Nothing"),
    (plugin(__init__=lambda self, more: None), "cannot be made without arguments"),
]


@pytest.mark.parametrize(("spec", "text"), WRONG, ids=[text for _spec, text in WRONG])
def test_a_wrong_plugin_is_a_config_error_that_names_the_fix(spec, text):
    """Never another exception, and before any hook runs."""
    with pytest.raises(ConfigError) as error:
        load(spec)

    assert text in str(error.value)


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"on_invoke": lambda self, event: None},
        {"on_invoke": lambda self, event, more=1: None},
        {"on_invoke": lambda self, *arguments: None},
        {"on_invoke": lambda self, event, *, more=1: None},
        {"budgets": {"start": 0.5}, "telemetry": ("platform",)},
        {"on_call": "a value, no hook"},
    ],
)
def test_a_proper_plugin_is_taken(members):
    """As a class, as an instance, and with more than it needs."""
    owner = plugin(**members)

    assert isinstance(load(owner), owner)
    validate(owner())


def test_a_plugin_is_found_by_name():
    """The same plug-in that `--plugin` names."""
    assert load("extensions.metrics_collector.plugin:MetricsCollector").name == "metrics-collector"


def test_a_line_of_the_log_is_one_line():
    """Whatever it holds; levels below the chosen one are not written."""
    lines: list[str] = []
    log = Log("mine", lines.append, "info")
    log.debug("not this")
    log.info("two\r\nlines")
    log.error("three")

    assert lines == ["[mine] INFO two\\r\\nlines\n", "[mine] ERROR three\n"]


@pytest.mark.parametrize(("written", "memory"), [("512", 512), ("", None), ("much", None), ("²", None)])
def test_facts_that_are_missing_or_strange_are_none(written, memory):
    """A context is made whatever the platform says."""
    variables = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": written}
    context = Context("mine", variables, Log("mine", print), None)  # type: ignore[arg-type]
    context.count("lost")
    context.count("lost", 2)

    assert (context.memory_mb, context.region, context.counters) == (memory, "", {"lost": 3})
