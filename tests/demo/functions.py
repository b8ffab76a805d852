"""The two functions of the demo, laid out as they would be deployed: code, its packages, the experiment beside them."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
from pathlib import Path
from typing import Any

from tests.demo.layers import ROOT

_FUNCTIONS = ROOT / "tests" / "functions"
NAMES = ("shop", "stream")
#: what the shop imports, all of it for any Python
_PACKAGES = ("aws_lambda_powertools", "jmespath", "typing_extensions")
_OF_THE_KIT = ("__init__.py", "errors.py", "clients", "protocol")
EXPERIMENT = "experiment.json"  # in the function's folder, so that every backend sees it at /var/task
_ITEMS = ("tea", "honey", "kettle")
CARD = "4111 1111 1111 1111"


def stage(folder: Path) -> dict[str, Path]:
    """Copies of both functions below `folder`, by name."""
    staged = {name: folder / name for name in NAMES}
    for name, place in staged.items():
        shutil.copytree(_FUNCTIONS / name, place, ignore=shutil.ignore_patterns("__pycache__"))
    for package in _PACKAGES:
        found = importlib.util.find_spec(package)
        assert found is not None, package
        assert found.origin is not None, package
        _copy(Path(found.origin).parent if found.submodule_search_locations else Path(found.origin), staged["shop"])
    for part in _OF_THE_KIT:
        _copy(ROOT / "extension_kit" / part, staged["shop"] / "extension_kit")
    return staged


def _copy(path: Path, folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, folder / path.name, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(path, folder / path.name)


def orders(seed: int, count: int) -> list[dict[str, Any]]:
    """Orders for the shop, the same for the same seed; one in eight is bad."""
    rolled = random.Random(f"orders {seed}")
    return [
        {
            "order": number,
            "item": rolled.choice(_ITEMS),
            "quantity": 0 if number % 8 == 6 else rolled.randint(1, 5),
            "card": CARD,
        }
        for number in range(1, count + 1)
    ]


def parcels(seed: int, count: int) -> list[dict[str, Any]]:
    """What the streaming function packs."""
    rolled = random.Random(f"parcels {seed}")
    return [{"order": number, "parcels": rolled.randint(3, 8)} for number in range(1, count + 1)]


def payloads(events: list[dict[str, Any]]) -> tuple[bytes, ...]:
    return tuple(json.dumps(event).encode() for event in events)
