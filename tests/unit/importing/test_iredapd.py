"""iRedAPD: white and black lists, greylisting and throttling decide as its plugins do, in their order."""

from __future__ import annotations

import pytest

from forkpolicy.importing.iredapd.accounts import account_of
from tests.imported import Imported, draft_of, left_out

SETTINGS = """\
# settings.py
import os
backend = 'mysql'
plugins = ['reject_null_sender', 'wblist_rdns', 'greylisting', 'throttle', 'amavisd_wblist']
MYNETWORKS = ['10.0.0.0/8', '192.0.2.*']
GREYLISTING_BLOCK_EXPIRE = 5
GREYLISTING_BYPASS_SPF = False
GREYLISTING_MESSAGE = "Come back"
other = os.environ
"""
REFUSED = "REJECT Blacklisted"


@pytest.fixture
def serve(tmp_path):
    """A function that lets a dump decide."""
    made = []

    def start(rows, settings=SETTINGS):
        texts = {"iredapd.sql": rows, **({"settings.py": settings} if settings else {})}
        made.append(Imported(tmp_path / f"policy{len(made)}", draft_of("iredapd", texts)))
        return made[-1]

    yield start
    for each in made:
        each.close()


def accounts(table, *rows):
    """Rows of `users` or `mailaddr`: number, priority, address."""
    return "".join(
        f"INSERT INTO {table} (id, priority, email) VALUES ({number}, {priority}, '{email}');\n"
        for number, priority, email in rows
    )


@pytest.mark.parametrize(
    ("text", "kind", "patterns"),
    [
        ("User@Example.com", "email", ("user@example.com",)),
        ("user@*", "everywhere", ("user@",)),
        ("@example.com", "domain", ("example.com",)),
        ("@.example.com", "below", ("example.com", ".example.com")),
        ("@com", "domain", ("com",)),
        ("@.", "any", ("*",)),
        ("192.0.2.7", "client", ("192.0.2.7/32",)),
        ("192.0.2.*", "client", ("192.0.2.0/24",)),
        ("192.0.2.0/25", "network", ("192.0.2.0/25",)),
        ("2001:db8::/32", "network", ("2001:db8::/32",)),
    ],
)
def test_accounts(text, kind, patterns):
    """Every form of an account."""
    assert account_of(text) == (kind, patterns)


@pytest.mark.parametrize(
    "text", ["", "example.com", "@*", "192.*.2.1", "192.0.2.1/24", "a b@example.com", "0.0.0.0/0", "@ip"]
)
def test_what_is_not_an_account(text):
    """What is not an account is refused."""
    with pytest.raises(ValueError, match=r"."):
        account_of(text)


def test_lists_go_by_recipient_then_by_sender(serve):
    """The most specific recipient first, for it the most specific sender; networks last of all."""
    policy = serve(
        accounts("users", (1, 0, "@."), (2, 60, "@example.com"), (3, 100, "anna@example.com"), (4, 50, "@.example.net"))
        + accounts(
            "mailaddr", (1, 60, "@spam.example"), (2, 100, "good@spam.example"), (3, 0, "@."), (4, 80, "203.0.113.9")
        )
        + accounts("mailaddr", (5, 0, "198.51.100.0/24"), (6, 90, "sales@*"), (7, 50, "@.shop.example"))
        + "INSERT INTO wblist (rid, sid, wb) VALUES (1,1,'B'),(2,2,'W'),(3,3,'W'),(2,4,'B'),(1,5,'B'),(2,6,'B'),"
        "(4,7,'B');\n"
    )
    for request, reply in (
        ({"sender": "x@spam.example", "recipient": "x@example.org"}, REFUSED),
        ({"sender": "x@sub.spam.example", "recipient": "x@example.org"}, "DUNNO"),
        ({"sender": "good@spam.example", "recipient": "bert@example.com"}, "OK"),
        ({"sender": "good@spam.example", "recipient": "bert@example.org"}, REFUSED),
        ({"sender": "x@spam.example", "recipient": "anna@example.com"}, "OK"),
        ({"sender": "x@one.example", "recipient": "b@example.com", "client_address": "203.0.113.9"}, REFUSED),
        ({"sender": "x@one.example", "recipient": "b@example.org", "client_address": "198.51.100.9"}, REFUSED),
        ({"sender": "good@spam.example", "recipient": "b@example.com", "client_address": "203.0.113.9"}, "OK"),
        ({"sender": "sales@two.example", "recipient": "b@example.com"}, REFUSED),
        ({"sender": "x@shop.example", "recipient": "b@example.net"}, REFUSED),
        ({"sender": "x@a.shop.example", "recipient": "b@c.example.net"}, REFUSED),
        ({"sender": "", "recipient": "b@example.com", "client_address": "198.51.100.9"}, "DUNNO"),
        ({"sender": "x@spam.example", "recipient": "x@example.org", "sasl_username": "x@spam.example"}, "DUNNO"),
    ):
        assert policy.reply(**request) == reply, request


def test_outgoing_lists_go_by_login(serve):
    """Outgoing mail goes by login and recipient; a welcome recipient ends the lists."""
    policy = serve(
        accounts("users", (1, 60, "@example.com"), (2, 100, "anna@example.com"))
        + accounts("mailaddr", (1, 60, "@rival.example"), (2, 100, "friend@rival.example"))
        + "INSERT INTO outbound_wblist (rid, sid, wb) VALUES (1,1,'B'),(2,2,'W');\n"
    )
    bert, anna = {"sasl_username": "bert@example.com"}, {"sasl_username": "anna@example.com"}
    assert policy.reply(**bert, recipient="x@rival.example") == REFUSED
    assert policy.reply(**anna, recipient="x@rival.example") == REFUSED
    assert policy.reply(**anna, recipient="friend@rival.example") == "DUNNO"
    assert policy.reply(**bert, recipient="friend@rival.example") == REFUSED
    assert policy.reply(recipient="x@rival.example") == "DUNNO"


def test_names_of_clients(serve):
    """Names of clients: the white ones first, and nobody who is trusted or has signed in."""
    policy = serve(
        "INSERT INTO wblist_rdns (id, rdns, wb) VALUES (1,'.dyn.example','B'),(2,'mx.dyn.example','W'),(3,"
        "'bad.example','B');\n"
    )
    for name, reply in (
        ("a.dyn.example", REFUSED),
        ("dyn.example", REFUSED),
        ("mx.dyn.example", "DUNNO"),
        ("bad.example", REFUSED),
        ("a.bad.example", "DUNNO"),
        ("unknown", "DUNNO"),
    ):
        assert policy.reply(reverse_client_name=name) == reply, name
    assert policy.reply(reverse_client_name="bad.example", client_address="10.1.1.1") == "DUNNO"
    assert policy.reply(reverse_client_name="bad.example", client_address="192.0.2.77") == "DUNNO"
    assert policy.reply(reverse_client_name="bad.example", sasl_username="anna") == "DUNNO"


def test_greylisting_goes_by_account_then_domain_then_all(serve):
    """The first setting decides, on or off; a client that has passed waits no more."""
    policy = serve(
        "INSERT INTO greylisting (id, account, priority, sender, sender_priority, active) VALUES (1,'@.',0,'@.',0,1),"
        "(2,'@off.example',60,'@.',0,0),(3,'on@off.example',100,'@.',0,1),(4,'@example.com',60,'@kind.example',60,0),"
        "(5,'@example.com',60,'198.51.100.7',80,0),(6,'@example.com',60,'bad@kind.example',100,1);\n"
        "INSERT INTO greylisting_whitelists (id, account, sender) VALUES (1,'@.','@white.example'),(2,'@.',"
        "'203.0.113.0/28'),"
        "(3,'vip@example.com','@.');\n"
    )
    later = "451 4.7.1 Come back"
    client = {"client_address": "203.0.113.77"}
    for request, reply in (
        ({"recipient": "a@example.org"}, later),
        ({"recipient": "a@off.example"}, "DUNNO"),
        ({"recipient": "on@off.example"}, later),
        ({"recipient": "a@example.com"}, later),
        ({"recipient": "a@example.com", "sender": "x@kind.example"}, "DUNNO"),
        ({"recipient": "a@example.com", "sender": "bad@kind.example"}, later),
        ({"recipient": "a@example.org", "sender": "x@kind.example"}, later),
        ({"recipient": "a@example.com", "client_address": "198.51.100.7"}, "DUNNO"),
        ({"recipient": "a@example.com", "sender": "x@white.example"}, "DUNNO"),
        ({"recipient": "a@example.com", "client_address": "203.0.113.5"}, "DUNNO"),
        ({"recipient": "vip@example.com"}, "DUNNO"),
        ({"recipient": "a@example.com", "sasl_username": "x"}, "DUNNO"),
        ({"recipient": "a@example.com", "client_address": "127.0.0.1"}, "DUNNO"),
    ):
        assert policy.reply(**{**client, **request}) == reply, request
    policy.now_s += 300
    assert policy.reply(**client, recipient="a@example.org") == "DUNNO"
    assert policy.reply(**client, recipient="new@example.org", sender="other@one.example") == "DUNNO"
    assert policy.reply(client_address="203.0.113.78", recipient="a@example.org") == later


def test_limits_are_inherited_one_by_one(serve):
    """-1 is the limit of the next account above, 0 none at all; each login counts by itself."""
    policy = serve(
        "INSERT INTO throttle (id, account, kind, priority, period, msg_size, max_msgs, max_quota) VALUES"
        " (1,'@.','outbound',0,60,1000,2,-1),(2,'@example.com','outbound',60,60,-1,3,-1),"
        " (3,'anna@example.com','outbound',100,60,5000,-1,-1),(4,'free@example.com','outbound',100,60,0,0,0),"
        " (5,'@.example.net','outbound',50,60,-1,1,-1),(6,'info@example.com','inbound',100,60,-1,1,-1),"
        " (7,'@.','external',0,60,-1,4,-1);\n"
    )
    many, large = "REJECT Quota exceeded", "REJECT Message size exceeded"

    def sent(login, count):
        return [policy.reply(sasl_username=login, sender=login, recipient=f"{n}@else.example") for n in range(count)]

    assert sent("a@one.example", 3) == ["DUNNO", "DUNNO", many]
    assert sent("b@example.com", 4) == ["DUNNO"] * 3 + [many]
    assert sent("anna@example.com", 4) == ["DUNNO"] * 3 + [many]
    assert sent("free@example.com", 9) == ["DUNNO"] * 9
    assert sent("c@sub.example.net", 2) == ["DUNNO", many]
    assert sent("d@example.net", 2) == ["DUNNO", many]
    size = {"protocol_state": "END-OF-MESSAGE", "recipient": "x@else.example", "recipient_count": "1"}
    assert policy.reply(**size, sasl_username="z@one.example", sender="z@one.example", size="1001") == large
    assert policy.reply(**size, sasl_username="anna@example.com", sender="anna@example.com", size="5000") != large
    assert policy.reply(**size, sasl_username="anna@example.com", sender="anna@example.com", size="5001") == large
    assert policy.reply(**size, sasl_username="free@example.com", sender="free@example.com", size="99999") == "DUNNO"
    info = [policy.reply(sender=f"{n}@two.example", recipient="info@example.com") for n in range(2)]
    assert info == ["DUNNO", many]
    within = [policy.reply(sender="x@example.com", recipient="y@example.com") for _ in range(6)]
    assert within == ["DUNNO"] * 6
    policy.now_s += 120
    assert [policy.reply(sender="x@three.example", recipient=f"{n}@else.example") for n in range(5)] == [
        "DUNNO"
    ] * 4 + [many]


def test_what_is_left_out():
    """Limits by address of the client, rows that point nowhere, odd priorities, accounts that are none."""
    draft = draft_of(
        "iredapd",
        {
            "i.sql": "INSERT INTO throttle (id, account, kind, priority, period, max_msgs) VALUES"
            " (1,'192.0.2.1','outbound',80,60,5),(2,'@ip','outbound',0,60,5);\n"
            "INSERT INTO wblist (rid, sid, wb) VALUES (9,9,'B');\n"
            + accounts("users", (1, 10, "a@example.com"), (2, 60, "@example.com"), (3, 0, "nobody"))
            + accounts("mailaddr", (1, 0, "@."))
            + "INSERT INTO wblist (rid, sid, wb) VALUES (1,1,'B'),(2,1,'W'),(3,1,'W');\n"
            "INSERT INTO wblist_rdns (id, rdns, wb) VALUES (1,'a..b','B'),(2,'b.example','X');\n"
            "INSERT INTO greylisting_whitelist_domains (id, domain) VALUES (1,'big.example');\n"
        },
    )
    lines = [place.removeprefix("i.sql:") for place, _ in left_out(draft)]
    assert lines == ["8", "8", "1", "1", "2", "7", "7", "9"]
    assert "not below that of more specific rows" in draft.left_out[6].reason


def test_plugins_that_are_off_are_not_carried_over():
    """settings.py says which plugins are on; it is read, and nothing of it runs."""
    rows = "INSERT INTO wblist_rdns (id, rdns, wb) VALUES (1,'.dyn.example','B');\n"
    settings = "plugins = ['greylisting']\nraise SystemExit\n"
    assert draft_of("iredapd", {"i.sql": rows, "settings.py": settings}).rules == 0
    assert draft_of("iredapd", {"i.sql": rows, "settings.py": "plugins = [\n"}).rules == 1


def test_fifty_thousand_rows_are_one_table():
    """Lists of 50,000 pairs are entries, not rules."""
    numbers = range(50_000)
    text = accounts("users", (1, 100, "anna@example.com")) + "INSERT INTO mailaddr (id, priority, email) VALUES "
    text += ",".join(f"({n}, 60, '@d{n}.example')" for n in numbers) + ";\nINSERT INTO wblist (rid, sid, wb) VALUES "
    text += ",".join(f"(1, {n}, 'B')" for n in numbers) + ";\n"
    draft = draft_of("iredapd", {"i.sql": text})
    assert (draft.rules, draft.entries) == (1, 50_000)
