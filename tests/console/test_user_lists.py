"""Users' lists with a real policy server, which decides by them, and a real store."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

import pytest

from forkpolicy.console.access.rights import Role
from forkpolicy.console.app import application
from forkpolicy.console.change.text_files import replace_text
from forkpolicy.console.lists.lists import UserLists
from forkpolicy.console.parts import Parts
from forkpolicy.gateway.domains import Domain
from forkpolicy.gateway.lists import BLOCK, LISTS
from forkpolicy.gateway.setup.place import GatewayPlace
from forkpolicy.gateway.setup.policy_text import DOMAINS_TABLE, POLICY_FILE, policy_files
from forkpolicy.settings import load_settings
from loadtest.clients.policy_client import PolicyClient
from tests.console.asking import Browser, SignedIn
from tests.gateway.stores import LmtpClient, PolicyServer, Store
from tests.process.conftest import folder, make_server, request  # noqa: F401 - fixtures
from tests.process.waiting import eventually

ANNA, BOB = "anna@example.com", "bob@example.com"
MAIL = b"Subject: Offer\r\n\r\nBuy.\r\n"
DOMAINS = [Domain("example.com", "relay:[192.0.2.5]:25"), Domain("example.net", "relay:[192.0.2.5]:25")]


class Site:
    """The policy server of a gateway, its console and a store that runs only where a test starts it."""

    def __init__(self, make_server, folder):  # noqa: F811
        console = folder / "server" / "console"
        files = policy_files(DOMAINS, GatewayPlace(console_tables=str(console / "tables")))
        policy = files[POLICY_FILE].replace("interfaces: postconf:mynetworks", "networks")
        (console / "tables").mkdir(parents=True)
        (folder / "server" / "tables").mkdir()
        (folder / "server" / "networks").write_text("127.0.0.0/8\n")
        (folder / "server" / DOMAINS_TABLE).write_text(files[DOMAINS_TABLE])
        for name in LISTS:
            (console / "tables" / name.replace("_", "-")).write_text("")
        self.store = Store(folder, room="1K")
        (folder / "domains").write_text("".join(f"{each.name} {each.relay}\n" for each in DOMAINS))
        self.store.settings.write_text(f'domains = "domains"\n{self.store.settings.read_text()}')
        more = f'[console]\npath = "{console}"\ngateway = "{self.store.settings}"\n'
        self.server = make_server(policy, state_and_more=more)
        self.server.start()
        self.block, self.welcome = console / "tables" / "user-block", console / "tables" / "user-welcome"
        self.settings = load_settings(str(self.server.settings))
        self.parts = Parts(self.settings)

    def browser(self, role=Role.USER, session="session", **account):
        """Of a user anna, unless it says otherwise."""
        if role is Role.USER:
            account.setdefault("addresses", frozenset({ANNA}))
        return Browser(application(self.parts, Session(session, role, **account)))

    def asked(self, recipient, sender, **more):
        """What the policy server says to Postfix."""
        with PolicyClient(self.server.socket_path) as client:
            return client.ask(request(sender, recipient, **{"policy_context": "front", **more}))

    @contextlib.contextmanager
    def held(self, *recipients, sender="news@shop.example"):
        """A running store that holds a mail."""
        policy = PolicyServer(self.store.sockets / "policy", lambda _: "HOLD")
        try:
            with self.store, LmtpClient(self.store.sockets / "store-spam") as client:
                client.send(sender, list(recipients), MAIL, "4XqA")
                yield
        finally:
            policy.close()

    def states(self):
        """Of held mail, by recipient."""
        return dict(self.store.rows("SELECT recipient, state FROM held"))


class Session(SignedIn):
    """A gate with a session of its own."""

    def __init__(self, session, role, **account):
        super().__init__(role, **account)
        self._session = session

    def enter(self, asked):
        """As that session."""
        return replace(super().enter(asked), session=self._session)


@pytest.fixture
def site(make_server, folder):  # noqa: F811
    return Site(make_server, folder)


def put(browser, do, sender, recipient=ANNA, **more):
    """Press a button of the page; the page that follows."""
    answer = browser.post("/held/lists", {"do": do, "recipient": recipient, "sender": sender, **more})
    assert answer.status == 303, answer.text
    return browser.json(answer.headers["location"])


def listed(browser, query=""):
    """What the page shows: list, recipient and sender."""
    page = browser.json(f"/held/lists{query}")
    return [(each["list"], each["recipient"], each["sender"]) for each in page["entries"]]


def test_a_block_refuses_for_its_user_only(site):
    """When the page comes back the server decides by it, at RCPT; another recipient of the same mail has it."""
    page = put(site.browser(), "block", "News@Shop.Example")
    assert page["is_served"] is True
    assert page["last"]["sentence"].startswith("news@shop.example is blocked for anna@example.com.")
    assert listed(site.browser()) == [("block", ANNA, "news@shop.example")]
    assert "does not want mail from NEWS@shop.example" in site.asked("Anna@Example.COM", "NEWS@shop.example")
    assert site.asked(BOB, "news@shop.example") == "DUNNO"
    assert site.asked(ANNA, "other@shop.example") == "DUNNO"
    put(site.browser(), "remove", "news@shop.example")
    assert site.asked(ANNA, "news@shop.example") == "DUNNO"


def test_a_welcome_needs_someone_who_vouches(site):
    """Spam goes on for that user, only where the scanner found SPF or a signature; the page says so."""
    put(site.browser(), "welcome", "shop.example")
    spam = {"policy_context": "held-spam", "held_cause": "spam"}
    assert site.asked(ANNA, "news@shop.example", **spam, spam_auth="pass") == "OK"
    assert site.asked(ANNA, "news@shop.example", **spam, spam_auth="").startswith("HOLD")
    assert site.asked(BOB, "news@shop.example", **spam, spam_auth="pass").startswith("HOLD")
    assert "vouches for it (SPF or a DKIM signature)" in site.browser().get("/held/lists").text


def test_a_sender_is_in_one_list(site):
    """Who is blocked is not welcome any more, and the other way round; undo brings the first back, and undo again."""
    browser = site.browser()
    put(browser, "welcome", "shop.example")
    page = put(browser, "block", "shop.example")
    assert listed(browser) == [("block", ANNA, "shop.example")]
    assert "Undo" in browser.get("/held/lists").text
    page = put(browser, "undo", "", n=page["last"]["n"])
    assert listed(browser) == [("welcome", ANNA, "shop.example")]
    assert site.asked(ANNA, "x@shop.example") == "DUNNO"
    page = put(browser, "undo", "", n=page["last"]["n"])
    assert listed(browser) == [("block", ANNA, "shop.example")]
    for stale in (page["last"]["n"] - 1, 0):
        assert browser.post("/held/lists", {"do": "undo", "n": stale}).status == 422
    other = site.browser(session="another")
    assert other.json("/held/lists")["last"] is None
    assert other.post("/held/lists", {"do": "undo", "n": page["last"]["n"]}).status == 422


def test_a_domain_has_lists_of_its_own(site):
    """Its administrator blocks for all of it, or for one address; not for another domain."""
    browser = site.browser(Role.DOMAIN, domains=frozenset({"example.com"}))
    put(browser, "block", "shop.example", "example.com")
    put(browser, "block", "other.example", BOB)
    assert "REJECT" in site.asked(ANNA, "x@shop.example")
    assert "REJECT" in site.asked(BOB, "x@other.example")
    assert site.asked("carl@example.net", "x@shop.example") == "DUNNO"
    assert listed(browser) == [("block", BOB, "other.example"), ("block", "example.com", "shop.example")]
    assert listed(browser, "?of=bob@example.com") == [("block", BOB, "other.example")]
    assert listed(browser, "?q=shop") == [("block", "example.com", "shop.example")]
    # A user of the domain sees and changes own lists alone.
    assert listed(site.browser()) == []


STRANGERS = [
    (Role.USER, {}, BOB),
    (Role.USER, {}, "example.com"),
    (Role.USER, {"addresses": frozenset()}, ANNA),
    (Role.USER, {}, "anna@example.com.evil.example"),
    (Role.DOMAIN, {"domains": frozenset({"example.net"})}, ANNA),
    (Role.DOMAIN, {"domains": frozenset({"example.net"})}, "example.com"),
    (Role.DOMAIN, {"domains": frozenset({"example.net"})}, "sub.example.net"),
    (Role.OPERATOR, {}, ANNA),
]


@pytest.mark.parametrize("do", ["block", "welcome", "remove"])
def test_lists_of_others_are_not_changed(site, do):
    """Nor seen; nothing is written, not even into the audit."""
    for role, account, recipient in STRANGERS:
        site.block.write_text(f"{recipient} kept.example\n")
        browser = site.browser(role, **account)
        answer = browser.post("/held/lists", {"do": do, "recipient": recipient, "sender": "kept.example"})
        assert answer.status == 403, (role, recipient)
        assert site.block.read_text() == f"{recipient} kept.example\n"
        assert site.welcome.read_text() == ""
        assert not site.parts.audit.find(about=f"kept.example for {recipient}")
        if role is not Role.OPERATOR:
            assert listed(browser) == []
    assert "Add a sender" not in site.browser(addresses=frozenset()).get("/held/lists").text


HOSTILE = [
    "a@x.example\nbob@example.com b@y.example",
    "a@x.example\r\nbob@example.com *",
    "a@x.example\u2028bob@example.com b@y.example",
    "a@x.example\x0bbob@example.com",
    'a"\nbob@example.com b@y.example',
    "*",
    "<>",
    ".example",
    "a@x.example until=2020-01-01",
    "until=soon",
    "# x.example",
    "",
]


def test_a_hostile_sender_writes_nothing(site):
    """The page says what was expected, and has what was typed."""
    browser = site.browser()
    for sender in HOSTILE:
        answer = browser.post("/held/lists", {"do": "block", "recipient": ANNA, "sender": sender})
        assert answer.status == 422, sender
        assert "Block this sender" in answer.text
        assert site.block.read_text() == ""


ODD = [
    "#spam@x.example",
    "until=soon@x.example",
    "a b@x.example",
    ";@x.example",
    "b\u00e9b\u00e9@x.example",
    "\u0645@x.example",
    "a,b@x.example",
    "a@b@x.example",
    "*a@x.example",
]


def test_an_odd_sender_is_that_sender_alone(site):
    """Whatever it would mean to the compile if it stood there bare: that sender is refused, and nobody else's."""
    browser = site.browser()
    for sender in ODD:
        assert site.asked(ANNA, sender) == "DUNNO", sender
        assert put(browser, "block", sender)["is_served"] is True
        assert "REJECT" in site.asked(ANNA, sender), sender
    assert site.asked(ANNA, "other@x.example") == "DUNNO"
    assert site.asked(BOB, ODD[0]) == "DUNNO"
    for _, recipient, sender in listed(browser):
        put(browser, "remove", sender, recipient)
    assert site.block.read_text() == ""


def test_a_block_hides_what_is_held(site):
    """Of that sender for that recipient; the page says how many. Without the store it says that they stay."""
    with site.held(ANNA, BOB):
        assert 'action="/held/lists"' in site.browser().get("/held/1").text
        assert 'action="/held/lists"' not in site.browser(Role.OPERATOR).get("/held/1").text
        page = put(site.browser(), "block", "shop.example")
        assert "deleted: 1." in page["last"]["sentence"]
        assert site.states() == {ANNA: "deleted", BOB: "held"}
    page = put(site.browser(), "block", "other.example")
    assert "The store does not answer" in page["last"]["sentence"]
    assert "REJECT" in site.asked(ANNA, "x@other.example")


def test_changes_of_many_at_once_are_all_kept(site):
    """Of threads of one console and of another process of it: none is lost, and all are served."""
    others = Parts(site.settings)
    users = [f"user{n}@example.com" for n in range(6)]

    def block(n):
        browser = site.browser(Role.ADMIN, session=str(n))
        if n % 2:
            browser = Browser(application(others, SignedIn(Role.ADMIN)))
        for at in range(4):
            put(browser, "block", f"s{at}.example", users[n])

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(block, range(6)))
    assert len(site.block.read_text().splitlines()) == 24
    assert len(listed(site.browser(Role.ADMIN))) == 24
    for user in users:
        eventually(lambda user=user: "REJECT" in site.asked(user, "x@s3.example"))


def test_an_entry_works_within_two_seconds_among_100000(site):
    """From the click to the reply of the server, without a reload; the page of a user and of an admin still come. The
    least of three, and as much more as other programs of this machine want its cores at the same time.
    """
    lines = [f"user{n % 500}@example{n % 500 % 5}.com sender{n}@shop{n % 97}.example\n" for n in range(100_000)]
    site.block.write_text("".join(lines))
    site.server.compile(BLOCK)
    eventually(lambda: "REJECT" in site.asked("user7@example2.com", "sender7@shop7.example"))
    browser, took_s = site.browser(), []
    for n in range(3):
        began_s = time.monotonic()
        answer = browser.post("/held/lists", {"do": "block", "recipient": ANNA, "sender": f"late{n}.example"})
        assert answer.status == 303
        eventually(lambda n=n: "REJECT" in site.asked(ANNA, f"x@late{n}.example"))
        took_s.append(time.monotonic() - began_s)
    assert listed(browser) == [("block", ANNA, f"late{n}.example") for n in (2, 1, 0)]
    page = site.browser(Role.ADMIN).json("/held/lists")
    assert len(page["entries"]) == 200
    assert page["older"]
    assert min(took_s) < 2.0 * max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0))), took_s


def test_many_who_wait_leave_threads_to_others(site, monkeypatch):
    """Where the server takes its time, some wait for it, and the others read that they are to look again."""
    monkeypatch.setattr(UserLists, "is_in_force", lambda _: False)
    with ThreadPoolExecutor(6) as threads:
        began_s = time.monotonic()
        browsers = [site.browser(Role.ADMIN, session=str(n)) for n in range(6)]
        made = [
            threads.submit(each.post, "/held/lists", {"do": "block", "recipient": ANNA, "sender": f"s{n}.example"})
            for n, each in enumerate(browsers)
        ]
        done_s = sorted(each.result() and time.monotonic() - began_s for each in as_completed(made))
    assert done_s[2] < 4.0 <= done_s[3], done_s
    assert len(site.block.read_text().splitlines()) == 6


def test_what_a_killed_console_has_written_comes_into_force(site):
    """The next one has it compiled as it starts."""
    site.block.write_text(f"{ANNA} shop.example\n")
    Parts(site.settings).lists.mend()
    eventually(lambda: "REJECT" in site.asked(ANNA, "x@shop.example"))


def test_500_entries_are_enough(site):
    """One more is refused with a sentence; a sender who is there already is not counted twice."""
    site.block.write_text("".join(f"{ANNA} s{n}.example\n" for n in range(500)))
    answer = site.browser().post("/held/lists", {"do": "block", "recipient": ANNA, "sender": "more.example"})
    assert answer.status == 422
    assert "500" in answer.text
    assert len(site.block.read_text().splitlines()) == 500
    put(site.browser(), "block", "s7.example")


def test_what_is_not_in_force_is_said(site):
    """Another line keeps the list from being compiled, or no server answers: the change is written all the same."""
    site.block.write_text("nobody\n")
    page = put(site.browser(), "block", "shop.example")
    assert page["is_served"] is False
    assert page["why"] == []
    assert "does not decide by the newest change yet" in site.browser().get("/held/lists").text
    page = put(site.browser(Role.ADMIN), "block", "other.example")
    assert any("user-block:1" in each for each in page["why"])
    site.block.write_text(site.block.read_text().partition("\n")[2])
    page = put(site.browser(), "block", "third.example")
    assert page["is_served"] is True
    assert "REJECT" in site.asked(ANNA, "x@shop.example")
    site.server.stop()
    assert put(site.browser(), "remove", "shop.example")["is_served"] is None
    assert "does not answer" in site.browser().get("/held/lists").text


def test_csv_audit_and_languages(site):
    """The whole list as CSV; who changed what in the audit; the page in three languages."""
    browser = site.browser()
    put(browser, "block", "shop.example")
    put(browser, "remove", "shop.example")
    put(browser, "welcome", "=cmd@shop.example")
    csv = browser.get("/held/lists?format=csv").text.splitlines()
    assert csv == ["list,recipient,sender,more", "welcome,anna@example.com,'=cmd@shop.example,"]
    noted = [(each.who, each.what) for each in site.parts.audit.find(about="shop.example for anna@example.com")]
    assert noted == [("anna", "sender taken out of lists"), ("anna", "sender blocked")]
    assert "SPF o una firma DKIM" in browser.get("/held/lists", accept_language="es").text
    assert "SPF o una signatura DKIM" in browser.get("/held/lists", accept_language="ca").text


def test_an_administrator_has_the_equal_command(site):
    """Which finds the entry in the table that the server has; a user has no shell there."""
    page = put(site.browser(Role.ADMIN), "block", "a b@shop.example")
    words = shlex.split(page["command"])
    assert words[:5] == ["forkpolicy", "lookup", "user_block", ANNA, "a b@shop.example"]
    done = site.server.command(*words[1:5])
    assert (done.returncode, "user-block:1" in done.stdout) == (0, True), done
    assert put(site.browser(session="other"), "block", "shop.example")["command"] == ""


def test_the_console_changes_them_nowhere_else(site):
    """Their page is the only one that writes them, as it alone takes their lock."""
    assert not set(LISTS) & set(site.parts.change.tables())
    assert site.browser(Role.ADMIN).get("/change/table/user_block/0").status == 404


def test_a_policy_without_such_tables_says_what_it_needs(site):
    """In the place of a page."""
    policy = (site.server.directory / "policy.conf").read_text()
    site.server.write_policy(policy.replace("user_block", "own_block"))
    answer = site.browser().get("/held/lists")
    assert answer.status == 404
    assert "table user_block pair:address,address may-shrink" in answer.text


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, so it needs root")
def test_a_list_that_root_has_made_is_replaced(folder):  # noqa: F811
    """As an administrator may leave the first, empty one: the directory is the console's user's, and that is enough."""
    os.chown(folder, 65534, 65534)
    path = folder / "user-block"
    path.write_text("")
    pid = os.fork()
    if not pid:
        with contextlib.suppress(BaseException):
            os.setgid(65534)
            os.setuid(65534)
            replace_text(path, "alice@example.com shop.example\n")
        os._exit(0)
    os.waitpid(pid, 0)
    assert path.read_text() == "alice@example.com shop.example\n"
