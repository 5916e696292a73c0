"""What Postfix says of a mail in bytes that are no UTF-8: an answer that ends it, none after which it comes again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkpolicy.gateway.store.envelope import EnvelopeError, parse_mail, parse_recipient

ODD = b"a\xff".decode("utf-8", "surrogateescape")


def test_an_address_that_no_row_can_have_is_refused_for_good():
    """451 would keep it in Postfix's queue for days, and send it back then."""
    with pytest.raises(EnvelopeError, match="The address is not valid"):
        parse_mail(f"FROM:<{ODD}@example.org> BODY=8BITMIME")
    with pytest.raises(EnvelopeError, match="The address is not valid"):
        parse_recipient(f"TO:<{ODD}@example.com>")


def test_options_that_no_row_can_have_are_left_out():
    """The mail is taken without them: they are about bounces alone."""
    assert parse_mail(f"FROM:<a@example.org> ENVID={ODD} RET=HDRS").envid == ""
    assert parse_mail(f"FROM:<a@example.org> ENVID={ODD} RET=HDRS").ret == "HDRS"
    assert parse_recipient(f"TO:<a@example.com> ORCPT=utf-8;{ODD} NOTIFY=NEVER").orcpt == ""


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_what_is_taken_can_be_kept(address, option):
    """Whatever bytes came: each value is a text."""
    line = b"<%b@example.org> ENVID=%b" % (address, option)
    try:
        found = parse_mail(f"FROM:{line.decode('utf-8', 'surrogateescape')}")
    except EnvelopeError:
        return
    for value in (found.sender, found.envid, found.ret):
        value.encode()
