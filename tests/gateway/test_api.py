"""What a real store answers at its socket: lists, pages, whose mail a visitor sees, changes of state."""

from __future__ import annotations

import grp
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from forkpolicy.errors import NotRunningError
from forkpolicy.gateway.client import RefusedError, ask, read_mail
from forkpolicy.gateway.store_messages import (
    Changed,
    DeleteHeld,
    HideSender,
    Ledger,
    ListHeld,
    ReadMail,
    Refused,
    ReleaseHeld,
    RequestRelease,
    Scope,
    ShowHeld,
    StoreStatus,
    Wanted,
)
from loadtest.servers.postfix import traversable_directory
from tests.gateway.stores import LmtpClient, Store
from tests.process.test_control_group import as_user

ALL = Scope(everything=True)
ALICE = Scope(addresses=("alice@example.com",))
BOB = Scope(addresses=("bob@example.com",))
MAIL = b"From: news@example.org\r\nSubject: Hello\r\nX-Long: \xe9\r\n\r\nText\r\n"


@pytest.fixture
def store(tmp_path):
    """A store without a policy server: everything stays. One mail each for alice and bob."""
    with Store(tmp_path) as store:
        with LmtpClient(store.sockets / "store") as client:
            client.send("news@example.org", ["alice@example.com", "Bob@example.com"], MAIL)
        yield store


def listed(store, scope=ALL, **wanted):
    """The recipients of a list."""
    return [row.recipient for row in ask(store.api, ListHeld(scope, Wanted(**wanted))).rows]


def test_a_scope_decides_what_is_listed(store):
    """Addresses, domains and everything; an empty scope lists nothing; a row in two parts of a scope is listed once."""
    assert listed(store) == ["Bob@example.com", "alice@example.com"]
    assert listed(store, ALICE) == ["alice@example.com"]
    assert listed(store, Scope(domains=("example.com",))) == ["Bob@example.com", "alice@example.com"]
    assert listed(store, Scope(domains=("example.net",))) == []
    assert listed(store, Scope()) == []
    assert len(listed(store, Scope(addresses=("bob@example.com",), domains=("example.com",)))) == 2


@pytest.mark.parametrize(
    "command",
    [ShowHeld(BOB, 1), ReleaseHeld(BOB, (1,), "bob"), DeleteHeld(BOB, (1,), "bob"), RequestRelease(BOB, (1,), "bob")],
    ids=["show", "release", "delete", "request"],
)
def test_mail_of_another_person_is_no_mail(store, command):
    """Each command says of another person's mail what it says of none, and changes nothing."""
    reply = ask(store.api, command)
    assert reply == Refused("no_such_mail", "there is no mail 1")
    assert store.rows("SELECT state, requested_by FROM held WHERE id = 1") == [("held", "")]


def test_the_bytes_of_another_persons_mail_are_not_read(store):
    """Reading says no_such_mail, too, and gives the owner the bytes as they arrived."""
    with pytest.raises(RefusedError) as caught:
        read_mail(store.api, BOB, 1)
    assert caught.value.kind == "no_such_mail"
    assert read_mail(store.api, ALICE, 1) == MAIL


def test_one_foreign_id_among_others_changes_none(store):
    """A list of ids is changed whole or not at all."""
    assert ask(store.api, DeleteHeld(BOB, (2, 1), "bob")).kind == "no_such_mail"
    assert store.rows("SELECT DISTINCT state FROM held") == [("held",)]


def test_hiding_a_sender_deletes_own_mail_alone(store):
    """A block hides what is held of that sender for that recipient; another scope learns nothing of it."""
    foreign = ask(store.api, HideSender(BOB, "alice@example.com", "news@example.org", "bob"))
    assert foreign == Refused("no_such_mail", "there is no mail to alice@example.com")
    assert ask(store.api, HideSender(BOB, "example.com", "news@example.org", "bob")).kind == "no_such_mail"
    assert store.rows("SELECT DISTINCT state FROM held") == [("held",)]
    assert ask(store.api, HideSender(ALICE, "alice@example.com", "example.org", "alice")) == Changed(1)
    assert store.rows("SELECT state FROM held ORDER BY id") == [("deleted",), ("held",)]


def test_a_domain_blocks_for_all_its_recipients(store):
    """Its administrator hides a sender for the domain as a whole, and for no other domain."""
    scope = Scope(domains=("example.com",))
    assert ask(store.api, HideSender(scope, "example.net", "news@example.org", "ann")).kind == "no_such_mail"
    assert ask(store.api, HideSender(scope, "example.com", "other.example", "ann")) == Changed(0)
    assert ask(store.api, HideSender(scope, "example.com", "News@example.org", "ann")) == Changed(2)


def test_pages_follow_one_another(store):
    """Each row is on one page, also where many arrived at the same time; `more` ends with the last."""
    with LmtpClient(store.sockets / "store") as client:
        client.send("a@example.org", [f"u{n}@example.net" for n in range(25)], MAIL, queue_id="second")
    seen, before = [], (None, 0)
    for _ in range(9):
        page = ask(store.api, ListHeld(ALL, Wanted(), *before, most=4))
        seen += [row.id for row in page.rows]
        before = (page.rows[-1].arrived_s, page.rows[-1].id)
        if not page.more:
            break
    assert seen == list(range(27, 0, -1))


def test_filters(store):
    """Text in subject, sender or recipient with no wildcards, cause, sender, recipient, asked for, state."""
    assert listed(store, text="ell") == ["Bob@example.com", "alice@example.com"]
    assert listed(store, text="e%o") == []
    assert listed(store, recipient="bob@example.com", sender="News@example.org") == ["Bob@example.com"]
    assert listed(store, cause="spam") == []
    ask(store.api, RequestRelease(ALICE, (1,), "alice@example.com"))
    assert listed(store, requested=True) == ["alice@example.com"]
    ask(store.api, DeleteHeld(ALICE, (1,), "alice"))
    assert listed(store, state="deleted") == ["alice@example.com"]
    assert listed(store, state="") == ["Bob@example.com", "alice@example.com"]


def test_a_mail_is_found_by_its_queue_ids(store):
    """Under which it came, and under which it was sent on; within the scope, with every state."""
    with LmtpClient(store.sockets / "store") as client:
        client.send("news@example.org", ["carol@example.com"], MAIL, "4Xq2")
    assert listed(store, queue_ids=("4Xq2",), state="") == ["carol@example.com"]
    assert listed(store, queue_ids=("4Xq1", "4Xq2", "none")) == [
        "carol@example.com",
        "Bob@example.com",
        "alice@example.com",
    ]
    assert listed(store, ALICE, queue_ids=("4Xq1", "4Xq2")) == ["alice@example.com"]
    assert listed(store, queue_ids=("none",)) == []


def test_of_six_clicks_one_releases(store):
    """Six clients at once: one changes the row, the others learn its state."""
    replies = []
    threads = [
        threading.Thread(target=lambda: replies.append(ask(store.api, ReleaseHeld(ALICE, (1,), "alice"))))
        for _ in range(6)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join(30)
    assert sorted(reply.changed for reply in replies) == [0, 0, 0, 0, 0, 1]
    assert {state for reply in replies for _, state in reply.already} == {"releasing"}


def test_the_file_goes_with_the_last_copy(store):
    """Two copies share a file; it is there until both are deleted, and reading then says so."""
    files = [each for each in (store.path / "mail").rglob("*") if each.is_file()]
    ask(store.api, DeleteHeld(ALICE, (1,), "alice"))
    assert files[0].exists()
    ask(store.api, DeleteHeld(BOB, (2,), "bob"))
    assert not files[0].exists()
    with pytest.raises(RefusedError, match="no file"):
        read_mail(store.api, ALICE, 1)
    assert ask(store.api, Ledger()).wrong == ()


def test_show_has_headers_and_history(store):
    """Headers as text, without the body; what happened, in order."""
    ask(store.api, RequestRelease(ALICE, (1,), "alice@example.com"))
    shown = ask(store.api, ShowHeld(ALICE, 1))
    assert shown.headers == "From: news@example.org\nSubject: Hello\nX-Long: \ufffd\n"
    assert shown.row.requested_by == "alice@example.com"
    assert [(who, what.split(":")[0]) for _, who, what in shown.events] == [
        ("policy", "held"),
        ("alice@example.com", "asked for its release"),
    ]


def test_the_ledger_finds_a_missing_file(store):
    """A row that waits without its file, and a file of another size, are wrong."""
    assert ask(store.api, Ledger()).wrong == ()
    (path,) = (each for each in (store.path / "mail").rglob("*") if each.is_file())
    path.write_bytes(MAIL + b"more")
    assert "not" in ask(store.api, Ledger()).wrong[0]
    path.unlink()
    ledger = ask(store.api, Ledger())
    assert len(ledger.wrong) == 2
    assert "missing" in ledger.wrong[0]
    assert (ledger.accepted, ledger.by_state["held"]) == (2, 2)


def test_status_counts(store):
    """Held by cause, bytes once for a mail of two copies, room."""
    status = ask(store.api, StoreStatus())
    assert status.held == {"policy": 2}
    assert status.stored_bytes == len(MAIL)
    assert status.free_bytes > 0
    assert (status.releasing, status.oldest_releasing_s) == (0, None)


@pytest.mark.parametrize(
    "line", [b"nonsense", b"[]", b'{"command": "no"}', b'{"command": "show", "id": "x"}', b"[" * 9999]
)
def test_what_is_no_command_is_refused(store, line):
    """The client gets `invalid` and may go on."""
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as file:
        sock.settimeout(20)
        sock.connect(store.api)
        for _ in range(2):
            sock.sendall(line + b"\n")
            assert json.loads(file.readline())["kind"] == "invalid"


def test_a_line_without_an_end_is_refused(store):
    """More than a megabyte without a line end: the store says so and closes, others are served."""
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as file:
        sock.settimeout(20)
        sock.connect(store.api)
        sock.sendall(b"x" * (1 << 20) + b"xx")
        assert json.loads(file.readline())["kind"] == "invalid"
    assert len(listed(store)) == 2


def test_another_user_may_not_ask(store, tmp_path):
    """A process of another user is refused by the store, even where the socket's rights would let it through."""
    (store.base / "api.sock").chmod(0o666)
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == 0 and str(each).startswith("/tmp/"):
            each.chmod(each.stat().st_mode | 0o011)
    program = (
        "import os, select, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "s = socket.socket(socket.AF_UNIX); s.settimeout(20); s.connect(sys.argv[1]);"
        # A reply before the command, and a closed connection, would lose the reason.
        "assert not select.select([s], [], [], 0.5)[0];"
        's.sendall(b\'{"command": "status"}\\n\'); print(s.recv(4096).decode())'
    )
    done = subprocess.run([sys.executable, "-c", program, store.api], capture_output=True, text=True, check=False)
    assert json.loads(done.stdout)["kind"] == "not_yours", done.stderr


def test_nobody_is_there(tmp_path):
    """No store: an error that names the socket and the unit to start."""
    with pytest.raises(NotRunningError, match="start forkpolicy-store"):
        ask(str(tmp_path / "api.sock"), StoreStatus())


def test_read_is_no_command_for_json(store):
    """ReadMail has a line with the size, then so many bytes, on one connection with others."""
    with socket.socket(socket.AF_UNIX) as sock, sock.makefile("rb") as file:
        sock.settimeout(20)
        sock.connect(store.api)
        for _ in range(2):
            sock.sendall(b'{"command": "read", "scope": {"everything": true}, "id": 1}\n')
            assert json.loads(file.readline()) == {"size_bytes": len(MAIL)}
            assert file.read(len(MAIL)) == MAIL
    assert ReadMail(ALL, 1).id == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be other users")
@pytest.mark.parametrize(
    ("groups", "answer"),
    [
        (["games"], "2"),
        (["adm", "games"], "2"),
        ([], "this user may not ask the store"),
        (["adm"], "this user may not ask the store"),
    ],
)
def test_members_of_the_group_may_ask(groups, answer):
    """Also one for whom it is not the first group, as the console's user; nobody else gets to the socket."""
    with traversable_directory() as base, Store(base, 'api_group = "games"') as store:
        with LmtpClient(store.sockets / "store") as client:
            client.send("news@example.org", ["alice@example.com", "bob@example.com"], MAIL)
        ids = [grp.getgrnam(name).gr_gid for name in groups]

        def work():
            try:
                return str(len(listed(store)))
            except NotRunningError as error:
                return str(error)

        assert answer in as_user(work, ids)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be other users")
def test_the_group_is_asked_for_where_the_file_lets_everybody_in():
    """The rights of the file say the same; where somebody has changed them the store still knows who asks."""
    with traversable_directory() as base, Store(base, 'api_group = "games"') as store:
        Path(store.api).chmod(0o666)

        def work():
            return str(ask(store.api, ListHeld(ALL, Wanted())))

        assert "not_yours" in as_user(work)
        assert "not_yours" in as_user(work, [grp.getgrnam("adm").gr_gid])
        assert "not_yours" in as_user(work, list(range(20_000, 20_300)))
        assert "HeldRows" in as_user(work, [*range(20_000, 20_100), grp.getgrnam("games").gr_gid])
