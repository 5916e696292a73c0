"""A stream of any bytes is requests or a ProtocolError, whatever pieces it comes in; nothing else."""

from __future__ import annotations

import os

from hypothesis import example, given, settings
from hypothesis import strategies as st

from forkpolicy.protocol.layout import learnable, wanted_values
from forkpolicy.protocol.reader import RequestReader
from forkpolicy.protocol.request import ProtocolError, Request
from forkpolicy.worker.implementation import PYTHON, C

EXAMPLES = settings(max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "800")), deadline=None)
LIMIT_BYTES = 300
WANTED = ("protocol_state", "sender", "recipient", "brand_new")

names = st.sampled_from(["request", "protocol_state", "sender", "recipient", "size", "brand_new", "", "a b", "\udce4"])
values = st.one_of(st.text(max_size=8), st.sampled_from(["", "smtpd_access_policy", "a=b", "\r", "\udcff", "x" * 90]))
ends = st.sampled_from(["\n", "\n", "\n", "\r\n", ""])
attribute_lines = st.tuples(names, values, ends).map(lambda each: f"{each[0]}={each[1]}{each[2]}")
nearly_requests = st.lists(attribute_lines, max_size=8).map(
    lambda lines: ("request=smtpd_access_policy\n" + "".join(lines) + "\n").encode("utf-8", "surrogateescape")
)
streams = st.one_of(
    st.binary(max_size=500),
    st.lists(st.one_of(nearly_requests, st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\r\n", b"a=b"])), max_size=6).map(
        b"".join
    ),
)


def read(pieces):
    """The requests, how many bytes a ProtocolError shows if the stream ended in one, and what is left of it."""
    reader = RequestReader(LIMIT_BYTES)
    found = []
    for piece in pieces:
        reader.feed(piece)
        try:
            while (raw := reader.next_request()) is not None:
                found.append(raw)
        except ProtocolError as error:
            return found, len(error.shown), b""
        assert len(reader.pending) <= LIMIT_BYTES
    return found, 0, reader.pending


@EXAMPLES
@given(streams, st.lists(st.integers(1, 40), max_size=30))
@example(b"a=b\n\r\nc=d\n\n", [4, 1])
@example(b"\r\n", [1])
@example(b"\n" * 5, [2])
def test_pieces_do_not_matter(stream, lengths):
    """Whole, in pieces or byte by byte: the same requests in order, and every byte belongs to one or is left."""
    pieces, rest = [], stream
    for length in lengths:
        pieces.append(rest[:length])
        rest = rest[length:]
    whole, too_long, left = read([stream])
    assert too_long <= 80
    for cut in ([*pieces, rest], [stream[at : at + 1] for at in range(len(stream))]):
        assert read(cut)[0] == whole
        assert bool(read(cut)[1]) is bool(too_long)
        assert read(cut)[2] == left
    assert stream.startswith(b"".join(whole) + left)
    assert too_long or stream == b"".join(whole) + left
    assert all(raw.endswith((b"\n\n", b"\n\r\n")) or raw in (b"\n", b"\r\n") for raw in whole)


@EXAMPLES
@given(streams)
def test_any_bytes_are_a_request_or_a_protocol_error(stream):
    """What parses is a request by name, as texts whose bytes are those that were sent."""
    for raw in read([stream])[0]:
        try:
            request = Request.parse(raw)
        except ProtocolError:
            continue
        assert request.get("request") == "smtpd_access_policy"
        for name, value in request.attributes.items():
            assert f"{name}={value}".encode("utf-8", "surrogateescape") in raw


@EXAMPLES
@given(st.lists(st.one_of(nearly_requests, st.binary(max_size=80)), min_size=2, max_size=4))
def test_a_learnt_layout_reads_what_the_exact_way_reads(raws):
    """Learnt from one request, asked about another: the same values or None, never others, never an error."""
    for taught in raws:
        try:
            names = Request.parse(taught).layout
        except ProtocolError:
            continue
        if names is None or not learnable(names):
            continue
        layouts = [each.layout(names, WANTED) for each in (PYTHON, C) if each]
        for raw in raws:
            seen, *others = [layout.values(raw) for layout in layouts]
            assert others in ([], [seen])
            if seen is not None:
                assert seen == wanted_values(Request.parse(raw), WANTED)
        if RequestReader(1 << 16, taught).next_request() == taught:
            assert layouts[0].values(taught) is not None
