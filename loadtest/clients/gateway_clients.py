"""Clients that send the mail of a day to a gateway by SMTP, some at once, and note the reply to each recipient.

A recipient with a 4xx is sent the mail again in a session of its own a second later, as a queue does it, until
`give_up_s`. Never raises: a recipient without a final reply has code 0 and what went wrong.
"""

from __future__ import annotations

import queue
import threading
import time
from typing import TYPE_CHECKING, Final, NamedTuple

from loadtest.clients.smtp import SmtpClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from loadtest.traffic.gateway_day import SiteMail

_AGAIN_S: Final = 1.0
_TIMEOUT_S: Final = 60.0


class Told(NamedTuple):
    """The last reply to a recipient, that to the end of the mail for those that were accepted."""

    code: int
    text: str


class GatewayClients:
    """`told` has the replies, by the number of a mail and the recipient as it was given; `sessions`: how many."""

    def __init__(self, port: int, text: Callable[[SiteMail], bytes], at_once: int, give_up_s: float = 120.0) -> None:
        self.told: dict[tuple[int, str], Told] = {}
        self.sessions = self.put_off = 0
        self._port, self._text, self._at_once, self._give_up_s = port, text, at_once, give_up_s
        self._lock = threading.Lock()

    def send_all(self, mails: Iterable[SiteMail]) -> None:
        """Send them; all have a final reply, or none in time, when this returns."""
        waiting: queue.SimpleQueue[SiteMail] = queue.SimpleQueue()
        for each in mails:
            waiting.put(each)
        threads = [threading.Thread(target=self._send_some, args=(waiting,)) for _ in range(self._at_once)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send_some(self, waiting: queue.SimpleQueue[SiteMail]) -> None:
        while True:
            try:
                mail = waiting.get_nowait()
            except queue.Empty:
                return
            self._send_until_final(mail)

    def _send_until_final(self, mail: SiteMail) -> None:
        until_s, pause = time.monotonic() + self._give_up_s, threading.Event()
        left = mail
        while True:
            told = self._send(left)
            put_off = tuple(each for each in left.recipients if told[each].code < 500 and told[each].code != 250)
            with self._lock:
                self.sessions += 1
                self.put_off += len(put_off)
                self.told |= {(mail.number, recipient): each for recipient, each in told.items()}
            if not put_off or time.monotonic() > until_s:
                return
            left = left._replace(recipients=put_off)
            pause.wait(_AGAIN_S)

    def _send(self, mail: SiteMail) -> dict[str, Told]:
        """What each recipient was told in one session."""
        try:
            with SmtpClient(self._port, timeout_s=_TIMEOUT_S) as session:
                return self._converse(session, mail)
        except (OSError, EOFError) as error:
            return dict.fromkeys(mail.recipients, Told(0, str(error) or type(error).__name__))

    def _converse(self, session: SmtpClient, mail: SiteMail) -> dict[str, Told]:
        if mail.client:
            session.ehlo(mail.helo)
            session.xclient(mail.client, name="[UNAVAILABLE]")
        session.ehlo(mail.helo)
        replies = [session.mail(mail.sender)]
        if replies[0].code != 250:
            return dict.fromkeys(mail.recipients, Told(replies[0].code, replies[0].text))
        found = {each: session.rcpt(each) for each in mail.recipients}
        told = {each: Told(reply.code, reply.text) for each, reply in found.items()}
        accepted = [each for each, reply in told.items() if reply.code == 250]
        if accepted:
            end = session.data(self._text(mail).decode("ascii"))
            told |= dict.fromkeys(accepted, Told(end.code, end.text))
        return told
