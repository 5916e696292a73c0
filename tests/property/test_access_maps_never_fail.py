"""A map of access(5) of any content: a documented status, no traceback, and what is printed loads."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forkpolicy.commands.main import main as forkpolicy
from forkpolicy.errors import EXIT_CONFIG, EXIT_DONE, EXIT_NO

CHECKS = ("client", "helo", "sender", "recipient", "sasl", "reverse_client_hostname")
KINDS = ("hash", "texthash", "cidr", "regexp", "pcre")
PIECES = [
    *[
        "example.com",
        ".example.com",
        "a@example.com",
        "a@",
        "@example.com",
        "<>",
        '"a b"@example.com',
        "unknown",
        "x.",
        "*",
    ],
    *["192.0.2", "192.0.2.1", "192.0.2.0/24", "!192.0.2.0/25", "0.0.0.0/0", "2001:db8", "::/0", "[::1]", "10.0.0.1/8"],
    *[
        "/^a/",
        "/a+?/i",
        "!/b$/",
        "/[[:alpha:]]{2}/",
        "/(a|b)c/",
        "|x|",
        "/\\d\\/\\1/",
        "/^<>$/",
        "/(?i)x/",
        "/[/",
        "/\u00df/x",
    ],
    *["if", "endif", "if /a/", "if !192.0.2.0/24", "IF !/b/", "# comment", ";", "#"],
    *[
        "OK",
        "REJECT",
        "reject text",
        "DUNNO",
        "HOLD",
        "PREPEND X: y",
        "FILTER x",
        "450 later",
        "550",
        "1",
        "WARN #1",
        "BCC a@b",
    ],
    *["$1", "$$", "{x}", "permit_mynetworks, reject", "until=2026-12-31", "\t", "\n", "\n", "\n  ", "\u00e9", "\x01"],
]
EXAMPLES = settings(
    max_examples=int(os.environ.get("FORKPOLICY_EXAMPLES", "100")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


@pytest.mark.parametrize("kind", KINDS)
@EXAMPLES
@given(
    check=st.sampled_from(CHECKS),
    text=st.one_of(st.lists(st.sampled_from(PIECES), max_size=40).map(" ".join), st.text(max_size=60)),
)
def test_any_map(kind, check, text):
    """Any words of the grammars, and any text."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "map")
        path.write_text(text.replace("\n ", "\n"), encoding="utf-8", errors="replace")
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = forkpolicy(["import", "access", f"check_{check}_access:{kind}:{path}"])
    assert status in (EXIT_DONE, EXIT_NO, EXIT_CONFIG), err.getvalue()
    assert "error of this importer" not in err.getvalue()
    assert "imported" in err.getvalue()
