"""What its README says of configuration, rails and command: tables as declared, examples that work as they stand."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from extension_kit.protocol.timestamps import format_ms
from extensions.chaos_injector import vocabulary
from extensions.chaos_injector.__main__ import main
from extensions.chaos_injector.audit import Audit
from extensions.chaos_injector.plan import Guard, Limits
from extensions.chaos_injector.settings import ChaosSettings
from tests.extensions.chaos_injector.rails_bench import NOW_MS, Bench, Invocation, document, experiment_of

ROOT = Path(__file__).parents[3]
README = (ROOT / "extensions" / "chaos_injector" / "README.md").read_text()


def written_experiment() -> str:
    """The document of "Arm something"."""
    return re.search(r'```toml title="slow-checkout.toml"[^\n]*\n(.*?)```', README, re.DOTALL).group(1)


def test_its_tables_are_those_of_the_declarations():
    assert ChaosSettings.markdown() in README
    assert vocabulary.markdown() in README
    assert vocabulary.params_markdown() in README


def test_every_field_of_a_document_is_in_its_table():
    table = README.split("## Experiments")[1].split("### Faults")[0]
    fields = {*document(), "lease_s", "renewed_at", "seed", "dry_run", "off"} - {"scope", "faults"}
    fields |= {f"limits.{name}" for name in Limits.__slots__} | {
        "guard.abort_error_rate",
        "scope.deny",
        "scope.allow_prod",
    }
    assert [name for name in fields if f"`{name}`" not in table] == []


def test_its_defaults_are_the_values():
    limits, guard = Limits(), Guard()
    assert f"| {limits.max_injections}, {limits.max_per_minute} |" in README
    assert f"| {limits.max_fraction_of_deadline} |" in README
    assert f"| {limits.min_free_tmp_mb}, {limits.min_free_memory_mb} |" in README
    assert f"| {guard.abort_error_rate}, {guard.window_ms // 1_000}, {guard.min_requests} |" in README


def test_settings_import_nothing_that_is_slow():
    """They are read before the function starts."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import extensions.chaos_injector.settings; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, str(ROOT)], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    assert {"re", "json", "enum", "typing", "dataclasses", "tomllib", "hashlib"}.isdisjoint(loaded)


def test_its_first_example(tmp_path):
    """Reads, with the end that --for gives it, and injects into what it says."""
    written = written_experiment()
    fields = {**tomllib.loads(written), "armed_until": format_ms(NOW_MS + 600_000)}
    assert experiment_of(fields)[0].id == "slow-checkout"
    bench = Bench(tmp_path)
    bench.give(fields)
    event = {"requestContext": {"http": {"method": "GET"}}}
    happened = [bench.decide(Invocation(f"{at}", qualifier="beta"), event=lambda: event) for at in range(500)]
    assert 20 < sum(happened) < 80
    assert not any(bench.decide(Invocation(f"{at}"), event=lambda: event) for at in range(500))


def test_its_commands(tmp_path, monkeypatch, capsys):
    """In their order, with a file in the parameter's place."""
    monkeypatch.chdir(tmp_path)
    Path("slow-checkout.toml").write_text(written_experiment())
    commands = re.search(r"```sh tested=\S+test_its_commands\"\n(.*?)```", README, re.DOTALL).group(1).splitlines()
    said = []
    for line in commands:
        _python, _m, module, *arguments = shlex.split(line, comments=True)
        assert module == "extensions.chaos_injector"
        assert main([one.replace("ssm:/chaos/checkout", f"file:{tmp_path}/e.json") for one in arguments], {}) == 0
        said.append(capsys.readouterr().out.split()[0])
    assert said == ["slow-checkout", "armed:", "slow-checkout", "disarmed:"]


def test_every_action_of_the_log_is_in_its_table():
    told = set(re.findall(r"\w+", Audit.line.__doc__.split("``action``:")[1].split(".")[0])) - {"or"}
    assert [one for one in told if f"`{one}`" not in README] == []
