"""How often the rules of a file have fired since a change."""

from __future__ import annotations

from forkpolicy.console.change.hits import Hit, hits_since
from forkpolicy.history.ingest import Ingester
from forkpolicy.history.rollup_sums import open_rollups
from forkpolicy.history.store import Store
from forkpolicy.history_settings import HistorySettings
from tests.console.changing import OTHER, PARTNER, Site
from tests.history_logs import NOON_S, begin, decision


def test_hits_since_a_change(tmp_path):
    """By the lines of the file as it is, over days, and none from before the change's ten minutes."""
    site = Site(tmp_path, rules=PARTNER + OTHER)
    rule = f"{site.rules}:2"
    lines = [
        *(decision(NOON_S - 2 * 86_400 + number, rule=rule) for number in range(3)),
        *(decision(NOON_S + number, rule=rule) for number in range(4)),
        decision(NOON_S, rule=f"{tmp_path}/policy.conf:5"),
    ]
    (tmp_path / "log.json").write_bytes(begin() + b"".join(lines))
    ingester = Ingester(str(tmp_path / "log.json"), Store(str(tmp_path / "history")), 3650, print, lambda: NOON_S)
    ingester.turn()
    ingester.close()
    rollups = open_rollups(HistorySettings(path=str(tmp_path / "history")))
    loaded = site.drafts.now()
    hits, since_s = hits_since(rollups, loaded, str(site.rules), NOON_S - 86_400 + 61, NOON_S + 60)
    assert hits == [Hit(2, "access partner default", 4), Hit(4, "access other default", 0)]
    assert since_s <= NOON_S - 86_400 + 61 < since_s + 600
    both, _ = hits_since(rollups, loaded, str(site.rules), NOON_S - 3 * 86_400, NOON_S + 60)
    assert both[0].decisions == 7
