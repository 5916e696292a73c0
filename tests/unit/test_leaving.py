"""How a worker ends, without one."""

from __future__ import annotations

from types import SimpleNamespace

import gevent

from forkpolicy.worker.leaving import Leaving


def test_that_others_wait_may_be_learnt_on_the_way(monkeypatch):
    """Recycled just before an upgrade, a worker waits for a successor in vain: its master starts none any more."""
    monkeypatch.setattr("forkpolicy.worker.leaving.setproctitle", lambda _title: None)
    slot = type("Slot", (dict,), {"number": 0})(serving=1)
    nobody = SimpleNamespace(somebody_stays=lambda: False)
    leaving = Leaving(SimpleNamespace(held=set(), unsettled=False), [], [], nobody, slot)
    waiting = gevent.spawn(leaving.retire)
    gevent.sleep(0)
    assert leaving.begun
    assert not leaving.done.is_set()
    leaving.retire(others_wait=True)
    assert leaving.done.wait(5)
    waiting.join()
