"""Which modules of a standard library are taken."""

from __future__ import annotations

import pytest

from layer_build.interpreter import closure


@pytest.fixture
def library(tmp_path):
    """A standard library with the given modules."""

    def make(**modules):
        (tmp_path / "encodings").mkdir(exist_ok=True)
        for name, source in modules.items():
            path = tmp_path / f"{name.replace('__', '/').replace('/init/', '/__init__')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        return tmp_path

    return make


def test_what_is_wanted_and_all_that_it_imports(library):
    lib = library(a="import b\nimport nowhere", b="def late():\n    from c import x", c="", d="import a")

    assert closure.closure(lib, ["a"], []) == ["a.py", "b.py", "c.py"]


def test_a_package_comes_with_what_is_above_it(library):
    lib = library(p__init__="", p__q__init__="from . import near\nfrom ..r import x", p__q__near="", p__r="", p__s="")

    assert closure.closure(lib, ["p.q"], []) == ["p/__init__.py", "p/q/__init__.py", "p/q/near.py", "p/r.py"]


def test_names_that_are_no_modules_are_no_matter(library):
    assert closure.closure(library(a="from b import C, d", b="C = 1"), ["a"], []) == ["a.py", "b.py"]


def test_what_is_never_wanted_ends_the_search(library):
    lib = library(a="import pdb\nimport test.support", pdb="import cmd", cmd="", test__init__="", test__support="")

    assert closure.closure(lib, ["a"], ["pdb", "test"]) == ["a.py"]


def test_every_encoding_but_those_of_modules_that_are_left_out(library):
    lib = library(
        encodings__init__="", encodings__latin_1="import codecs", encodings__gbk="import _codecs_cn, codecs",
        encodings__big5="import _multibytecodec as mbc", codecs="",
    )  # fmt: skip

    assert closure.closure(lib, [], []) == ["codecs.py", "encodings/__init__.py", "encodings/latin_1.py"]


def test_names_that_no_python_knows(library):
    assert closure.unknown(library(a=""), ["a", "math", "colections"], ["math"]) == ["colections"]


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        ("import a.b as c, d", "", {"a.b", "d"}),
        ("from a import b, c", "", {"a", "a.b", "a.c"}),
        ("from a import *", "", {"a"}),
        ("from . import b", "p.q", {"p.q", "p.q.b"}),
        ("from .. import b", "p.q", {"p", "p.b"}),
        ("from ..r.s import b", "p.q", {"p.r.s", "p.r.s.b"}),
        ("try:\n    import x\nexcept ImportError:\n    x = None", "", {"x"}),
    ],
)
def test_imports(source, package, expected):
    assert set(closure.imports(source, package)) == expected
