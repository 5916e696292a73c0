"""Commands of an engine as bytes: the same as those of hiredis, whatever stands in them."""

from __future__ import annotations

import pytest

from forkpolicy.state.questions.listed import Forget, Listed, Remember
from forkpolicy.state.redis.commands import Commands
from forkpolicy.worker.redis import packing
from tests.stores import distinct, greylisting, rate

QUESTIONS = [
    rate((100, 3600), (500, 86400)),
    rate((100, 3600), instance="1a2b.6b066073.0", item="100%s\r\n", key=("a%d\0b@ex\u00e4mple.com", "")),
    greylisting(),
    distinct("x%"),
    Listed("traps", ("%b",)),
    Remember("traps", ("a",), 60),
    Forget("traps", ("a" * 600,)),
]


@pytest.mark.parametrize("prefix", ["forkpolicy", "100%d"])
@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: type(question).__name__)
def test_a_command_is_packed_as_hiredis_packs_it(question, prefix):
    """Twice: the second time from what was kept of the first."""
    for _ in range(2):
        command = Commands(prefix).of(question)
        script, keys, arguments, shared = command
        assert packing.by_digest(command) == packing.pack(
            (b"EVALSHA", script.sha, len(keys), *keys, *arguments, *shared)
        )
        assert all(key.startswith(f"{prefix}:".encode()) for key in keys)
