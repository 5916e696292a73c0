"""A real server with tables of kind `pair`: compiled, asked, replaced, checked, explained and replayed."""

from __future__ import annotations

import json

import pytest

from forkpolicy.tables import format as layout
from loadtest.clients.policy_client import PolicyClient
from tests.process.conftest import request
from tests.process.test_change import table_versions
from tests.process.waiting import eventually

POLICY = """
table may_send_as pair:text,address may-send-as
table relays pair:network,address,host relays
acl signed_in authenticated
acl allowed table:may_send_as {sasl_username} {sender}
acl no_relay table:relays=no {client_address} {sender} {helo_name}
acl relay table:relays {client_address} {sender} {helo_name}
action not_yours REJECT 5.7.1 not an address of {sasl_username}
action not_here REJECT 5.7.1 not from here
action fine OK {match.relay}
access signed_in !allowed not_yours
access no_relay not_here
access relay fine
"""
MAY_SEND_AS = "anna example.com\nanna bert@example.net\n* .open.example\n"
RELAYS = "192.0.2.0/24 example.com .example.com ours\n192.0.2.9 * * no\n2001:db8::/32 * mx.example.com six\n"


@pytest.fixture
def server(make_server):
    """Two workers, and a recipient_delimiter."""
    server = make_server(workers=2, delimiter="+")
    server.write_source("may-send-as", MAY_SEND_AS)
    server.write_source("relays", RELAYS)
    server.write_policy(POLICY)
    server.compile()
    server.start()
    return server


def asked(server, sender, **more):
    with PolicyClient(server.socket_path) as client:
        return client.ask(request(sender, **more))


def test_a_server_asks_its_tables_of_columns(server):
    """Logins, networks, addresses and names; addresses as Postfix will rewrite them, and without their extension."""
    anna = {"sasl_method": "PLAIN", "sasl_username": "Anna"}
    assert asked(server, "x@example.com", **anna) == "DUNNO"
    assert asked(server, "bert+news@example.net", **anna) == "DUNNO"
    assert asked(server, "carl@example.net", **anna) == "REJECT 5.7.1 not an address of Anna"
    assert asked(server, "carl@a.open.example", **anna) == "DUNNO"
    assert asked(server, "example.com!x", **anna) == "DUNNO"
    ours = {"client_address": "192.0.2.8", "helo_name": "mx.example.com"}
    assert asked(server, "x@example.com", **ours) == "OK ours"
    assert asked(server, "x@example.com", **{**ours, "client_address": "192.0.2.9"}) == "REJECT 5.7.1 not from here"
    assert asked(server, "x@example.com", **{**ours, "helo_name": "example.com"}) == "DUNNO"
    assert asked(server, "", client_address="2001:db8::1", helo_name="MX.example.com") == "OK six"


def test_a_new_table_of_columns_is_taken_up(server):
    """By itself, under an open connection; a damaged one is refused and the one before serves on."""
    relays = {"client_address": "198.51.100.1", "helo_name": "a.example"}
    with PolicyClient(server.socket_path) as client:
        assert client.ask(request("x@example.com", **relays)) == "DUNNO"
        server.write_source("relays", RELAYS + "198.51.100.0/24 * * new\n")
        before = table_versions(server)
        server.compile("relays")
        eventually(lambda: len(table_versions(server)) == 2 and table_versions(server) != before)
        assert client.ask(request("x@example.com", **relays)) == "OK new"
        path = server.directory / "compiled" / "relays.lmdb"
        content = bytearray(path.read_bytes())
        content[len(content) - layout.TRAILER_BYTES - 1] ^= 1
        new = path.with_suffix(".new")
        new.write_bytes(content)
        new.rename(path)
        eventually(lambda: all(worker["tables"][1]["refused"] for worker in server.status()["workers"]))
        assert client.ask(request("x@example.com", **relays)) == "OK new"


def test_commands_know_the_tables_of_columns(server, tmp_path):
    """check, lookup, explain, replay and status."""
    assert "pair:network,address,host" in server.command("status").stdout
    looked = server.command("lookup", "relays", "192.0.2.8", "x@example.com", "mx.example.com", "--json")
    assert json.loads(looked.stdout)["entry"] == "192.0.2.0/24 example.com .example.com"
    explained = server.command(
        *(
            "explain",
            "protocol_state=RCPT",
            "client_address=192.0.2.8",
            "sender=x@example.com",
            "helo_name=mx.example.com",
        )
    )
    assert "192.0.2.0/24 example.com .example.com ours in table relays" in explained.stdout
    requests = tmp_path / "requests"
    requests.write_bytes(request("x@example.com", client_address="192.0.2.9", helo_name="mx.example.com"))
    replayed = server.command("replay", str(requests))
    assert (replayed.returncode, "REJECT" in replayed.stdout) == (0, True)
    server.write_source("relays", "192.0.2.0/24 example.com\n")
    checked = server.command("check", "--postfix", "none")
    assert 'table "relays" was compiled from other contents' in checked.stdout
