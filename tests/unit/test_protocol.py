"""Requests in, replies out: framing, parsing, learnt layouts."""

from __future__ import annotations

import pathlib

import pytest

from forkpolicy.protocol import reader as reader_module
from forkpolicy.protocol.attributes import ATTRIBUTES, STATES, attribute, states_of
from forkpolicy.protocol.layout import MAX_NAME_CHARS, MAX_NAMES, learnable, wanted_values
from forkpolicy.protocol.reader import RequestReader
from forkpolicy.protocol.reply import MAX_TEXT_BYTES, clean, encode, parse_reply
from forkpolicy.protocol.request import ProtocolError, Request

CAPTURES = sorted((pathlib.Path(__file__).parent.parent / "captures").glob("*.txt"))
WANTED = ("protocol_state", "client_address", "sender", "recipient", "sasl_username", "size", "tls_later")
HEAD = b"request=smtpd_access_policy\n"


def whole(raw):
    return [raw]


def one_byte_at_a_time(raw):
    return [raw[at : at + 1] for at in range(len(raw))]


def with_trailing_request(raw):
    return [raw + HEAD + b"sender=trailing"]


def requests_of(chunks, limit=65536):
    reader = RequestReader(limit)
    found = []
    for chunk in chunks:
        reader.feed(chunk)
        while (raw := reader.next_request()) is not None:
            found.append(Request.parse(raw))
    return found


@pytest.fixture(params=[whole, one_byte_at_a_time, with_trailing_request], ids=lambda feed: feed.__name__)
def feed(request):
    """Each wire test runs whole, byte by byte, and with the beginning of another request behind it."""
    return lambda raw: requests_of(request.param(raw))


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_every_captured_request_is_one_request(path, feed):
    """What Postfix really sent is read as one request whose values stand in the bytes as they are."""
    raw = path.read_bytes().rstrip(b"\n") + b"\n\n"
    (request,) = feed(raw)
    for name, value in request.attributes.items():
        assert f"{name}={value}\n".encode("utf-8", "surrogateescape") in raw
    assert request.get("request") == "smtpd_access_policy"
    assert set(request.attributes) <= set(ATTRIBUTES)


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.stem)
def test_a_learnt_layout_says_what_the_exact_parser_says(path, implementation):
    """A layout learnt from one capture gives the exact values for it, and none for bytes of another layout."""
    raw = path.read_bytes().rstrip(b"\n") + b"\n\n"
    request = Request.parse(raw)
    layout = implementation.layout(request.layout, WANTED)
    assert layout.values(raw) == wanted_values(request, WANTED)
    assert layout.values(raw + raw) is None
    assert layout.values(raw[:-1]) is None
    assert layout.values(raw.replace(b"sender=", b"sendr=", 1)) is None


@pytest.mark.parametrize(
    ("raw", "name", "value"),
    [
        (b"sender=\n", "sender", ""),
        (b"sender=bounce=user=example.net@example.org\n", "sender", "bounce=user=example.net@example.org"),
        (b"ccert_subject=CN=mail,O=Example\n", "ccert_subject", "CN=mail,O=Example"),
        (b"sender=\xe4@example.org\n", "sender", "\udce4@example.org"),
        (b"helo_name=\xff\xfe\n", "helo_name", "\udcff\udcfe"),
        (b"helo_name=a\x00b\n", "helo_name", "a\x00b"),
        (b"sender=a\nsender=b\n", "sender", "b"),
        (b"a line without an equals sign\nsender=x@example.com\n", "sender", "x@example.com"),
        (b"future_attribute=1\nsender=x@example.com\n", "future_attribute", "1"),
        (b"sender=" + b"x" * 3000 + b"\nsasl_username=user\n", "sasl_username", "user"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_values_are_kept_as_they_are(feed, raw, name, value):
    """Empty, with `=`, not UTF-8, NUL, repeated (the last counts), unknown, long: each value arrives whole."""
    (request,) = feed(HEAD + raw + b"\n")
    assert request.get(name) == value


def test_crlf_lines_lose_their_cr(feed):
    """A request typed through a terminal program compares example.com, never example.com with a CR."""
    (request,) = feed(b"request=smtpd_access_policy\r\nsender=u@example.com\r\n\r\n")
    assert request.get("sender") == "u@example.com"
    assert request.layout is None


def test_a_cr_inside_a_request_of_newlines_stays(implementation):
    """A bare CR at the end of one value is part of it: only a request whose first line ends in CR LF is such a
    one.
    """
    raw = HEAD + b"helo_name=odd\r\nsender=u@example.com\n\n"
    assert Request.parse(raw).get("helo_name") == "odd\r"
    assert implementation.layout(Request.parse(raw).layout, WANTED).values(raw) == wanted_values(
        Request.parse(raw), WANTED
    )


def test_a_layout_whose_first_line_ends_in_cr_is_left_to_the_exact_parser(implementation):
    """The learnt expression never disagrees with the exact parser about a CR."""
    raw = b"sender=a@example.com\nrequest=smtpd_access_policy\n\n"
    layout = implementation.layout(Request.parse(raw).layout, WANTED)
    assert layout.values(raw.replace(b".com", b".com\r")) is None


def test_requests_in_one_segment_are_answered_in_order():
    """Two requests in one segment are two requests; a multi-byte character may straddle segments."""
    first, second = HEAD + "sender=é@example.com\n\n".encode(), HEAD + b"sender=second@example.com\n\n"
    cut = len(HEAD) + 8
    found = requests_of([first[:cut], first[cut:] + second])
    assert [request.get("sender") for request in found] == ["é@example.com", "second@example.com"]


@pytest.mark.parametrize(
    "raw",
    [
        b"\n",
        b"\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"\x00\x01\x02\n\n",
        b"sender=a\n\n",
        b"request=junk\nsender=a\n\n",
        b"request=\n\n",
    ],
)
def test_what_is_no_request_is_refused(raw):
    """Neither attributes nor request=smtpd_access_policy: a ProtocolError that shows the first bytes."""
    with pytest.raises(ProtocolError) as caught:
        requests_of([raw])
    assert caught.value.shown == raw[:80]


@pytest.mark.parametrize("step", [1, 1000, 70_000])
def test_a_request_over_the_limit_is_refused(step):
    """70 kB against a limit of 64 KiB ends the connection, however it is cut, and never by a silent cut."""
    raw = HEAD + b"sender=" + b"x" * 70_000 + b"\n\n"
    with pytest.raises(ProtocolError, match="more than 65536 bytes"):
        requests_of(raw[at : at + step] for at in range(0, len(raw), step))


@pytest.mark.parametrize(
    "names",
    [
        ("protocol_state", "client_address", "sender", "recipient", "sasl_username", "size", "tls_later"),
        ("tls_later", "size", "sasl_username", "recipient", "sender", "client_address", "protocol_state"),
        ("client_address", "protocol_state", "sender", "recipient", "sasl_username", "size", "tls_later"),
        ("sender", "protocol_state", "helo_name"),
        ("protocol_state", "client_address", "sender", "recipient"),
        ("helo_name",),
    ],
    ids=["as-wanted", "reversed", "two-changed", "few-in-another-order", "the-first-of-them", "none-of-them"],
)
def test_a_layout_gives_what_is_wanted_in_its_order(names, implementation):
    """Whatever the order of the request's names, and where wanted ones are missing: empty, or None if unlisted."""
    raw = HEAD + "".join(f"{name}=value of {name}\n" for name in names).encode() + b"\n"
    request = Request.parse(raw)
    values = implementation.layout(request.layout, WANTED).values(raw)
    assert values == wanted_values(request, WANTED)
    absent = {"tls_later": None}
    assert values == tuple(f"value of {name}" if name in names else absent.get(name, "") for name in WANTED)


def test_long_layouts_are_not_learnt():
    """Names nobody sends cannot make a worker's memory grow."""
    assert learnable(("request", "sender"))
    assert learnable(tuple(f"n{number}" for number in range(MAX_NAMES)))
    assert not learnable(tuple(f"n{number}" for number in range(MAX_NAMES + 1)))
    assert learnable(("request", "x" * MAX_NAME_CHARS))
    assert not learnable(("request", "x" * (MAX_NAME_CHARS + 1)))
    assert not learnable(None)


@pytest.mark.parametrize(
    ("name", "value", "state", "known"),
    [
        ("sender", "", "RCPT", True),
        ("sender", "", "CONNECT", False),
        ("sender", "", "", False),
        ("sender", "a@b", "", True),
        ("recipient", "", "MAIL", False),
        ("recipient", "", "DATA", False),
        ("recipient", "a@b", "DATA", True),
        ("size", "0", "MAIL", False),
        ("size", "10", "MAIL", True),
        ("size", "0", "END-OF-MESSAGE", True),
        ("recipient_count", "0", "RCPT", False),
        ("recipient_count", "2", "DATA", True),
        ("helo_name", "", "CONNECT", False),
        ("helo_name", "", "MAIL", True),
        ("sasl_method", "", "CONNECT", False),
        ("sasl_method", "", "RCPT", True),
        ("client_address", "", "CONNECT", True),
        ("stress", "", "RCPT", True),
        ("newer_than_us", None, "RCPT", False),
        ("newer_than_us", "", "RCPT", True),
    ],
)
def test_an_attribute_is_known_where_postfix_fills_it(name, value, state, known):
    """Empty means "none" only where Postfix would have filled it; elsewhere it is not there yet."""
    assert attribute(name).known(value, state) is known


@pytest.mark.parametrize(
    ("text", "verb", "sent"),
    [
        ("reject 5.7.1 no", "REJECT", b"action=REJECT 5.7.1 no\n\n"),
        ("DUNNO", "DUNNO", b"action=DUNNO\n\n"),
        ("450 4.7.1 later", "4xx", b"action=450 4.7.1 later\n\n"),
        ("521 go away", "5xx", b"action=521 go away\n\n"),
        ("PREPEND X-Checked: yes", "PREPEND", b"action=PREPEND X-Checked: yes\n\n"),
        ("FILTER smtp:[127.0.0.1]:10025", "FILTER", b"action=FILTER smtp:[127.0.0.1]:10025\n\n"),
        ("redirect trap@example.com", "REDIRECT", b"action=REDIRECT trap@example.com\n\n"),
        ("BCC archive@example.com", "BCC", b"action=BCC archive@example.com\n\n"),
        ("BCC archive@[192.0.2.1]", "BCC", b"action=BCC archive@[192.0.2.1]\n\n"),
        ("FILTER relay:", "FILTER", b"action=FILTER relay:\n\n"),
        ("DEFER_IF_PERMIT later", "DEFER_IF_PERMIT", b"action=DEFER_IF_PERMIT later\n\n"),
        ("Reject_Unauth_Destination", "restriction", b"action=reject_unauth_destination\n\n"),
        ("REJECT não autenticado", "REJECT", "action=REJECT não autenticado\n\n".encode()),
    ],
)
def test_replies_of_access_5_are_taken(text, verb, sent):
    """Every result of access(5) is known, its word in any case, and is sent as one line and one empty line."""
    reply = parse_reply(text)
    assert reply.verb == verb
    assert encode(reply.text) == sent


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty reply"),
        ("   ", "empty reply"),
        ("550", "bare number"),
        ("12345", "not an SMTP reply code"),
        ("250 fine", "not an SMTP reply code"),
        ("REJCT no", 'did you mean "REJECT"'),
        ("FOO", "not an action of access"),
        ("FILTER smtp", "FILTER needs"),
        ("REDIRECT nobody", "REDIRECT needs a mail address"),
        ("BCC", "BCC needs a mail address"),
        ("BCC a@x.example b@y.example", 'one address: Postfix would take "b@y.example"'),
        ("BCC a@x.example,b@y.example", "BCC needs a mail address"),
        ("REDIRECT <a@x.example>", "REDIRECT needs a mail address"),
        ("REDIRECT @x.example", "REDIRECT needs a mail address"),
        ("REDIRECT a@", "REDIRECT needs a mail address"),
        ("FILTER smtp:[127.0.0.1]:10025 then", 'one transport: Postfix would take "then"'),
        ("FILTER :x", "FILTER needs"),
        ("PREPEND nothing here", "PREPEND needs a header"),
        ("REJECT a\tb\x07", "control character"),
        ("REJECT " + "x" * 500, "do not fit"),
        ("reject_unauth_destination FOO", "not an action"),
    ],
)
def test_replies_that_postfix_would_misread_are_refused(text, reason):
    """What Postfix takes for OK, for a restriction class or for a server error never gets into a policy."""
    with pytest.raises(ValueError, match=reason):
        parse_reply(text)


def test_text_from_outside_is_cleaned():
    """Control characters and broken UTF-8 become `?`, and a value is cut at 200 characters."""
    assert clean("a\nb\x00\udce4é") == "a?b??é"
    assert len(clean("x" * 999)) == 200


def test_the_limit_is_what_a_request_may_have():
    """Exactly so many bytes are a request, one more is none; before its end so many may wait, and no more."""
    raw = HEAD + b"sender=a\n\n"
    assert RequestReader(len(raw), raw).next_request() == raw
    with pytest.raises(ProtocolError, match="max_request"):
        RequestReader(len(raw) - 1, raw).next_request()
    beginning = HEAD + b"sender=a"
    waiting = RequestReader(len(beginning), beginning)
    assert waiting.next_request() is None
    assert waiting.pending == beginning
    with pytest.raises(ProtocolError, match="max_request"):
        RequestReader(len(beginning) - 1, beginning).next_request()


def test_no_byte_is_looked_at_twice(monkeypatch):
    """But the two that may belong to an empty line: a request that comes byte by byte costs what its bytes cost."""
    starts, search = [], reader_module._EMPTY_LINE

    def note(pending, start):
        starts.append((start, len(pending)))
        return search(pending, start)

    monkeypatch.setattr(reader_module, "_EMPTY_LINE", note)
    raw = HEAD + b"sender=" + b"x" * 300 + b"\n\n"
    assert len(requests_of(one_byte_at_a_time(raw * 2))) == 2
    assert len(starts) > 2 * 300
    assert all(length - start <= 3 for start, length in starts)


def test_a_text_may_have_as_many_bytes_as_fit_into_a_line():
    """Counted as they are sent, and not one more."""
    assert parse_reply("REJECT " + "x" * MAX_TEXT_BYTES)
    assert parse_reply("REJECT " + "\u00fc" * (MAX_TEXT_BYTES // 2))
    for text in ("x" * (MAX_TEXT_BYTES + 1), "\u00fc" * (MAX_TEXT_BYTES // 2 + 1)):
        with pytest.raises(ValueError, match=f"more than {MAX_TEXT_BYTES} do not fit"):
            parse_reply(f"REJECT {text}")


FROM_RCPT = {"RCPT", "DATA", "END-OF-MESSAGE", "VRFY"}
FROM_MAIL = FROM_RCPT | {"MAIL"}


@pytest.mark.parametrize(
    ("name", "can_be_known", "empty_is_known"),
    [
        ("client_address", STATES, STATES),
        ("helo_name", set(STATES) - {"CONNECT"}, set(STATES) - {"CONNECT"}),
        ("sender", FROM_MAIL, FROM_MAIL - {"VRFY"}),
        ("recipient", FROM_RCPT, {"RCPT"}),
        ("recipient_count", {"DATA", "END-OF-MESSAGE"}, {"DATA", "END-OF-MESSAGE"}),
        ("size", FROM_MAIL, {"END-OF-MESSAGE"}),
        ("instance", FROM_RCPT, set()),
        ("etrn_domain", {"ETRN"}, {"ETRN"}),
        ("sasl_username", set(STATES) - {"CONNECT"}, FROM_MAIL | {"ETRN"}),
        ("encryption_keysize", set(STATES) - {"CONNECT"}, FROM_MAIL | {"ETRN"}),
        ("of_a_newer_postfix", STATES, STATES),
    ],
)
def test_when_an_attribute_is_there(name, can_be_known, empty_is_known):
    """The states at which it can say something, and those at which saying nothing says something (2.1 to 3.12)."""
    found = attribute(name)
    assert states_of(name) == set(can_be_known)
    assert {state for state in STATES if found.known("", state)} == set(empty_is_known)
    zero = {state for state in STATES if found.known("0", state)}
    assert zero == (set(empty_is_known) if found.number else set(STATES))
    assert found.number == (name in {"recipient_count", "size", "encryption_keysize"})
