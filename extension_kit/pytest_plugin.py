"""pytest's fixture for authors of extensions. pytest loads this for everybody: nothing else is imported before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from extension_kit.testing import Sandbox

__all__ = ["lambda_sandbox"]


@pytest.fixture
def lambda_sandbox() -> Iterator[Sandbox]:
    """A Lambda execution environment of this test's own: attach(), invoke(), shutdown(); see extension_kit.testing.Sandbox."""
    from extension_kit.testing import Sandbox

    with Sandbox() as sandbox:
        yield sandbox
