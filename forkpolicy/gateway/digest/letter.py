"""The mail of a digest: plain text and HTML of the same content, in the language of its reader. Pure but for the time.

The only links in it are ours: strangers' texts come through `harmless`. The sender of its envelope is empty, and
`Auto-Submitted` (RFC 3834) keeps programs that answer mail from answering.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, make_msgid
from html import escape
from typing import TYPE_CHECKING

from forkpolicy.gateway.digest.harmless import harmless
from forkpolicy.translations import translate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forkpolicy.gateway.digest_messages import DigestMail, DueDigest
    from forkpolicy.gateway.settings import DigestSettings


@dataclass(frozen=True, slots=True)
class _Entry:
    """A mail as the digest shows it: what it says of it, as names and values, and the address of its link."""

    facts: tuple[tuple[str, str], ...]
    link: str


class Words:
    """The texts of one digest."""

    def __init__(self, due: DueDigest, settings: DigestSettings) -> None:
        self._due, self._settings, self.language = due, settings, due.language
        self._url = settings.url.rstrip("/")
        self.entries = [self._entry(each) for each in due.mails]

    def say(self, text: str, /, **values: object) -> str:
        return translate(self.language, text, **values)

    @property
    def subject(self) -> str:
        """How many are new."""
        if self._due.count == 1:
            return self.say("1 mail is held for you")
        return self.say("{count} mails are held for you", count=self._due.count)

    @property
    def opening(self) -> str:
        """What this is about."""
        return self.say("What is listed here is new and was not delivered. Look at it before you release it.")

    @property
    def link_name(self) -> str:
        """What the link of a mail is called."""
        return self.say("Look at it, release or delete it")

    def closing(self) -> Iterator[tuple[str, str]]:
        """Sentences behind the list, each with an address of ours or an empty text."""
        more = self._due.count - len(self.entries)
        if more > 0:
            yield self.say("{count} more are not in this list. All of them:", count=more), f"{self._url}/held"
        days = self._settings.link_days
        yield self.say("Each link acts once, within {days} days, for everybody who has it.", days=days), ""
        yield self.say("How often these mails come, and in which language:"), f"{self._url}/held/digest"

    def _entry(self, mail: DigestMail) -> _Entry:
        arrived = f"{datetime.fromtimestamp(mail.arrived_s).astimezone():%Y-%m-%d %H:%M %Z}"
        facts = (
            (self.say("From"), harmless(mail.from_header or mail.sender) or self.say("(no sender)")),
            (self.say("Subject"), harmless(mail.subject) or self.say("(no subject)")),
            (self.say("Why it is held"), self._cause(mail)),
            (self.say("Arrived"), arrived),
        )
        return _Entry(facts, f"{self._url}/d/{mail.token}")

    def _cause(self, mail: DigestMail) -> str:
        if mail.cause == "virus":
            return self.say("The scanner found a virus in it.")
        if mail.cause != "spam":
            return self.say("A rule of the mail server holds it.")
        if mail.spam_score is None:
            return self.say("The scanner takes it for spam.")
        return self.say("The scanner takes it for spam: it has {score} points.", score=mail.spam_score)


def digest_mail(due: DueDigest, settings: DigestSettings, now_s: float) -> bytes:
    """The bytes of a digest, with CR LF."""
    words = Words(due, settings)
    mail = EmailMessage(SMTP if due.recipient.isascii() else SMTPUTF8)
    mail["From"] = settings.sender
    mail["To"] = _to(due.recipient)
    mail["Subject"] = words.subject
    mail["Date"] = format_datetime(datetime.fromtimestamp(now_s).astimezone())
    mail["Message-ID"] = make_msgid(domain=settings.sender.rpartition("@")[2])
    mail["Auto-Submitted"] = "auto-generated"
    # What Exchange knows in place of it.
    mail["X-Auto-Response-Suppress"] = "All"
    mail.set_content(_text(words), cte="quoted-printable")
    mail.add_alternative(_html(words), subtype="html", cte="quoted-printable")
    # Last of all: what is there before would go into the first part.
    mail["Content-Language"] = words.language
    return mail.as_bytes()


def _to(recipient: str) -> Address | str:
    local, _, domain = recipient.rpartition("@")
    try:
        return Address(username=local, domain=domain)
    except (MessageError, ValueError, IndexError):
        # The envelope has the address, whatever the parser of headers makes of it.
        return "undisclosed-recipients:;"


def _text(words: Words) -> str:
    lines = [words.subject, "", words.opening, ""]
    for each in words.entries:
        lines += [f"{name}: {value}" for name, value in each.facts]
        lines += [f"{words.link_name}:", each.link, ""]
    for sentence, address in words.closing():
        lines += [f"{sentence} {address}".rstrip()]
    return "\n".join([*lines, ""])


# Mail programs know styles of elements alone.
_ENTRY_STYLE = "margin:0 0 1em;padding:0.6em 0.8em;border:1px solid #bbb"
_SOFT_STYLE = "color:#555;font-size:90%"


def _html(words: Words) -> str:
    entries = "".join(_html_entry(each, words.link_name) for each in words.entries)
    closing = "".join(
        f"<p>{escape(sentence)} {_html_link(address, address)}</p>\n" for sentence, address in words.closing()
    )
    return (
        f'<!doctype html>\n<html lang="{words.language}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="format-detection" content="telephone=no,date=no,address=no,email=no,url=no">\n'
        f"<title>{escape(words.subject)}</title>\n</head>\n<body>\n<h1>{escape(words.subject)}</h1>\n"
        f'<p>{escape(words.opening)}</p>\n{entries}<div style="{_SOFT_STYLE}">\n{closing}</div>\n</body>\n</html>\n'
    )


def _html_entry(entry: _Entry, link_name: str) -> str:
    facts = "".join(f"{escape(name)}: {escape(value)}<br>\n" for name, value in entry.facts)
    return f'<p style="{_ENTRY_STYLE}">\n{facts}{_html_link(entry.link, link_name)}</p>\n'


def _html_link(address: str, name: str) -> str:
    return f'<a href="{escape(address)}">{escape(name)}</a>' if address else ""
