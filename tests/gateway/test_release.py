"""Held mail goes on through a private Postfix to the next server: once, whole, and never lost."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from forkpolicy.gateway.client import ask
from forkpolicy.gateway.store_messages import Ledger, ListHeld, ReleaseHeld, Scope, ShowHeld, StoreStatus, Wanted
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import traversable_directory
from tests.gateway.next_servers import Between, NextServer, release_postfix
from tests.gateway.stores import LmtpClient, PolicyServer, Store

ALL = Scope(everything=True)
MAIL = (
    b"Received: from mail.example.org ([203.0.113.9])\r\n\tby gateway; Sun, 29 Nov 2026 04:00:00 +0000\r\n"
    b"X-Spam: Yes\r\nX-Spamd-Result: default: False [9.10 / 15.00];\r\n\tR_SPF_ALLOW(-0.20)[+ip4]\r\n"
    b"X-Spam-Score: 9\r\n"
    b"From: news@example.org\r\nTo: alice@example.com\r\nX-Spammer: stays\r\nSubject: Hello\r\n"
    b"Date: Sun, 29 Nov 2026 04:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\n"
    b"X-Spam: stays\r\n.dot\r\nText\r\n"
)


def wait_for(question, timeout_s=60):
    """What the question says once it is true, asked again after each tenth of a second at most."""
    until_s = time.monotonic() + timeout_s
    never = threading.Event()
    while not (answer := question()):
        assert time.monotonic() < until_s, "it did not happen"
        never.wait(0.1)
    return answer


def state_of(store, held, state, postfix=None):
    """Wait until a row has a state; the row. `postfix`: is to try what it has put off, which after a reload it was seen
    not to do by itself for two minutes: qmgr(8) is started again at its next wake-up.
    """

    def look():
        if postfix is not None:
            postfix.flush()
        row = ask(store.api, ShowHeld(ALL, held)).row
        return row if row.state == state else None

    try:
        return wait_for(look)
    except AssertionError as error:
        shown, status = ask(store.api, ShowHeld(ALL, held)), ask(store.api, StoreStatus())
        raise AssertionError(f"not {state}: {shown.row} {shown.events} {status.errors}") from error


def deliver(store, *recipients, data=MAIL, sender="news@example.org", queue_id="4Xq1", name="store"):
    """Have the store take a mail."""
    with LmtpClient(store.sockets / name) as client:
        statuses = client.send(sender, list(recipients), data, queue_id)
    assert all(each.startswith("250") for each in statuses), statuses


def release(store, *ids):
    """Release rows."""
    return ask(store.api, ReleaseHeld(ALL, ids, "admin"))


def files_of(store):
    """The files of held mail."""
    return [each for each in (store.path / "mail").rglob("*") if each.is_file()]


def direct(tmp_path, port, retry_s=1, more=""):
    """A store that sends to a port of ours."""
    return Store(tmp_path, more, f'[release]\nsmtp = "127.0.0.1:{port}"\nretry_s = {retry_s}\n')


class Site:
    """The store, Postfix behind it, the next server's port, and the directory of them."""

    def __init__(self, base, postfix, backend, store):
        self.base, self.postfix, self.backend, self.store = base, postfix, backend, store


@pytest.fixture(scope="module")
def chain():
    """The private Postfix and the next server of this module."""
    with traversable_directory() as base, NextServer() as backend, release_postfix(base, backend.port) as postfix:
        yield base, backend, postfix


@pytest.fixture
def site(chain, tmp_path):
    """A store of its own for each test, which follows that Postfix's log."""
    base, backend, postfix = chain
    backend.taken.clear()
    backend.replies.clear()
    others = f'[release]\nsmtp = "127.0.0.1:{postfix.port}"\nretry_s = 1\n'
    with Store(tmp_path, "", others, mail_log=str(postfix.log)) as store:
        yield Site(base, postfix, backend, store)
    # What a test leaves in the queue would arrive in the next one.
    backend.replies.clear()
    wait_for(lambda: flushed_and_empty(postfix))


def flushed_and_empty(postfix):
    """Whether the queue is empty, and else have everything tried."""
    return queue_is_empty(postfix) or postfix.flush()


def queue_is_empty(postfix):
    """Whether Postfix has no mail left: neither ours nor a bounce."""
    parts = ("incoming", "active", "deferred", "maildrop")
    return not any(each.is_file() for part in parts for each in (postfix.queue / part).rglob("*"))


def rotate(postfix):
    """Rename the log and reload Postfix, as `postfix logrotate` does: postlogd(8) keeps the file open until then."""
    renamed = postfix.log.rename(postfix.log.with_name("maillog.1"))
    postfix._process.send_signal(signal.SIGHUP)

    def begun():
        # A line makes the file.
        with socket.create_connection(("127.0.0.1", postfix.port), timeout=20) as connection:
            connection.recv(4)
        return postfix.log.exists()

    wait_for(begun)
    return renamed


def test_one_copy_goes_on_and_only_that_one(site):
    """Released for alice: she gets it once with its Received and without X-Spam; bob's copy and the file stay."""
    deliver(site.store, "alice@example.com", "bob@example.com")
    release(site.store, 1)
    row = state_of(site.store, 1, "delivered")
    (taken,) = site.backend.taken
    assert "alice@example.com" in taken.recipient
    assert taken.mail.startswith("MAIL FROM:<news@example.org>")
    assert b"by gateway; Sun, 29 Nov 2026" in taken.data
    assert b"X-Spam:" not in taken.data.partition(b"\r\n\r\n")[0]
    assert b"R_SPF_ALLOW" not in taken.data
    assert b"X-Spammer: stays" in taken.data
    assert taken.data.endswith(b"X-Spam: stays\r\n.dot\r\nText\r\n")
    assert row.new_queue_id
    assert ask(site.store.api, ShowHeld(ALL, 2)).row.state == "held"
    assert len(files_of(site.store)) == 1


def test_the_file_goes_when_the_log_says_delivered(site):
    """Both copies released: the file is there while one may still be refused, and gone afterwards."""
    deliver(site.store, "alice@example.com", "bob@example.com")
    release(site.store, 1, 2)
    state_of(site.store, 1, "delivered")
    state_of(site.store, 2, "delivered")
    wait_for(lambda: not files_of(site.store))
    assert ask(site.store.api, Ledger()).wrong == ()


def test_six_clicks_make_one_delivery(site):
    """Six clients release at once: the next server gets one mail."""
    deliver(site.store, "alice@example.com")
    threads = [threading.Thread(target=release, args=(site.store, 1)) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    state_of(site.store, 1, "delivered")
    wait_for(lambda: queue_is_empty(site.postfix))
    assert len(site.backend.taken) == 1


def test_a_refusal_puts_it_back_with_the_words_and_bounces_nothing(site):
    """The next server refuses: held again, with its words and the file, Postfix's queue is empty; then it goes on."""
    site.backend.replies["alice@example.com"] = "550 5.1.1 No mailbox here by that name"
    deliver(site.store, "alice@example.com")
    release(site.store, 1)
    wait_for(lambda: ask(site.store.api, ShowHeld(ALL, 1)).row.backend_reply)
    row = state_of(site.store, 1, "held")
    assert "No mailbox here by that name" in row.backend_reply
    assert len(files_of(site.store)) == 1
    wait_for(lambda: queue_is_empty(site.postfix))
    assert site.backend.taken == []
    site.backend.replies.clear()
    release(site.store, 1)
    state_of(site.store, 1, "delivered")
    assert len(site.backend.taken) == 1


def test_deferred_mail_is_sent_until_the_backend_takes_it(site):
    """450 of the next server: `sent` with its words, the file stays; delivered when it takes mail again."""
    site.backend.replies["alice@example.com"] = "450 4.2.0 Later please"
    deliver(site.store, "alice@example.com")
    release(site.store, 1)
    row = wait_for(lambda: next((r for r in [ask(site.store.api, ShowHeld(ALL, 1)).row] if r.backend_reply), None))
    assert (row.state, "Later please" in row.backend_reply) == ("sent", True)
    assert len(files_of(site.store)) == 1
    site.backend.replies.clear()
    assert state_of(site.store, 1, "delivered", site.postfix).backend_reply == ""


def test_an_administrator_removes_it_from_the_queue(site):
    """`postsuper -d` of a sent copy: it is held again and says why; nothing waits for ever."""
    site.backend.replies["alice@example.com"] = "450 4.2.0 Later please"
    deliver(site.store, "alice@example.com")
    release(site.store, 1)
    row = state_of(site.store, 1, "sent")
    subprocess.run(["/usr/sbin/postsuper", "-c", site.postfix.etc, "-d", row.new_queue_id], check=True)
    assert "removed from Postfix's queue" in state_of(site.store, 1, "held").backend_reply
    site.backend.replies.clear()


def test_addresses_and_bytes_of_the_whole_world(site):
    """SMTPUTF8 for an address that is not ASCII, 8-bit bytes unchanged, a quoted local part."""
    data = "From: jörg@example.org\r\nDate: x\r\nMessage-ID: <2@x>\r\nSubject: Grüße\r\n\r\nfünf\r\n".encode() + b"\r\n"
    deliver(site.store, "josé@example.com", sender="jörg@example.org", data=data, queue_id="a")
    deliver(
        site.store, '"john doe"@example.com', data=b"Subject: 8\r\nDate: x\r\nMessage-ID: <3@x>\r\n\r\n\xe9\xff\r\n"
    )
    release(site.store, 1, 2)
    state_of(site.store, 1, "delivered")
    state_of(site.store, 2, "delivered")
    first = next(each for each in site.backend.taken if "josé" in each.recipient)
    second = next(each for each in site.backend.taken if "john doe" in each.recipient)
    assert first.mail.startswith("MAIL FROM:<jörg@example.org>")
    assert "SMTPUTF8" in first.mail
    assert "Grüße".encode() in first.data
    assert first.data.endswith("fünf\r\n\r\n".encode())
    assert 'RCPT TO:<"john doe"@example.com>' in second.recipient
    assert second.data.endswith(b"\r\n\r\n\xe9\xff\r\n")


def test_the_log_is_rotated_between_sent_and_delivered(site):
    """Renamed and begun anew while a copy waits: the outcome is found in the new file, and the old one's lines, too."""
    site.backend.replies.update({"alice@example.com": "450 4.2.0 Later", "bob@example.com": "450 4.2.0 Later"})
    deliver(site.store, "alice@example.com", "bob@example.com")
    release(site.store, 1, 2)
    state_of(site.store, 1, "sent")
    second = state_of(site.store, 2, "sent")
    renamed = rotate(site.postfix)
    # Who writes the log goes on with the old file for a moment.
    with renamed.open("a") as log:
        log.write(f"Nov 29 05:00:00 mx postfix/smtp[1]: {second.new_queue_id}: to=<b@x>, status=sent (250 old file)\n")
    site.backend.replies.pop("alice@example.com")
    state_of(site.store, 1, "delivered", site.postfix)
    state_of(site.store, 2, "delivered", site.postfix)
    site.backend.replies.clear()
    wait_for(lambda: flushed_and_empty(site.postfix))


@pytest.mark.parametrize("compressed", [False, True])
def test_the_log_says_it_while_the_store_is_down(site, compressed):
    """Killed with a copy `sent`; the next server takes it, the log is rotated, and compressed as `postfix logrotate`
    does it: the next start finds it out.
    """
    site.backend.replies["alice@example.com"] = "450 4.2.0 Later"
    deliver(site.store, "alice@example.com")
    release(site.store, 1)
    wait_for(lambda: ask(site.store.api, ShowHeld(ALL, 1)).row.backend_reply)
    site.store.kill()
    site.backend.replies.clear()
    wait_for(lambda: site.backend.taken or site.postfix.flush())
    wait_for(lambda: queue_is_empty(site.postfix))
    renamed = rotate(site.postfix)
    if compressed:
        subprocess.run(["gzip", renamed], check=True)
    site.store.start()
    state_of(site.store, 1, "delivered")
    assert len(site.backend.taken) == 1
    assert ask(site.store.api, Ledger()).twice == ()


def test_nobody_listens_then_postfix_is_back(tmp_path):
    """Release port down: `releasing`, status says why; sent when it listens, once."""
    port = free_port()
    with direct(tmp_path, port) as store:
        deliver(store, "alice@example.com")
        release(store, 1)
        status = wait_for(lambda: next((s for s in [ask(store.api, StoreStatus())] if s.errors), None))
        assert "Connection refused" in status.errors[0]
        assert status.releasing == 1
        assert "Connection refused" in ask(store.api, ShowHeld(ALL, 1)).row.backend_reply
        with NextServer(port) as backend:
            assert state_of(store, 1, "sent").backend_reply == ""
            assert len(backend.taken) == 1
        assert wait_for(lambda: not ask(store.api, StoreStatus()).errors)
        assert ask(store.api, Ledger()).twice == ()


def test_one_bad_mail_does_not_stop_the_others(tmp_path):
    """451 for one, 550 for another, a missing file, a line end in an address: the last one is sent all the same."""
    with NextServer() as backend, direct(tmp_path, backend.port, retry_s=3600) as store:
        backend.replies.update({"a@example.com": "451 4.3.0 Not now", "b@example.com": "550 5.1.1 Never"})
        for number, name in enumerate("abcd"):
            data = b"Subject: %d\r\n\r\n" % number
            deliver(store, f"{name}@example.com", data=data, queue_id=name)
        (digest,) = store.rows("SELECT digest FROM message WHERE queue_id = 'c'")[0]
        (store.path / "mail" / digest[:2] / digest).unlink()
        release(store, 1, 2, 3, 4)
        state_of(store, 4, "sent")
        assert "Never" in state_of(store, 2, "held").backend_reply
        assert "missing" in state_of(store, 3, "held").backend_reply
        assert state_of(store, 1, "releasing").backend_reply == "451 4.3.0 Not now"


def test_what_cannot_be_sent_leaves_no_half_mail_behind(tmp_path):
    """A release that needs DSN, a server without it: it waits, and the next mail of the same session, which the policy
    let go on and which needs none, is sent and not refused as a second MAIL.
    """
    (tmp_path / "private").mkdir()
    policy = PolicyServer(
        tmp_path / "private" / "policy", lambda asked: "OK" if asked["recipient"].startswith("bob@") else "HOLD x"
    )
    port = free_port()
    with contextlib.closing(policy), direct(tmp_path, port) as store:
        deliver(store, "alice@example.com", "bob@example.com")
        release(store, 1)
        # Both wait for a server: they are sent in one session, alice's first.
        with NextServer(port, offers=("SIZE",)) as backend:
            state_of(store, 2, "sent")
            assert "DSN" in state_of(store, 1, "releasing").backend_reply
            assert len(backend.taken) == 1


def test_a_refusal_counts_where_the_server_hangs_up(tmp_path):
    """550, and the connection is closed before RSET: held with the words, not sent again and again."""
    with NextServer() as backend, direct(tmp_path, backend.port) as store:
        backend.replies["alice@example.com"] = "550 5.1.1 Go away"
        backend.hangs_up = True
        deliver(store, "alice@example.com")
        release(store, 1)
        wait_for(lambda: ask(store.api, ShowHeld(ALL, 1)).row.backend_reply)
        assert state_of(store, 1, "held").backend_reply == "550 5.1.1 Go away"


def test_released_mail_asks_for_no_bounce_and_passed_mail_keeps_its_wishes(tmp_path):
    """NOTIFY=NEVER where a person released; the sender's DSN options where the policy let it go on."""
    (tmp_path / "private").mkdir()
    policy = PolicyServer(
        tmp_path / "private" / "policy", lambda asked: "OK" if asked["recipient"].startswith("alice@") else "HOLD x"
    )
    with contextlib.closing(policy), NextServer() as backend, direct(tmp_path, backend.port) as store:
        with LmtpClient(store.sockets / "store") as client:
            client.ask("LHLO x")
            client.ask("MAIL FROM:<n@example.org> RET=HDRS ENVID=x+2By")
            for name in ("alice", "bob"):
                client.ask(f"RCPT TO:<{name}@example.com> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;{name}@example.net")
            client.ask("DATA")
            client._socket.sendall(b"Subject: x\r\n\r\n.\r\n")
            assert client.reply().startswith("250")
            assert client.reply().startswith("250")
        state_of(store, 1, "sent")
        release(store, 2)
        state_of(store, 2, "sent")
        passed, released = backend.taken
        assert "RET=HDRS ENVID=x+2By" in passed.mail
        assert passed.recipient.endswith("NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;alice@example.net")
        assert "ENVID" not in released.mail
        assert released.recipient.endswith("<bob@example.com> NOTIFY=NEVER")


def test_without_dsn_a_release_waits(tmp_path):
    """A release port that cannot be asked for no bounce gets nothing; the row says why."""
    with NextServer(offers=("SIZE", "8BITMIME")) as backend, direct(tmp_path, backend.port) as store:
        deliver(store, "alice@example.com")
        release(store, 1)
        row = wait_for(lambda: next((r for r in [ask(store.api, ShowHeld(ALL, 1)).row] if r.backend_reply), None))
        assert "does not offer DSN" in row.backend_reply
        assert backend.taken == []


def test_killed_behind_the_250_the_ledger_lists_the_pair(tmp_path):
    """kill -9 between the next server's last dot and the commit, three times: nothing is lost, each copy that may have
    come twice is listed, never more than kills.
    """
    with NextServer() as backend, direct(tmp_path, backend.port) as store:
        for number in range(3):
            deliver(store, f"u{number}@example.com", queue_id=f"q{number}", data=b"Subject: %d\r\n\r\n" % number)
        for number in range(3):
            dead = threading.Event()

            def kill(_taken, pid=store.process.pid, dead=dead):
                os.kill(pid, signal.SIGKILL)
                dead.set()

            backend.at_dot = kill
            with contextlib.suppress(Exception):
                release(store, number + 1)
            assert dead.wait(30)
            store.kill()
            backend.at_dot = lambda _: None
            store.start()
            state_of(store, number + 1, "sent")
        ledger = ask(store.api, Ledger())
        assert len(backend.taken) == 6
        assert [held for held, _, _ in ledger.twice] == [1, 2, 3]
        assert all(later for _, _, later in ledger.twice)
        assert ledger.unclean_ends == 3
        assert (ledger.accepted, ledger.by_state["sent"], ledger.wrong) == (3, 3, ())


@pytest.fixture
def cut(chain, tmp_path):
    """A store whose release port is Postfix's behind a connection that breaks once after the 250; the log of it."""
    base, backend, postfix = chain
    backend.taken.clear()
    with contextlib.ExitStack() as stack:

        def begin(mail_log=str(postfix.log), instead=lambda _: None):
            between = stack.enter_context(Between(postfix.port, lambda: instead(store)))
            others = f'[release]\nsmtp = "127.0.0.1:{between.port}"\nretry_s = 1\n'
            store = stack.enter_context(Store(tmp_path, "", others, mail_log=mail_log))
            return Site(base, postfix, backend, store), between

        yield begin
    wait_for(lambda: flushed_and_empty(postfix))


def test_the_log_says_what_a_broken_connection_did_not(cut):
    """Postfix has the mail and its 250 is lost: the log names the try, nothing is sent again, the ledger is empty."""
    site, between = cut()
    deliver(site.store, "alice@example.com")
    release(site.store, 1)
    assert between.cut.wait(30)
    row = state_of(site.store, 1, "delivered")
    assert row.new_queue_id
    wait_for(lambda: queue_is_empty(site.postfix))
    assert len(site.backend.taken) == 1
    ledger = ask(site.store.api, Ledger())
    assert (ledger.twice, ledger.broken, ledger.wrong) == ((), (), ())
    wait_for(lambda: not files_of(site.store))


def test_the_log_says_what_a_killed_store_did_not_hear(cut):
    """kill -9 between Postfix's 250 and the commit: the next store reads it in the log, and sends nothing again."""
    site, between = cut(instead=lambda store: os.kill(store.process.pid, signal.SIGKILL))
    deliver(site.store, "alice@example.com")
    with contextlib.suppress(Exception):
        release(site.store, 1)
    assert between.cut.wait(30)
    site.store.kill()
    site.store.start()
    state_of(site.store, 1, "delivered")
    wait_for(lambda: queue_is_empty(site.postfix))
    assert len(site.backend.taken) == 1
    ledger = ask(site.store.api, Ledger())
    assert (ledger.twice, ledger.broken, ledger.unclean_ends) == ((), (), 1)


def test_without_a_log_a_broken_connection_is_listed_by_itself(cut):
    """Nobody can say whether Postfix has it: it is sent again and listed as broken, not among those of kills."""
    site, between = cut(mail_log="")
    deliver(site.store, "alice@example.com")
    release(site.store, 1)
    assert between.cut.wait(30)
    state_of(site.store, 1, "sent")
    site.backend.wait_for(2)
    ledger = ask(site.store.api, Ledger())
    assert ledger.twice == ()
    ((held, _, later),) = ledger.broken
    assert (held, bool(later)) == (1, True)


def test_killed_while_it_sends_nothing_is_lost(tmp_path):
    """Thirty copies, killed after each fifth mail: all arrive, and none twice that is not on the ledger."""
    with NextServer() as backend, direct(tmp_path, backend.port) as store:
        deliver(store, *(f"u{number}@example.com" for number in range(30)))
        release(store, *range(1, 31))
        kills = 0
        for reached in (5, 10, 15):
            backend.wait_for(reached)
            store.kill()
            kills += 1
            store.start()
        wait_for(lambda: ask(store.api, StoreStatus()).releasing == 0)
        ledger = ask(store.api, Ledger())
        got = [each.recipient for each in backend.taken]
        assert len(set(got)) == 30
        doubled = {each for each in got if got.count(each) > 1}
        listed = {f"RCPT TO:<u{held - 1}@example.com> NOTIFY=NEVER" for held, _, _ in ledger.twice}
        assert doubled <= listed
        assert len(ledger.twice) <= kills
        assert ledger.unclean_ends == kills


def test_a_large_mail_is_sent_in_pieces(tmp_path):
    """30 MB go on whole and unchanged, and the store's memory does not grow by the size of the mail."""
    data = b"Subject: large\r\nX-Spam: Yes\r\n\r\n" + b"".join(b".%d %s\r\n" % (n, b"x" * 900) for n in range(33_000))
    with NextServer() as backend, direct(tmp_path, backend.port) as store:
        deliver(store, "alice@example.com", data=data)
        before_kib = most_memory_kib(store)
        release(store, 1)
        state_of(store, 1, "sent")
        (taken,) = backend.taken
        assert taken.data == data.replace(b"X-Spam: Yes\r\n", b"")
        assert f"SIZE={len(taken.data)}" in taken.mail
        assert most_memory_kib(store) - before_kib < 8_000


def most_memory_kib(store):
    """The most memory that the store's process has had so far (proc(5), VmHWM)."""
    lines = Path(f"/proc/{store.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_term_waits_for_the_mail_under_way(tmp_path):
    """TERM while the next server has not replied yet: the reply is noted before the store ends; nothing is doubled."""
    with NextServer() as backend, direct(tmp_path, backend.port) as store:
        deliver(store, "alice@example.com")
        backend.at_dot = lambda _: os.kill(store.process.pid, signal.SIGTERM)
        release(store, 1)
        backend.wait_for(1)
        assert store.process.wait(30) == 0
        assert store.rows("SELECT state FROM held") == [("sent",)]
        store.stop()
        store.start()
        assert (ask(store.api, Ledger()).twice, len(backend.taken)) == ((), 1)
        assert [row.id for row in ask(store.api, ListHeld(ALL, Wanted("sent"))).rows] == [1]
