"""Does an imported policy decide as the maps did? Two Postfix, one with a site's own lists and one that asks us.

Each envelope is offered to both: replies to RCPT, and what was done to the mail (HOLD, PREPEND ...), are the same.
FORKPOLICY_ENVELOPES: how many of each site; FORKPOLICY_SITES: how many random ones.
"""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from forkpolicy.commands.import_rules.command import imported
from forkpolicy.commands.import_rules.writing import write_out
from forkpolicy.files import Files
from forkpolicy.importing.access.main_cf import parse_main_cf
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs
from forkpolicy.importing.source import SourceFile
from loadtest.clients.smtp import SmtpClient
from loadtest.servers.postfix import PrivatePostfix
from loadtest.servers.server import Server
from tests.postfix.random_access import RandomSite
from tests.process.waiting import eventually

ENVELOPES = int(os.environ.get("FORKPOLICY_ENVELOPES", "240"))
RANDOM_SITES = int(os.environ.get("FORKPOLICY_SITES", "4"))
RECIPIENTS = 4
# The words that Postfix puts in front: they are those of the list that asks, not of what a map was asked about.
PREFIX = re.compile(r"<[^>]*>+: [A-Z][\w ]* (?=rejected: |triggers )")
DONE = re.compile(r"NOQUEUE: (hold|prepend|filter|redirect|bcc|discard|warn|info|reject_warning): .*")
OPEN = "check_client_access static:OK, reject"
DEFAULTS = {"smtpd_relay_restrictions": OPEN, "smtpd_recipient_restrictions": OPEN, "mynetworks": "127.0.0.0/8"}


SITES = Path(__file__).parent.parent / "data" / "access"
# As they stand in the files; here they lie elsewhere.
SYSTEM = "/etc/postfix"
# One a word: of a local recipient, of others, of clients with their names, and of HELO names.
WORDS = (SITES / "envelopes").read_text().split("\n\n")
LOCAL, OTHERS, CLIENTS, HELOS = (words.split() for words in WORDS)


def envelopes(seed):
    """(client, name, helo, sender, recipients), the same ones each time. Most recipients are local."""
    chance = random.Random(seed)
    for _ in range(ENVELOPES // RECIPIENTS):
        client, _, name = chance.choice(CLIENTS).partition("=")
        sender = chance.choice((*LOCAL, *OTHERS, *OTHERS, ""))
        recipients = chance.sample((*LOCAL, *LOCAL, *OTHERS), RECIPIENTS)
        yield client, name or "[UNAVAILABLE]", chance.choice(HELOS), sender, recipients


def offered(postfix, mails):
    """What Postfix replies to each recipient, and what its log says it did."""
    begin = len(postfix.log_text())
    replies = []
    with SmtpClient(postfix.port) as session:
        session.ehlo()
        for client, name, helo, sender, recipients in mails:
            forged = session.command(f"XCLIENT NAME={name} ADDR={'IPV6:' if ':' in client else ''}{client}")
            assert forged.code == 220, forged
            session.ehlo(helo)
            replies.append([str(session.mail(sender))])
            for recipient in recipients:
                reply = session.rcpt(recipient)
                replies[-1].append(normal(str(reply)))
                if reply.code in (421, 521):
                    raise AssertionError("a code that ends the session has no place in these sites")
            session.command("RSET")
    log = eventually(lambda: text if "disconnect from" in (text := postfix.log_text()[begin:]) else "")
    done = [normal(found[0]) for found in DONE.finditer(log)]
    return replies, done


def normal(reply):
    """Without the words in front of the text, and in what is logged without what only says where it was."""
    return re.sub(r"\s+", " ", PREFIX.sub("", reply))


def parameters_of(text):
    """What a main.cf sets."""
    main = parse_main_cf(SourceFile("main.cf", tuple(text.splitlines()), "utf-8"), Draft())
    return {name: re.sub(r"\s+", " ", each.value) for name, each in main.parameters.items()}


def started(base, text, etc):
    """A Postfix with the lists of a main.cf, whose maps lie in `etc`."""
    return PrivatePostfix(base, main=DEFAULTS | parameters_of(re.sub(rf"{SYSTEM}|\$config_directory", str(etc), text)))


def make_maps(postfix, etc):
    """What postmap(1) makes of the texts that main.cf names as hash:."""
    for file in re.findall(rf"\bhash:(?:{SYSTEM}|\$config_directory)/(\S+?)(?=[,\s])", (etc / "main.cf").read_text()):
        subprocess.run(["/usr/sbin/postmap", "-c", postfix.etc, f"hash:{etc / file}"], check=True, capture_output=True)


@pytest.mark.parametrize("name", sorted(site.parent.name for site in SITES.glob("*/main.cf")))
def test_the_policy_decides_as_the_maps_did(name, directory):
    """The policy decides as the maps did."""
    etc = shutil.copytree(SITES / name, directory / f"{name}-etc")
    replies = compared(name, etc, directory)
    # What makes it a test: replies of several kinds.
    assert len(Counter(replies)) >= 3


@pytest.mark.parametrize("seed", range(RANDOM_SITES))
def test_random_sites_decide_as_the_maps_did(seed, directory):
    """Lists with random maps of all types, about the words of the envelopes."""
    site, etc = RandomSite(seed, LOCAL, OTHERS, CLIENTS, HELOS), directory / f"random-{seed}-etc"
    etc.mkdir()
    for file, text in {"main.cf": site.main, **site.files}.items():
        (etc / file).write_text(text)
    compared(f"random-{seed}", etc, directory)


def compared(name, etc, directory):
    """What Postfix replies with the maps, when it replies the same with the imported policy."""
    text = (etc / "main.cf").read_text()
    draft = imported("access", Inputs((str(etc / "main.cf"),), Files()))
    assert draft.rules
    write_out(str(directory / f"{name}-policy"), draft)
    before = started(directory / f"{name}-before", text, etc)
    after = started(directory / f"{name}-after", draft.files["main.cf.new"], etc)
    make_maps(before, etc)
    server = Server(
        directory / f"{name}-server",
        directory / f"{name}-policy" / "policy.conf",
        socket_path=after.private / "policy",
        delimiter="+" if "recipient_delimiter" in text else "",
        mail='myorigin = "example.com"\nlocal_domains = ["localhost", "localhost.example.com"]\n',
    )
    mails = list(envelopes(name))
    with before, after, server:
        (was, was_done), (now, now_done) = offered(before, mails), offered(after, mails)
    different = [(mail, a, b) for mail, a, b in zip(mails, was, now, strict=True) if a != b]
    assert not different, "\n".join(map(str, different[:5]))
    assert was_done == now_done, next(pair for pair in itertools.zip_longest(was_done, now_done) if pair[0] != pair[1])
    return [reply for each in was for reply in each[1:]]
