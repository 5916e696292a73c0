"""`check --dns` and `explain --dns` with servers that sites have: lists of rbldnsd, straight and through unbound."""

from __future__ import annotations

import json

import pytest

from forkpolicy.commands import main
from loadtest.servers.names.behaviours import listed
from loadtest.servers.names.server import NameServer
from tests.dns_servers import rbldnsd, unbound

pytest.importorskip("pycares", reason="DNS lists need forkpolicy[dns]")

POLICY = """
acl bad rbl bl.example=127.0.0.2-11 key=key paid.example
acl bad_name rhsbl {sender} dbl.example
action no REJECT 5.7.1 {match.bad}
action never REJECT 5.7.1 no
access bad no
access bad_name never
"""
LISTS = {
    "bl.example": ("ip4set", [":127.0.0.2:listed, see http://bl.example/?$", "127.0.0.2", "203.0.113.5"]),
    "hush.paid.example": ("ip4set", [":127.0.0.9:paid", "127.0.0.2", "203.0.113.6"]),
    "dbl.example": ("dnset", [":127.0.1.2:bad name", "test", ".spam.example"]),
}
EVERYBODY = {**LISTS, "bl.example": ("ip4set", [":127.0.0.2:closed", "0.0.0.0/1", "128.0.0.0/1"])}
WITHOUT_TEST = {**LISTS, "dbl.example": ("dnset", [":127.0.1.2:bad name", ".spam.example"])}


@pytest.fixture
def forkpolicy(tmp_path, capsys):
    """A function that runs a command of a policy whose name server is at this port; what it prints."""
    (tmp_path / "policy.conf").write_text(POLICY)
    (tmp_path / "key").write_text("hush\n")
    settings = tmp_path / "forkpolicy.toml"

    def run(port, command, *words):
        settings.write_text(f'policy = "policy.conf"\ntables = "compiled"\n[dns]\nservers = ["127.0.0.1:{port}"]\n')
        main([command, "-c", str(settings), *words])
        shown = capsys.readouterr().out
        assert "hush" not in shown
        return shown

    return run


def test_right_lists(forkpolicy):
    """check has nothing to say about them, and asks only where it should."""
    with rbldnsd(LISTS) as port:
        assert "bl.example" not in forkpolicy(port, "check", "--dns", "--postfix", "none")
    assert "bl.example" not in forkpolicy(port, "check", "--postfix", "none")


def test_wrong_lists(forkpolicy):
    """One that lists the world, and one that has no test entry; at the zone's word."""
    with rbldnsd(EVERYBODY) as port:
        shown = forkpolicy(port, "check", "--dns", "--postfix", "none")
    assert "policy.conf:2:13: warning: bl.example lists 127.0.0.1 (127.0.0.2), and so everything" in shown
    assert "paid.example" not in shown.replace("key=key paid.example", "")
    with rbldnsd(WITHOUT_TEST) as port:
        shown = forkpolicy(port, "check", "--dns", "--postfix", "none")
    assert "policy.conf:3:29: warning: dbl.example does not list TEST, as lists do to be tested" in shown


def test_no_name_server(forkpolicy):
    """One line for each list, with who did not answer."""
    with rbldnsd(LISTS) as port:
        pass
    shown = forkpolicy(port, "check", "--dns", "--postfix", "none")
    assert shown.count("cannot be tested") == 3
    assert shown.count(f"(asked: 127.0.0.1:{port})") == 3


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("", ""),
        (" private-address: 127.0.0.0/8\n", "take addresses of 127.0.0.0/8 out of answers"),
        (' private-address: 127.0.0.0/8\n private-domain: "bl.example"\n', ""),
        (" qname-minimisation: yes\n qname-minimisation-strict: yes\n", "does not list 127.0.0.2"),
    ],
)
def test_a_resolver_that_hides_listings(forkpolicy, tmp_path, more, message):
    """unbound can be set so that nothing fails and nobody is listed."""
    with rbldnsd(LISTS) as port, unbound(tmp_path, dict.fromkeys(LISTS, port), more=more) as resolver:
        shown = forkpolicy(resolver, "check", "--dns", "--postfix", "none")
        found = [line for line in shown.splitlines() if ": bl.example " in line]
        assert len(found) == bool(message)
        assert message in "".join(found)
        holds = "REJECT" in forkpolicy(resolver, "explain", "--dns", "client_address=203.0.113.5")
        assert holds is not bool(message)


def test_explain(forkpolicy):
    """Asked only when it is wanted; then with what each list says, and its words in the reply."""
    with rbldnsd(LISTS) as port:
        silent = forkpolicy(port, "explain", "client_address=203.0.113.5", "sender=a@spam.example")
        assert silent.splitlines()[0] == "action=DUNNO"
        assert "bad  not asked  only with --dns" in silent
        shown = forkpolicy(port, "explain", "--dns", "client_address=203.0.113.5", "sender=a@spam.example")
        assert shown.splitlines()[0] == "action=REJECT 5.7.1 listed, see http://bl.example/?203.0.113.5"
        assert "bad  yes  203.0.113.5: bl.example lists it (127.0.0.2)" in shown
        shown = forkpolicy(port, "explain", "--dns", "client_address=203.0.113.9", "sender=a@sub.spam.example")
        assert "203.0.113.9: bl.example does not list it; paid.example does not list it" in shown
        assert "bad_name  yes  sub.spam.example: dbl.example lists it (127.0.1.2)" in shown
        words = ("--json", "client_address=203.0.113.6", "sender=a@b.example")
        (first, _) = json.loads(forkpolicy(port, "explain", "--dns", "--all", *words))["lines"]
        assert first["acls"][0]["asked"]["shown"].endswith("paid.example lists it (127.0.0.9)")
    shown = forkpolicy(port, "explain", "--dns", "client_address=203.0.113.5")
    assert "bad  cannot be known  bl.example: " in shown


def test_replay_asks_nobody(forkpolicy, tmp_path):
    """What a list says today says nothing of past mail: such an ACL is not asked, and its rule does not fire."""
    log = tmp_path / "requests"
    request = "request=smtpd_access_policy\nprotocol_state=RCPT\nclient_address=203.0.113.5\nsender=a@spam.example\n\n"
    log.write_text(request * 3)
    with NameServer(default=listed()) as server:
        shown = forkpolicy(server.port, "replay", str(log))
        assert "DUNNO" in shown
        assert "REJECT" not in shown
        assert not server.asked


def test_public_resolvers_are_warned_of(tmp_path, capsys):
    """Where a policy has DNS lists, since most lists do not answer them."""
    settings = tmp_path / "forkpolicy.toml"
    (tmp_path / "key").write_text("hush\n")
    (tmp_path / "policy.conf").write_text(POLICY)
    text = (
        'policy = "policy.conf"\ntables = "compiled"\n[dns]\nservers = ["192.0.2.53", "8.8.8.8", "[2620:fe::fe]:53"]\n'
    )
    settings.write_text(text)
    main(["check", "-c", str(settings), "--postfix", "none"])
    message = f"{settings}:4:1: warning: 8.8.8.8 2620:fe::fe: public resolvers, which many DNS lists do not answer"
    assert message in capsys.readouterr().out
    (tmp_path / "policy.conf").write_text("acl a client_address 192.0.2.1\naction no REJECT\naccess a no\n")
    main(["check", "-c", str(settings), "--postfix", "none"])
    assert "public resolvers" not in capsys.readouterr().out
