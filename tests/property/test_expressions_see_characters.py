"""Whatever bytes a request has, an expression sees text in which every byte is part of a character."""

from __future__ import annotations

import os
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from tests.fakes import ALWAYS, NEVER, policy_of

LETTERS = "aé@.ÿÀb"
classes = st.tuples(
    st.sampled_from(["", "^"]), st.lists(st.sampled_from([*"aé@", "à-ÿ", "0-9"]), min_size=1, max_size=3)
)
atoms = st.one_of(
    st.just("."),
    st.sampled_from([re.escape(letter) for letter in LETTERS]),
    classes.map(lambda each: f"[{each[0]}{''.join(each[1])}]"),
)
pieces = st.tuples(atoms, st.sampled_from(["", "", "+", "*", "?", "{1,2}", "{2}"])).map("".join)
expressions = st.tuples(
    st.sampled_from(["", "^"]), st.lists(pieces, min_size=1, max_size=5).map("".join), st.sampled_from(["", "$"])
).map("".join)
texts = st.lists(
    st.one_of(st.sampled_from(LETTERS.encode("latin-1")), st.integers(0x80, 0xFF), st.integers(0x20, 0x7E)), max_size=8
).map(bytes)


def characters_of(raw):
    """Valid UTF-8 is its characters, every other byte the Latin-1 character of its number. Decodes bit by bit."""
    text, at = "", 0
    while at < len(raw):
        for length in (4, 3, 2, 1):
            try:
                char = raw[at : at + length].decode()
            except UnicodeDecodeError:
                continue
            if len(char) == 1:
                break
        else:
            char, length = chr(raw[at]), 1
        text += char
        at += length
    return text


@settings(max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "300")), deadline=None)
@given(expressions, st.lists(texts, min_size=1, max_size=4))
def test_expressions_agree_with_python_over_latin_1(expression, raws):
    """In an ACL, in a file of values and in the index of a long policy, each says what Python's re says."""
    acl = f"acl x sasl_username /{expression}/\n"
    in_file = "acl x sasl_username /values\n"
    end = "action y OK\naccess x y\n"
    policies = [
        policy_of(text + end, files={"/values": f"/{expression}/\n"}, index_costs_us=costs_us)
        for text in (acl, in_file)
        for costs_us in (ALWAYS, NEVER)
    ]
    for raw in raws:
        request = Request.parse(b"request=smtpd_access_policy\nprotocol_state=RCPT\nsasl_username=" + raw + b"\n\n")
        expected = re.search(expression, characters_of(raw), re.IGNORECASE | re.DOTALL) is not None
        for policy in policies:
            values = wanted_values(request, policy.wanted)
            assert (policy.decide(values).rule.action.name == "y") is expected
            assert (policy.trace(values).outcome.action.name == "y") is expected
