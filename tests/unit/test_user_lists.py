"""Users' lists as texts: what is folded, refused, kept, and that nothing written is another one's line."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.compile.lines import split_line
from forkpolicy.gateway import lists
from forkpolicy.gateway.lists import Entry, ListMistakeError, entries, line_of, own_of, removed
from forkpolicy.gateway.store_messages import Scope
from forkpolicy.tables.format import COLUMN_SEPARATOR
from forkpolicy.tables.kinds.kind import SourceKey
from forkpolicy.tables.kinds.pair import pair_kind
from forkpolicy.translations import translate

ALICE = "alice@example.com"
SAY = partial(translate, "en")
added = partial(lists.added, say=SAY)
entry_of = partial(lists.entry_of, say=SAY)


@pytest.mark.parametrize(
    ("written", "folded"),
    [
        ("News@Shop.Example", "news@shop.example"),
        (" shop.example ", "shop.example"),
        ("@shop.example", "shop.example"),
        ("a@bücher.example", "a@xn--bcher-kva.example"),
        ("Ünal@shop.example", "ünal@shop.example"),
        ('"user one"@shop.example', "user one@shop.example"),
        ("user one@shop.example", "user one@shop.example"),
        ("#a@shop.example", "#a@shop.example"),
        ("until=2026-01-01@shop.example", "until=2026-01-01@shop.example"),
        ("a@[192.0.2.1]", "a@[192.0.2.1]"),
        ("bounce+x=example.com@shop.example", "bounce+x=example.com@shop.example"),
    ],
)
def test_senders_are_folded_as_look_ups_fold_them(written, folded):
    """Addresses and domains, whatever their letters."""
    assert entry_of(ALICE, written) == Entry(ALICE, folded)


@pytest.mark.parametrize(
    "written",
    [
        "",
        "*",
        "<>",
        "*@shop.example",
        ".shop.example",
        "a@",
        "com",
        "a@b@",
        "192.0.2.1",
        "a b",
        "a@shop.example\nbob@example.com b@shop.example",
        "a@shop.example\r",
        "a@shop.example\u2028bob@example.com",
        "a@shop.example\x85x",
        "a\u00a0b@shop.example",
        "a\ufeff@shop.example",
        "a\u202eb@shop.example",
        "a\udc80@shop.example",
        'a"b@shop.example',
        '"a" x"@shop.example',
        "shop.example # no",
        "shop.example until=2026-01-01",
        "a@[x y]",
        "/a/",
        "x" * 600 + "@shop.example",
    ],
)
def test_what_cannot_be_listed_is_refused(written):
    """With a sentence, and for recipients as for senders."""
    for pair in ((ALICE, written), (written, "shop.example")):
        with pytest.raises(ListMistakeError):
            entry_of(*pair)


def test_two_long_ones_are_too_long_together():
    """For a key of a table; one of them is not."""
    long = "x" * 300 + "@shop.example"
    assert entry_of(ALICE, long).sender == long
    with pytest.raises(ListMistakeError, match="too long"):
        entry_of(long, long)


@given(st.text(max_size=60), st.text(max_size=60))
def test_a_line_is_the_entry_and_nothing_else(recipient, sender):
    """The compile reads exactly the two that were meant, whatever somebody wrote, and so do we."""
    for one, other in ((ALICE, f"{sender}@shop.example"), (f"{recipient}@example.com", sender), (recipient, sender)):
        try:
            entry = entry_of(one, other)
        except ListMistakeError:
            continue
        line = line_of(entry)
        text = f"bob@example.com x.example\n{line}\n"
        assert text.encode().count(b"\n") == 2
        (item,) = split_line(line.encode().decode("latin-1"), columns=2)
        assert (item.key, item.value, item.until) == (COLUMN_SEPARATOR.join(entry[:2]), None, None)
        kind = pair_kind(lists.KIND)
        assert kind.sort_keys(SourceKey(item.key, "", print)) == [
            (f"{COLUMN_SEPARATOR.join(entry[:2]).encode().decode('latin-1')}\0", 0)
        ]
        assert next(entries(text, own_of(entry.recipient))) == entry


def test_entries_come_and_go():
    """Added once, removed wherever it stands; what others have written stays as it was."""
    mine = entry_of(ALICE, "shop.example")
    by_hand = "# by hand\r\nBob@Example.com  news@shop.example until=2099-01-01\n\nalice@example.com SHOP.example"
    assert added(by_hand, mine) == by_hand
    text = added(by_hand, entry_of(ALICE, "a b@shop.example"))
    assert text == f'{by_hand}\nalice@example.com "a b"@shop.example\n'
    assert added("", mine) == "alice@example.com shop.example\n"
    assert removed(text, mine) == text.replace("alice@example.com SHOP.example\n", "")
    assert removed(text, entry_of(ALICE, "other.example")) == text


def test_only_own_entries_are_seen():
    """Of an address, of a domain with all in it, of everybody; the newest first."""
    text = (
        "alice@example.com a.example\nmalice@example.com b.example\nexample.com c.example\n"
        "Alice@example.com D.example\n#alice@example.com e.example\nalice@example.community f.example\n"
        "x@b\xfccher.example g.example\nx\n"
    )
    assert [each.sender for each in entries(text, own_of(ALICE))] == ["d.example", "a.example"]
    assert [each.sender for each in entries(text, Scope(domains=("example.com",)))] == [
        "d.example",
        "c.example",
        "b.example",
        "a.example",
    ]
    assert [each.sender for each in entries(text, Scope(domains=("xn--bcher-kva.example",)))] == ["g.example"]
    assert len(list(entries(text, Scope(everything=True)))) == 6
    assert not list(entries(text, Scope()))
    assert list(
        entries("bob@example.com .shop.example until=2099-01-01\nbob@example.com *", own_of("bob@example.com"))
    ) == [
        Entry("bob@example.com", "*"),
        Entry("bob@example.com", ".shop.example", "until=2099-01-01"),
    ]


def test_a_list_is_bounded(monkeypatch):
    """So many entries a recipient, and so many bytes in all; who has them already adds none."""
    text = "".join(f"{ALICE} a{n}.example\n" for n in range(lists.MOST_ENTRIES))
    with pytest.raises(ListMistakeError, match="500 entries"):
        added(text, entry_of(ALICE, "shop.example"))
    assert added(text, entry_of(ALICE, "a7.example")) == text
    assert added(text, entry_of("bob@example.com", "shop.example")) != text
    monkeypatch.setattr(lists, "MOST_BYTES", len(text))
    with pytest.raises(ListMistakeError, match="full"):
        added(text, entry_of("bob@example.com", "shop.example"))


def test_a_domain_does_not_fill_the_list(monkeypatch):
    """Its administrator can name as many recipients as there are names: others have room all the same."""
    monkeypatch.setattr(lists, "MOST_OF_DOMAIN", 4)
    text = "example.com a.example\n"
    for entry in (
        ('"a b"@example.com', "x@example.com"),
        ("bob@example.com", "c.example"),
        ("example.com", "d.example"),
    ):
        text = added(text, entry_of(*entry))
    for recipient in ("carl@example.com", "example.com", "b\u00fcrger@Example.COM"):
        with pytest.raises(ListMistakeError, match=r"example\.com has 4 entries"):
            added(text, entry_of(recipient, "shop.example"))
    assert added(text, entry_of("carl@sub.example.com", "example.com")) != text
    # The longest entries that a key can have.
    assert lists.MOST_BYTES > 50_000 * 515
