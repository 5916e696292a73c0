"""The store takes mail by LMTP: what is answered, what is on disk, and what the policy server was asked."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from tests.gateway.stores import LmtpClient, PolicyServer, Store

MAIL = b"From: news@example.org\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMessage-ID: <1@example.org>\r\n\r\nHello\r\n"


@pytest.fixture
def store(tmp_path):
    """A store whose policy server lets mail to alice go on and keeps the rest."""
    sockets = tmp_path / "private"
    sockets.mkdir()
    policy = PolicyServer(
        sockets / "policy", lambda asked: "OK" if asked["recipient"].startswith("alice@") else "HOLD doubtful"
    )
    with Store(tmp_path) as store:
        store.policy = policy
        yield store
    policy.close()


def kept_bytes(store, digest):
    """The file of a mail."""
    return (store.path / "mail" / digest[:2] / digest).read_bytes()


def test_each_recipient_has_a_fate_of_its_own(store):
    """One status for each recipient, one row each, and one file."""
    with LmtpClient(store.sockets / "store") as client:
        statuses = client.send("news@example.org", ["alice@example.com", "Bob@Example.com"], MAIL)
    assert [each[:3] for each in statuses] == ["250", "250"]
    rows = store.rows("SELECT recipient, recipient_key, state, why, passed FROM held ORDER BY id")
    assert rows == [
        ("alice@example.com", "alice@example.com", "releasing", "OK", 1),
        ("Bob@Example.com", "bob@example.com", "held", "HOLD doubtful", 0),
    ]
    assert kept_bytes(store, hashlib.sha256(MAIL).hexdigest()) == MAIL


def test_the_policy_is_asked_as_postfix_would_ask(store):
    """Client and envelope of the arrival, the cause, and what the scanner found."""
    scanned = (
        b"X-Spamd-Result: default: False [9.10 / 15.00]; R_SPF_ALLOW(-0.20)[+ip4:203.0.113.9]\r\nX-Spamd-Auth: spf\r\n"
        + MAIL
    )
    with LmtpClient(store.sockets / "store-spam") as client:
        client.send("news@example.org", ["bob@example.com"], scanned)
    asked = store.policy.requests[-1]
    assert asked["policy_context"] == "held-spam"
    assert asked["protocol_state"] == "RCPT"
    assert asked["client_address"] == "203.0.113.9"
    assert asked["sender"] == "news@example.org"
    assert asked["queue_id"] == "4Xq1"
    assert asked["held_cause"] == "spam"
    assert asked["spam_score"] == "9.1"
    assert asked["spam_auth"] == "pass"


def test_only_ok_lets_spam_go_on(store):
    """DUNNO keeps what the scanner held, and lets go on what only the policy held."""
    store.policy._reply = lambda _asked: "DUNNO"
    for name in ("store", "store-spam", "store-virus"):
        with LmtpClient(store.sockets / name) as client:
            client.send("news@example.org", ["carol@example.com"], MAIL, queue_id=name)
    rows = store.rows("SELECT cause, state FROM held JOIN message ON message.id = held.message ORDER BY held.id")
    assert rows == [("policy", "releasing"), ("spam", "held"), ("virus", "held")]


def test_a_mail_that_comes_again_is_there_once(store):
    """Postfix delivers again what it did not see answered: the same queue id and bytes make no second row."""
    for _ in range(2):
        with LmtpClient(store.sockets / "store") as client:
            assert client.send("news@example.org", ["bob@example.com"], MAIL)[0].startswith("250")
    assert store.rows("SELECT count(*) FROM held") == [(1,)]


@pytest.mark.parametrize(
    "body",
    [
        b"x" * 300_000 + b"\r\n",
        b"\xe9\xff\x00\r\n",
        b".\r\n..\r\n.a\r\n",
        b"a\nb\rc\r\n",
        b"",
        b"x" * 65536 + b"\r\n.\r\n",
    ],
    ids=["long line", "eight bits", "dots", "bare ends", "no body", "dot after a long line"],
)
def test_bytes_on_disk_are_bytes_that_came(store, body):
    """Lines of any length, eight bits, dots at the start of a line."""
    with LmtpClient(store.sockets / "store") as client:
        assert client.send("", ["bob@example.com"], b"Subject: x\r\n\r\n" + body)[0].startswith("250")
    (digest,) = store.rows("SELECT digest FROM message")[0]
    assert kept_bytes(store, digest) == b"Subject: x\r\n\r\n" + body


@pytest.mark.parametrize("subject", [b"=?utf-8?b?a?=", b"=?a\xff?b??=", b"=?x?q?=ZZ?=", b"\xff" * 300, b"=?" * 50_000])
def test_a_broken_header_is_no_reason_to_refuse(store, subject):
    """The mail is held for each recipient, its subject as it stands."""
    with LmtpClient(store.sockets / "store") as client:
        statuses = client.send("a@example.org", ["bob@example.com", "carol@example.com"], b"Subject: " + subject + MAIL)
    assert [each[:3] for each in statuses] == ["250", "250"]


def test_a_policy_server_that_hangs_is_asked_once_a_mail(tmp_path):
    """A hundred recipients would take longer than Postfix waits: all stay, for the same reason."""
    sockets = tmp_path / "private"
    sockets.mkdir()
    policy = PolicyServer(sockets / "policy", lambda _asked: None)
    with Store(tmp_path, "policy_timeout_s = 1") as store, LmtpClient(store.sockets / "store") as client:
        statuses = client.send("a@example.org", [f"u{number}@example.com" for number in range(20)], MAIL)
        assert {each[:3] for each in statuses} == {"250"}
        assert store.rows("SELECT DISTINCT state, why FROM held") == [
            ("held", "the policy server did not reply within 1 s")
        ]
    policy.close()
    assert len(policy.requests) == 1


def test_without_a_policy_server_mail_stays(store):
    """No reply is no reason to let mail go on; the row says why it stays."""
    store.policy.close()
    with LmtpClient(store.sockets / "store") as client:
        client.send("news@example.org", ["alice@example.com"], MAIL)
    state, why = store.rows("SELECT state, why FROM held")[0]
    assert state == "held"
    assert "did not reply" in why


def test_no_room_is_452(tmp_path):
    """With less room than min_free a mail is refused for now, before its bytes are sent."""
    with Store(tmp_path, room="900000G") as store, LmtpClient(store.sockets / "store") as client:
        assert client.send("news@example.org", ["bob@example.com"], MAIL) == ["452 4.3.1 Insufficient system storage"]


def test_a_mail_of_empty_lines_keeps_nobody_waiting(store):
    """A megabyte of them takes as long as any other: the store has one thread for all sessions."""
    before_s = cpu_s(store.process.pid)
    mail = b"Subject: Hello\r\n\r\n" + b"\r\n" * 500_000
    with LmtpClient(store.sockets / "store-spam") as client:
        assert client.send("ann@example.org", ["anna@example.com"], mail)[0].startswith("250")
    # It was 1.6 s, a line at a time.
    assert cpu_s(store.process.pid) - before_s < 0.5


def cpu_s(pid):
    """What a process has had so far (proc_pid_stat(5): utime, stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda store: (store.base / "held").write_text(""), "[store] path is a directory of the store's user"),
        (lambda store: store.sockets.rmdir(), "there is no such directory for the store's sockets: make it first"),
        (lambda store: damage(store.base / "held"), "file is not a database: the disk or somebody has damaged it"),
    ],
)
def test_a_store_that_cannot_start_says_what_to_do(tmp_path, spoil, words):
    """A file where its directory is to be, no place for its sockets, a database that is none."""
    store = Store(tmp_path)
    spoil(store)
    with pytest.raises(AssertionError, match=re.escape(words)):
        store.start()
    store.process.stderr.close()
    assert store.process.wait(10) == 73


def damage(directory):
    """A database that is none."""
    directory.mkdir()
    (directory / "held.db").write_text("nonsense" * 1000)


def test_a_second_store_does_not_start(store):
    """One directory, one store: the second one says so and ends."""
    second = Store(store.base)
    with pytest.raises(AssertionError, match="another store uses it"):
        second.start()
    second.process.stderr.close()
    assert second.process.wait(10) == 73
