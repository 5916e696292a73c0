"""A private Postfix for each test module, and forkpolicy where its smtpd looks for it."""

from __future__ import annotations

import pytest

from loadtest.servers.postfix import PrivatePostfix, traversable_directory
from loadtest.servers.server import Server


@pytest.fixture(scope="module")
def directory():
    """A directory that the users postfix and nobody can reach."""
    with traversable_directory() as directory:
        yield directory


@pytest.fixture(scope="module")
def postfix(directory, request):
    """A Postfix that asks unix:private/policy; a module's `MAIN_CF` adds to its main.cf."""
    with PrivatePostfix(directory / "postfix", main=getattr(request.module, "MAIN_CF", None)) as postfix:
        yield postfix


@pytest.fixture
def serve(directory, postfix, tmp_path_factory):
    """Start a forkpolicy below Postfix with some policy and table sources; it stops with the test."""
    running = []

    def start(policy, sources=None, **options):
        below = directory / tmp_path_factory.mktemp("server").name
        server = Server(below, policy, sources=sources, socket_path=postfix.private / "policy", **options)
        running.append(server)
        server.compile()
        server.start()
        return server

    yield start
    for server in running:
        server.stop()
