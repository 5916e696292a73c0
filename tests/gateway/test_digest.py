"""`forkpolicy gateway digest` with a real store, through a private Postfix to the next server."""

from __future__ import annotations

import contextlib
import email
import fcntl
import os
import re
import sqlite3
import subprocess
import sys
from email.policy import default

import pytest

from forkpolicy.gateway.client import ask
from forkpolicy.gateway.digest_messages import ShowLink, UseLink
from forkpolicy.gateway.store_messages import ChooseDigest, Ledger, Scope, StoreStatus
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import missing, traversable_directory
from tests.gateway.next_servers import NextServer, release_postfix
from tests.gateway.stores import LmtpClient, Store
from tests.process.waiting import eventually

ALL = Scope(everything=True)
MAIL = (
    b"From: Bank <service@bank.example>\r\nTo: alice@example.com\r\nSubject: See https://evil.example/ now\r\n"
    b"X-Spamd-Result: default: False [9.10 / 15.00]\r\n\r\nSecret text http://body.example/\r\n"
)
DIGEST = '[digest]\nsender = "gateway@example.com"\nurl = "https://mail.example.com"\nlanguage = "es"\n'
DEADLINE_S = 60
needs_postfix = pytest.mark.skipif(bool(missing()), reason=missing() or "there is one")


@contextlib.contextmanager
def a_store(base, port, more="", domains="example.com relay:[192.0.2.5] digest=daily\nexample.net relay:[192.0.2.6]\n"):
    """A store whose digests go to a port of ours."""
    store = Store(base, others=f'[release]\nsmtp = "127.0.0.1:{port}"\nretry_s = 1\n{DIGEST}{more}')
    store.settings.write_text(f'domains = "domains"\n{store.settings.read_text()}')
    (base / "domains").write_text(domains)
    with store:
        yield store


@pytest.fixture
def next_server():
    """The release port."""
    with NextServer() as server:
        yield server


@pytest.fixture
def store(tmp_path, next_server):
    """One that sends to it."""
    with a_store(tmp_path, next_server.port) as store:
        yield store


def hold(store, *recipients, queue_id="4Xq1", name="store-spam"):
    """Have a mail held for these."""
    with LmtpClient(store.sockets / name) as client:
        assert client.send("bounce@bank.example", list(recipients), MAIL, queue_id)


def digest(store, *more):
    """Run the command."""
    command = [sys.executable, "-m", "forkpolicy", "gateway", "digest", "-c", str(store.settings), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def age(store, days):
    """Let the last digests be older than they are."""
    with contextlib.closing(sqlite3.connect(store.path / "held.db", timeout=20)) as connection, connection:
        connection.execute("UPDATE digest SET sent_s = sent_s - ?", (days * 86_400,))


def failures(store):
    """What the store keeps of failures, by whom they are about."""
    return {each.about: each for each in ask(store.api, StoreStatus()).digest_failures}


def recipients(server):
    """Who was sent something, in order."""
    return [re.search("<(.*?)>", taken.recipient)[1] for taken in server.taken]


def test_a_digest_is_sent_once_and_again_only_for_what_is_new(store, next_server):
    """To those whose domain wants it and who have mail: the second run, and one a week later, send nothing."""
    hold(store, "alice@example.com", "bob@example.net")
    done = digest(store)
    assert (done.returncode, done.stdout) == (0, "alice@example.com: 1 new\n1 sent, 0 failed\n"), done.stderr
    assert digest(store).stdout == "0 sent, 0 failed\n"
    age(store, 7)
    assert digest(store).stdout == "0 sent, 0 failed\n"
    hold(store, "alice@example.com", queue_id="2")
    assert digest(store).stdout == "alice@example.com: 1 new\n1 sent, 0 failed\n"
    assert recipients(next_server) == ["alice@example.com"] * 2


def test_a_digest_has_the_null_sender_and_no_word_of_the_body(store, next_server):
    """Nor a URL of the mail; its links are ours, and the store knows them; the language is that of the settings."""
    hold(store, "alice@example.com")
    digest(store)
    (taken,) = next_server.taken
    assert taken.mail.startswith("MAIL FROM:<>")
    assert "NOTIFY=NEVER" in taken.recipient
    mail = email.message_from_bytes(taken.data, policy=default)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["From"] == "gateway@example.com"
    assert mail["Subject"] == "Se retiene 1 correo para usted"
    for part in mail.iter_parts():
        text = part.get_content()
        assert "Secret" not in text
        assert "evil.example" not in text
        assert "See https[:]//evil[.]example/ now" in text
        found = set(re.findall(r"https?://[^\s\"<]+", text))
        links = {each for each in found if "/d/" in each}
        assert found - links == {"https://mail.example.com/held/digest"}
        (link,) = links
        token = link.removeprefix("https://mail.example.com/d/")
        assert ask(store.api, ShowLink(token)).subject == "See https://evil.example/ now"
    assert ask(store.api, UseLink(token, "release")).is_done
    next_server.wait_for(2)
    assert b"Secret text" in next_server.taken[1].data


def test_a_person_chooses(store, next_server):
    """off against the domain's daily, daily against its off, each in the chosen language."""
    hold(store, "alice@example.com", "bob@example.net")
    ask(store.api, ChooseDigest(ALL, "alice@example.com", "off", "", "alice"))
    ask(store.api, ChooseDigest(ALL, "bob@example.net", "daily", "ca", "bob"))
    assert digest(store, "--list").stdout == "bob@example.net  1 new  ca\n"
    assert next_server.taken == []
    assert digest(store).stdout == "bob@example.net: 1 new\n1 sent, 0 failed\n"
    mail = email.message_from_bytes(next_server.taken[0].data, policy=default)
    assert mail["Subject"] == "Es reté 1 correu per a vós"


def test_a_person_with_letters_of_all_the_world_has_a_digest(store, next_server):
    """With SMTPUTF8; the other digests do without."""
    hold(store, "alice@example.com")
    with LmtpClient(store.sockets / "store") as client:
        client.send("bounce@bank.example", ["álice@example.com"], MAIL, "utf8")
    assert "2 sent, 0 failed" in digest(store).stdout
    by_name = {each.recipient.partition(">")[0]: each for each in next_server.taken}
    assert "SMTPUTF8" in by_name["RCPT TO:<álice@example.com"].mail
    assert "SMTPUTF8" not in by_name["RCPT TO:<alice@example.com"].mail


def test_a_refused_recipient_does_not_stop_the_others(store, next_server):
    """Its failure is kept, with the words, until it goes well; then it has had everything."""
    hold(store, "alice@example.com", "bob@example.com", "carol@example.com")
    next_server.replies = {"alice@example.com": "550 5.1.1 who is that", "bob@example.com": "451 4.3.0 not now"}
    done = digest(store)
    assert (done.returncode, done.stdout) == (1, "carol@example.com: 1 new\n1 sent, 2 failed\n")
    assert "alice@example.com: 550 5.1.1 who is that" in done.stderr
    kept = failures(store)
    assert {about: each.error for about, each in kept.items()} == {
        "alice@example.com": "550 5.1.1 who is that",
        "bob@example.com": "451 4.3.0 not now",
    }
    next_server.replies = {}
    assert "2 sent, 0 failed" in digest(store).stdout
    assert failures(store) == {}


def test_nobody_at_the_release_port_is_one_failure_of_all(tmp_path):
    """The run ends there, and the next one that goes well clears it."""
    port = free_port()
    with a_store(tmp_path, port) as store:
        hold(store, "alice@example.com", "bob@example.com")
        done = digest(store)
        assert (done.returncode, done.stdout) == (1, "0 sent, 1 failed\n")
        assert "all of them: 127.0.0.1" in done.stderr
        assert list(failures(store)) == [""]
        assert ask(store.api, StoreStatus()).digests_ran_s is None
        with NextServer(port):
            assert "2 sent, 0 failed" in digest(store).stdout
        assert failures(store) == {}
        assert ask(store.api, StoreStatus()).digests_ran_s > 0


def test_a_mistake_in_the_domains_file_is_kept_as_a_failure(store):
    """The command says it, and so does the store to whom it may concern."""
    (store.base / "domains").write_text("example.com relay:[192.0.2.5] digest=hourly\n")
    done = digest(store)
    assert done.returncode == 78
    assert "hourly" in done.stderr
    assert "digest: expected one of off, daily, weekly" in failures(store)[""].error


def test_one_run_at_a_time(store):
    """A second one sends nothing, and says why."""
    hold(store, "alice@example.com")
    fd = os.open(store.path, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        done = digest(store)
    finally:
        os.close(fd)
    assert done.returncode == 73
    assert "another run of digests is under way" in done.stderr
    assert "1 sent" in digest(store).stdout


def test_without_a_sender_it_is_a_mistake(tmp_path):
    """The message names the settings."""
    settings = tmp_path / "gateway.toml"
    settings.write_text('domains = "domains"\n')
    command = [sys.executable, "-m", "forkpolicy", "gateway", "digest", "-c", str(settings)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "[digest] sender and url" in done.stderr


def test_a_store_that_is_away_is_named(tmp_path, next_server):
    """Nothing is sent, the exit status is that of a server that does not run."""
    with a_store(tmp_path, next_server.port) as store:
        hold(store, "alice@example.com")
    done = digest(store)
    assert done.returncode == 69
    assert "start forkpolicy-store" in done.stderr
    assert next_server.taken == []


def test_digests_do_not_count_in_the_ledger(store):
    """It is about mail that was accepted."""
    hold(store, "alice@example.com")
    digest(store)
    ledger = ask(store.api, Ledger())
    assert (ledger.accepted, ledger.by_state["held"], ledger.wrong) == (1, 1, ())


@needs_postfix
def test_the_backends_word_about_a_digest_is_kept(tmp_path):
    """Through a real Postfix: delivered; or refused later, which the mail log says: then its mail is new again."""
    with NextServer() as backend, traversable_directory() as base, release_postfix(base, backend.port) as postfix:
        log = postfix.log
        store = Store(
            tmp_path, others=f'[release]\nsmtp = "127.0.0.1:{postfix.port}"\nretry_s = 1\n{DIGEST}', mail_log=str(log)
        )
        store.settings.write_text(f'domains = "domains"\n{store.settings.read_text()}')
        (tmp_path / "domains").write_text("example.com relay:[192.0.2.5] digest=daily\n")
        with store:
            hold(store, "alice@example.com", "bob@example.com")
            backend.replies = {"bob@example.com": "550 5.1.1 no such mailbox"}
            done = digest(store)
            assert "2 sent, 0 failed" in done.stdout, done.stderr
            backend.wait_for(1)
            assert b"Auto-Submitted: auto-generated" in backend.taken[0].data
            eventually(lambda: list(failures(store)) == ["bob@example.com"], DEADLINE_S)
            assert "550 5.1.1 no such mailbox" in failures(store)["bob@example.com"].error
            backend.replies = {}
            assert digest(store).stdout == "bob@example.com: 1 new\n1 sent, 0 failed\n"
            backend.wait_for(2)
            eventually(lambda: failures(store) == {}, DEADLINE_S)
            assert digest(store).stdout == "0 sent, 0 failed\n"
        # No bounce of a refused digest: nothing else was sent to anybody.
        assert len(backend.taken) == 2


@needs_postfix
def test_the_check_names_what_is_wrong_with_digests(tmp_path):
    """A domain that wants some without a sender; what failed; runs that have ended days ago."""
    with NextServer() as backend, traversable_directory() as base, release_postfix(base, backend.port) as postfix:

        def checked(store):
            where = ["-c", str(store.settings), "--postfix", str(postfix.etc)]
            command = [sys.executable, "-m", "forkpolicy", "gateway", "check", *where]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout

        with a_store(tmp_path, backend.port) as store:
            hold(store, "alice@example.com")
            assert "digest" not in checked(store)
            backend.replies = {"alice@example.com": "550 no"}
            digest(store)
            assert "no digest for alice@example.com since" in checked(store)
            with contextlib.closing(sqlite3.connect(store.path / "held.db", timeout=20)) as connection, connection:
                connection.execute("UPDATE digest_run SET ended_s = ended_s - 864000")
            assert "the last run of digests was 10 days ago" in checked(store)
            store.settings.write_text(store.settings.read_text().replace("sender", "# sender"))
            assert "example.com wants digests" in checked(store)
