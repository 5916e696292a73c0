"""`gateway check`: a Postfix, its store and its files, next to what a gateway needs. Asks postconf(1) and the store.

Each finding says where, what, what was expected and what to do. Raises ConfigError for gateway.toml and the domains
file, PostconfError.
"""

from __future__ import annotations

import os
import re
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import Diagnostic, ForkpolicyError
from forkpolicy.files import Files
from forkpolicy.gateway.client import ask
from forkpolicy.gateway.domains import parse_domains
from forkpolicy.gateway.settings import SOCKETS
from forkpolicy.gateway.setup.postfix_text import FORGED_FILE, FRONT, LATE, TRANSPORT, VERIFY_FILE
from forkpolicy.gateway.store_messages import StatusReply, StoreStatus
from forkpolicy.gateway.store_places import place_findings
from forkpolicy.postfix import postconf
from forkpolicy.postfix.lists import split_list

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.gateway.settings import GatewaySettings

_STORE_TIMEOUT_S: Final = 5.0
_LONGEST_REFRESH_S: Final = 300
_DIGESTS_LATE_S: Final = 2 * 86_400.0
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LOOPBACK: Final = ("127.", "[::1]:", "localhost:")
# Of smtpd_recipient_restrictions, in the order that the recipe has.
_STAGES: Final = (
    (f"check_policy_service with policy_context={FRONT}", re.compile(rf"policy_context={FRONT}\b")),
    ("reject_unlisted_recipient", re.compile(r"^reject_unlisted_recipient$")),
    ("reject_unverified_recipient", re.compile(rf"^reject_unverified_recipient$|/{VERIFY_FILE}$")),
    (f"check_policy_service with policy_context={LATE}", re.compile(rf"policy_context={LATE}\b")),
)


def findings(settings: GatewaySettings, path: str, postfix: str) -> list[Diagnostic]:
    """Errors and warnings about a gateway whose Postfix is configured in a directory. `path`: gateway.toml."""
    main_path, master_path = f"{postfix}/main.cf", f"{postfix}/master.cf"
    listed = postconf.listing(postfix, "-x").splitlines()
    main = {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in listed)}
    master = [line.split() for line in postconf.listing(postfix, "-M").splitlines()]
    return [
        *_stages(main_path, main),
        *_scanner(main_path, main),
        *_verification(main_path, main),
        *_services(master_path, master, settings),
        *_domains(settings, main_path, main),
        *_store(settings),
        *_digests(settings),
        *_places(settings, main.get("queue_directory", "")),
        *place_findings(settings, str(Path(path).absolute()), main.get("mail_owner", "postfix")),
    ]


def _error(path: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(path, 0, 0, message, hint=hint)


def _warning(path: str, message: str, hint: str) -> Diagnostic:
    return Diagnostic(path, 0, 0, message, hint=hint, severity="warning")


def _stages(path: str, main: dict[str, str]) -> Iterator[Diagnostic]:
    """What acts on a whole mail (FILTER) must stand behind everything that may refuse one recipient."""
    words = [each.removesuffix(",") for each in split_list(main.get("smtpd_recipient_restrictions", ""))]
    last, last_name = -1, ""
    for name, form in _STAGES:
        place = next((at for at, word in enumerate(words) if form.search(word)), None)
        if place is None:
            yield _error(path, f"smtpd_recipient_restrictions has no {name}", "forkpolicy gateway setup shows the list")
        elif place < last:
            hint = "in another order FILTER acts on the mail to others although this recipient is refused later"
            yield _error(path, f"smtpd_recipient_restrictions has {name} in front of {last_name}", hint)
        else:
            last, last_name = place, name


def _scanner(path: str, main: dict[str, str]) -> Iterator[Diagnostic]:
    if not main.get("smtpd_milters"):
        yield _error(path, "smtpd_milters is empty: nothing is scanned", "name rspamd: inet:127.0.0.1:11332")
    if main.get("milter_default_action") == "accept":
        hint = "tempfail has mail wait while the scanner is away"
        yield _warning(path, "milter_default_action = accept: mail passes unscanned while the scanner is away", hint)
    if FORGED_FILE not in main.get("header_checks", ""):
        message = f"header_checks does not name {FORGED_FILE}: a sender can write what only the scanner may say"
        yield _error(path, message, "forkpolicy gateway setup writes it")
    if not main.get("milter_header_checks"):
        hint = "forkpolicy gateway setup writes the file"
        yield _error(path, "milter_header_checks is empty: what the scanner marks is delivered", hint)


def _verification(path: str, main: dict[str, str]) -> Iterator[Diagnostic]:
    text = main.get("address_verify_negative_refresh_time", "3h")
    found = re.fullmatch(r"(\d+)([smhdw]?)", text)
    if found and int(found[1]) * _UNITS_S[found[2] or "s"] > _LONGEST_REFRESH_S:
        message = f"address_verify_negative_refresh_time = {text}: so long a backend that was away gets no mail"
        yield _warning(path, message, "expected 5m at most; the recipe has 2m")
    if main.get("unverified_recipient_reject_reason"):
        message = (
            "unverified_recipient_reject_reason has a text: clients see it with 450, too, when the backend is away"
        )
        yield _warning(path, message, "leave it empty")
    if main.get("enable_long_queue_ids", "no") != "yes":
        message = "enable_long_queue_ids is not yes: queue ids come again, and the store knows a mail by its own"
        yield _error(path, message, "postconf -e enable_long_queue_ids=yes")


def _services(path: str, master: list[list[str]], settings: GatewaySettings) -> Iterator[Diagnostic]:
    names = {(words[0], words[1]) for words in master if len(words) > 1}
    if (TRANSPORT, "unix") not in names:
        yield _error(path, f"there is no service {TRANSPORT} (lmtp)", "forkpolicy gateway setup writes it")
    for name in sorted({*SOCKETS.values()} & {name for name, _ in names}):
        hint = f"call it otherwise: {TRANSPORT}"
        yield _error(path, f"a service has the name {name}, which is that of the store's socket", hint)
    release = settings.release.smtp
    listening = [each for each in master if each[1:2] == ["inet"] and each[0] in (release, release.rpartition(":")[2])]
    if not listening:
        yield _error(
            path, f"no smtpd(8) listens on {release}, where mail goes on", "forkpolicy gateway setup writes it"
        )
    elif not any("smtpd_authorized_xforward_hosts=" in word for word in listening[0]):
        message = f"{release} takes no XFORWARD: a copy may be sent twice where the store is killed"
        yield _warning(
            path, message, "-o smtpd_authorized_xforward_hosts=127.0.0.0/8; forkpolicy gateway setup writes it"
        )
    if not release.startswith(_LOOPBACK):
        hint = "what comes in there is neither scanned nor asked about: 127.0.0.1"
        yield _error("gateway.toml", f"[release] smtp: {release} is reached by other hosts, too", hint)


def _domains(settings: GatewaySettings, path: str, main: dict[str, str]) -> Iterator[Diagnostic]:
    text = Files().read(settings.domains).decode("utf-8", "replace")
    local = {name.lower() for name in split_list(main.get("mydestination", ""))}
    for domain in parse_domains(settings.domains, text):
        if domain.name in local:
            yield _error(path, f"mydestination has {domain.name}: its mail is delivered here", "take it out")
        if not domain.verify:
            hint = "verify=yes has the backend asked at RCPT"
            message = f"{domain.name} is not verified: mail to unknown recipients is accepted, and bounces"
            yield _warning(settings.domains, message, hint)


def _store(settings: GatewaySettings) -> Iterator[Diagnostic]:
    path = settings.store.api
    try:
        status = ask(path, StoreStatus(), _STORE_TIMEOUT_S)
    except ForkpolicyError as error:
        why = str(error).removeprefix(f"{path}: ")
        yield _error(path, f"the store does not answer: {why}", "systemctl status forkpolicy-store")
        return
    if not isinstance(status, StatusReply):
        yield _error(path, f"the store refuses to report: {status}", "run this as root")
        return
    for each in status.errors:
        yield _error(path, each, "journalctl -u forkpolicy-store has more of it")
    yield from _digest_failures(settings, status)


def _digest_failures(settings: GatewaySettings, status: StatusReply) -> Iterator[Diagnostic]:
    path = settings.store.api
    for each in status.digest_failures:
        since = f"{datetime.fromtimestamp(each.since_s).astimezone():%Y-%m-%d %H:%M}"
        hint = "the next forkpolicy gateway digest tries it again"
        yield _warning(path, f"no digest for {each.about or 'anybody'} since {since}: {each.error}", hint)
    late_s = 0.0 if status.digests_ran_s is None else time.time() - status.digests_ran_s
    if settings.digest.sender and late_s > _DIGESTS_LATE_S:
        message = f"the last run of digests was {late_s / 86_400:.0f} days ago"
        yield _warning(path, message, "systemctl enable --now forkpolicy-digest.timer")


def _digests(settings: GatewaySettings) -> Iterator[Diagnostic]:
    if settings.digest.sender and settings.digest.url:
        return
    text = Files().read(settings.domains).decode("utf-8", "replace")
    wants = [each.name for each in parse_domains(settings.domains, text) if each.digest != "off"]
    if settings.digest.sender or wants:
        why = f"{wants[0]} wants digests" if wants else "sender has a value"
        message = f"[digest] sender and url: {why}, and none is sent while one of them is empty"
        yield _error("gateway.toml", message, 'sender = "gateway@example.com", url = "https://mail.example.com"')


def _places(settings: GatewaySettings, queue: str) -> Iterator[Diagnostic]:
    store = settings.store
    devices = [_device(each) for each in (store.path, queue)]
    if None not in devices and devices[0] == devices[1]:
        message = "the store is on the file system of Postfix's queue: held mail can fill it, and then all mail waits"
        yield _warning(store.path, message, "give it a file system of its own")
    if not store.mail_log:
        hint = "name Postfix's log: mail_log"
        yield _warning("gateway.toml", "[store] mail_log is empty: what became of released mail is not known", hint)
    elif not os.access(store.mail_log, os.R_OK):
        hint = "install rsyslog; or, where the store runs as root, postconf -e maillog_file=/var/log/mail.log"
        yield _warning(store.mail_log, "cannot be read: what became of released mail is not known", hint)


def _device(path: str) -> int | None:
    try:
        return Path(path).stat().st_dev
    except OSError:
        return None
