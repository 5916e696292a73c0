"""Replies with inserted values: what a client may choose, and the reply where the result is not a valid one."""

from __future__ import annotations

import pytest

from forkpolicy.policy.matchers.remembering.deeds import FORMS
from forkpolicy.policy.results import WHOLE_REPLY
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.reply import VERBS
from forkpolicy.scoreboard import ACTIONS
from tests.fakes import decide, diagnostics_of, policy_of, request_of

ON_ERROR = "DEFER_IF_PERMIT 4.3.0 Policy temporarily unavailable"
TABLE = "table t key x\nacl v sasl_username table:t\nacl x protocol_state RCPT\n"
ROWS = {
    "t": {
        "good": "trap@example.com",
        "empty": None,
        "odd": "two words",
        "many": "a@example.com,b@example.com",
        "long": "x" * 401 + "@example.com",
        "ctrl": "a\x01@example.com",
        "hop": "smtp:[127.0.0.1]:10025",
        "host": "h" * 190,
        "header": "X-Seen",
    }
}


def policy_with(action):
    return policy_of(f"{TABLE}action y {action}\naccess x y\n", ROWS)


CHOSEN = [
    "sender",
    "recipient",
    "helo_name",
    "client_name",
    "client_address",
    "recipient_localpart",
    "sender_domain",
    "ccert_subject",
    "sasl_sender",
]


@pytest.mark.parametrize("name", CHOSEN)
@pytest.mark.parametrize(
    "action",
    [
        "REDIRECT {%s}",
        "redirect {%s}",
        "BCC {%s}",
        "BCC {%s}@archive.example",
        "BCC archive@{%s}",
        "FILTER {%s}",
        "FILTER smtp:{%s}",
        "FILTER {%s}:[127.0.0.1]",
        "PREPEND {%s}",
        "PREPEND X-{%s}: yes",
    ],
)
def test_a_client_chooses_no_recipient_no_transport_and_no_header(action, name):
    """What a client sends is never where mail goes, nor the name of a header: a mistake when the policy is loaded."""
    told = diagnostics_of(f"{TABLE}action y {action % name}\naccess x y\n")
    assert "lets the client choose" in told[0]
    assert f"{{{name}}}" in told[0]


@pytest.mark.parametrize(
    "action",
    [
        "BCC {sasl_username}",
        "BCC archive+{queue_id}@example.com",
        "REDIRECT {match.v}",
        "FILTER smtp-{server_port}:",
        "FILTER {match.v}",
        "PREPEND {match.v}: yes",
        "PREPEND X-Helo: {helo_name}",
        "PREPEND X-Seen: {sender}: {recipient}",
        "REJECT {sender}",
        "550 {helo_name}",
    ],
)
def test_what_the_operator_has_chosen_may_be_put_in(action):
    """Values of tables, of Postfix itself and of a proved login are fine everywhere, the client's in texts."""
    assert diagnostics_of(f"{TABLE}action y {action}\naccess x y\n") == []


@pytest.mark.parametrize(
    ("action", "login", "said"),
    [
        ("REDIRECT {match.v}", "good", "REDIRECT trap@example.com"),
        ("REDIRECT {match.v}", "empty", ON_ERROR),
        ("REDIRECT {match.v}", "", ON_ERROR),
        ("REDIRECT {match.v}", "odd", ON_ERROR),
        ("BCC {match.v}", "many", ON_ERROR),
        ("BCC {match.v}", "long", ON_ERROR),
        ("BCC {match.v}", "ctrl", ON_ERROR),
        ("BCC {sasl_username}@example.com", "anna", "BCC anna@example.com"),
        ("BCC {sasl_username}@example.com", "anna b", ON_ERROR),
        ("BCC {sasl_username}@example.com", "a@b.example", ON_ERROR),
        ("BCC {sasl_username}@example.com", "", ON_ERROR),
        ("FILTER {match.v}", "hop", "FILTER smtp:[127.0.0.1]:10025"),
        ("FILTER {match.v}", "good", ON_ERROR),
        ("FILTER {match.v}", "empty", ON_ERROR),
        ("FILTER smtp:{match.v}{match.v}", "host", f"FILTER smtp:{'h' * 380}"),
        ("FILTER smtp:{match.v}{match.v}{match.v}", "host", ON_ERROR),
        ("PREPEND {match.v}: yes", "header", "PREPEND X-Seen: yes"),
        ("PREPEND {match.v}: yes", "odd", ON_ERROR),
        ("550 {match.v}", "header", "550 X-Seen"),
        ("550 {match.v}", "empty", ON_ERROR),
        ("450 {match.v}{sasl_username}", "", ON_ERROR),
        ("REJECT {match.v}", "empty", "REJECT "),
        ("550 no {match.v}", "empty", "550 no "),
    ],
)
def test_a_result_that_is_no_reply_is_answered_with_on_error(action, login, said):
    """Postfix never gets a bare number, half an address or two of them; the reason is reported once a request."""
    policy = policy_with(action)
    told = []
    policy.on_failure = told.append
    assert decide(policy, sasl_username=login) == said
    assert told == []
    values = wanted_values(request_of(sasl_username=login), policy.wanted)
    assert policy.reply(policy.decide(values).rule, values) == f"action={said}\n\n".encode()
    assert len(told) == (said == ON_ERROR)
    assert all(each.startswith("action y: ") for each in told)


def test_a_table_that_fails_while_the_text_is_made_is_a_failure():
    """{match.ACL} of a table that cannot be read: on_error and the table's own words."""
    policy = policy_of(f"{TABLE}action y REJECT {{match.v}}\naccess x y\n", {"t": None})
    told = []
    policy.on_failure = told.append
    values = wanted_values(request_of(), policy.wanted)
    assert policy.reply(policy.decide(values).rule, values) == f"action={ON_ERROR}\n\n".encode()
    assert told == ["action y: table t is damaged"]


def test_a_note_that_cannot_be_made_says_so():
    """A `log` line whose table fails notes the failure and the request goes on."""
    policy = policy_of(f"{TABLE}action y log {{match.v}}\naccess x y\n", {"t": None})
    values = wanted_values(request_of(), policy.wanted)
    policy.decide(values)
    (noted,) = policy.take_noted()
    assert policy.text(noted.rule, values) == "log action y: table t is damaged"


def test_a_fixed_reply_is_made_when_the_policy_is_loaded():
    """Nothing is checked for it in a request, and nothing where only the text can vary."""
    checked = {"REJECT no": False, "REJECT {sender}": False, "550 no {sender}": False, "PREPEND X-A: {sender}": False}
    for action, expected in {**checked, "550 {sender}": True, "BCC {match.v}": True}.items():
        assert policy_with(action).model.actions["y"].checked is expected
    assert policy_with("BCC a@example.com").model.actions["y"].encoded == b"action=BCC a@example.com\n\n"


def test_every_action_has_its_place_in_the_counters():
    """What a rule may do is counted by its verb; one without a place would end the worker that counts it."""
    others = {"4xx", "5xx", "restriction", "log", "score", WHOLE_REPLY, *FORMS}
    assert set(ACTIONS) == {*VERBS, *others}
