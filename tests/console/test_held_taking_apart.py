"""Strangers' mail is taken apart by a process with limits, so that no mail keeps pages from anybody."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import pytest

from forkpolicy.console.held.taking_apart import AT_ONCE, TakingApart, TooHardError
from tests.console.held import TEXT, HeldConsole

HEAD = b"Subject: Hello\r\nFrom: Ann <ann@example.org>\r\nTo: anna@example.com\r\n\r\n"
LONG = HEAD + b"Good morning.\r\n" * 1_000_000
# More than is shown at all: it needs more than a second.
LARGER = LONG * 3


@contextlib.contextmanager
def no_place(apart):
    """All places are taken meanwhile."""
    with contextlib.ExitStack() as stack:
        for _ in range(AT_ONCE):
            stack.enter_context(apart._place())
        yield


@pytest.fixture(scope="module")
def console(tmp_path_factory):
    with HeldConsole(tmp_path_factory.mktemp("held")) as made:
        yield made


@pytest.mark.parametrize("limits", [{"cpu_s": 1}, {"most_bytes": 150 << 20}], ids=["time", "memory"])
def test_what_takes_too_much_is_given_up(limits):
    """Within a limit of time and one of memory, and it is not tried again."""
    apart = TakingApart(**limits)
    assert apart.outline(TEXT).parts == ()
    with pytest.raises(TooHardError):
        apart.outline(LARGER)
    with no_place(apart), pytest.raises(TooHardError):
        apart.outline(LARGER)


def test_a_mail_that_cannot_be_taken_apart_can_be_judged(console):
    """Its page says that it is not shown, and has the buttons and the whole mail; its parts say so, too."""
    console.parts.gateway.taking_apart = TakingApart(most_bytes=150 << 20)
    (held,) = console.hold(LONG)
    browser = console.browser()
    page = browser.get(f"/held/{held}")
    assert "It cannot be shown here: download it." in page.text
    assert 'value="release"' in page.text
    assert f'href="/held/{held}/raw"' in page.text
    assert "It cannot be shown here" in browser.get(f"/held/{held}/body").text
    assert browser.get(f"/held/{held}/parts/1").status == 404
    assert browser.get(f"/held/{held}/raw").body == LONG
    console.parts.gateway.taking_apart = TakingApart()
    assert "iframe" in browser.get(f"/held/{held}").text


def test_who_comes_when_many_read_is_asked_to_come_again(console):
    """A few mails are taken apart at a time; nobody waits in the threads that all pages need."""
    (held,) = console.hold()
    browser = console.browser()
    with no_place(console.parts.gateway.taking_apart):
        page = browser.get(f"/held/{held}")
        assert "Much held mail is read at this moment" in page.text
        assert 'value="release"' in page.text
        assert browser.get(f"/held/{held}/body").status == 429
    assert "Good morning." in browser.get(f"/held/{held}/body").text


def test_names_of_encodings_are_not_remembered_for_ever(console):
    """Python keeps each name that was asked for, and the console runs for months."""
    before = encodings_known()
    mail = (
        HEAD.replace(b"\r\n\r\n", b"\r\nContent-Type: text/plain; charset=x-of-nobody\r\n\r\n") + b"Good morning.\r\n"
    )
    (held,) = console.hold(mail)
    assert "Good morning." in console.browser().get(f"/held/{held}/body").text
    assert encodings_known() == before


def encodings_known():
    """The names that this process keeps."""
    return {each for each in sys.modules["encodings"]._cache if "nobody" in each}


def test_the_process_knows_nothing_of_the_console():
    """It gets a mail and limits; whatever else stands in its environment or directory is not looked at."""
    words = [sys.executable, "-I", "-m", "forkpolicy.console.held.apart", "5", str(512 << 20), "part", "7"]
    done = subprocess.run(words, input=TEXT, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (4, b"", b"")
