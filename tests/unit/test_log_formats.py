"""Generated lines: the bytes are always those of the exact way, whatever the values are."""

from __future__ import annotations

import json
import os
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.log import PIPE_BYTES, LogPipe, open_pipe
from forkpolicy.log_formats import LineFormat, Slot
from forkpolicy.log_lines import MAX_LINE_BYTES, line_bytes, priority_and_text

STYLES = ("logfmt", "json")
TIME = "2026-11-28T11:00:00.000Z"
ARGUMENTS = ("text", "values", "us", "request")
SLOTS = {
    "action": Slot("text", "sentence"),
    "sender": Slot("values[0]"),
    "recipient": Slot("values[1]"),
    "us": Slot("us", "number"),
}
ODD = (
    None,
    "",
    " ",
    "=",
    "a=b",
    "two words",
    'say "no"',
    "back\\slash",
    "{0}",
    "%s",
    "'",
    "\n",
    "\r",
    "\t",
    "\0",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\xa0",
    "\u00e9@x.example",
    "\u2028",
    "\u2029",
    "\u202e",
    "\ufeff",
    "\U0001f600",
    "\ud800",
    "\udce4@example.org",
    "x" * 250,
    "x" * 3000,
    "\u00e9" * 3000,
    "\udcff" * 3000,
    '"' * 3000,
)
PLAIN = st.text("abc@.-019 ", max_size=30)
VALUES = st.sampled_from(ODD) | PLAIN | st.text(st.characters(), max_size=3000)
CONSTANTS = st.sampled_from(ODD) | VALUES | st.integers() | st.booleans() | st.floats() | st.dictionaries(PLAIN, PLAIN)


def both(style, constants, text, values, us, request=None):
    """The line as the function writes it, and as it is."""
    fields = {"level": "info", **constants, **SLOTS, "note": True}
    if request is not None:
        fields["request"] = Slot("request", "any")
    written = []
    LineFormat(style, 6, fields, ARGUMENTS).writer(lambda: TIME, written.append)(text, values, us, request)
    came = {"action": text, "sender": values[0], "recipient": values[1], "us": us, "request": request}
    whole = {name: came[name] if isinstance(value, Slot) else value for name, value in fields.items()}
    return written, [line_bytes(style, 6, {"time": TIME, **whole})]


@pytest.mark.parametrize("style", STYLES)
def test_odd_values_give_the_exact_line(style):
    """Each in each place, next to values that are plain."""
    for odd, place in product(ODD, range(4)):
        constant, text, *values = (
            odd if at == place else each for at, each in enumerate(("a b", "REJECT no", "x", ""))
        )
        written, exact = both(style, {"acls": constant}, text, values, 12)
        assert written == exact, (odd, place)


@given(
    style=st.sampled_from(STYLES),
    constants=st.dictionaries(st.sampled_from(("worker", "line", "acls", "host")), CONSTANTS, max_size=4),
    text=VALUES,
    values=st.tuples(VALUES, VALUES),
    us=st.integers(0, 1 << 40),
    request=st.none() | st.dictionaries(VALUES.map(str), VALUES, max_size=5),
)
def test_any_values_give_the_exact_line(style, constants, text, values, us, request):
    """Quotes, controls, halves of characters, other scripts, long ones, none: there is one way to write them."""
    written, exact = both(style, constants, text, values, us, request)
    assert written == exact


@pytest.mark.parametrize("style", STYLES)
def test_a_line_may_be_as_long_as_the_pipe_takes_at_once(style):
    """One byte more, and its values are cut."""
    for length, is_cut in ((0, False), (1, True)):
        text = "x" * (MAX_LINE_BYTES - len(both(style, {}, "REJECT ", ("", ""), 1)[1][0]) + length)
        written, exact = both(style, {}, f"REJECT {text}", ("", ""), 1)
        assert written == exact
        assert (b"cut" in written[0], len(written[0]) == MAX_LINE_BYTES) == (is_cut, not is_cut)


@pytest.mark.parametrize("style", STYLES)
def test_a_format_without_slots(style):
    """Nothing to check is no special case."""
    written = []
    LineFormat(style, 4, {"level": "warning"}, ()).writer(lambda: TIME, written.append)()
    assert written == [line_bytes(style, 4, {"time": TIME, "level": "warning"})]


def test_lines_of_a_writer_are_counted_like_others():
    """A full pipe drops them, and the next one that gets through is preceded by their count."""
    read_end, write_end = open_pipe()
    log = LogPipe(write_end, "json", {"worker": 3})
    write = log.writer("info", "decision", {"action": Slot("text")}, ("text",))
    count = 0
    while not log.dropped:
        write("x")
        count += 1
    write("x")
    seen = os.read(read_end, PIPE_BYTES)
    write("y")
    rest = os.read(read_end, 1 << 16)
    os.close(read_end)
    os.close(write_end)
    assert seen.count(b"\n") == count - 1
    lost, line = (json.loads(priority_and_text(each)[1]) for each in rest.splitlines())
    assert (lost["event"], lost["count"], lost["worker"]) == ("log lines dropped", 2, 3)
    assert (line["event"], line["worker"], line["action"]) == ("decision", 3, "y")
