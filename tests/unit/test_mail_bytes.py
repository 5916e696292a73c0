"""The bytes of a mail that is sent on: as they came, without the scanner's headers, piece by piece."""

from __future__ import annotations

import io
import random
import re

import pytest

from forkpolicy.gateway.store import mail_bytes
from forkpolicy.gateway.store.mail_bytes import MailBytes, UnreadableError, dot_stuffed

_WORDS = (
    b"X-Spam: Yes\r\n",
    b"x-spamd-result: a;\r\n\tb\r\n",
    b"X-Spammer: stays\r\n",
    b"To: x\r\n",
    b"\r\n",
    b"\n",
    b".",
)
_WORDS += (b"\n\n", b"\r", b"..\r\n", b"X-Spam-Score : 9\n", b"text", b"\xff\r\n", b"\r\n.\r\n", b" folded\r\n")
_HEADER = re.compile(rb"^X-Spamd?(?:-[!-9;-~]*)?[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*(?:\n|\Z)", re.MULTILINE | re.IGNORECASE)


def whole(mail):
    """What is sent on of a mail, made in memory."""
    if mail[:2] == b"\r\n" or mail[:1] == b"\n":
        return mail
    end = re.search(rb"(\r?\n)\r?\n", mail)
    head = mail[: end.end(1)] if end else mail
    return _HEADER.sub(b"", head) + mail[len(head) :]


def stuffed(mail):
    """A mail as SMTP sends it, made in memory."""
    text = re.sub(rb"(?m)^\.", b"..", mail)
    return text if text.endswith(b"\r\n") else text + b"\r\n"


@pytest.mark.parametrize("piece_bytes", [2, 3, 5, 7, 64, 1 << 17])
def test_pieces_are_the_whole(monkeypatch, piece_bytes):
    """A thousand mails of headers, folded lines, dots, bare line ends: the same bytes whatever the size of a piece."""
    monkeypatch.setattr(mail_bytes, "PIECE_BYTES", piece_bytes)
    chosen = random.Random(piece_bytes)
    for _ in range(1000):
        raw = b"".join(chosen.choices(_WORDS, k=chosen.randrange(12)))
        content = MailBytes(io.BytesIO(raw))
        wanted = whole(raw)
        assert b"".join(content.pieces()) == wanted, raw
        assert content.size_bytes == len(wanted), raw
        assert content.is_ascii() == wanted.isascii(), raw
        if wanted:
            assert b"".join(dot_stuffed(content.pieces())) == stuffed(wanted), raw


def test_only_headers_are_in_memory():
    """Of a body of 3 MB no piece is longer than PIECE_BYTES."""
    content = MailBytes(io.BytesIO(b"Subject: x\r\n\r\n" + b"x" * 3_000_000))
    assert max(map(len, content.pieces())) == mail_bytes.PIECE_BYTES
    assert sum(map(len, content.pieces())) == content.size_bytes


def test_a_disk_that_fails_is_said_in_words():
    """In the midst of a mail, too."""

    class Failing(io.BytesIO):
        def read(self, size=-1):
            if self.tell() >= mail_bytes.PIECE_BYTES:
                raise OSError(5, "Input/output error")
            return super().read(size)

    content = MailBytes(Failing(b"Subject: x\r\n\r\n" + b"x" * 300_000))
    with pytest.raises(UnreadableError, match="its file cannot be read: Input/output error"):
        list(content.pieces())
