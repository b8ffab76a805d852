"""What its README says: the tables of settings, and the code that a function is told to use."""

from __future__ import annotations

import re
from pathlib import Path

from extensions.secret_cache.settings import AppConfigSettings, SecretCacheSettings

README = (Path(__file__).parents[3] / "extensions" / "secret_cache" / "README.md").read_text()


def test_every_setting_is_in_its_table():
    assert SecretCacheSettings.markdown() in README
    assert AppConfigSettings.markdown() in README


def test_the_functions_example_works(aws, cache, monkeypatch):
    aws.put_secret("prod/db", "one")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "function-session-token")
    code = re.search(r"```python tested=[^\n]*\n(.*?)```", README, re.DOTALL).group(1)
    space = {}
    exec(code.replace("localhost:2773", f"localhost:{cache.port}"), space)  # noqa: S102 - what a reader would run

    assert space["secret"]("prod/db") == "one"
