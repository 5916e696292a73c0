"""A run of digests: asks the store who is due, sends each behind the scanner, and has the store keep what came of it.

One run at a time, for a lock on the store's directory. A digest counts as sent once the release port has it. One that
fails is tried in the next run, and is kept as a failure, which the console and `gateway check` show. Raises UsageError,
ConfigError, CannotWriteError, NotRunningError, ForkpolicyError.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.errors import MessageError
from io import BytesIO
from typing import TYPE_CHECKING

from forkpolicy.errors import CannotWriteError, ConfigError, ForkpolicyError, UsageError
from forkpolicy.files import Files
from forkpolicy.gateway.client import ask
from forkpolicy.gateway.digest.letter import digest_mail
from forkpolicy.gateway.digest_messages import DigestFailed, DigestsDue, DigestSent, DigestsRan, DueDigest, DueDigests
from forkpolicy.gateway.domains import parse_domains
from forkpolicy.gateway.store.attempts import Outgoing
from forkpolicy.gateway.store.mail_bytes import MailBytes
from forkpolicy.gateway.store.sending import NoServerError, RefusedError, Sender, UnknownOutcomeError, WaitError
from forkpolicy.gateway.store_messages import Command, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.gateway.settings import GatewaySettings


@dataclass(slots=True)
class Run:
    """What came of it: addresses with the count of their mails; what failed, an empty address for all."""

    sent: list[tuple[str, int]] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def due(settings: GatewaySettings) -> Iterator[DueDigest]:
    """Who is due now."""
    schedules = _schedules(settings)
    after = ""
    while True:
        reply = ask(settings.store.api, DigestsDue(schedules, after))
        if isinstance(reply, Refused):
            raise ForkpolicyError(f"{settings.store.api}: {reply.error}")
        assert isinstance(reply, DueDigests)
        yield from reply.due
        after = reply.after
        if not after:
            return


def run(settings: GatewaySettings) -> Run:
    """Send all that are due."""
    if not (settings.digest.sender and settings.digest.url):
        raise UsageError("[digest] sender and url: a digest needs both, and one of them is empty")
    with _alone(settings.store.path):
        done = Run()
        sender = Sender(settings.release.smtp, settings.release.helo)
        try:
            for each in due(settings):
                _send(settings, sender, each, done)
        except (NoServerError, UnknownOutcomeError) as error:
            # So it would go for the others.
            done.failed.append(("", str(error)))
        finally:
            sender.close()
        for about, error_words in done.failed:
            _note(settings, DigestFailed(about, error_words))
        if all(about for about, _ in done.failed):
            _note(settings, DigestsRan())
        return done


def _send(settings: GatewaySettings, sender: Sender, digest: DueDigest, done: Run) -> None:
    try:
        content = digest_mail(digest, settings.digest, time.time())
        _, queue_id = sender.send(_outgoing(digest), MailBytes(BytesIO(content)))
    except (RefusedError, WaitError, MessageError, ValueError) as error:
        done.failed.append((digest.address, str(error)))
        return
    _note(settings, DigestSent(digest.address, digest.up_to, queue_id))
    done.sent.append((digest.address, digest.count))


def _outgoing(digest: DueDigest) -> Outgoing:
    """With the null sender: nobody is to get a bounce of it."""
    is_utf8 = not digest.recipient.isascii()
    return Outgoing(
        held=0,
        digest="",
        sender="",
        recipient=digest.recipient,
        smtputf8=is_utf8,
        body8=is_utf8,
        envid="",
        ret="",
        notify="NEVER",
        orcpt="",
        passed=True,
        queue_id="",
    )


def _schedules(settings: GatewaySettings) -> dict[str, str]:
    """By domain, as the domains file has it. What is wrong with that file is kept as a failure of all."""
    try:
        text = Files().read(settings.domains).decode("utf-8", "replace")
        return {each.name: each.digest for each in parse_domains(settings.domains, text)}
    except ConfigError as error:
        _note(settings, DigestFailed("", str(error).partition("\n")[0]))
        raise


def _note(settings: GatewaySettings, command: Command) -> None:
    reply = ask(settings.store.api, command)
    if isinstance(reply, Refused):
        raise ForkpolicyError(f"{settings.store.api}: {reply.error}")


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Two runs at once would send each digest twice."""
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise CannotWriteError(f"{directory}: {error.strerror}: run this as root or as the store's user") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        raise CannotWriteError(f"{directory}: another run of digests is under way") from error
    try:
        yield
    finally:
        os.close(fd)
