"""What Python's `re` finds in a value, as apolicy searched, the imported expression finds, and nothing else."""

from __future__ import annotations

import os
import re
import warnings

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from forkpolicy.importing.apolicy.patterns import SEARCHED_CASE, pattern_of
from forkpolicy.policy.matchers.regex import RegexMatcher
from forkpolicy.policy.nodes import Place, Word

EXAMPLES = settings(max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "1000")), deadline=None)
PIECES = [
    *"aAbB01@.-_ /<>'`\"=,:#!&~%",
    *(
        "a",
        "b",
        "x",
        "example",
        ".com",
        "[ab]",
        "[^a@]",
        "[]a]",
        "[^]]",
        "[a-b-]",
        r"[\w.]",
        r"[\]a]",
        "[[:alpha:]]",
        "[a{]",
    ),
    *(
        "(",
        ")",
        "(?:",
        "(?P<n>",
        "(?i)",
        "(?=",
        "(?!",
        "(?#x)",
        "|",
        "*",
        "+",
        "?",
        "*?",
        "^",
        "$",
        "{2}",
        "{,2}",
        "{1,}",
        "{",
        "}",
        "{a}",
    ),
    *(rf"\{char}" for char in "dDwWsSbBAZz.@-<>'`/\"nrtfvaQEpPCGKX019xe"),
    *(r"\x41", r"\012", r"\10", r"\0", r"[\b]", r"[\d-]"),
]
VALUES = st.text(alphabet="aAbBxX01@.-_<>'`\"[]{}()\\:=,/QEpP\x07 lhexampl", max_size=12)


@EXAMPLES
@given(
    pieces=st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), values=st.lists(VALUES, min_size=1, max_size=6)
)
@example(pieces=["[[:alpha:]]"], values=["a]", "z"])
@example(pieces=["a", "{,2}", "b"], values=["aab", "b"])
@example(pieces=[r"\Z"], values=["", "a"])
@example(pieces=["[^]]"], values=["]", "a"])
def test_an_imported_expression_finds_what_python_found(pieces, values):
    """Case counts, nothing is anchored; what cannot be translated is refused, never changed."""
    pattern = "".join(pieces)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            python = re.compile(pattern)
        except (re.error, OverflowError):
            # apolicy would not have started.
            assume(False)
    try:
        value = pattern_of("sender", pattern, SEARCHED_CASE).value
    except ValueError:
        return
    matcher = RegexMatcher("sender", [Word(value, Place("x", 1, 1))])
    assert [matcher.holds(each) for each in values] == [python.search(each) is not None for each in values]
