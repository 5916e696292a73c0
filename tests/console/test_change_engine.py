"""Changes are applied whole or not at all, and undone: with real files, and a server that answers as a test says."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading

import pytest

from forkpolicy.console.change import engine, text_files, versions
from forkpolicy.console.change.engine import LOCK, Applied, Differs, Refused, Same, Wrong
from forkpolicy.control_messages import ReloadReply
from forkpolicy.errors import CannotWriteError, NotRunningError
from tests.console.changing import BAD, OTHER, PARTNER, Site

REFUSAL = ReloadReply(False, 1, ("policy.conf:1:1: not today",))


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def test_an_exception_is_applied(site):
    """The server is reloaded, the version kept, the audit told."""
    found = site.apply(PARTNER.replace("\n", "\r\n"), note="for the partner")
    assert isinstance(found, Applied)
    assert found.force.state == "in force"
    assert site.rules.read_text() == PARTNER
    assert site.server.reloads == 1
    change = site.engine.versions.get(found.n)
    assert (change.who, change.note, change.state) == ("anna", "for the partner", "applied")
    assert site.engine.versions.text(change.digest).text == PARTNER
    assert site.audit.entries == [("anna", f"applies change {found.n}", "rules.conf", "for the partner")]
    assert sorted(each.name for each in site.directory.iterdir()) == [
        ".rules.conf.previous",
        "changes.sqlite",
        "rules.conf",
    ]
    assert isinstance(site.apply(PARTNER), Same)


def test_a_mistake_is_not_written(site):
    """With its line and column; neither is one that breaks the rest."""
    found = site.apply(PARTNER + BAD)
    assert isinstance(found, Wrong)
    (mistake,) = found.checked.mistakes
    assert (mistake.line, mistake.column) == (3, 24)
    assert site.rules.read_text() == ""
    assert (site.changes[:1], site.server.reloads) == ([], 0)


def test_what_the_audit_cannot_note_is_not_done(site, monkeypatch):
    """Whatever the reason."""

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(site.audit, "note", full)
    with pytest.raises(CannotWriteError, match="disk is full"):
        site.apply(PARTNER)
    assert (site.rules.read_text(), site.server.reloads) == ("", 0)
    assert [state for _, state, _ in site.changes] == ["refused", "found"]


def test_what_the_server_refuses_is_taken_back(site):
    """The previous text is in the file again, and the reasons are known."""
    site.apply(PARTNER)
    site.server.replies = [REFUSAL]
    found = site.apply(PARTNER + OTHER)
    assert isinstance(found, Refused)
    assert found.said == REFUSAL.diagnostics
    assert site.rules.read_text() == PARTNER
    assert [state for _, state, _ in site.changes] == ["refused", "applied", "found"]
    assert site.audit.entries[-1][1] == f"change {found.n} was refused by the server"


def test_a_change_without_a_server_waits_for_it(site):
    """It is in the file, and says so."""
    site.server.replies = [NotRunningError("control: no master is running there")]
    found = site.apply(PARTNER)
    assert found.force.state == "unknown"
    assert "no master is running" in found.force.said[0]
    assert site.rules.read_text() == PARTNER


def test_the_second_of_two_sees_the_difference(site):
    """And gets a text with both changes where they are of other lines."""
    site.apply(PARTNER)
    site.apply(PARTNER + OTHER, who="anna")
    found = site.apply("# about the partner\n" + PARTNER, who="bert", seen=PARTNER)
    assert isinstance(found, Differs)
    assert (found.current.text, found.base) == (PARTNER + OTHER, PARTNER)
    assert (found.merged.text, found.merged.conflicts) == ("# about the partner\n" + PARTNER + OTHER, ())
    assert site.rules.read_text() == PARTNER + OTHER
    same_lines = site.apply(PARTNER.replace(".7", ".8"), who="bert", seen="")
    assert same_lines.merged.conflicts
    assert site.apply("x", seen="what nobody has ever seen\n").merged is None


def test_two_at_the_same_moment(site):
    """One is applied, the other one sees it."""
    start, found = threading.Barrier(2), []

    def apply(text):
        start.wait()
        found.append(site.apply(text, seen=""))

    both = [threading.Thread(target=apply, args=(text,)) for text in (PARTNER, OTHER)]
    for each in both:
        each.start()
    for each in both:
        each.join()
    assert {type(each) for each in found} == {Applied, Differs}
    assert site.rules.read_text() in (PARTNER, OTHER)


def test_undo_of_any_change_keeps_the_later_ones(site):
    """And undo of the undo brings it back."""
    first = site.apply(PARTNER).n
    site.apply(PARTNER + OTHER)
    undone = site.undo(first)
    assert isinstance(undone, Applied)
    assert site.rules.read_text() == OTHER
    assert site.engine.versions.get(undone.n).undoes == first
    assert isinstance(site.undo(first), Same)
    again = site.undo(undone.n)
    assert isinstance(again, Applied)
    assert site.rules.read_text() == PARTNER + OTHER
    assert isinstance(site.undo(again.n), Applied)
    assert site.rules.read_text() == OTHER


def test_undo_of_lines_that_were_changed_again_is_refused(site):
    """With the change that is in the way."""
    first = site.apply(PARTNER).n
    second = site.apply(PARTNER.replace(".7", ".8")).n
    found = site.undo(first)
    assert isinstance(found, Differs)
    assert found.later.n == second
    assert site.rules.read_text() == PARTNER.replace(".7", ".8")


def test_undo_of_what_later_rules_need_is_refused(site):
    """An ACL that another rule asks by now."""
    first = site.apply(PARTNER).n
    site.apply(PARTNER + OTHER + "access other partner\n")
    found = site.undo(first)
    assert isinstance(found, Wrong)
    assert "partner" in found.checked.mistakes[0].message


def test_a_text_of_another_program_is_a_version_too(site):
    """So that nothing of it is lost, and an undo leads back to it."""
    site.apply(PARTNER)
    site.rules.write_text("# by hand\n")
    n = site.apply(OTHER).n
    assert [state for _, state, _ in site.changes] == ["applied", "found", "applied", "found"]
    site.undo(n)
    assert site.rules.read_text() == "# by hand\n"


@pytest.mark.parametrize("kind", ["link", "fifo", "directory", "bytes", "large"])
def test_a_file_that_the_console_could_not_have_written(site, kind):
    """It is neither read nor followed, and never waited for."""
    site.rules.unlink()
    if kind == "link":
        site.rules.symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(site.rules)
    elif kind == "directory":
        site.rules.mkdir()
    else:
        site.rules.write_bytes(b"\xff" if kind == "bytes" else b"#" * ((1 << 20) + 1))
    from forkpolicy.console.change.text_files import UnreadableError, read_text

    with pytest.raises(UnreadableError) as error:
        read_text(site.rules)
    assert "root:" not in str(error.value)


FILES = {each.__file__ for each in (engine, text_files, versions)}


def apply_counted(site, at):
    """Apply a change, and kill this process at the nth line of the engine; how many lines there were."""
    left = at

    def trace(frame, event, _argument):
        nonlocal left
        if frame.f_code.co_filename not in FILES:
            return None
        if event == "line":
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace

    sys.settrace(trace)
    try:
        site.apply(PARTNER + OTHER)
    finally:
        sys.settrace(None)
    return at - left


def kill(site, at):
    """The same in another process, which does not survive it."""
    pid = os.fork()
    if not pid:
        apply_counted(site, at)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def test_killed_at_any_line(tmp_path):
    """The file is the whole previous or the whole new one, the next process mends, and then all goes on."""
    (tmp_path / "counted").mkdir()
    counted = Site(tmp_path / "counted")
    counted.apply(PARTNER)
    lines = apply_counted(counted, 1 << 30)
    step = 1 if os.environ.get("FORKPOLICY_SLOW") else max(1, lines // 20)
    seen = set()
    for at in range(1, lines + 1, step):
        folder = tmp_path / str(at)
        folder.mkdir()
        site = Site(folder)
        site.apply(PARTNER)
        kill(site, at)
        text = site.rules.read_text()
        assert text in (PARTNER, PARTNER + OTHER)
        site.engine = site.new_engine()
        site.engine.mend(site.target)
        assert site.rules.read_text() == text
        states = [state for _, state, _ in site.changes if state != "found"]
        is_new = text != PARTNER
        assert (states.count("applied"), "pending" in states) == (1 + is_new, False)
        assert isinstance(site.apply(OTHER), Applied)
        assert not (site.directory / LOCK).exists()
        seen.add((is_new, len(states)))
    assert {is_new for is_new, _ in seen} == {True, False}


def test_a_killed_change_that_the_server_refuses_is_taken_back(site):
    """The next process offers it again, and has the previous text put back."""
    site.apply(PARTNER)
    # Nothing catches it, as nothing would run after a kill.
    site.server.replies = [ZeroDivisionError()]
    with pytest.raises(ZeroDivisionError):
        site.apply(OTHER)
    assert site.rules.read_text() == OTHER
    site.server.replies = [REFUSAL]
    site.new_engine().mend(site.target)
    assert site.rules.read_text() == PARTNER
    assert [state for _, state, _ in site.changes] == ["refused", "applied", "found"]
