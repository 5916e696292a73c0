"""The page Queue with a real Postfix whose mail waits: figures, a very long queue, rights, and what to do without."""

from __future__ import annotations

import grp
import os
import shutil
import smtplib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.parts import Parts
from forkpolicy.console.queue import reading
from forkpolicy.postfix.queued_mail import GaveUpError, QueueError, QueueListing
from forkpolicy.settings import load_settings
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import PrivatePostfix, missing, traversable_directory
from tests.console.asking import Browser, SignedIn
from tests.process.waiting import eventually

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "Postfix is there")
HOSTILE = '"<script>alert(1)</script>"@example.org'
NOBODY = 65534
MANY = 20_000


@pytest.fixture(scope="module")
def postfix():
    """A Postfix whose next server is away: three mails wait, one of them for two domains."""
    main = {
        "smtpd_recipient_restrictions": "permit_mynetworks, reject",
        "relay_transport": f"smtp:[127.0.0.1]:{free_port()}",
    }
    with (
        traversable_directory() as base,
        PrivatePostfix(base / "p", main=main, services="smtp unix - - n - - smtp\n") as running,
    ):
        with smtplib.SMTP("127.0.0.1", running.port) as session:
            session.sendmail(
                "news@example.org", ["a@example.com", "b@example.com", "c@example.net"], b"Subject: x\n\nx\n"
            )
            session.sendmail(HOSTILE, ["a@example.com"], b"Subject: y\n\ny\n")
            session.sendmail("", ["b@example.com"], b"Subject: z\n\nz\n")
        eventually(lambda: len(reasons(running.etc)) == 5)
        yield running


def reasons(etc):
    """Why each recipient waits."""
    with QueueListing(str(etc)) as listing:
        return [each.reason for mail in listing.mails() for each in mail.recipients if each.reason]


def browser(folder, etc, role=Role.ADMIN):
    """One who has signed in at a console for this Postfix."""
    settings = folder / "forkpolicy.toml"
    settings.write_text(f'[console]\npath = "{folder}"\npostfix = "{etc}"\n')
    return Browser(application(Parts(load_settings(settings)), SignedIn(role)))


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OPERATOR])
def test_what_waits_is_counted_by_domain_and_reason(tmp_path, postfix, role):
    """Mails, recipients, why, and the server that does not answer."""
    asked = browser(tmp_path, postfix.etc, role)
    found = asked.json("/queue")
    assert found["sentence"].startswith("3 mails for 5 recipients wait in 2 domains; the oldest came ")
    assert [(each["name"], each["mails"], each["recipients"]) for each in found["domains"]] == [
        ("example.com", 3, 4),
        ("example.net", 1, 1),
    ]
    (reason,) = found["reasons"]
    assert reason["name"].endswith("Connection refused")
    assert reason["ages"] == [5, 0, 0, 0]
    assert found["domains"][0]["peer"].startswith("127.0.0.1[127.0.0.1]:")
    assert found["queues"][0]["name"] == "deferred"
    page = asked.get("/queue")
    assert page.status == 200
    assert "<script>alert" not in page.text
    assert f'<code tabindex="0" data-copy>postqueue -c {postfix.etc} -j</code>' in page.text


def test_a_group_has_its_own_mails(tmp_path, postfix):
    """By domain, reason or queue; of a mail to two domains the recipients of that one."""
    asked = browser(tmp_path, postfix.etc)
    (row,) = asked.json("/queue?domain=example.net")["rows"]
    assert (row["sender"], row["recipients"], row["recipient_count"]) == ("news@example.org", ["c@example.net"], 1)
    assert len(asked.json("/queue?queue=deferred")["rows"]) == 3
    assert asked.json("/queue?domain=nothing.example")["rows"] == []
    assert "Nothing of that waits any more." in asked.get("/queue?reason=x").text
    assert asked.get("/queue?domain=example.net&queue=hold").status == 422


def test_the_csv_has_a_line_a_recipient(tmp_path, postfix):
    """Of what was chosen."""
    asked = browser(tmp_path, postfix.etc)
    lines = asked.get("/queue?format=csv").text.splitlines()
    assert lines[0] == "queue,queue_id,arrived_s,size_bytes,sender,recipient,reason"
    assert len(lines) == 6
    assert len(asked.get("/queue?domain=example.net&format=csv").text.splitlines()) == 2


def test_the_next_hop_is_that_of_the_domains_file(tmp_path, postfix):
    """Where the console knows the gateway; a file that cannot be read is named, and the rest is shown."""
    (tmp_path / "domains").write_text("example.com relay:[192.0.2.5]:25\n")
    (tmp_path / "gateway.toml").write_text('domains = "domains"\n')
    settings = tmp_path / "forkpolicy.toml"
    settings.write_text(f'[console]\npath = "{tmp_path}"\npostfix = "{postfix.etc}"\ngateway = "gateway.toml"\n')
    asked = Browser(application(Parts(load_settings(settings)), SignedIn()))
    assert asked.json("/queue")["next_hops"] == {"example.com": "relay:[192.0.2.5]:25"}
    page = asked.get("/queue").text
    assert "relay:[192.0.2.5]:25" in page
    assert "127.0.0.1[127.0.0.1]:" in page
    (tmp_path / "domains").unlink()
    found = asked.json("/queue")
    assert found["mails"] == 3
    assert found["notices"][0]["text"].startswith("the domains file: ")


@pytest.mark.parametrize("role", [Role.DOMAIN, Role.USER])
def test_others_do_not_see_it(tmp_path, postfix, role):
    """Everybody's mail stands in it."""
    assert browser(tmp_path, postfix.etc, role).get("/queue").status == 403


@pytest.mark.timeout(300)  # 40,000 files
def test_a_queue_of_20000_is_shown_at_once_and_read_to_its_end(tmp_path, postfix, monkeypatch):
    """A page does not wait for the end: it has a part, says so, and later all of it; so much is kept and no more."""
    monkeypatch.setattr(reading, "_WAIT_S", 0.05)
    made = many(postfix)
    try:
        asked = browser(tmp_path, postfix.etc)
        began_s = time.monotonic()
        first = asked.json("/queue")
        assert time.monotonic() - began_s < 5
        assert not first["is_whole"]
        assert "still being read" in first["notices"][0]["text"]
        eventually(lambda: asked.json("/queue")["is_whole"], 60)
        found = asked.json("/queue")
        assert found["mails"] == MANY + 3
        assert len(found["rows"]) == 20
        assert len(asked.get("/queue").body) < 60_000
    finally:
        for path in made:
            path.unlink()


def many(postfix):
    """Further names of the files of a mail that waits, in the directories of their first character."""
    queue = Path(postfix.queue)
    one = next(path for path in sorted((queue / "deferred").rglob("*")) if path.is_file())
    made = []
    for number in range(MANY):
        name = f"{number:05X}{one.name}"[:11]
        for kind in ("deferred", "defer"):
            directory = queue / kind / name[0]
            if not directory.exists():
                directory.mkdir(mode=0o700)
                shutil.chown(directory, "postfix")
            (directory / name).hardlink_to(queue / kind / one.name[0] / one.name)
            made.append(directory / name)
    return made


def test_a_reading_gives_up_in_time(postfix):
    """However long postqueue takes."""
    with QueueListing(str(postfix.etc)) as listing, pytest.raises(GaveUpError):
        list(listing.mails(time.monotonic()))


def test_where_it_cannot_be_read_the_page_says_what_to_do(tmp_path, monkeypatch):
    """No configuration, no program: a sentence and a notice, and the next look tries again."""
    (tmp_path / "etc").mkdir()
    asked = browser(tmp_path, tmp_path / "etc")
    found = asked.json("/queue")
    assert found["sentence"] == "What waits cannot be known now."
    assert "[console] postfix names the directory" in found["notices"][0]["text"]
    assert asked.get("/queue").status == 200
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("forkpolicy.postfix.queued_mail._SBIN", str(tmp_path))
    other = browser(tmp_path, tmp_path / "etc")
    assert "postqueue is not installed" in other.json("/queue")["notices"][0]["text"]


def test_who_may_not_ask_is_helped(postfix):
    """As the console's unit runs: without new rights its user needs the group of Postfix, and then it may."""
    drop_in = Path(__file__).parents[2] / "contrib/systemd/service.d/forkpolicy-console-queue.conf"
    assert "SupplementaryGroups=postdrop" in drop_in.read_text()
    refused = as_nobody(postfix)
    assert "this user is not a member of Postfix's group" in refused
    assert drop_in.name in refused
    assert as_nobody(postfix, grp.getgrnam("postdrop").gr_gid) == "3 mails"


AS_NOBODY = f"""
import os, sys
# As root: the checkout may be closed to others.
from forkpolicy.postfix.queued_mail import QueueError, QueueListing
os.setgroups([int(each) for each in sys.argv[2:]])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
try:
    with QueueListing(sys.argv[1]) as listing:
        print(len(list(listing.mails())), "mails")
except QueueError as error:
    print(error)
"""


def as_nobody(postfix, *groups):
    """What another user gets who can gain no rights."""
    words = ["setpriv", "--no-new-privs", sys.executable, "-c", AS_NOBODY, str(postfix.etc), *map(str, groups)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def test_a_postfix_that_is_down_is_said(tmp_path):
    """To root, postqueue shows the files themselves, and warns."""
    main = {"smtpd_recipient_restrictions": "permit_mynetworks, reject"}
    with traversable_directory() as base:
        stopped = PrivatePostfix(base / "p", main=main)
        found = browser(tmp_path, stopped.etc).json("/queue")
    assert found["sentence"] == "Nothing waits: the queue is empty."
    assert "Mail system is down" in found["notices"][0]["text"]


def test_a_program_of_another_kind_is_refused(tmp_path, monkeypatch):
    """What is no list of mails is said, not shown as an empty queue."""
    program = tmp_path / "postqueue"
    program.write_text("#!/bin/sh\necho Mail queue is empty\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with QueueListing() as listing, pytest.raises(QueueError, match="a line that is not a mail"):
        list(listing.mails())
