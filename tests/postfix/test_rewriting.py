"""Does a policy see what Postfix makes of addresses? Asked of a real Postfix, in two ways.

Thousands of addresses go through its trivial-rewrite(8) and through ours. A few hundred envelopes go through a whole
Postfix that delivers to catchers: what ends in a local mailbox while it claims a local sender is what the founding rule
must refuse, and nothing else is. FORKPOLICY_ENVELOPES: how many of them (0: all that the forms make, some 1,500).
"""

from __future__ import annotations

import itertools
import os
import random
import re
import select
import subprocess
from collections import Counter
from contextlib import ExitStack

import pytest

from forkpolicy.postfix.addresses import Rewriting
from forkpolicy.tables.keys import domain_names
from loadtest.clients.smtp import SmtpClient
from loadtest.servers.ports import free_port
from loadtest.servers.postfix import POLICY_SERVICE, PrivatePostfix
from loadtest.servers.server import Server
from tests import reference
from tests.postfix.catcher import Catcher
from tests.postfix.policies import COMPILED, SOURCES
from tests.postfix.trivial_rewrite import TrivialRewrite, unquoted

# All that the forms make is some thousands of envelopes, each asked and delivered.
pytestmark = pytest.mark.timeout(1800)
SILENCE_S = 60
OUTSIDE = "203.0.113.9"
DESTINATIONS = ("example.com", "mail.example.com", "localhost.example.com", "localhost", "strasse.example")
OURS = ("example.com", "mail.example.com", "virtual.example")
# main.cf of each, and [mail] as `check --postfix` would have it.
POSTFIXES = {
    # As Debian's installation leaves it.
    "debian": (
        {"myorigin": "{etc}/mailname", "append_dot_mydomain": "no", "recipient_delimiter": ""},
        {"myorigin": "mail.example.com"},
    ),
    "completing": (
        {"myorigin": "$mydomain", "append_dot_mydomain": "yes", "recipient_delimiter": "+"},
        {"myorigin": "example.com", "mydomain": "example.com"},
    ),
    "short": (
        {"myorigin": "virtual", "append_dot_mydomain": "yes", "mydomain": "example", "recipient_delimiter": "-"},
        {"myorigin": "virtual", "mydomain": "example", "local_domains": (*DESTINATIONS, "localhost.example")},
    ),
}


class Site:
    """One Postfix: port without a policy, `asking` with one; what it delivered here and elsewhere."""

    def __init__(self, directory, kind, stack):
        parameters, mail = POSTFIXES[kind]
        self.mail = {"local_domains": DESTINATIONS, **mail}
        self.here, self.elsewhere = stack.enter_context(Catcher()), stack.enter_context(Catcher())
        self.asking = free_port()
        base = directory / kind
        main = {
            "myhostname": "mail.example.com",
            "mydomain": "example.com",
            "mydestination": ", ".join(self.mail["local_domains"]),
            "inet_interfaces": "127.0.0.1, ::1",
            "virtual_mailbox_domains": "virtual.example",
            "local_transport": self.here.transport,
            "virtual_transport": self.here.transport,
            "default_transport": self.elsewhere.transport,
            "relay_domains": "",
            "smtpd_recipient_restrictions": "permit_mynetworks, reject",
            "lmtp_connection_cache_on_demand": "no",
            **{name: value.format(etc=base / "etc") for name, value in parameters.items()},
        }
        lists = "".join(
            f" -o {{ {name} = {POLICY_SERVICE} }}\n"
            for name in ("smtpd_recipient_restrictions", "smtpd_data_restrictions")
        )
        services = f"127.0.0.1:{self.asking} inet n - n - 50 smtpd\n{lists}lmtp unix - - n - - lmtp\n"
        self.postfix = PrivatePostfix(base, main=main, services=services)
        (base / "etc" / "mailname").write_text("mail.example.com\n")
        stack.enter_context(self.postfix)
        sources = {"local-networks.cidr": "192.0.2.0/24\n", "local-domains": "\n".join(OURS) + "\n"}
        settings = "".join(f"{name} = {_toml(value)}\n" for name, value in self.mail.items())
        stack.enter_context(
            Server(
                directory / f"{kind}-server",
                COMPILED,
                sources=sources,
                socket_path=self.postfix.private / "policy",
                delimiter=parameters["recipient_delimiter"],
                mail=settings,
            )
        )

    def send(self, envelopes):
        """Every envelope through the port without a policy, until all is delivered: {mark: envelope} of those that
        Postfix takes, {mark: what the catchers got}.
        """
        queue_ids, sent = set(), {}
        with SmtpClient(self.postfix.port) as session:
            session.ehlo()
            for number, (sender, recipient) in enumerate(envelopes):
                if session.mail(sender).code == 250 and session.rcpt(recipient).code == 250:
                    reply = session.data(f"Subject: {number}\r\n\r\n")
                    queue_ids.add(re.search(r"queued as (\w+)", reply.text)[1])
                    sent[str(number)] = (sender, recipient)
                else:
                    session.command("RSET")
        self._wait_until_removed(queue_ids)
        # Without a mark: bounces of Postfix's own.
        deliveries = {mark: [] for mark in (*sent, "")}
        for each in (*self.here.deliveries, *self.elsewhere.deliveries):
            deliveries[each.subject if each.subject in sent else ""].append(each)
        return sent, deliveries

    def _wait_until_removed(self, queue_ids):
        """Follow the log until each mail has left the queue. On a slow disk that takes long, but never in silence."""
        with subprocess.Popen(["tail", "-n", "+1", "-F", self.postfix.log], stdout=-1, stderr=-3) as tail:
            try:
                text = b""
                while queue_ids - set(re.findall(r": (\w+): removed", text.decode(errors="replace"))):
                    assert select.select([tail.stdout], [], [], SILENCE_S)[0], "mail stays in the queue"
                    text += tail.stdout.read1()
            finally:
                tail.kill()

    def refused(self, sender, recipient):
        """Whether a client from outside is refused at RCPT or DATA; nothing is sent."""
        with SmtpClient(self.asking) as session:
            session.ehlo()
            session.xclient(OUTSIDE)
            session.ehlo()
            assert session.mail(sender).code == 250
            replies = [session.rcpt(recipient)]
            if replies[0].code == 250:
                replies.append(session.command("DATA"))
                session.abandon()
        assert replies[-1].code in (250, 354, 554), replies
        return replies[-1].code == 554


def _toml(value):
    return f'"{value}"' if isinstance(value, str) else f"[{', '.join(map(_toml, value))}]"


@pytest.fixture(scope="module", params=POSTFIXES)
def site(directory, request):
    """Each Postfix in its turn."""
    with ExitStack() as stack:
        yield Site(directory, request.param, stack)


# One: trivial-rewrite(8)

ATOMS = [
    *["anna", "postmaster", "example.com", "example.org", "virtual.example", "mail.example.com", "localhost"],
    *["LocalHost", "localhost.example.com", "[127.0.0.1]", "[IPv6:::1]", "[203.0.113.9]", "mail", "x y", "a.b", ""],
    *["example.com.", "localhost.", "x..y", ".x", "x+ext", "\u00e4", "a:b", "x-y", "example.com ", ". example.com"],
]
# What is in quotes within quotes comes out of Postfix's parser here and there with a blank or a dot more.
QUOTING = ['"example.com"', "\\example.com", 'a"b', "(example.com)", '"', "]", "(", "<anna@example.com>", "a:b;", "\t"]
# Literals of this machine in spellings that only getaddrinfo(3) and Postfix's parser take, and a few that they do not.
# And two of a local domain that Postfix folds into its name.
SPELLINGS = ["stra\u00dfe.example", "\u017ftrasse.example"]
SPELLINGS += ["[127.0.0.01]", "[0177.0.0.1]", "[127.000.0.1]", "[127.1]", "[127.0.0.1", "[127.0.0.08]"]
OPERATORS = ("@", "@", "!", "!", "%", "%", ".", "")
ENDINGS = ("", "", "", "@localhost", "@example.com", "@[127.0.0.1]", "@virtual.example", ".", "%localhost")
FUZZED = int(os.environ.get("FORKPOLICY_EXAMPLES", "2000"))


def fuzzed(chance, atoms):
    """An address as no mail program writes it, without quotes."""
    address = chance.choice(("", "", "", "@example.org:", "@a,@localhost:"))
    for number in range(chance.choice((1, 2, 2, 3, 3, 4))):
        address += (chance.choice(OPERATORS) if number else "") + chance.choice(atoms)
    return address + chance.choice(ENDINGS)


def same(ours, theirs):
    """Equal but for what tells nobody apart: blanks that Postfix puts in, capitals of domains, names for nobody."""

    def plain(address):
        local, _, domain = address.rpartition("@")
        return re.sub(r"\s|MAILER-DAEMON", "", local), domain.lower()

    return plain(ours) == plain(theirs)


def resolved(site, atoms):
    """(address, what it is to us, what Postfix delivers to, whether that is here) of many."""
    chance, rewriting = random.Random(1), Rewriting(**site.mail)
    with TrivialRewrite(site.postfix) as theirs:
        for address in sorted({fuzzed(chance, atoms) for _ in range(FUZZED)} - {""}):
            if address.startswith("@") and "@[IPv6" in address:
                # Postfix itself takes the colon of the literal now for the end of a route and now not.
                continue
            found = theirs.resolve(theirs.rewrite(address))
            if found:
                # That localhost is the same machine as myorigin, Postfix leaves for local(8) to see.
                yield address, rewriting.recipient(address), rewriting._at_origin(found[0]), found[1]


def test_recipients_are_what_trivial_rewrite_makes_of_them(site):
    """Rewritten as by cleanup(8), resolved as by qmgr(8): the same address."""
    differ = [(address, ours, theirs) for address, ours, theirs, _ in resolved(site, ATOMS) if not same(ours, theirs)]
    assert not differ, differ[:20]


def test_quotes_within_quotes_hide_nothing_that_ends_here(site):
    """Whatever Postfix's parser makes of them: what it delivers here is ours."""
    hidden = [
        (address, ours, theirs)
        for address, ours, theirs, here in resolved(site, [*ATOMS, *QUOTING, *SPELLINGS])
        if here and {*OURS, *DESTINATIONS}.isdisjoint(domain_names(ours.rpartition("@")[2]))
    ]
    assert not hidden, hidden[:20]


def test_the_reference_of_the_evaluators_is_postfix(site):
    """What tests/reference.py believes of addresses, where myorigin is the one that it believes in."""
    if site.mail["myorigin"] != "example.com":
        pytest.skip("the reference is about myorigin = example.com")
    rewriting = Rewriting(**site.mail)
    with TrivialRewrite(site.postfix) as theirs:
        for address, believed in reference.REWRITTEN.items():
            recipient, _ = theirs.resolve(theirs.rewrite(address))
            assert rewriting._at_origin(recipient) == believed


# Two: whole envelopes

USERS = ("anna", "anna+ext", "anna-ext", "ANNA", "postmaster", '"an na"', '"anna"')
DOMAINS = (*OURS, "example.org", "localhost", "LOCALHOST.", "localhost.example.com", "EXAMPLE.COM.", "mail", "virtual")
LITERALS = ("[127.0.0.1]", "[IPv6:::1]", "[203.0.113.7]", "[127.0.0.01]")
ROUTES = ("", "@relay.example.org:", "@relay.example.org,@localhost:")
QUOTED = ('"{0}@{1}"', '"{1}!{0}"', '"{0}%{1}"', '"{1}!an {0}"', '"an {0}%{1}"')


def forms():
    """Envelope addresses as they stand between the angle brackets."""
    yield from USERS
    for user, domain in itertools.product(USERS, (*DOMAINS, *LITERALS)):
        yield f"{user}@{domain}"
    for route, domain in itertools.product(ROUTES[1:], DOMAINS):
        yield f"{route}anna@{domain}"
    inner = [*OURS, "example.org", "localhost", "mail"]
    hows = ["{1}!{0}", "{0}%{1}", *QUOTED]
    for how, domain in itertools.product(hows, inner):
        yield how.format("anna", domain)
    for how, domain, last in itertools.product(hows, inner, (*DOMAINS, *LITERALS)):
        yield f"{how.format('anna', domain)}@{last}"
    for first, second, last in itertools.product(
        inner, inner, ("localhost", "example.com", "[127.0.0.1]", "example.org")
    ):
        yield f"anna%{first}%{second}@{last}"
        yield f"{second}!{first}!anna@{last}"
        yield f"{second}!anna%{first}@{last}"


def envelopes():
    """(sender, recipient): each form on one side with a plain address of ours or of others on the other, and mixed."""
    chance = random.Random(2)
    every = sorted(set(forms()))
    chosen = chance.sample(every, min(int(os.environ.get("FORKPOLICY_ENVELOPES", "300")) or len(every), len(every)))
    # The forms by which mail got around the rule, whatever the sample.
    chosen += [
        "anna",
        "example.com!anna",
        "anna%example.com",
        "anna%example.com@localhost",
        "anna@[127.0.0.1]",
        "anna@[127.0.0.01]",
        '"anna@[127.0.0.1"@localhost',
        "postmaster",
    ]
    for form in dict.fromkeys(chosen):
        yield "boss@example.com", form
        yield form, "anna@virtual.example"
        yield chance.choice(chosen), form
    yield "x@example.org", "anna"
    yield "", "example.com!anna"


def test_what_ends_here_and_claims_to_be_from_here_is_refused_and_nothing_else(site):
    """The founding rule, asked by Postfix, against where the same Postfix delivers without it."""
    sent, deliveries = site.send(list(dict.fromkeys(envelopes())))
    wrong, seen = [], Counter()
    with TrivialRewrite(site.postfix) as theirs:
        for mark, (sender, recipient) in sent.items():
            here = [each.sender for each in site.here.deliveries if each.subject == mark]
            must = any(claims_to_be_ours(shown, theirs) for shown in here)
            seen[bool(here), must] += 1
            if site.refused(sender, recipient) is not must:
                wrong.append(f"MAIL FROM:<{sender}> RCPT TO:<{recipient}> {must=} {deliveries[mark]}")
    assert not wrong, "\n".join(wrong)
    # What makes it a test: enough of each kind.
    assert min(seen[True, True], seen[True, False], seen[False, False]) > 50, seen


def test_postmaster_is_taken_at_rcpt_and_refused_at_data(site):
    """Postfix asks nobody about RCPT TO:<postmaster>; the rule in smtpd_data_restrictions sees it where it is alone."""
    with SmtpClient(site.asking) as session:
        session.ehlo()
        session.xclient(OUTSIDE)
        session.ehlo()
        session.mail("boss@example.com")
        assert session.rcpt("postmaster").code == 250
        refused = session.command("DATA")
        assert (refused.code, "Authentication required" in refused.text) == (554, True)
        session.command("RSET")
        session.mail("somebody@example.org")
        session.rcpt("postmaster")
        assert session.data().code == 250


def test_a_reload_takes_the_settings_up(postfix, serve):
    """Every setting of [mail] about addresses counts for the next request after `reload`."""
    server = serve(COMPILED, SOURCES)

    def code(recipient):
        with SmtpClient(postfix.port) as session:
            session.ehlo()
            session.xclient(OUTSIDE)
            session.ehlo()
            session.mail("boss@example.com")
            return session.rcpt(recipient).code

    forms = ["anna", "anna@[192.0.2.25]", "anna@shop", "anna%example.com@shop.example.org"]
    assert [code(form) for form in forms] == [250] * 4
    mail = 'myorigin = "example.com"\nmydomain = "example.net"\nlocal_addresses = ["192.0.2.25"]\n'
    mail += 'local_domains = ["shop.example.org"]\n'
    text = server.settings.read_text()
    server.settings.write_text(text.replace("[mail]\n", f"[mail]\n{mail}"))
    done = server.reload()
    assert done.returncode == 0, done.stderr
    assert [code(form) for form in forms] == [554] * 4
    server.settings.write_text(text.replace("[mail]\n", f'[mail]\nrewriting = "none"\n{mail}'))
    assert server.reload().returncode == 0
    assert [code(form) for form in forms] == [250] * 4


def claims_to_be_ours(shown, theirs):
    """Whether the sender that the recipient is shown stands at a domain of ours, or is answered to here."""
    if not shown:
        return False
    resolved = theirs.resolve(unquoted(shown))
    return shown.rpartition("@")[2].lower() in OURS or bool(resolved and resolved[1])
