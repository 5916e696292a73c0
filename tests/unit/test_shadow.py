"""A shadow policy next to the real one: counted, logged, and it never decides."""

from __future__ import annotations

import time

import pytest

from forkpolicy.commands.check import check
from forkpolicy.loading import load_everything
from forkpolicy.state import keys
from forkpolicy.state.memory import MemoryStore
from forkpolicy.status import ShadowStatus
from forkpolicy.worker import shadow
from forkpolicy.worker.engine import Engine
from tests.owners import owner_lines
from tests.stores import make_map
from tests.unit.test_connection import FORGED, OTHER, PASS, POLICY, Log, Peer, request


@pytest.fixture
def peer(tmp_path, implementation):
    """A connection of a worker whose shadow would answer 450 and reads attributes that the real policy does not."""
    peer = Peer(tmp_path, implementation)
    (tmp_path / "candidate.conf").write_text(
        "acl big size >100\naction large 552 5.3.4 too big\naccess big large\n"
        + POLICY.replace("REJECT 5.7.1", "450 4.7.1")
    )
    peer.settings.write_text('shadow = "candidate.conf"\n[log]\ndecisions = "none"\n')
    snapshot = load_everything(peer.settings).snapshot
    assert peer.reload.prepare(snapshot) == []
    peer.reload.commit(2)
    yield peer
    peer.connection.close()
    peer.ours.close()


def test_the_real_policy_answers_and_the_differences_are_counted(peer):
    """Grouped by the pair of lines, logged once a minute for each pair."""
    for _ in range(5):
        assert peer.ask(request()) == FORGED
        assert peer.ask(OTHER) == PASS
    assert peer.ask(request("x@elsewhere.example", size="200")) == PASS
    counts = peer.engine.serving.describe().shadow
    assert (counts.compared, counts.differs) == (11, 6)
    assert sorted(counts.pairs.values()) == [1, 5]
    logged = [fields for _, event, fields in peer.log.events if event == "shadow differs"]
    assert len(logged) == 2
    assert logged[0]["answered"].startswith("REJECT 5.7.1")
    assert logged[0]["shadow"].startswith("450 4.7.1")


def test_a_shadow_that_does_not_load_is_left_out_and_told(tmp_path):
    """It keeps nothing from serving: what counts is the real policy."""
    (tmp_path / "policy.conf").write_text(POLICY)
    (tmp_path / "candidate.conf").write_text("acces x\n")
    (tmp_path / "forkpolicy.toml").write_text('shadow = "candidate.conf"\n')
    loaded = load_everything(tmp_path / "forkpolicy.toml")
    assert loaded.shadow is None
    assert "the shadow policy is left out" in str(loaded.warnings[-1])
    assert Engine(loaded, 1, Log()).serving.shadow is None


def test_without_a_shadow_nothing_runs(tmp_path, implementation):
    """The function that connections call is the real policy's own."""
    peer = Peer(tmp_path, implementation)
    assert peer.engine.decide == peer.engine.policy.decide
    peer.connection.close()
    peer.ours.close()


def commit(peer, candidate, policy=POLICY, tables=""):
    """Serve another generation with this shadow."""
    folder = peer.settings.parent
    (folder / "policy.conf").write_text(policy)
    (folder / "candidate.conf").write_text(candidate)
    peer.settings.write_text(f'shadow = "candidate.conf"\n{tables}[log]\ndecisions = "none"\n')
    if not (folder / "live").exists():
        # As the state process does before workers prepare a policy that remembers.
        make_map(folder / "live", time.time).close()
    assert peer.reload.prepare(load_everything(peer.settings).snapshot) == []
    peer.reload.commit(peer.engine.serving.number + 1)


def test_a_difference_is_logged_with_the_request_that_showed_it(peer):
    """Who, from whom, to whom: enough to look for the mail, and to ask `explain`."""
    peer.ask(request())
    (fields,) = [fields for _, event, fields in peer.log.events if event == "shadow differs"]
    assert fields["reason"].endswith("candidate.conf:11")
    assert "policy.conf:8 -> " in fields["reason"]
    assert (fields["client"], fields["sender"], fields["recipient"]) == (
        "203.0.113.5",
        "a@example.com",
        "b@example.com",
    )


def test_the_same_text_from_another_line_is_no_difference(peer):
    """Verdicts are what Postfix is sent: texts with inserted values are compared as they come out."""
    commit(peer, "\n\n" + POLICY.replace("{sender_domain}", "example.com"))
    assert peer.ask(request()) == FORGED
    assert peer.ask(OTHER) == PASS
    counts = peer.engine.serving.describe().shadow
    assert (counts.compared, counts.differs, counts.failed) == (2, 0, 0)


def test_a_shadow_without_its_table_fails_and_does_not_differ(peer, tmp_path):
    """Nothing can be compared then: counted apart, the cause logged; reload and answers are as ever."""
    commit(peer, "table gone domain x\nacl g sender table:gone\naction r REJECT\naccess g r\n", tables='tables = "t"\n')
    assert peer.ask(request()) == FORGED
    assert peer.ask(OTHER) == PASS
    counts = peer.engine.serving.describe().shadow
    assert (counts.compared, counts.differs, counts.failed) == (2, 0, 2)
    (told,) = [fields for _, event, fields in peer.log.events if event == "shadow evaluation failed"]
    assert "acl g" in told["reason"]


def test_a_bug_in_the_shadow_costs_no_answer(peer, monkeypatch):
    """Whatever raises in the shadow, Postfix gets the real policy's reply and the shadow counts the failure."""
    monkeypatch.setattr(peer.engine.serving.shadow, "_decide_shadow", lambda _: 1 / 0)
    for _ in range(3):
        assert peer.ask(request()) == FORGED
    assert peer.engine.serving.describe().shadow.failed == 3
    (told,) = [fields for _, event, fields in peer.log.events if event == "shadow evaluation failed"]
    assert "ZeroDivisionError" in told["reason"]
    assert peer.engine.counters.errors == 0


def test_notes_of_the_shadow_are_not_the_real_ones(peer):
    """A `log` line of the shadow neither logs nor keeps a reply from being a plain one."""
    commit(peer, POLICY.replace("watched.example", "mail.example.org"))
    assert peer.ask(OTHER) == PASS
    assert not peer.engine.noted
    assert not peer.log.decisions


def test_a_reload_takes_the_real_policy_whatever_the_shadow_is(peer):
    """A shadow that broke is switched off and reported; a corrected one is on again, with counts from nought."""
    peer.ask(request())
    commit(peer, "acess x\n", POLICY.replace("REJECT 5.7.1", "REJECT 5.7.9"))
    assert peer.engine.serving.shadow is None
    assert peer.engine.decide == peer.engine.policy.decide
    assert peer.ask(request()) == FORGED.replace(b"5.7.1", b"5.7.9")
    assert "left out" in peer.engine.loaded.summary.shadow
    assert any("unknown statement" in str(each) for each in peer.engine.loaded.warnings)
    commit(peer, POLICY)
    assert peer.ask(request()) == FORGED
    assert peer.engine.serving.describe().shadow == ShadowStatus(1, 0, 0, {})


def test_a_missing_shadow_is_the_same_for_a_worker(peer):
    """What the master could not read, a worker does not look for on disk: both leave it out."""
    (peer.settings.parent / "candidate.conf").unlink()
    snapshot = load_everything(peer.settings).snapshot
    (peer.settings.parent / "candidate.conf").write_text(POLICY)
    assert peer.reload.prepare(snapshot) == []
    peer.reload.commit(3)
    assert peer.engine.serving.shadow is None


def test_a_look_from_close_up_goes_on_with_the_trial(peer):
    """The sampled request is compared like every other."""
    peer.ask(request())
    peer.engine.sample_next()
    for _ in range(3):
        assert peer.ask(request()) == FORGED
    assert peer.engine.serving.describe().shadow.compared == 4
    assert peer.engine.serving.sampling.sampled == 1


def test_pairs_stay_bounded(peer, monkeypatch):
    """Policies that differ everywhere fill neither memory nor log."""
    monkeypatch.setattr(shadow, "MAX_PAIRS", 5)
    lines = "".join(f"acl c{n} helo_name h{n}\naction a{n} 450 4.7.1 h{n}\naccess c{n} a{n}\n" for n in range(20))
    commit(peer, lines)
    for number in range(20):
        assert peer.ask(request("x@elsewhere.example", helo_name=f"h{number}")) == PASS
    described = peer.engine.serving.describe().shadow
    assert (described.differs, len(described.pairs)) == (20, 5)
    assert len([event for _, event, _ in peer.log.events if event == "shadow differs"]) == 5


def test_the_tables_of_a_shadow_are_compiled_too(tmp_path):
    """What only the shadow declares is a table like any other; a name that both declare is the real policy's."""
    from forkpolicy.policy.load import declared_tables

    (tmp_path / "policy.conf").write_text("table ours domain one\n")
    (tmp_path / "candidate.conf").write_text("table ours domain two\ntable trial key three\n")
    declared = declared_tables(str(tmp_path / "policy.conf"), str(tmp_path / "candidate.conf"))
    assert [(each.name, each.sources) for each in declared] == [("ours", ("one",)), ("trial", ("three",))]


def test_check_opens_the_tables_of_a_shadow(tmp_path, capsys):
    """A table that only the shadow declares and nobody compiled is a warning: the real policy answers all the same."""
    (tmp_path / "forkpolicy.toml").write_text(
        'policy = "policy.conf"\nshadow = "candidate.conf"\ntables = "tables"\n[server]\n'
        f'listen = ["unix:policy"]\ncontrol = "unix:control"\n{owner_lines()}'
    )
    (tmp_path / "policy.conf").write_text("acl a sender example.com\naction no REJECT\naccess a no\n")
    (tmp_path / "candidate.conf").write_text(
        "\ntable trial key three\nacl t sasl_username table:trial\naction no REJECT\naccess t no\n"
    )
    assert check(str(tmp_path / "forkpolicy.toml"), as_json=False, postfix="none") == 0
    told = capsys.readouterr().out
    assert f'{tmp_path}/candidate.conf:2: warning: table "trial" cannot be used' in told
    assert "compile it with forkpolicy-compile trial" in told


REMEMBERS = (
    "acl busy rate {client_address} 2/1h\nacl us sender @example.com\naction slow 450 4.7.1 slow\naccess us busy slow\n"
)


@pytest.mark.parametrize(
    ("candidate", "compared", "differs", "not_compared"),
    [
        # The same question: the real policy's answers, and not counted twice.
        (REMEMBERS, 6, 0, 0),
        (REMEMBERS.replace("450 4.7.1 slow", "550 no"), 6, 3, 0),
        # Another one, and what the real policy asks for no request but these.
        (REMEMBERS.replace("2/1h", "1/1h"), 1, 0, 5),
        (REMEMBERS.replace("acl us sender @example.com", "acl us recipient @example.com"), 5, 0, 1),
        (REMEMBERS.replace("rate {client_address} 2/1h", "listed bad {client_address}"), 1, 0, 5),
    ],
    ids=["same", "other action", "other limit", "other sender", "other type"],
)
def test_a_shadow_gets_the_answers_of_the_real_policy(peer, candidate, compared, differs, not_compared):
    """It asks the store nothing. Where it would have to, the request is not compared, and that is counted."""
    commit(peer, candidate, REMEMBERS)
    store = MemoryStore()
    peer.engine.policy.remember_in(store)
    replies = [peer.ask(request(instance=f"i{number}")) for number in range(5)]
    assert replies == [PASS] * 2 + [b"action=450 4.7.1 slow\n\n"] * 3
    assert peer.ask(OTHER) == PASS
    counts = peer.engine.serving.describe().shadow
    assert (counts.compared, counts.differs, counts.failed, counts.not_compared) == (compared, differs, 0, not_compared)
    kinds = [keys.show(key).kind for key, _ in store.walk(b"", b"", 100)]
    assert sorted(kinds) == ["instance", "instance", "rate"]


def test_a_shadow_remembers_nothing(peer):
    """Its actions are not done, and its rules fire all the same."""
    commit(peer, REMEMBERS + "action put remember bad {client_address} 1h\naccess !us put\n", REMEMBERS)
    store = MemoryStore()
    peer.engine.policy.remember_in(store)
    assert peer.ask(OTHER) == PASS
    assert store.walk(b"", b"", 100) == []
    assert peer.engine.serving.describe().shadow.compared == 1
