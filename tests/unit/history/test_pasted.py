"""What was pasted finds the decision that it is about, and not one about the other addresses that stand in it."""

from __future__ import annotations

import random
import time

import pytest

from forkpolicy.commands.history.looking import look
from forkpolicy.history.asking.pasted import MOST_CHARS, is_pasted, queries_of
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.log_lines import read_line
from forkpolicy.history.search import History
from forkpolicy.history.store import Store
from tests.history_logs import NOON_S, begin
from tests.unit.history.pasted_texts import LONG_QUEUE, REJECT, SYSLOG, TEXTS, history_lines

LATER_S = NOON_S + 3600
PIECES = [
    *(
        "a@example.org ",
        "<b@example.com>",
        "<",
        ">",
        "@",
        "a.",
        " to=<",
        " from=<",
        "; from=<",
        "=?utf-8?Q?=",
        "=3D",
        "&lt;",
    ),
    *(
        "x[1]: NOQUEUE: reject: RCPT from ",
        "x[1]: 4F2A1C: client=",
        "Final-Recipient: rfc822;",
        "\n ",
        "\n> ",
        "\0\x1b",
        "ü",
    ),
    *(
        "\udcff",
        '{"a":',
        "[[",
        "time=1 level=info event=decision ",
        "RCPT TO:",
        "message to ",
        '"',
        "\\",
        "0" * 12,
        "<br ",
        " 554 ",
    ),
    *(
        "Content-Transfer-Encoding: base64\n\n",
        "Content-Transfer-Encoding: quoted-printable\n",
        "=\n",
        "To: ",
        "Date: 1 Jan 1 ",
    ),
]


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    """Postfix writes local time."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


@pytest.fixture(scope="module")
def history(tmp_path_factory):
    """Three mails, and others of the same people."""
    directory = tmp_path_factory.mktemp("pasted")
    (directory / "log.json").write_bytes(begin() + b"".join(history_lines()))
    taken = Ingester(str(directory / "log.json"), Store(str(directory / "history")), 30, print, lambda: LATER_S)
    taken.turn()
    taken.close()
    return History(str(directory / "history"))


def found(history, text):
    """All decisions, in the order of their printing."""
    return list(look(history, None, [text], 100, LATER_S)[1])


@pytest.mark.parametrize(("text", "expected"), TEXTS.values(), ids=TEXTS)
def test_a_pasted_text_finds_its_decision_first(history, text, expected):
    """Among older ones of the same pair, and newer ones of each address that stands in it."""
    assert [each.id for each in found(history, text)][:1] == [expected]


def test_the_words_that_were_searched_are_shown(history, capsys):
    """As words that find the same again."""
    first, *_ = found(history, f"{SYSLOG}/{REJECT}")
    said = capsys.readouterr().err
    assert said.startswith(
        "searched: client:198.51.100.7 from:a@example.org to:b@example.com since:2026-11-28T11:58:00"
    )
    words = said.removeprefix("searched: ").split()
    assert [each.id for each in look(history, None, words, 100, LATER_S)[1]] == [first.id]


def test_what_was_searched_in_vain_is_shown(history, capsys):
    """The likeliest ones, and how many more."""
    assert found(history, f"{SYSLOG}/{REJECT}".replace("@example.org", "@example.net")) == []
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("searched: client:198.51.100.7 from:a@example.net to:b@example.com since:")
    assert all(each.endswith(": nothing") for each in said)


def test_another_attempt_of_the_same_mail_is_probable(history):
    """A refusal for now, and the next attempt from another session: found both, and said which is sure."""
    line = (
        f"{SYSLOG}/{REJECT}".replace("12:00:00", "11:40:00").replace("a@", "t@").replace("198.51.100.7", "203.0.113.5")
    )
    assert [(each.id, each.is_sure) for each in found(history, line)] == [
        ("0000tttt0001", True),
        ("0000tttt0000", False),
    ]


def test_a_queue_id_finds_the_decision_that_had_none(history):
    """Of the same instance, and the attempt before; not that of another mail which had this id five days ago."""
    ids = {each.id for each in found(history, f"{SYSLOG}/qmgr[9]: {LONG_QUEUE}: removed")}
    assert ids == {"0000tttt0000", "0000tttt0001"}
    assert {each.id for each in found(history, f"{SYSLOG}/qmgr[9]: 4F2A1C3D5E: removed")} == {
        "0000qqqq0000",
        "0000qqqq0001",
    }


@pytest.mark.parametrize(
    "word",
    [
        "from=<a@example.org>,to=<b@example.com>",
        "<a@example.org>,<b@example.com>",
        "a@example.org->b@example.com",
        "to=<b@example.com>",
        "decision:0000TTTT0001;see{code}",
        history_lines()[0].decode().replace(" ", "").rstrip(),
    ],
)
def test_a_word_may_be_a_pasted_text(history, word):
    """Without a blank: it has what no word of `find` has."""
    assert is_pasted(word)
    assert found(history, word)


@pytest.mark.parametrize("word", ["<a@example.org>", "a@b@example.com", "from:<a@example.org>,", "<>", "-"])
def test_an_address_is_not_a_pasted_text(word):
    """As strangers may write them."""
    assert not is_pasted(word)


@pytest.mark.parametrize("words", [["see 0000tttt0001", "to:b@example.com"], ["since:1h", "-"], ["-", "-"]])
def test_a_pasted_text_stands_alone(history, words):
    """What it says is not mixed with words."""
    with pytest.raises(ValueError, match="it must be the only argument"):
        look(history, None, words, 100, LATER_S)


@pytest.mark.parametrize(
    "word",
    ["id:0000TTTT0001", "0000TTTT0001", "0000Tttt0001", "(0000tttt0001)", "0000tttt0001.", "id:0000tttt0001,"],
)
def test_an_id_is_found_as_people_dictate_and_copy_it(history, word):
    """In any case, and with what stood around it."""
    assert [each.id for each in found(history, word)] == ["0000tttt0001"]


def test_a_text_about_no_mail_is_named():
    """Neither an address, nor a queue id, nor the id of a decision."""
    with pytest.raises(ValueError, match="no address, no queue id"):
        queries_of("Nothing works\nsince yesterday", LATER_S)


@pytest.mark.parametrize("front", ["", "time=1 level=info event=decision ", f"{SYSLOG}/{REJECT}", "a[1]: 4F2A1C: "])
@pytest.mark.parametrize("piece", ["a", "a@", "\n", '{"a":', "to=<"])
def test_a_megabyte_of_anything_is_read_at_once(front, piece):
    """Whatever it repeats: nothing is raised, and no part of it takes the square of its length."""
    text = (front + piece * (MOST_CHARS // len(piece)))[:MOST_CHARS]
    began_s = time.process_time()
    read_line(text.encode())
    try:
        queries_of(text, LATER_S)
    except ValueError as error:
        assert "no address" in str(error)  # noqa: PT017
    assert time.process_time() - began_s < 5


def test_random_pieces_are_read():
    """Of what texts are made of, in any order: no error but that nothing is in it."""
    chance = random.Random(7)
    for _ in range(300):
        text = "".join(chance.choices(PIECES, k=60))
        try:
            groups = queries_of(text, LATER_S)
        except ValueError as error:
            assert "no address" in str(error)  # noqa: PT017
        else:
            assert sum(map(len, groups)) < 3000
