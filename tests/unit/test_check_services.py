"""What `check` says of the sockets of other policy servers, and that it connects to none."""

from __future__ import annotations

import os
import socket

import pytest

from forkpolicy.commands.check_services import missing_sockets
from tests.unit.test_service import load_policy_text

POLICY = "acl grey service {} DEFER_IF_PERMIT\naction pass_on {{match.grey}}\naccess grey pass_on\n"


def found(endpoint):
    policy, _ = load_policy_text(POLICY.format(endpoint))
    return list(missing_sockets(policy.model))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none", "there is no such socket"),
        ("file/socket", "there is no such socket"),
        ("file", "expected a socket, and it is another kind of file"),
        (".", "expected a socket, and it is another kind of file"),
    ],
)
def test_a_service_without_a_socket_is_named(tmp_path, name, reason):
    """Mail would pass unasked, as if the server were away."""
    (tmp_path / "file").touch()
    (warning,) = found(f"unix:{tmp_path / name}")
    assert (warning.severity, warning.line) == ("warning", 1)
    assert warning.message == f"service unix:{os.path.normpath(tmp_path / name)}: {reason}"
    assert warning.hint.startswith("start that server, or correct the path")


def test_a_socket_is_not_connected_to(tmp_path):
    """Whoever listens notices nothing; an address is for who asks it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        listener.setblocking(False)
        assert found(f"unix:{tmp_path}/socket") == found("inet:127.0.0.1:1") == []
        with pytest.raises(BlockingIOError):
            listener.accept()
