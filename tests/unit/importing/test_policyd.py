"""policyd version 1: its tables and policyd.conf become a policy with its modules in its order."""

from __future__ import annotations

import sqlite3

import pytest

from forkpolicy.files import Files
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs, load_format
from tests.imported import Imported, draft_of, left_out

CONF = """\
# policyd.conf as an administrator has it
WHITELISTING=1
WHITELISTSENDER=1
WHITELISTDNSNAME=1
BLACKLISTING=1
BLACKLIST_REJECTION="Go away."
BLACKLIST_HELO=1
BLACKLIST_HELO_AUTO_EXPIRE=7d     # a week
BLACKLISTSENDER=1
BLACKLISTDNSNAME=1
SPAMTRAPPING=1
SPAMTRAP_REJECTION="Abuse."
SPAMTRAP_AUTO_EXPIRE=1d
HELO_CHECK=1
HELO_MAX_COUNT=3
HELO_AUTO_EXPIRE=7d
HELO_BLACKLIST_AUTO_EXPIRE=14d
GREYLISTING=1
OPTINOUT=1
OPTINOUTALL=0
TRIPLET_TIME=4m
TRIPLET_AUTH_TIMEOUT=30d
TRIPLET_UNAUTH_TIMEOUT=2d
SENDERTHROTTLE=1
SENDER_THROTTLE_SASL=1
SENDERMSGLIMIT=2
SENDERRCPTLIMIT=100
SENDERQUOTALIMIT=1000
SENDERTIMELIMIT=1h
SENDERMSGSIZE=500
RECIPIENTTHROTTLE=1
RECIPIENTMSGLIMIT=100
RECIPIENTTIMELIMIT=1h
"""
TABLES = {
    "whitelist": ["_whitelist _description _expire", "192.0.2.1 x 0", "10.%.%.% x 0"],
    "whitelist_sender": ["_whitelist", "@friend.example", "boss@example.net", "<>"],
    "whitelist_dnsname": ["_whitelist", "%.good.example"],
    "blacklist": ["_blacklist _description _expire", "198.51.100.% x 0"],
    "blacklist_sender": ["_blacklist", "@spam.example"],
    "blacklist_dnsname": ["_blacklist", "%dsl%"],
    "blacklist_helo": ["_helo", "[127.0.0.1]", "%.local"],
    "spamtrap": ["_rcpt _active", "trap@example.com 1", "gone@example.com 0"],
    "policy": ["_rcpt _optin _priority", "@grey.example 1 0", "no@grey.example 0 5"],
    "throttle": [
        "_from _count_max _time_limit _mail_size _priority",
        "anna 5 3600 0 0",
        "bulk@example.org 1 3600 90 0",
    ],
    "throttle_rcpt": ["_rcpt _count_max _time_limit", "quiet@example.com 1 60"],
}


def dump():
    """The tables as mysqldump writes them."""
    text = "-- MySQL dump 10.11\n"
    for name, (columns, *rows) in TABLES.items():
        text += (
            f"CREATE TABLE `{name}` ({', '.join(f'`{column}` char(60)' for column in columns.split())}) TYPE=MyISAM;\n"
        )
        values = ",".join("(" + ",".join(f"'{word}'" for word in row.split()) + ")" for row in rows)
        text += f"INSERT INTO `{name}` VALUES {values};\n"
    return text


@pytest.fixture
def policy(tmp_path):
    """The policy of both files, which nobody has asked yet."""
    serving = Imported(tmp_path / "policyd", draft_of("policyd", {"dump.sql": dump(), "policyd.conf": CONF}))
    yield serving
    serving.close()


BLACKLISTED, TRAPPED = "REJECT Policy Rejection- Go away.", "REJECT Policy Rejection- Abuse."
LATER, TOO_MANY = "DEFER_IF_PERMIT Policy Rejection- Please try later.", "REJECT Policy Rejection- Quota Exceeded."


def test_lists_decide_first(policy):
    """Lists decide first, the white ones before the black ones."""
    for request, reply in (
        ({"client_address": "192.0.2.1", "sender": "x@spam.example"}, "DUNNO"),
        ({"client_address": "10.9.8.7", "helo_name": "[127.0.0.1]"}, "DUNNO"),
        ({"sender": "x@friend.example", "client_address": "198.51.100.7"}, "DUNNO"),
        ({"sender": "x@sub.friend.example", "client_address": "198.51.100.7"}, BLACKLISTED),
        ({"sender": "", "client_address": "198.51.100.7"}, "DUNNO"),
        ({"client_name": "mx.good.example", "client_address": "198.51.100.7"}, "DUNNO"),
        ({"sender": "x@spam.example"}, BLACKLISTED),
        ({"sender": "x@notspam.example"}, "DUNNO"),
        ({"client_name": "p7.DSL.example"}, BLACKLISTED),
        ({"recipient": "gone@example.com"}, "DUNNO"),
    ):
        assert policy.reply(**request) == reply, request


def test_who_is_caught_stays_refused_for_the_time_of_its_setting(policy):
    """A spamtrap and a forbidden HELO name put a client on the black list."""
    assert policy.reply(recipient="trap@example.com", client_address="203.0.113.1") == TRAPPED
    assert policy.reply(client_address="203.0.113.1") == BLACKLISTED
    assert policy.reply(helo_name="pc.local", client_address="203.0.113.2") == BLACKLISTED
    policy.now_s += 86401
    assert policy.reply(client_address="203.0.113.1") == "DUNNO"
    assert policy.reply(client_address="203.0.113.2") == BLACKLISTED


def test_a_client_with_too_many_names_is_caught(policy):
    """A client with too many names is caught."""
    replies = [policy.reply(helo_name=f"h{number}.example", sender=f"{number}@one.example") for number in range(4)]
    assert replies == ["DUNNO", "DUNNO", "DUNNO", BLACKLISTED]
    policy.now_s += 86400
    assert policy.reply() == BLACKLISTED


def test_recipients_who_chose_it_are_greylisted(policy):
    """Recipients who chose it are greylisted, and a row of higher priority is the exception."""
    assert policy.reply(recipient="x@example.com") == "DUNNO"
    assert policy.reply(recipient="no@grey.example", sender="a@one.example") == "DUNNO"
    assert policy.reply(recipient="x@grey.example", sender="b@one.example") == LATER
    policy.now_s += 240
    assert policy.reply(recipient="x@grey.example", sender="b@one.example", client_address="203.0.113.77") == "DUNNO"


def test_limits_are_those_of_the_row_or_of_the_file(policy):
    """Limits are those of the row or of policyd.conf, by login or by sender."""
    signed_in = {"sasl_method": "PLAIN", "sasl_username": "anna", "sender": "anna@example.com"}
    assert [policy.reply(**signed_in) for _ in range(6)] == ["DUNNO"] * 5 + [TOO_MANY]
    assert [policy.reply(sender="x@one.example") for _ in range(3)] == ["DUNNO", "DUNNO", TOO_MANY]
    assert [policy.reply(sender="bulk@example.org") for _ in range(2)] == ["DUNNO", TOO_MANY]
    assert policy.reply(sender="y@one.example", size="499") == "DUNNO"
    assert policy.reply(sender="y@one.example", size="500") == "REJECT Policy Rejection- Message size too big."
    assert policy.reply(sender="bulk@example.org", size="90").endswith("too big.")
    quiet = [policy.reply(sender=f"{number}@two.example", recipient="quiet@example.com") for number in range(2)]
    assert quiet == ["DUNNO", TOO_MANY]


def test_what_is_left_out_says_why():
    """Bad entries, entries that expire, settings without an equal."""
    tables = (
        "INSERT INTO whitelist (_whitelist, _expire) VALUES ('10.1',0), ('192.0.2.9',99999999999), ('192.0.2.8',1);\n"
        "INSERT INTO whitelist_sender (_whitelist) VALUES ('example.org');\n"
        "INSERT INTO policy (_rcpt,_optin,_priority) VALUES ('@a.example',1,0),('x@a.example',0,0);\n"
        "INSERT INTO throttle (_from,_count_max,_priority) VALUES ('@b.example',9,5),('x@b.example',1,5);\n"
        "INSERT INTO rcpt_acl (_sender,_rcpt,_wblist) VALUES ('a@b.example','c@d.example','w');\n"
    )
    conf = CONF + "AUTO_WHITE_LISTING=1\nSENDER_THROTTLE_AUTOBLACKLIST=1\nTRIPLET_TIME=soon\n"
    draft = draft_of("policyd", {"t.sql": tables, "policyd.conf": conf})
    assert left_out(draft) == [
        ("t.sql:1", "10.1"),
        ("t.sql:1", "whitelist 192.0.2.9"),
        ("t.sql:2", "whitelist_sender example.org"),
        ("policyd.conf", "GREYLISTING"),
        ("t.sql:4", "throttle x@b.example"),
        ("policyd.conf", "SENDER_THROTTLE_AUTOBLACKLIST"),
        ("t.sql:5", "rcpt_acl a@b.example c@d.example"),
    ]
    assert "rate {sender_domain}" in draft.policy_text()


def test_without_policyd_conf_the_lists_are_carried_over():
    """Without policyd.conf the lists are carried over, and what needs it is reported."""
    draft = draft_of("policyd", {"dump.sql": dump()})
    assert "greylisting" not in draft.policy_text()
    assert "whitelist_client" in draft.policy_text()
    reasons = " ".join(each.reason for each in draft.left_out)
    assert "only policyd.conf says whether _from is a login" in reasons
    assert any("every module counts as on" in note.text for note in draft.notes)


def test_a_file_of_sqlite_gives_the_same_policy(tmp_path):
    """A file of SQLite gives the same rules as the dump."""
    path = tmp_path / "policyd.db"
    with sqlite3.connect(path) as database:
        for name, (columns, *rows) in TABLES.items():
            words = columns.split()
            database.execute(f"CREATE TABLE {name} ({', '.join(words)})")
            database.executemany(
                f"INSERT INTO {name} VALUES ({','.join('?' * len(words))})", [row.split() for row in rows]
            )
    conf = tmp_path / "policyd.conf"
    conf.write_text(CONF)
    draft = Draft()
    load_format("policyd").read(Inputs((str(path), str(conf)), Files()), draft)
    expected = draft_of("policyd", {"dump.sql": dump(), "policyd.conf": CONF})
    rules = [[line for line in each.policy_text().splitlines() if line[:1] != "#"] for each in (draft, expected)]
    assert rules[0] == rules[1]


def test_fifty_thousand_rows_are_imported_in_seconds(tmp_path):
    """A table with values, and no rule for each row."""
    rows = ",".join(f"('user{number}@example.org', {number % 7 + 1}, 3600)" for number in range(50_000))
    text = f"INSERT INTO throttle (_from, _count_max, _time_limit) VALUES {rows};\n"
    draft = draft_of("policyd", {"t.sql": text, "policyd.conf": CONF})
    assert draft.rules < 40
    assert draft.entries > 50_000


def test_a_table_that_is_switched_off_is_named():
    """Rows that policyd does not ask are not carried over, and the setting is named."""
    sql = "CREATE TABLE spamtrap (_rcpt char(60), _active int);\nINSERT INTO spamtrap VALUES ('trap@example.com', 1);\n"
    draft = draft_of("policyd", {"policyd.sql": sql, "policyd.conf": "WHITELISTING=1\nGREYLISTING=0\nSPAMTRAPPING=0\n"})
    assert draft.rules == 0
    assert "spamtrap: not carried over, since policyd does not ask it: SPAMTRAPPING is not 1" in [
        note.text for note in draft.notes
    ]
