"""What the store reads of a mail's header: any bytes give a Letter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.gateway.store.letter import Letter, read_letter

NAMES = st.sampled_from((b"Subject", b"From", b"Message-ID", b"X-Spamd-Result", b"X-Spamd-Auth"))
CHARSETS = st.sampled_from((b"utf-8", b"utf-16", b"utf-7", b"zlib", b"idna", b"none", b"a\xff", b""))
PAYLOADS = st.binary(max_size=8) | st.sampled_from((b"a", b"YWJj", b"=ZZ", b"????"))
WORDS = st.builds(
    lambda charset, encoding, payload: b"=?" + charset + b"?" + encoding + b"?" + payload + b"?=",
    CHARSETS,
    st.sampled_from((b"b", b"q", b"Q", b"x", b"")),
    PAYLOADS,
)
BETWEEN = st.sampled_from((b" ", b"\r\n ", b"\r\n", b"", b":", b"\0", b"[9 /"))


@given(NAMES, st.lists(WORDS | BETWEEN, max_size=12))
def test_any_header_gives_a_letter(name, pieces):
    """Encoded words of every brokenness, unknown character sets, raw bytes."""
    assert isinstance(read_letter(name + b": " + b"".join(pieces) + b"\r\n\r\nx", "a@example.org"), Letter)
