"""Held mail expires by age and by size; rows say so, files go, room returns. And pages stay flat."""

from __future__ import annotations

import contextlib
import sqlite3

import pytest

from forkpolicy.gateway.client import ask
from forkpolicy.gateway.store.database import Database
from forkpolicy.gateway.store.queries import list_held
from forkpolicy.gateway.store_messages import (
    Changed,
    DeleteHeld,
    Expire,
    Ledger,
    ListHeld,
    Scope,
    ShowHeld,
    StoreStatus,
    Wanted,
)
from tests.gateway.stores import LmtpClient, Store

ALL = Scope(everything=True)
_DAY_S = 86_400


def fill(store, count, recipient="alice@example.com", size=20_000):
    """Have the store take so many mails of that size."""
    for number in range(count):
        data = b"Subject: %d\r\n\r\n" % number + b"x" * size + b"\r\n"
        with LmtpClient(store.sockets / "store") as client:
            assert client.send("n@example.org", [recipient], data, f"{recipient}{number}")[0].startswith("250")


def older(store, days, *ids):
    """Rows arrived so many days earlier: the database of a store that does not run is changed."""
    with contextlib.closing(sqlite3.connect(store.path / "held.db")) as connection, connection:
        for each in ids:
            connection.execute(
                "UPDATE held SET arrived_s = arrived_s - ?, changed_s = changed_s - ? WHERE id = ?",
                (days * _DAY_S, days * _DAY_S, each),
            )


def test_what_is_too_old_expires_with_its_file(tmp_path):
    """31 days with keep_days 30: expired, the file goes and the room returns; 29 days stay."""
    with Store(tmp_path, "keep_days = 30") as store:
        fill(store, 3)
        store.stop()
        older(store, 31, 1)
        older(store, 29, 2)
        store.start()
        # Also without a command: it is done at the start.
        ask(store.api, Expire())
        assert [row.id for row in ask(store.api, ListHeld(ALL)).rows] == [3, 2]
        shown = ask(store.api, ShowHeld(ALL, 1))
        assert (shown.row.state, shown.row.changed_by) == ("expired", "expiry")
        assert shown.events[-1][2] == "expired: older than 30 days"
        assert ask(store.api, StoreStatus()).stored_bytes < 41_000
        assert len([each for each in (store.path / "mail").rglob("*") if each.is_file()]) == 2
        assert ask(store.api, Ledger()).by_state["expired"] == 1
        assert ask(store.api, Expire()) == Changed(0)


def test_the_oldest_above_keep_bytes_expires(tmp_path):
    """Of one recipient, never what arrived within a day; another recipient's mail stays."""
    with Store(tmp_path, 'keep_bytes = "50K"') as store:
        fill(store, 6)
        fill(store, 1, "bob@example.com", 90_000)
        store.stop()
        older(store, 3, 1, 2, 3, 4, 7)
        store.start()
        ask(store.api, Expire())
        states = dict(store.rows("SELECT id, state FROM held"))
        assert states == {1: "expired", 2: "expired", 3: "expired", 4: "expired", 5: "held", 6: "held", 7: "expired"}
        assert ask(store.api, Ledger()).wrong == ()


def test_within_a_day_nothing_expires_by_size(tmp_path):
    """A flood of new mail pushes nothing out."""
    with Store(tmp_path, 'keep_bytes = "1K"') as store:
        fill(store, 3)
        assert ask(store.api, Expire()) == Changed(0)


def test_sent_mail_without_a_word_in_the_log_ends(tmp_path):
    """Without a mail log sent mail is taken as delivered after keep_days, and its file goes."""
    with Store(tmp_path, "keep_days = 30") as store:
        fill(store, 1)
        store.stop()
        with contextlib.closing(sqlite3.connect(store.path / "held.db")) as connection, connection:
            connection.execute("UPDATE held SET state = 'sent', new_queue_id = '4Xq2'")
        older(store, 31, 1)
        store.start()
        ask(store.api, Expire())
        assert ask(store.api, ShowHeld(ALL, 1)).row.state == "delivered"
        assert not [each for each in (store.path / "mail").rglob("*") if each.is_file()]


def test_what_is_over_is_pruned_and_the_ledger_keeps_its_sums(tmp_path):
    """31 days after its last change: rows, events, tries and the mail's own row are gone; what waits, what changed 29
    days ago and the newest of each table stay. The ledger says the same before and after.
    """
    with Store(tmp_path, "keep_days = 30") as store:
        fill(store, 8)
        ask(store.api, DeleteHeld(ALL, (1, 2, 3, 4, 8), "admin"))
        store.stop()
        states = {1: "delivered", 2: "deleted", 3: "expired", 4: "deleted", 5: "sent", 6: "held"}
        with contextlib.closing(sqlite3.connect(store.path / "held.db")) as connection, connection:
            for held, state in states.items():
                connection.execute("UPDATE held SET state = ? WHERE id = ?", (state, held))
            tries = [(1, 5.0, "250 2.0.0 Ok"), (2, None, ""), (2, 6.0, "250 2.0.0 Ok"), (7, 7.0, "450 4.0.0 Later")]
            connection.executemany("INSERT INTO attempt (held, began_s, ended_s, reply) VALUES (?, 1, ?, ?)", tries)
        older(store, 31, 1, 2, 3, 5, 8)
        older(store, 29, 4)
        with contextlib.closing(sqlite3.connect(store.path / "held.db")) as connection, connection:
            # It would have expired.
            before = dict(connection.execute("SELECT state, count(*) FROM held GROUP BY state").fetchall())
        store.start()
        ask(store.api, Expire())
        ledger = ask(store.api, Ledger())
        assert [held for (held,) in store.rows("SELECT id FROM held ORDER BY id")] == [4, 5, 6, 7, 8]
        assert store.rows("SELECT count(*) FROM message") == [(5,)]
        assert {held for (held,) in store.rows("SELECT held FROM event")} == {4, 5, 6, 7, 8}
        # A pair that may have arrived twice stays on the ledger.
        assert store.rows("SELECT held FROM attempt ORDER BY id") == [(2,), (2,), (7,)]
        assert [held for held, _, _ in ledger.twice] == [2]
        # `sent` became `delivered`, as no log said more.
        assert ledger.by_state == {
            "held": before["held"],
            "releasing": 0,
            "sent": 0,
            "delivered": 2,
            "deleted": before["deleted"],
            "expired": 1,
        }
        assert (ledger.accepted, ledger.pruned, ledger.wrong) == (8, 3, ())
        ask(store.api, Expire())
        assert ask(store.api, Ledger()).pruned == 3


def test_a_mail_that_is_to_be_learnt_is_not_pruned(tmp_path):
    """The scanner is away: the copy stays until it has learnt it, or gives up."""
    others = '[scanner]\ncontroller = "http://127.0.0.1:1"\n'
    with Store(tmp_path, "keep_days = 30", others) as store:
        fill(store, 2)
        ask(store.api, DeleteHeld(ALL, (1,), "admin", learn=True))
        store.stop()
        older(store, 31, 1)
        store.start()
        ask(store.api, Expire())
        assert store.rows("SELECT id FROM held ORDER BY id") == [(1,), (2,)]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A database with 200,000 held copies of 1,000 recipients in ten domains."""
    directory = tmp_path_factory.mktemp("full")
    database = Database(directory)
    with contextlib.closing(sqlite3.connect(directory / "held.db")) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        mails = (
            (
                n,
                f"{n:064}",
                f"q{n}",
                float(n),
                f"s{n % 97}@example.org",
                1000,
                f"subject {n}",
                "policy" if n % 2 else "spam",
            )
            for n in range(1, 200_001)
        )
        connection.executemany(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, '', '', '', '', '', ?, NULL, '', '[]', 0, 0, '', '')",
            mails,
        )
        copies = ((n, n, f"u{n % 1000}@d{n % 10}.example", f"d{n % 10}.example", float(n)) for n in range(1, 200_001))
        connection.executemany(
            "INSERT INTO held (id, message, recipient, recipient_key, domain, arrived_s, state, why, changed_s,"
            " changed_by, notify, orcpt, passed) SELECT ?1, ?2, ?3, ?3, ?4, ?5, 'held', '', 0, '', '', '', 0",
            copies,
        )
    yield directory / "held.db"
    database.close()


@pytest.mark.parametrize(
    ("scope", "before_s"),
    [
        (Scope(addresses=("u7@d7.example",)), None),
        (Scope(addresses=("u7@d7.example",)), 100_000.0),
        (Scope(domains=("d3.example", "d4.example")), None),
        (Scope(domains=("d3.example",)), 1_000.0),
        (ALL, None),
        (ALL, 500.0),
    ],
    ids=["address", "address, later page", "domains", "domain, last pages", "all", "all, last pages"],
)
def test_a_page_costs_the_same_among_200_000(full, scope, before_s):
    """SQLite looks at the rows of a page, not at those before it: its steps are counted."""
    steps = 0

    def count():
        nonlocal steps
        steps += 1
        return 0

    with contextlib.closing(sqlite3.connect(full)) as connection:
        connection.row_factory = sqlite3.Row
        connection.set_progress_handler(count, 100)
        page = list_held(connection, ListHeld(scope, Wanted(), before_s, 0, most=50))
    assert len(page.rows) == 50
    assert page.more
    # 50 rows of two tables; a scan of 200,000 would be ten thousand times 100 steps and more.
    assert steps < 300
