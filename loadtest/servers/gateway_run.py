"""A day of mail under way at a gateway: lists that change, mail that comes, people who act on what is held for them.

Raises SetupError where a part does not answer, or lists are not in force in time.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import NotRunningError
from forkpolicy.gateway.store_messages import Scope
from loadtest.clients.gateway_clients import GatewayClients, Told
from loadtest.errors import SetupError
from loadtest.servers.gateway_fates import act, copy_of, held_rows, is_quiet, waiting
from loadtest.servers.rspamd import SPAM_WORD
from loadtest.traffic.gateway_day import SiteMail, text_of
from loadtest.traffic.gateway_verdicts import Expected, Seen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loadtest.servers.gateway_fates import Copy, Found
    from loadtest.servers.gateway_site import GatewaySite
    from loadtest.traffic.gateway_day import GatewayDay, Hour
    from loadtest.traffic.gateway_oracle import GatewayOracle

_LIVE_S: Final = 30.0
_QUIET_S: Final = 300.0
_LOOK_S: Final = 0.05
_DRAIN_LOOK_S: Final = 0.25
# At once, before the day: a recipient that is not verified yet has an smtpd(8) wait for the backend.
_VERIFYING: Final = 40
_LISTS: Final = ("user_welcome", "user_block")


class GatewayRun:
    """`expected`: each copy, so far; `live_s`: for each hour, how long its lists took to be in force."""

    def __init__(self, site: GatewaySite, day: GatewayDay, oracle: GatewayOracle, at_once: int, seed: int) -> None:
        self._site, self._day, self._oracle = site, day, oracle
        self.clients = GatewayClients(site.postfix.port, lambda mail: text_of(mail, seed, SPAM_WORD), at_once)
        self.expected: dict[Copy, Expected] = {}
        self.live_s: list[float] = []
        self._wishes: dict[Copy, str] = {}

    def know_recipients(self) -> None:
        """Have the backend asked about everybody before the day, as in the days before."""
        addresses = (*self._day.people, *self._day.unknown)
        mails = [SiteMail(-n, "", "198.51.100.1", "probe", "", (each,)) for n, each in enumerate(addresses, 1)]
        probing = GatewayClients(self._site.postfix.port, lambda _: b"Subject: probe\r\n\r\n", _VERIFYING)
        probing.send_all(mails)
        wrong = [f"{key[1]}: {told.code} {told.text}" for key, told in probing.told.items() if told.code < 250]
        if wrong:
            raise SetupError(f"the gateway does not answer: {wrong[0]}")

    def run_hour(self, hour: Hour) -> None:
        """Lists change, people act, mail comes."""
        self.live_s.append(_change_lists(self._site, hour))
        self._act()
        for mail in hour.mails:
            for recipient in mail.recipients:
                self._expect(mail, recipient, hour)
        self.clients.send_all(hour.mails)
        self._wait_until_in_place()

    def _wait_until_in_place(self) -> None:
        """Until the gateway's Postfix has no mail left: the store asks for a fate by the lists of that moment."""
        until_s = time.monotonic() + _QUIET_S
        while waiting(self._site.postfix) and time.monotonic() < until_s:
            self._site.postfix.flush()
            threading.Event().wait(_DRAIN_LOOK_S)

    def settle(self) -> None:
        """Wait until every wish is done and no mail is under way; what is not by then shows as wrong or lost."""
        until_s = time.monotonic() + _QUIET_S
        while self._wishes or not is_quiet(self._site):
            if time.monotonic() > until_s:
                return
            self._act()
            self._site.postfix.flush()
            threading.Event().wait(_DRAIN_LOOK_S)

    def seen(self, copy: Copy, found: Found) -> Seen:
        """What was seen of a copy, also of one that nobody expects."""
        expected = self.expected.get(copy)
        asked = (copy[0], expected.recipient) if expected else copy
        told = self.clients.told.get(asked, Told(0, "no reply"))
        rows = found.rows.get(copy, ())
        states, why = [row.state for row in rows], [f"{row.why}; vouched: {row.spam_auth or 'no'}" for row in rows]
        return Seen(told.code, told.text, found.delivered[copy], copy in found.changed, states, why)

    def _expect(self, mail: SiteMail, recipient: str, hour: Hour) -> None:
        copy = mail.number, recipient.lower()
        fate = self._oracle.fate(mail, recipient, hour.lists)
        wish = self._day.wish(mail.number, copy[1]) if fate.startswith("held") else ""
        self.expected[copy] = Expected(mail, recipient, fate, wish)
        if wish:
            self._wishes[copy] = wish

    def _act(self) -> None:
        """People do what they wish with what has arrived for them."""
        for recipient in sorted({recipient for _, recipient in self._wishes}):
            try:
                self._act_for(recipient)
            except NotRunningError:
                # The store was killed just now; the wish stays.
                continue

    def _act_for(self, recipient: str) -> None:
        rows = {copy_of(row): row.id for row in held_rows(self._site, Scope(addresses=(recipient,)))}
        for wish in ("release", "delete"):
            mine = [copy for copy in rows if copy and self._wishes.get(copy) == wish]
            if mine:
                act(self._site, wish, recipient, tuple(rows[copy] for copy in mine))
            for copy in mine:
                del self._wishes[copy]


def _change_lists(site: GatewaySite, hour: Hour) -> float:
    """Write and compile them; seconds until every worker decides by them, the compile included."""
    (before,) = _versions(site)
    for name, entries in (("user-welcome", hour.lists.welcome), ("user-block", hour.lists.block)):
        new = site.lists / f".{name}"
        new.write_text("".join(f"{recipient} {sender}\n" for recipient, sender in sorted(entries)))
        new.rename(site.lists / name)
    began_s = time.monotonic()
    site.policy.compile(*_LISTS)
    while len(now := _versions(site)) != 1 or any(map(str.__eq__, before, next(iter(now)))):
        if time.monotonic() - began_s > _LIVE_S:
            raise SetupError(f"the lists of hour {hour.number} are not in force after {_LIVE_S:g} s: {now}")
        threading.Event().wait(_LOOK_S)
    return time.monotonic() - began_s


def _versions(site: GatewaySite) -> set[tuple[str, ...]]:
    """The versions of both lists by which workers decide: one element where all agree."""
    return {
        tuple(each["version"] for each in worker["tables"] if each["name"] in _LISTS)
        for worker in site.policy.obey("status")["workers"]
    }


@contextmanager
def killed_meanwhile(site: GatewaySite, every_s: float) -> Iterator[list[float]]:
    """Kill and start the store so often, 0: never; when it was done (monotonic seconds)."""
    done: list[float] = []
    ended = threading.Event()

    def kill() -> None:
        while not ended.wait(every_s):
            site.store.end(signal.SIGKILL)
            site.store.start()
            done.append(time.monotonic())

    if not every_s:
        yield done
        return
    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield done
    finally:
        ended.set()
        thread.join()
