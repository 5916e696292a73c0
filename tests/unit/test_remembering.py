"""Policies that remember: what is asked, what is counted and when, with a store in memory and a clock of the test."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from forkpolicy.errors import StateError, TableError
from forkpolicy.policy.answers import NOT_ASKED
from forkpolicy.policy.evaluate import Answer
from forkpolicy.postfix.addresses import Rewriting
from forkpolicy.protocol.layout import wanted_values
from forkpolicy.protocol.request import Request
from forkpolicy.state.memory import MemoryStore
from tests.fakes import ALWAYS, NEVER, diagnostics_of, policy_of, request_of

CAPTURES = Path("tests/captures")
ACTIONS = "action slow 450 4.7.1 slow\naction no REJECT\n"
INSTANCES = itertools.count()
SIGNED_IN = {"sasl_username": "anna", "sasl_method": "PLAIN"}


class Server:
    """A policy with a memory of its own, and a clock that the test turns."""

    def __init__(self, text, tables=None, **more):
        self.now_s = 1_700_000_000.0
        self.store = MemoryStore(lambda: self.now_s)
        self.policy = policy_of(ACTIONS + text, tables, store=self.store, clock=lambda: self.now_s, **more)
        self.failures, self.lost = [], []
        self.policy.on_failure, self.policy.on_lost = self.failures.append, self.lost.append

    def values(self, **attributes):
        return wanted_values(request_of(**attributes), self.policy.wanted)

    def ask(self, **attributes):
        values = self.values(**attributes)
        rule = self.policy.decide(values).rule
        self.policy.take_noted()
        return self.policy.text(rule, values)

    def send(self, path):
        """A request that a real Postfix has sent."""
        values = wanted_values(Request.parse((CAPTURES / path).read_bytes()), self.policy.wanted)
        return self.policy.text(self.policy.decide(values).rule, values)

    def peek(self, acl, **attributes):
        """What `explain` would find of an ACL."""
        trace = self.policy.trace(self.values(**attributes), self.policy.peeking, all_rules=True)
        looked = (each for tried in trace.tried for looked, _ in tried.looked for each in looked.all_looked)
        return next(each for each in looked if each.acl.name == acl)

    def used(self, acl="busy", **attributes):
        """How much of each window is used."""
        return [window.used for window in self.peek(acl, **attributes).given.answer.windows]

    @property
    def records(self):
        return dict(self.store.walk(b"", b"", 10**6))


def messages(server, count, **attributes):
    """So many messages; their replies."""
    return [server.ask(instance=f"i{next(INSTANCES)}", **attributes) for _ in range(count)]


def test_what_one_window_refuses_counts_in_none():
    """A limit of an hour and one of a day: what the day refuses leaves the hour as it was, and the reverse."""
    server = Server("acl busy rate {sasl_username} 2/1h 3/1d\naccess busy slow\n")
    assert messages(server, 4, **SIGNED_IN) == ["DUNNO", "DUNNO", "450 4.7.1 slow", "450 4.7.1 slow"]
    assert server.used(**SIGNED_IN) == [2, 2]
    server.now_s += 2 * 3600
    assert messages(server, 3, **SIGNED_IN) == ["DUNNO", "450 4.7.1 slow", "450 4.7.1 slow"]
    assert server.used(**SIGNED_IN) == [1, 3]


def test_who_tries_each_second_is_free_as_soon_as_the_window_allows():
    """What was refused does not count, so that a client that does not stop is not locked out for ever."""
    server = Server("acl busy rate {sasl_username} 3/1m\naccess busy slow\n")
    assert messages(server, 3, **SIGNED_IN) == ["DUNNO"] * 3
    replies = []
    for _ in range(65):
        server.now_s += 1
        replies += messages(server, 1, **SIGNED_IN)
    assert replies[:59] == ["450 4.7.1 slow"] * 59
    # A place becomes free a sixteenth of the window late at most.
    assert "DUNNO" in replies[59:64]


def test_refused_requests_count_where_the_policy_says_so():
    """`refused=count`: who does not stop stays out."""
    server = Server("acl busy rate {sasl_username} 3/1m refused=count\naccess busy slow\n")
    replies = []
    for _ in range(200):
        server.now_s += 1
        replies += messages(server, 1, **SIGNED_IN)
    assert replies == ["DUNNO"] * 3 + ["450 4.7.1 slow"] * 197


MESSAGE = [
    f"02-second-transaction-3rcpt-size.{state}.txt"
    for state in ("mail", "rcpt", "rcpt.2", "rcpt.3", "data", "end-of-message")
]


@pytest.mark.parametrize(("counting", "used"), [("messages", 1), ("recipients", 3), ("bytes", 87), ("requests", 6)])
def test_a_message_of_a_real_postfix_counts_what_it_is(counting, used):
    """One message with three recipients, a declared size of 12345 and 87 real bytes, from MAIL to END-OF-MESSAGE."""
    server = Server(f"acl busy rate {{client_address}} 99999/1h count={counting}\naccess busy slow\n")
    for path in MESSAGE:
        assert server.send(path) == "DUNNO"
    client = Request.parse((CAPTURES / MESSAGE[0]).read_bytes()).get("client_address")
    state = "END-OF-MESSAGE" if counting == "bytes" else "RCPT"
    assert server.used(client_address=client, protocol_state=state, instance="new") == [used]
    # Postfix sends a request again, on a new connection, when the first one was closed.
    for path in (*MESSAGE[1:], MESSAGE[-1]):
        assert server.send(path) == "DUNNO"
    assert server.used(client_address=client, protocol_state=state, instance="new") == [used]


def test_two_transactions_of_one_connection_are_two_messages():
    """Each has an instance of its own."""
    server = Server("acl busy rate {client_address} 99/1h\naccess busy slow\n")
    server.send("01-basic.rcpt.txt")
    server.send("02-second-transaction-3rcpt-size.rcpt.txt")
    address = Request.parse((CAPTURES / "01-basic.rcpt.txt").read_bytes()).get("client_address")
    assert server.used(client_address=address) == [2]


def test_recipients_that_come_only_in_sum_count_at_data():
    """A policy that is asked at DATA alone counts `recipient_count`; one that counted at RCPT counts the rest."""
    server = Server("acl busy rate {sasl_username} 10/1h count=recipients\naccess busy slow\n")
    rcpt = {**SIGNED_IN, "instance": "a"}
    server.ask(**rcpt, recipient="x@example.org")
    data = {**rcpt, "protocol_state": "DATA", "recipient": "", "recipient_count": "4"}
    assert server.ask(**data) == server.ask(**data) == "DUNNO"
    assert server.used(**SIGNED_IN) == [4]
    assert server.ask(**{**data, "instance": "b", "recipient_count": "7"}) == "450 4.7.1 slow"
    assert server.ask(**{**data, "instance": "c", "recipient_count": "many"}) == "DUNNO"
    assert server.used(**SIGNED_IN) == [4]


def test_a_login_that_is_empty_has_no_limit_and_no_record():
    """Known and empty: it does not hold, and `!` does; not known: neither."""
    server = Server(
        "acl busy rate {sasl_username} 1/1h\naction free 250 free\naccess !busy free\n".replace("250 free", "WARN")
    )
    assert [server.ask() for _ in range(3)] == ["WARN"] * 3
    assert server.ask(protocol_state="CONNECT", sender="", recipient="") == "DUNNO"
    assert server.records == {}


@pytest.mark.parametrize("kind", ["greylisting", "rate {client_address} 0/1h"])
def test_before_the_first_recipient_nothing_is_known(kind):
    """At MAIL, which smtpd_delay_reject = no lets Postfix ask at, neither the ACL nor its `!` fires."""
    server = Server(f"acl held {kind}\naccess held slow\naccess !held no\n")
    assert server.ask(protocol_state="MAIL", recipient="") == "DUNNO"
    assert server.peek("held", protocol_state="MAIL", recipient="").answer is Answer.UNKNOWN
    assert server.records == {}
    assert server.ask() == "450 4.7.1 slow"


def test_greylisting_at_data_needs_the_one_recipient():
    """With several, Postfix sends none."""
    server = Server("acl held greylisting\naccess held slow\naccess !held no\n")
    assert server.ask(protocol_state="DATA", recipient="", recipient_count="2") == "DUNNO"
    assert server.ask(protocol_state="DATA", recipient_count="1") == "450 4.7.1 slow"


def test_bytes_count_at_the_end_alone():
    """A declared size is a wish."""
    server = Server("acl big rate {sasl_username} 1000/1h count=bytes\naccess big slow\naccess !big no\n")
    assert server.ask(**SIGNED_IN, instance="a", size="5000") == "DUNNO"
    at_end = {**SIGNED_IN, "protocol_state": "END-OF-MESSAGE", "recipient_count": "1"}
    assert server.ask(**at_end, instance="a", size="5000") == "450 4.7.1 slow"
    assert server.ask(**at_end, instance="b", size="500") == "REJECT"


@pytest.mark.parametrize("rules", [7, 8, 20])
@pytest.mark.parametrize("costs_us", [ALWAYS, NEVER], ids=["indexed", "straight"])
def test_a_long_policy_counts_as_a_short_one(rules, costs_us):
    """Whichever guard an index finds: what stands left of the limit decides, and nothing right of it."""
    fill = "".join(f"acl f{n} sender f{n}@example.net\naccess f{n} no\n" for n in range(rules - 1))
    text = f"acl busy rate {{client_address}} 99/1h\nacl bad sender bad@example.net\n{fill}access busy bad slow\n"
    server = Server(text, index_costs_us=costs_us)
    assert messages(server, 3) == ["DUNNO"] * 3
    assert server.used() == [3]


def test_what_fails_behind_a_limit_counts_once():
    """The plan has asked, a table fails, and the exact evaluation does not ask again."""
    server = Server(
        "table t domain x\nacl busy rate {client_address} 99/1h\nacl broken sender table:t\naccess !busy broken no\n",
        {"t": None},
    )
    assert server.ask(instance="a").startswith("DEFER_IF_PERMIT 4.3.0")
    assert server.used() == [1]
    assert server.failures == ["acl broken: table t is damaged"]


def test_right_of_a_term_that_fails_nothing_is_asked():
    """It is taken as met; a plain term decides whether the request is answered with on_error."""
    server = Server(
        "table t domain x\nacl busy rate {client_address} 99/1h\nacl broken sender table:t\n"
        "acl us recipient @example.com\naccess broken busy us no\n",
        {"t": None},
    )
    assert server.ask().startswith("DEFER_IF_PERMIT 4.3.0")
    assert server.ask(recipient="x@example.org") == "DUNNO"
    assert server.records == {}


def test_a_text_with_the_wait_asks_nothing_more():
    """Neither in a reply nor in a log line; where nobody asked, it is empty."""
    server = Server(
        "acl busy rate {sasl_username} 1/1h\nacl us recipient @example.com\n"
        "action wait 450 4.7.1 in {match.busy} s\naction note log {match.busy}\naction idle WARN [{match.busy}]\n"
        "access busy note\naccess busy wait\naccess us idle\n"
    )
    assert messages(server, 1, **SIGNED_IN) == ["WARN []"]
    first, second = messages(server, 2, **SIGNED_IN)
    assert first == second
    assert 3600 <= int(first.split()[-2]) <= 3600 * 17 / 16
    assert server.used(**SIGNED_IN) == [1]
    values = server.values(**SIGNED_IN, instance="z")
    server.policy.decide(values)
    (noted,) = server.policy.take_noted()
    assert server.policy.text(noted.rule, values) == first.split()[-2]
    assert server.used(**SIGNED_IN) == [1]


def test_explanations_and_samples_leave_everything_as_it_was():
    """`peek` finds what asking would, and the other modes ask nothing."""
    server = Server(
        "acl busy rate {client_address} 2/1h\nacl held greylisting\nacl bad listed traps {client_address}\n"
        "acl many distinct {client_address} {sender} >1/1h\naction trap remember traps {client_address} 1d\n"
        "access many no\naccess busy trap\naccess bad no\naccess held slow\n"
    )
    messages(server, 1)
    before = server.records
    for mode in (server.policy.peeking, NOT_ASKED):
        server.policy.trace(server.values(instance="x", sender="new@example.org"), mode, all_rules=True)
    assert server.records == before
    assert server.peek("many", sender="new@example.org").answer is Answer.HOLDS
    assert server.peek("held").answer is Answer.HOLDS
    assert server.peek("bad").answer is Answer.NOT
    looked = server.policy.trace(server.values()).tried[0].looked[0][0]
    assert (looked.answer, looked.reason) == (Answer.NOT_ASKED, "not asked")


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ("list-12345-anna=example.org@lists.example", "list-99-anna=example.org@lists.example"),
        ("anna+a@example.org", "Anna+b@EXAMPLE.org."),
        ("anna+a@example.org", "anna@example.org"),
        ("prvs=2145ac3f7b=anna@example.org", "prvs=0945bc7712=anna@example.org"),
        ("prvs=2145ac3f7b=anna@example.org", "anna@example.org"),
        ("", ""),
    ],
)
def test_senders_of_one_mailer_are_one(first, again):
    """VERP, extension, BATV and the null sender."""
    server = Server("acl held greylisting\naccess held slow\n")
    assert server.ask(sender=first) == "450 4.7.1 slow"
    server.now_s += 290
    assert server.ask(sender=again) == "DUNNO"
    assert server.ask(sender="other@example.org") == "450 4.7.1 slow"


def test_keys_are_addresses_as_postfix_understands_them():
    """Rewritten, folded and without an extension; parts and networks too."""
    views = Rewriting(myorigin="example.com", local_domains=["example.com"]).views
    server = Server("acl busy rate {recipient} 1/1h\naccess busy slow\n", views=views, delimiter="+")
    assert messages(server, 1, recipient="staff+a@example.com") == ["DUNNO"]
    for same in ("Staff@EXAMPLE.com", "staff", "staff%example.com@localhost", "staff+b@example.com."):
        assert messages(server, 1, recipient=same) == ["450 4.7.1 slow"]
    assert messages(server, 1, recipient="other@example.com") == ["DUNNO"]


@pytest.mark.parametrize(
    ("key", "attributes", "same", "other"),
    [
        ("{sender_domain}", {"sender": "a@example.org"}, {"sender": "b@EXAMPLE.org"}, {"sender": "a@example.net"}),
        ("{sender_localpart}", {"sender": "a@example.org"}, {"sender": "A@example.net"}, {"sender": "b@example.org"}),
        (
            "{helo_domain}",
            {"helo_name": "a.example.org"},
            {"helo_name": "b.Example.org"},
            {"helo_name": "a.b.example.org"},
        ),
        ("{client_address} mask=/24,/64", {}, {"client_address": "203.0.113.9"}, {"client_address": "203.0.114.9"}),
        (
            "{client_address} mask=/24,/64",
            {"client_address": "2001:db8::1"},
            {"client_address": "2001:DB8:0::ffff"},
            {"client_address": "2001:db8:0:1::1"},
        ),
        ("{client_address}", {}, {"client_address": "::ffff:203.0.113.5"}, {"client_address": "203.0.113.6"}),
        ("{client_name}", {}, {"client_name": "Mail.example.org."}, {"client_name": "unknown"}),
    ],
)
def test_parts_and_networks_are_keys(key, attributes, same, other):
    """What is one key, and what is another."""
    server = Server(f"acl busy rate {key} 1/1h\naccess busy slow\n")
    assert messages(server, 1, **attributes) == ["DUNNO"]
    assert messages(server, 1, **same) == ["450 4.7.1 slow"]
    assert messages(server, 1, **other) == ["DUNNO"]


@pytest.mark.parametrize("helo", ["[192.0.2.1]", "192.0.2.1", "example.org", "localhost", ""])
def test_a_helo_without_a_domain_of_its_own_is_no_key(helo):
    """Address literals, and names of fewer than three labels."""
    server = Server("acl busy rate {helo_domain} 0/1h\naccess busy slow\n")
    assert server.ask(helo_name=helo) == "DUNNO"
    assert server.records == {}


def test_the_value_of_a_table_is_a_key():
    """Customers by their domain: those without an entry are not limited."""
    rows = {"customers": {"example.org": "Big", "example.net": "big", "example.com": None}}
    server = Server(
        "table customers domain x\nacl customer sender table:customers\nacl busy rate {match.customer} 1/1h\n"
        "access busy slow\n",
        rows,
    )
    assert messages(server, 1, sender="a@example.org") == ["DUNNO"]
    assert messages(server, 1, sender="b@example.net") == ["450 4.7.1 slow"]
    assert messages(server, 2, sender="b@example.com") == ["DUNNO"] * 2
    assert messages(server, 2, sender="b@elsewhere.example") == ["DUNNO"] * 2


def test_limits_of_a_table():
    """Those of the entry, none for `-`, those of the line without an entry; what is not a limit fails."""
    rows = {"t": {"anna": "2/1h 100/1d", "root": "-", "bad": "many"}}
    server = Server("table t key x\nacl busy rate {sasl_username} 1/1h limits=table:t\naccess busy slow\n", rows)
    replies = {
        login: messages(server, 3, sasl_username=login, sasl_method="PLAIN") for login in ("anna", "root", "other")
    }
    slow = "450 4.7.1 slow"
    assert replies == {"anna": ["DUNNO", "DUNNO", slow], "root": ["DUNNO"] * 3, "other": ["DUNNO", slow, slow]}
    assert server.ask(sasl_username="bad").startswith("DEFER_IF_PERMIT 4.3.0")
    assert 'table t, bad: "many" is not a valid limit' in server.failures[0]


def test_what_a_limit_remembers_outlives_a_changed_limit():
    """Another LIMIT keeps what was counted; another key, window or count begins anew."""
    server = Server("acl busy rate {sasl_username} 2/1h\naccess busy slow\n")
    messages(server, 2, **SIGNED_IN)
    for values, used in (
        ("{sasl_username} 9/1h", 2),
        ("{sasl_username} 9/2h", 0),
        ("{sasl_username} 9/1h count=recipients", 0),
        ("{client_address} 9/1h", 0),
    ):
        server.policy = policy_of(f"{ACTIONS}acl busy rate {values}\naccess busy slow\n", store=server.store)
        assert server.used(**SIGNED_IN) == [used]


def test_distinct_values_count_whether_it_holds_or_not():
    """A key stays locked until enough of its values have aged out."""
    server = Server("acl many distinct {sasl_username} {client_address} >2/1h\naccess many no\n")
    replies = [server.ask(**SIGNED_IN, client_address=f"192.0.2.{n}") for n in (1, 2, 1, 3, 1)]
    assert replies == ["DUNNO", "DUNNO", "DUNNO", "REJECT", "REJECT"]
    server.now_s += 3601
    assert server.ask(**SIGNED_IN, client_address="192.0.2.1") == "DUNNO"


def test_a_list_that_rules_fill():
    """`remember` comes before a later `listed` of the same request, begins the time anew, and `forget` ends it."""
    server = Server(
        "acl trap recipient trap@example.com\nacl sorry recipient sorry@example.com\n"
        "acl bad listed trapped {client_address} mask=/24,/64\n"
        "action catch remember trapped {client_address} 1h mask=/24,/64\n"
        "action free forget trapped {client_address} mask=/24,/64\naction out 550 out for {match.bad} s\n"
        "access trap catch\naccess sorry free\naccess bad out\n"
    )
    assert server.ask() == "DUNNO"
    assert server.ask(recipient="trap@example.com") == "550 out for 3600 s"
    server.now_s += 1800
    assert server.ask(client_address="203.0.113.99") == "550 out for 1800 s"
    assert server.ask(recipient="trap@example.com") == "550 out for 3600 s"
    server.now_s += 3599
    assert server.ask() == "550 out for 1 s"
    server.now_s += 2
    assert server.ask() == "DUNNO"
    server.ask(recipient="trap@example.com")
    assert server.ask(recipient="sorry@example.com") == server.ask() == "DUNNO"


def test_actions_on_lists_are_done_once_a_request_and_not_for_an_empty_key():
    """Also where a failure makes the request be evaluated again; they are counted like `log` rules."""
    server = Server(
        "table t domain x\nacl us recipient @example.com\nacl broken sender table:t\n"
        "action who remember logins {sasl_username} 1h\naccess us who\naccess broken no\n",
        {"t": None},
    )
    assert server.ask(**SIGNED_IN).startswith("DEFER_IF_PERMIT 4.3.0")
    assert server.policy.answered["remember", "logins", "done"] == 1
    values = server.values(**SIGNED_IN)
    server.policy.decide(values)
    assert [noted.rule.action.name for noted in server.policy.take_noted()] == ["who"]
    records = len(server.records)
    server.ask()
    assert len(server.records) == records
    assert server.policy.answered["remember", "logins", "done"] == 2


class BrokenStore:
    """A store that does not answer."""

    def ask(self, _question):
        raise StateError("the store is down")

    peek = ask


def test_a_store_that_fails_fails_or_is_skipped():
    """fail=error is on_error, fail=skip cannot be known; what should be remembered is lost, and the request goes on."""
    server = Server(
        "acl busy rate {client_address} 1/1h fail=skip\nacl held greylisting\nacl us recipient @example.com\n"
        "action trap remember t {client_address} 1h\n"
        "access busy no\naccess !busy no\naccess us trap\naccess held slow\n"
    )
    server.policy.remember_in(BrokenStore())
    assert server.ask().startswith("DEFER_IF_PERMIT 4.3.0")
    assert server.failures == ["acl held: the store is down"]
    assert server.lost == ["action trap: the store is down"]
    assert server.policy.answered["remember", "t", "lost"] == 1
    assert server.policy.answered["rate", "busy", "failed"] == 1
    looked = server.peek("busy")
    assert (looked.answer, looked.reason) == (Answer.NOT_ASKED, "the store cannot be read: the store is down")


def test_what_a_failing_store_means_by_default_is_a_setting():
    """`[state] fail = "skip"`; an ACL may say otherwise."""
    text = "acl busy rate {client_address} 1/1h\nacl sure rate {client_address} 1/1h fail=error\naccess busy no\n"
    server = Server(text, skips_failures=True)
    server.policy.remember_in(BrokenStore())
    assert server.ask() == "DUNNO"
    assert server.policy.model.acls["sure"].matchers[0].skips is False


def test_apolicys_greylisting_works_as_it_is():
    """Its words are read; where it kept its memory has no effect, and a warning says so."""
    text = "acl held greylisting time=10,lifetime=60,backend=mysql,root=/var/lib/apolicy\naccess held slow\n"
    server = Server(text)
    (matcher,) = server.policy.model.acls["held"].matchers
    assert (matcher.delay_s, matcher.window_s, matcher.keep_s) == (600, 3600, 3600)
    ignored = [str(each).partition("\n")[0] for each in matcher.warnings()]
    assert ignored == [
        "policy.conf:3:42: warning: backend=mysql has no effect: what is remembered is in the store of [state]",
        "policy.conf:3:56: warning: root=/var/lib/apolicy has no effect: what is remembered is in the store of [state]",
    ]
    assert server.ask() == "450 4.7.1 slow"
    server.now_s += 600
    assert server.ask() == "DUNNO"


def test_training_remembers_and_never_holds():
    """Who has come meanwhile need not wait when it ends."""
    server = Server("acl held greylisting training\naccess held slow\n")
    assert server.ask() == "DUNNO"
    server.now_s += 300
    server.policy = policy_of(f"{ACTIONS}acl held greylisting\naccess held slow\n", store=server.store)
    assert server.ask() == "DUNNO"
    assert server.ask(sender="new@example.org") == "450 4.7.1 slow"


MISTAKES = [
    ("acl a rate {sasl_username}", "expected rate {KEY}... LIMIT/WINDOW..."),
    ("acl a rate 100/1h", "expected rate {KEY}... LIMIT/WINDOW..."),
    ("acl a rate {sasl_usrname} 100/1h", 'did you mean "{sasl_username}"?'),
    ("acl a rate {sasl_username} 100", '"100" is not a valid limit: expected LIMIT/WINDOW'),
    ("acl a rate {sasl_username} 100/1x", '"1x" is not a valid duration'),
    ("acl a rate {sasl_username} 100/0s", "a window of no time"),
    ("acl a rate {sasl_username} 100/1h 50/60m", "two limits have the same window"),
    ("acl a rate {sasl_username} 100/1h cuont=bytes", 'did you mean "count="?'),
    (
        "acl a rate {sasl_username} 100/1h count=mails",
        "count=mails: expected messages or recipients or bytes or requests",
    ),
    ("acl a rate {sasl_username} 100/1h refused=no", "refused=no: expected count"),
    ("acl a rate {sasl_username} 100/1h fail=never", "fail=never: expected error or skip"),
    ("acl a rate {sasl_username} 100/1h fail=skip fail=skip", "fail= stands here twice"),
    ("acl a rate {client_address} 100/1h mask=/24", "is not a valid mask: expected one for IPv4 and one for IPv6"),
    (
        "acl a rate {client_address} 100/1h mask=/33,/64",
        "mask=/33,/64: expected /1 to /32 for IPv4, then /1 to /128 for IPv6",
    ),
    ("acl a rate {sasl_username} 100/1h limits=table:none", 'unknown table "none"'),
    ("acl a rate {sasl_username} 100/1h limits=/etc/limits", "expected limits=table:NAME"),
    ("table c cidr x\nacl a rate {sasl_username} 1/1h limits=table:c", "is of kind cidr: {sasl_username} needs"),
    ("acl a rate {match.b} 100/1h", 'unknown acl "b" in "{match.b}"'),
    ("acl b sender @example.com\nacl a rate {match.b} 100/1h", 'acl "b" asks no table'),
    ("acl a rate {sasl_username} 1/1h\nacl a rate {sasl_username} 2/1d", 'acl "a" is declared already, in line 3'),
    ("acl a rate sasl_username 100/1h", "3:12: expected rate {KEY}... LIMIT/WINDOW..., as in"),
    ("acl a rate sasl_username 100/1h", 'did you mean "{sasl_username}"?'),
    ("acl a distinct sasl_username {client_address} >5/1h", 'did you mean "{sasl_username}"?'),
    ("acl a listed bans client_address", 'did you mean "{client_address}"?'),
    (
        "acl a distinct {sasl_username} {client_address} >5",
        '"5" is not a valid limit: expected >N/WINDOW, as in >20/1h',
    ),
    ("acl a distinct {sasl_username} >5/1h", "expected distinct {KEY}... {VALUE} >N/WINDOW"),
    ("acl a distinct {sasl_username} {client_address} 5/1h", '"5/1h": expected >N/WINDOW'),
    ("acl a distinct {sasl_username} {client_address} >1001/1h", "1001 different values: 1 to 1000"),
    ("acl a listed {client_address}", "expected listed LIST {KEY}..."),
    ("acl a listed bad", "expected listed LIST {KEY}..."),
    ("acl a listed ba!d {client_address}", "expected listed LIST {KEY}..."),
    ("acl a greylisting 5m", '"5m" is not a value of greylisting: expected delay=, window='),
    ("acl a greylisting delay=5", 'delay=5: "5" is not a valid duration: did you mean 5s?'),
    ("acl a greylisting delay=2d", "the delay of 172800 s is not shorter than the window"),
    ("acl a greylisting time=5m", "time=5m: expected minutes"),
    ("action x remember bad 2h", "expected remember LIST {KEY}... DURATION"),
    ("action x remember bad {client_address}", "expected remember LIST {KEY}... DURATION"),
    ("action x remember bad {client_address} 2", "did you mean 2s?"),
    ("action x forget bad {client_address} 2h", "expected forget LIST {KEY}..."),
    ("action default remember bad {client_address} 2h", '"default" must be a reply, and a remember is not one'),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes_are_shown_with_what_was_expected(text, message):
    """Each where it stands, and nothing else."""
    found = diagnostics_of(f"{ACTIONS}{text}\n")
    assert len(found) == 1, found
    assert message in found[0]
    assert found[0].startswith(f"policy.conf:{3 + text.count(chr(10))}:")


def test_a_failing_table_in_a_key_fails():
    """It is not a store that fails: `fail=skip` says nothing about tables."""
    server = Server(
        "table t domain x\nacl customer sender table:t\nacl busy rate {match.customer} 1/1h fail=skip\n"
        "access busy slow\n",
        {"t": None},
    )
    assert server.ask().startswith("DEFER_IF_PERMIT 4.3.0")
    with pytest.raises(TableError):
        server.policy.answer_to(None)
