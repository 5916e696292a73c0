"""The mail of a digest: what it shows in three languages, and that nothing of a stranger in it becomes a link."""

from __future__ import annotations

import email
import re
from dataclasses import replace
from email.policy import default
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.gateway.digest.harmless import harmless
from forkpolicy.gateway.digest.letter import digest_mail
from forkpolicy.gateway.digest_messages import DigestMail, DueDigest
from forkpolicy.gateway.settings import LANGUAGES, DigestSettings
from forkpolicy.translations import LANGUAGES as TRANSLATED

SETTINGS = DigestSettings(sender="gateway@example.com", url="https://mail.example.com/", link_days=5)
AT_S = 1_795_000_000.0
ONE = DigestMail(1, AT_S, "news@example.org", "News <news@example.org>", "Hello", "spam", 9.1, "a" * 48)
TWO = DigestMail(2, AT_S, "", "", "", "policy", None, "b" * 48)
THREE = DigestMail(3, AT_S, "x@example.org", "", "Third", "virus", None, "c" * 48)
DUE = DueDigest("alice@example.com", "Alice@example.com", "en", 3, 3, (ONE, TWO, THREE))
# What programs that show mail make links of: schemes, www, addresses, names of hosts (as those of Android, iOS and
# Thunderbird do), shares of Windows.
LINK = re.compile(r"(?i)[a-z][a-z0-9+.-]*:(?=[^\s\]])|www\.|\w@\w|[\w-]\.[^\W\d]{2,}|\\\\")


def parts(due=DUE, settings=SETTINGS):
    """The whole mail, its plain text, its HTML."""
    mail = email.message_from_bytes(digest_mail(due, settings, AT_S), policy=default)
    plain, html = mail.iter_parts()
    return mail, plain.get_content(), html.get_content()


class Reader(HTMLParser):
    """The text of HTML, and the addresses of its links."""

    def __init__(self, html):
        super().__init__()
        self.text, self.links, self.elements = "", [], set()
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.links += [value for name, value in attrs if name in ("href", "src", "action")]

    def handle_data(self, data):
        self.text += data


def test_its_header_says_what_it_is():
    """No program answers it; it comes from the sender of the settings."""
    mail, _, _ = parts()
    assert mail["From"] == "gateway@example.com"
    assert mail["To"] == "Alice@example.com"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Content-Language"] == "en"
    assert mail["Subject"] == "3 mails are held for you"
    assert mail["Message-ID"].endswith("@example.com>")
    assert mail["Date"]
    assert mail.get_content_type() == "multipart/alternative"
    assert [each.get_content_type() for each in mail.iter_parts()] == ["text/plain", "text/html"]


def test_both_texts_show_each_mail_with_one_link():
    """Sender, subject, cause; the link of that mail and of no other."""
    _, plain, html = parts()
    reader = Reader(html)
    for text in (plain, reader.text):
        for words in (
            "News <news[at]example[.]org>",
            "Hello",
            "it has 9.1 points",
            "(no sender)",
            "(no subject)",
            "A rule of the mail server holds it.",
            "The scanner found a virus in it.",
            "within 5 days",
        ):
            assert words in text
    links = [f"https://mail.example.com/d/{letter * 48}" for letter in "abc"]
    settings = "https://mail.example.com/held/digest"
    assert reader.links == [*links, settings]
    assert re.findall(r"https://\S+", plain) == [*links, settings]


def test_a_time_names_its_zone():
    """That of the gateway, which need not be that of who reads it."""
    _, plain, _ = parts()
    assert re.search(r"Arrived: 2026-11-\d\d \d\d:\d\d [A-Z+-]\S*\s", plain), plain


def test_more_than_it_lists_is_counted():
    """With the address of the whole list."""
    _, plain, html = parts(replace(DUE, count=103))
    assert "100 more are not in this list. All of them: https://mail.example.com/held" in plain.splitlines()
    assert "https://mail.example.com/held" in Reader(html).links


def test_one_mail_is_one():
    """Not `1 mails`."""
    mail, _, _ = parts(replace(DUE, count=1, mails=(ONE,)))
    assert mail["Subject"] == "1 mail is held for you"


@pytest.mark.parametrize(
    ("language", "subject", "cause"),
    [
        ("es", "Se retienen 3 correos para usted", "El filtro lo considera correo basura"),
        ("ca", "Es retenen 3 correus per a vós", "El filtre el considera correu brossa"),
    ],
)
def test_it_is_in_the_language_of_its_reader(language, subject, cause):
    """Header, plain text and HTML."""
    mail, plain, html = parts(replace(DUE, language=language))
    assert mail["Subject"] == subject
    assert mail["Content-Language"] == language
    assert cause in plain
    assert cause in html
    assert f'<html lang="{language}">' in html


def test_every_language_that_may_be_chosen_has_its_texts():
    """The settings and the translations know the same."""
    assert sorted(LANGUAGES) == sorted(TRANSLATED)


@pytest.mark.parametrize(
    ("recipient", "header"),
    [
        ("álice@example.com", "álice@example.com"),
        ('a "b"@example.com', '"a \\"b\\""@example.com'),
        ("a@b@example.com", '"a@b"@example.com'),
        ("alice@xn--bcher-kva.example", "alice@xn--bcher-kva.example"),
        ("alice@example.com\r\nBcc: x@example.org", "undisclosed-recipients:;"),
    ],
)
def test_any_recipient_has_a_digest(recipient, header):
    """As a header must write it; what cannot be written stands in the envelope alone."""
    raw = digest_mail(replace(DUE, recipient=recipient), SETTINGS, AT_S)
    assert f"\r\nTo: {header}\r\n".encode() in raw
    assert b"\r\nBcc:" not in raw


HOSTILE = [
    "https://evil.example/x?y=1#z",
    "HTTP://EVIL.EXAMPLE",
    "www.evil.example",
    "Www.Evil.Example",
    "evil.example",
    "evil\u3002example/path",
    "evil\uff0eexample",
    "news@example.org",
    "news\uff20example.org",
    "<a href='https://evil.example'>here</a>",
    "javascript:alert(1)",
    "mailto:news@example.org?subject=x",
    "tel:+34600000000",
    "\\\\evil\\share",
    "file:\\\\\\evil\\share",
    "http:/\\/evil.example",
    "http\u200b://evil.example",
    "ev\u00adil.example",
    "ev\u2060il.example.org",
    "192.0.2.1/login",
    "http://192.0.2.1",
    "http://[2001:db8::1]/x",
    "[http://evil.example]",
    "(evil.example)",
    "..evil..example.org..",
    "a.b.c.d.example.org",
    "evil[.]example.org",
    "hxxp[:]//evil.example",
    "x" * 190 + " evil.example.org",
    "пример.испытание",
    "\u202egro.elpmaxe",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_stranger_becomes_a_link(text):
    """Neither in the plain text nor in HTML, as a subject, as From or as the sender of the envelope."""
    assert not LINK.search(harmless(text)), harmless(text)
    mails = tuple(
        replace(ONE, **{name: text, "from_header": text if name == "from_header" else ""})
        for name in ("subject", "from_header", "sender")
    )
    _, plain, html = parts(replace(DUE, mails=mails))
    reader = Reader(html)
    ours = {f"https://mail.example.com/{path}" for path in (f"d/{'a' * 48}", "held/digest")}
    assert set(reader.links) == ours
    assert reader.elements == {"html", "head", "meta", "title", "body", "h1", "p", "br", "a", "div"}
    for each in (plain, reader.text):
        for line in each.replace("From: ", "").replace("Subject: ", "").splitlines():
            if "evil" in line.lower() or "example[" in line:
                assert not LINK.search(line.replace(": ", " ")), line


@given(st.text(max_size=300))
def test_whatever_a_text_is_it_is_one_harmless_line(text):
    """Never more than some two hundred characters and their brackets, never a link, and the same when done again."""
    shown = harmless(text)
    assert not LINK.search(shown), shown
    assert len(shown) <= 800
    assert shown.isprintable()
    assert harmless(shown) == shown or len(shown) > 200


@pytest.mark.parametrize(
    "text", ["Invoice 3.50 EUR", "Meeting at 10:30", "Re: hello", "Wait... what?", "", "5 % off! (today)", "Què? Sí."]
)
def test_an_ordinary_text_stays_as_it_is(text):
    """What nobody takes for a link."""
    assert harmless(text) == text
