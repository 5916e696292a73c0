"""Whatever a rule of postfwd compares, the imported policy loads, or the rule is left out; each import ends."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from forkpolicy.commands.import_rules.checking import checked
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs
from forkpolicy.importing.postfwd import FORMAT
from forkpolicy.protocol.attributes import ATTRIBUTES
from tests.fakes import TextFiles

EXAMPLES = settings(
    max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "150")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
PARTS = ("sender_domain", "sender_localpart", "recipient_domain", "recipient_localpart")
OF_POSTFWD = ("rbl", "rhsbl", "rhsbl_sender", "rblcount", "date", "time", "days", "months", "score", "request_score")
KEYS = st.sampled_from([*ATTRIBUTES, *PARTS, *OF_POSTFWD, "helo_address", "HIT", "$$sender", "x y"])
OPERATORS = st.sampled_from(["=", "==", "=~", "~=", "!=", "!~", ">=", "=<", "<", ">", "!<", "!>", "=!!", "==!!(", ""])
VALUES = st.one_of(
    st.sampled_from(
        [
            "a@example.com", "@example.com", "example.com.", ".example.com", "<>", "user@",
            "192.0.2.1", "192.0.2.0/24", "0.0.0.0/0", "2001:db8::/32", "25", "0", "-1", "1.5", "10M",
            "all", "RCPT", "unknown", "$$helo_name", "$$(sender)", "$$sender_domain", "/^a/", "(a|b)$",
            "[", "(?=a)", r"\1", ".*", "^$", "a,b", "{x}", "'", "*.a", "01.02.2026-03.04.2027",
            "08:00:00-17:00:00", "Mon-Fri", "Jan-Dec", "6-1", "bl.example.org/^127\\.0\\.0\\.2/60",
            "file:/nonexistent", "ltable:/nonexistent", "é", "a" * 300, "#", "!a", "table:x", "||",
            "%", "a{1000}{1000}",
        ]
    ),
    st.text(alphabet=st.characters(blacklist_characters="\n\r\x00", blacklist_categories=("Cs",)), max_size=12),
)  # fmt: skip
ACTIONS = st.sampled_from(
    [
            "REJECT", "dunno", "OK $$sender", "450", "450 x {y}", "REJECT (x)", "jump(R1)", "jump(R9)",
            "set(HIT=1)", "set(HIT=$$size)", "score(2.5)", "score(*3)", "note(x # y)", "note()",
            "rate(sender/3/60/450 a)", "size(x/1/2/OK)", "rcpt(recipient_domain/3/60/450 a $$sender)",
            "ask(127.0.0.1:10023:^dunno$)", "ask(::1)", "wait(1)", "FILTER x",
            "PREPEND X: $$helo_name", "REDIRECT $$sender", "BCC a@example.com", "&&M",
            "554 $$(nosuch)", "warn_if_reject reject",
    ]
)  # fmt: skip


@st.composite
def rule_files(draw):
    """A few rules, some over several lines, one of them after a macro."""
    lines = ["&&M { size>=1; HIT==1; action=REJECT m; };"]
    for number in range(draw(st.integers(1, 5))):
        items = [f"{draw(KEYS)}{draw(OPERATORS)}{draw(VALUES)}" for _ in range(draw(st.integers(0, 3)))]
        items += [f"action={draw(ACTIONS)}", *draw(st.lists(st.sampled_from(["&&M", "", " "]), max_size=1))]
        joint = draw(st.sampled_from(["; ", ";", "\n  ", ";\\\n"]))
        lines.append(joint.join([f"id=R{number}", *items]))
    return "\n".join(lines)


@EXAMPLES
@given(rule_files())
@example("id=A; client_port=25; action=OK")
@example("id=A; protocol_state==+DATA; action=OK")
@example("id=A; &&M; action=&&M")
def test_an_imported_policy_loads(text):
    """No traceback, and no policy that the loader refuses."""
    draft = Draft()
    FORMAT.read(Inputs(("rules.cf",), TextFiles({"rules.cf": text})), draft)
    checked(draft)
