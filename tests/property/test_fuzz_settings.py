"""A settings file of any content is Settings, or a ConfigError with places; nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from forkpolicy.errors import ConfigError
from forkpolicy.settings import SECTIONS, Settings, declared, load_settings
from tests.fakes import TextFiles

EXAMPLES = settings(max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "600")), deadline=None)
SAMPLE = (Path(__file__).parents[2] / "conf" / "forkpolicy.toml").read_text()
NAMES = [*SECTIONS, *(name for _, name, _, _ in declared()), "polcy", "x"]
VALUES = [
    *('""', '"x"', "1", "0", "-1", "1.5", "inf", "nan", "true", "[]", '["x"]', "[1]", "{}", "{a = 1}", '"unix:x"'),
    *(
        '"inet:127.0.0.1:1"',
        "1979-05-27",
        "0x10",
        '"all"',
        '"+-"',
        '"\\u0000"',
        "'''\n'''",
        "[[1]]",
        '"0660"',
        "9" * 30,
    ),
]


def check(raw):
    """The contract."""
    try:
        found = load_settings("/etc/f.toml", TextFiles({"/etc/f.toml": raw}))
    except ConfigError as error:
        check_diagnostics(error.diagnostics, raw)
    else:
        assert isinstance(found, Settings)
        assert found.policy.startswith("/")


def check_diagnostics(diagnostics, raw):
    """There are some, and each names a line of the file."""
    assert diagnostics
    lines = raw.decode("utf-8-sig", "replace").replace("\r\n", "\n").split("\n")
    for each in diagnostics:
        assert each.path == "/etc/f.toml"
        assert 1 <= each.line <= len(lines) + 1
        assert each.column >= 0
        assert each.message
        assert "Traceback" not in str(each)


@EXAMPLES
@given(st.binary(max_size=300))
@example(b"\xef\xbb\xbfpolicy = 'x'\r\n")
def test_any_bytes(raw):
    """Bytes that nobody meant as settings."""
    check(raw)


assignments = st.tuples(st.sampled_from(NAMES), st.one_of(st.sampled_from(VALUES), st.text(max_size=8)))
lines = st.one_of(
    assignments.map(lambda each: f"{each[0]} = {each[1]}"),
    st.sampled_from(NAMES).map(lambda name: f"[{name}]"),
    st.sampled_from(
        ["[[server]]", "[server.x]", "server.workers = 2", "# x", "policy.x = 1", '"policy" = "a"', "[a.b]"]
    ),
)


@EXAMPLES
@given(st.lists(lines, max_size=8))
def test_any_words(several):
    """Known names with any value in any place."""
    check("\n".join(several).encode("utf-8", "surrogatepass"))


@EXAMPLES
@given(st.integers(0, len(SAMPLE)), st.integers(0, 20), st.one_of(st.text(max_size=5), st.sampled_from(VALUES)))
def test_the_sample_with_a_slip(at, length, instead):
    """The sample settings, with one place overwritten."""
    check((SAMPLE[:at] + instead + SAMPLE[at + length :]).encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "{a=" * 5000,
        "workers = " + "9" * 5000,
        "[" + "a." * 5000 + "b]",
        "a." * 5000 + "b=1",
    ],
    ids=["arrays", "inline-tables", "digits", "header", "dotted"],
)
def test_what_no_parser_likes(text):
    """Depth and length that a parser gives up on are mistakes like others."""
    check(text.encode())
    check(f"[server]\n{text}\n".encode())
