"""Which of Debian's patches are taken."""

from __future__ import annotations

import shutil

import pytest

from extension_kit.errors import ConfigError
from layer_build.interpreter import patches
from layer_build.interpreter.steps import Steps

CPYTHON = """\
#git-updates.diff
deb-locations.diff
multiarch.diff
CVE-2025-11468.patch
# CVE-0000-1.patch
CVE-2026-6019-2.patch -p1

ssl-sni-crash.patch
dict-use-after-free.patch
traverse-managed-dicts.patch
revert-logger-disable.diff
"""
OPENSSL = """\
debian-targets.patch
man-section.patch
no-symbolic.patch
pic.patch
c_rehash-compat.patch
Add-test-for-CVE-2026-63072.patch
Add-a-test-for-restricting-growth-in-cmp-cert-cache.patch
conf-Serialize-allocation-free-of-ssl_names.patch
Fix-unbounded-cert-cache-growth-in-cmp.patch
"""


def test_of_cpythons_the_fixes_and_not_debians_layout():
    assert patches.of_cpython(CPYTHON) == [
        "CVE-2025-11468.patch", "CVE-2026-6019-2.patch", "ssl-sni-crash.patch", "dict-use-after-free.patch",
        "traverse-managed-dicts.patch",
    ]  # fmt: skip


def test_of_openssls_all_but_layout_and_tests():
    assert patches.of_openssl(OPENSSL) == [
        "conf-Serialize-allocation-free-of-ssl_names.patch", "Fix-unbounded-cert-cache-growth-in-cmp.patch",
    ]  # fmt: skip


@pytest.fixture
def debian(tmp_path):
    """Debian's folder with one patch that turns "old" into "new", and a source to apply it to."""
    (tmp_path / "debian" / "patches").mkdir(parents=True)
    (tmp_path / "debian" / "patches" / "series").write_text("CVE-1.patch\n")
    patch = "--- a/file\n+++ b/file\n@@ -1 +1 @@\n-old\n+new\n"
    (tmp_path / "debian" / "patches" / "CVE-1.patch").write_text(patch)
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").write_text("old\n")
    return tmp_path


@pytest.fixture
def steps(tmp_path):
    return Steps(tmp_path / "work", "x86_64", tmp_path / "zig", tmp_path / "cache", lambda _text: None)


@pytest.mark.skipif(shutil.which("patch") is None, reason="no patch here")
def test_they_are_applied(debian, steps):
    assert patches.apply(debian / "source", debian / "debian", patches.of_cpython, steps) == ["CVE-1.patch"]
    assert (debian / "source" / "file").read_text() == "new\n"


@pytest.mark.skipif(shutil.which("patch") is None, reason="no patch here")
def test_one_that_does_not_fit_ends_the_build(debian, steps):
    (debian / "source" / "file").write_text("something else\n")

    with pytest.raises(ConfigError, match=r"patch CVE-1\.patch failed: .*; its output: .*\.log"):
        patches.apply(debian / "source", debian / "debian", patches.of_cpython, steps)


def test_no_fix_at_all_is_a_mistake(debian, steps):
    """Debian has changed its names, say: what has no fixes must not look as if it had."""
    (debian / "debian" / "patches" / "series").write_text("deb-locations.diff\n")

    with pytest.raises(ConfigError, match="no security fix was found"):
        patches.apply(debian / "source", debian / "debian", patches.of_cpython, steps)
