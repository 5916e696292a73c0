"""postgrey itself and the policy that is imported from its lists reply the same, on one clock."""

from __future__ import annotations

import random
import socket
from pathlib import Path

import pytest

from forkpolicy.errors import ForkpolicyError
from forkpolicy.files import Files
from forkpolicy.importing.draft import Draft
from forkpolicy.importing.formats import Inputs, load_format
from forkpolicy.importing.postgrey.lists import lines_of
from forkpolicy.importing.postgrey.original import _Postgrey
from forkpolicy.importing.source import read_source
from tests.imported import BEGAN_S, USUAL, Imported
from tests.policy_servers import needs_postgrey

pytestmark = needs_postgrey
FORMAT = load_format("postgrey")
SHIPPED = ("/etc/postgrey/whitelist_clients", "/etc/postgrey/whitelist_recipients")
REQUESTS = 2500


@pytest.fixture
def both(tmp_path):
    """A function: the replies of postgrey and of ours to requests, each with its second."""

    def run(paths, requests):
        inputs = Inputs(tuple(map(str, paths)), Files())
        draft = Draft()
        FORMAT.read(inputs, draft)
        ours = Imported(tmp_path / "ours", draft)
        replies = []
        for request in requests:
            ours.now_s = int(request["policy_test_time"])
            replies.append(ours.reply(**request))
        ours.close()
        with FORMAT.original(inputs) as original:
            return original.replies(requests), replies, draft

    return run


def different(requests, theirs, ours):
    """What is not the same, to be read."""
    return [
        (request, their, our)
        for request, their, our in zip(requests, theirs, ours, strict=True)
        if not FORMAT.same_reply(their, our)
    ]


def request(at_s, number, **more):
    """A request so many seconds after the first, a message of its own."""
    return {**USUAL, "policy_test_time": str(BEGAN_S + at_s), "instance": f"m{number}", **more}


def names_of(path, rng):
    """Names and addresses that the lines of a list meet, or nearly."""
    for line in lines_of(read_source(path, Files())):
        text = line.text
        if text.startswith("/"):
            text = text.strip("/^$").replace("\\d+", "17").replace("\\.", ".").replace(".*", "x")
        yield text
        yield rng.choice(("mx1.", "a.b.", "x", "not-")) + text
        yield text + rng.choice((".", ".example", "x", "1"))


def stories(rng, paths):
    """Requests over days: new, again too early, in time, much too late; clients and recipients of the lists."""
    hosts = [text for text in names_of(paths[0], rng) if not text.endswith(".")]
    recipients = [text + rng.choice(("x@example.com", "example.net")) for text in ("abuse@", "Postmaster+a@", "x@")]
    senders = ["", "anna@example.org", "list-17-bert=example.net@example.org", "anna+x@example.org", "A17@Example.ORG"]
    at_s = 0
    for number in range(REQUESTS):
        at_s += rng.choice((0, 1, 30, 299, 300, 301, 3600, 90000))
        host = rng.choice(hosts) if rng.random() < 0.5 else "unknown"
        is_address = host.replace(".", "").isdigit() and host.count(".") == 3 and max(map(int, host.split("."))) < 256
        more = {
            "client_address": host
            if is_address
            else rng.choice((f"192.0.{number % 3}.{number % 7}", f"2001:db8::{number % 5}")),
            "client_name": "unknown" if is_address else host,
            "sender": rng.choice(senders),
            "recipient": rng.choice(recipients) if rng.random() < 0.3 else f"r{number % 11}@example.com",
        }
        yield request(at_s, number, **more)


@pytest.mark.parametrize(
    "options",
    [
        "--auto-whitelist-clients=0 --max-age=400",
        "--auto-whitelist-clients=0 --lookup-by-host --delay=60 --retry-window=4h --max-age=400",
    ],
)
def test_thousands_of_requests_get_the_same_replies(tmp_path, both, options):
    """With Debian's lists, which are carried over whole. It forgets at night, by the real clock: not in this test."""
    settings = tmp_path / "postgrey"
    settings.write_text(f'POSTGREY_OPTS="--inet=10023 {options}"\n')
    requests = list(stories(random.Random(options), SHIPPED))
    theirs, ours, draft = both([settings, *SHIPPED], requests)
    assert draft.left_out == []
    assert [str(each) for each in different(requests, theirs, ours)[:20]] == []
    assert {reply.partition(" ")[0] for reply in theirs} == {"DUNNO", "PREPEND", "DEFER_IF_PERMIT"}


def test_each_form_of_a_line_gets_the_same_replies(tmp_path, both):
    """Lists with every form that a line may have, also those that never match."""
    clients = tmp_path / "clients"
    clients.write_text(
        "example.net\n.example.com\n*.example.org\nexample.org.\n/^mx[0-9]+\\.example\\.org$/\n192.0.2.1\n198.51.100\n"
        "203.0\n10.20.30.40/16\n2001:db8:1::/48\n2001:db8:2::1\n1.2.3.400\n::ffff:192.0.2.9\n a b \nx.example # y\n"
    )
    recipients = tmp_path / "recipients"
    recipients.write_text("vip@example.com\nabuse@\nsecret.example\n.dots.example\n@at.example\n/^news-.*@/\n")
    names = ["example.net", "a.Example.NET", "notexample.net", "example.com", "a.example.com", "a.example.org"]
    names += ["example.org", "mx7.example.org", "x.mx7.example.org", "x.example", "unknown", ""]
    addresses = ["192.0.2.1", "192.0.2.2", "198.51.100.0", "198.51.101.0", "203.0.0.1", "203.0.1.1", "10.20.255.255"]
    addresses += ["10.21.0.0", "2001:db8:1::5", "2001:db8:2::1", "2001:db8:2::2", "1.2.3.4", "::1"]
    users = ["vip@example.com", "VIP+x@example.com", "xvip@example.com", "vip@a.example.com", "abuse@b.example"]
    users += ["x@secret.example", "x@a.secret.example", "x@notsecret.example", "x@dots.example", "x@a.dots.example"]
    users += ["x@at.example", "news-1@example.com", "x@example.com"]
    asked = [(name, address, user) for name in names for address in addresses for user in users]
    requests = [
        request(0, number, client_name=name, client_address=address, recipient=user)
        for number, (name, address, user) in enumerate(asked)
    ]
    theirs, ours, _ = both([clients, recipients], requests)
    assert [str(each) for each in different(requests, theirs, ours)[:20]] == []
    assert 200 < theirs.count("DUNNO") < len(requests) - 200
    assert len(requests) > 2000


def test_what_is_not_the_same_is_said(tmp_path, both):
    """What the note and the manual say of clients that have passed often, and of numbers between underscores."""
    clients = tmp_path / "clients"
    clients.touch()
    other = {"client_address": "192.0.2.1"}
    requests = [
        request(0, 0, sender="a_1_b@example.org", **other),
        request(301, 1, sender="a_2_b@example.org", **other),
    ]
    requests += [
        request(10_000 + hour * 3700 + wait, f"{hour}-{wait}", sender=f"s{hour}x@example.net")
        for hour in range(6)
        for wait in (0, 301)
    ]
    requests.append(request(90_000, 99, client_address="203.0.113.99"))
    theirs, ours, draft = both([clients], requests)
    assert [each["instance"] for each, _, _ in different(requests, theirs, ours)] == ["m1", "m99"]
    assert any("auto-whitelist-clients" in note.text for note in draft.notes)


def test_shipped_lists_are_there():
    """Debian's package has them where the import looks for them."""
    assert all(Path(path).exists() for path in SHIPPED)


def test_a_request_at_which_the_original_ends_is_named(tmp_path):
    """A server that closes the connection instead of a reply: the request is named, and the server's last words."""
    log = tmp_path / "log"
    log.write_text("started\nno more\n")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.shutdown(socket.SHUT_WR)
        with pytest.raises(ForkpolicyError, match=r"client_address=192.0.2.7 sender=\S+ recipient=\S+: no more"):
            _Postgrey(ours, log).replies([request(1, 1, client_address="192.0.2.7")])
