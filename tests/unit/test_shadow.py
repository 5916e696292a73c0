"""A policy on trial beside the real one: counted, logged, never obeyed."""

from __future__ import annotations

import pytest

from forkpolicy.loading import load_everything
from forkpolicy.worker.serving import Serving
from tests.unit.test_connection import FORGED, OTHER, PASS, POLICY, Log, Peer, request


@pytest.fixture
def peer(tmp_path):
    """A connection of a worker whose shadow would answer 450 and reads attributes that the real policy does not."""
    peer = Peer(tmp_path)
    (tmp_path / "candidate.conf").write_text(
        "acl big size >100\naction large 552 5.3.4 too big\naccess big large\n"
        + POLICY.replace("REJECT 5.7.1", "450 4.7.1")
    )
    peer.settings.write_text('shadow = "candidate.conf"\n[log]\ndecisions = "none"\n')
    snapshot = load_everything(peer.settings).snapshot
    assert peer.serving.prepare(snapshot) == []
    peer.serving.commit(2)
    yield peer
    peer.connection.close()
    peer.ours.close()


def test_the_real_policy_answers_and_the_differences_are_counted(peer):
    """Grouped by the pair of lines, logged once a minute for each pair."""
    for _ in range(5):
        assert peer.ask(request()) == FORGED
        assert peer.ask(OTHER) == PASS
    assert peer.ask(request("x@elsewhere.example", size="200")) == PASS
    trial = peer.serving.describe()["shadow"]
    assert (trial["compared"], trial["differs"]) == (11, 6)
    assert sorted(trial["pairs"].values()) == [1, 5]
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
    assert Serving(loaded, 1, Log()).trial is None


def test_without_a_shadow_nothing_runs(tmp_path):
    """The function that connections call is the real policy's own."""
    peer = Peer(tmp_path)
    assert peer.serving.decide == peer.serving.policy.decide
    peer.connection.close()
    peer.ours.close()
