"""`forkpolicy check --postfix` on real configurations, read by the real postconf."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import pytest

from forkpolicy.commands.check import check
from forkpolicy.postfix.parameters import PostfixError, read_postfix
from tests.owners import worker_lines

POLICY = (
    "acl us sender @example.com\nacl done protocol_state END-OF-MESSAGE\nacl helo protocol_state EHLO\n"
    "acl signed authenticated\nacl inner client_address 192.0.2.0/25\nacl outer client_address 192.0.0.0/16\n"
    "acl submitted policy_context submission\naction y OK\naction r REJECT\naction h HOLD\n"
)
SERVICE = "check_policy_service { unix:private/policy, timeout=10s, { default_action = 451 4.7.1 later } }"
PLAIN = "check_policy_service unix:private/policy"
CLOSED = "reject_unauth_destination"
RECIPIENT = "smtpd_recipient_restrictions ="
SMTP = "smtp inet n - y - - smtpd\n"
# What Postfix makes of addresses, and [mail] in agreement; test_check_addresses.py has what is said where they are not.
AGREED = "mydestination = mail.example.com\ninet_interfaces = 127.0.0.1\n"
MAIL = 'myorigin = "mail.example.com"\nlocal_domains = ["mail.example.com"]\n'


class Told:
    """What check says: `diagnostics`, each "file:line: severity: message", and `call_sites`, each as a text."""

    def __init__(self, answer):
        self.answer = answer
        self.call_sites = [site["text"] for site in answer["postfix"]]
        others = ("is never used", "it is asked about addresses without a domain")
        kept = [each for each in answer["diagnostics"] if not each["message"].endswith(others)]
        self.diagnostics = [
            f"{Path(each['path']).name}:{each['line']}: {each['severity']}: {each['message']}" for each in kept
        ]


@pytest.fixture
def told(tmp_path, capsys):
    """A function: what check says about lines of main.cf, master.cf and a policy."""

    def check_it(main, master=SMTP, policy="access us r\n", queue="/var/spool/postfix"):
        listen = f'listen = ["unix:{queue}/private/policy", "inet:127.0.0.1:10040"]'
        server = f'{listen}\ncontrol = "unix:control"\n{worker_lines()}'
        (tmp_path / "forkpolicy.toml").write_text(f'policy = "policy.conf"\n[mail]\n{MAIL}[server]\n{server}')
        (tmp_path / "policy.conf").write_text(POLICY + policy)
        usual = f"compatibility_level = 3.6\nmyhostname = mail.example.com\nqueue_directory = {queue}\n"
        (tmp_path / "main.cf").write_text(f"{usual}mynetworks = 192.0.2.0/24 [::1]/128\n{main}\n{AGREED}")
        (tmp_path / "master.cf").write_text(master)
        for name in ("main.cf", "master.cf"):
            # Postfix waits a second for files that were just written to "cool down".
            os.utime(tmp_path / name, (0, 0))
        check(str(tmp_path / "forkpolicy.toml"), as_json=True, postfix=str(tmp_path))
        return Told(json.loads(capsys.readouterr().out))

    return check_it


def test_a_good_set_up_is_described_and_left_alone(told):
    """Where it is asked and at which states it is asked; no warning."""
    found = told(f"{RECIPIENT} {SERVICE}, permit_mynetworks, {CLOSED}")
    assert found.diagnostics == []
    assert found.call_sites == ["smtp/inet: smtpd_recipient_restrictions asks unix:private/policy at RCPT, VRFY"]
    assert found.answer["postfix"][0] | {"file": ""} == {
        "services": ["smtp/inet"],
        "file": "",
        "parameter": "smtpd_recipient_restrictions",
        "endpoint": "unix:private/policy",
        "states": ["RCPT", "VRFY"],
        "ours": True,
        "policy_context": "",
        "text": found.call_sites[0],
    }


ORDER = [
    ("", "main.cf: warning: no smtpd service asks this policy"),
    (f"{RECIPIENT} check_policy_service unix:private/other", "main.cf:5: warning: no smtpd service asks this policy"),
    (f"{RECIPIENT} permit_mynetworks, {SERVICE}", "check_policy_service: requests from mynetworks never reach it"),
    (f"{RECIPIENT} permit_sasl_authenticated {SERVICE}", "requests of authenticated clients never reach it"),
    (
        f"{RECIPIENT} permit_dnswl_client x.example {SERVICE}",
        "requests that permit_dnswl_client permits never reach it",
    ),
    (
        f"{RECIPIENT} {CLOSED}, permit, {SERVICE}",
        "error: smtp/inet: smtpd_recipient_restrictions: permit stands before",
    ),
    (f"mine = {CLOSED}, permit\n{RECIPIENT} $mine, {SERVICE}", "main.cf:6: error: smtp/inet: smtpd_recipient_restr"),
    (f"smtpd_restriction_classes = mine\nmine = permit\n{RECIPIENT} mine, {SERVICE}", "permit stands before"),
    (f"{RECIPIENT} warn_if_reject {SERVICE}", "what the policy rejects is logged and accepted"),
    (f"smtpd_sender_restrictions = {SERVICE}\n{RECIPIENT} {SERVICE}", "smtpd_sender_restrictions asks at RCPT, too"),
]
OPTIONS = [
    (f"{RECIPIENT} {PLAIN}", "main.cf:5: warning: smtp/inet: smtpd_policy_service_timeout: a server that does not"),
    (f"{RECIPIENT} {PLAIN}", "holds each smtpd for 201 s"),
    (f"{RECIPIENT} {PLAIN}", "Server configuration problem"),
    (f"smtpd_policy_service_timeout = 1m\n{RECIPIENT} {PLAIN}", "main.cf:5: warning: smtp/inet: smtpd_policy_serv"),
    (f"smtpd_policy_service_try_limit = 1\n{RECIPIENT} {SERVICE}", "error: smtp/inet: smtpd_policy_service_try_limit"),
    (f"smtpd_policy_service_request_limit = 9\n{RECIPIENT} {SERVICE}", "a new connection after every 9 requests"),
    (f"{RECIPIENT} check_policy_service {{ unix:private/policy, default_action={{451 no}} }}", "unknown restriction"),
    (f"smtpd_policy_service_default_action = REJCT\n{RECIPIENT} {PLAIN}", '"REJCT" is not an action of access(5)'),
    (f"smtpd_policy_service_default_action = OK\n{RECIPIENT} {PLAIN}", "the restrictions after it are skipped"),
    (f"{RECIPIENT} check_policy_service 127.0.0.1:10040, {CLOSED}", "error: smtp/inet: smtpd_recipient_restrictions: "),
    (f"{RECIPIENT} check_policy_service 127.0.0.1:10040, {CLOSED}", "has no type"),
    (f"{RECIPIENT} {CLOSED}, check_policy_service", "check_policy_service has no server after it"),
    (f"smtpd_policy_service_max_idle = 3000s\n{RECIPIENT} {SERVICE}", "forkpolicy.toml:0: warning: idle_timeout ends"),
    (f"{RECIPIENT} {SERVICE}\nrecipient_delimiter = +", 'forkpolicy.toml:0: warning: recipient_delimiter is "+" in'),
    (
        f"mail_owner = mailer\n{RECIPIENT} {SERVICE}",
        "forkpolicy.toml:0: error: user mailer may not write to the socket",
    ),
]


@pytest.mark.parametrize(("main", "expected"), [*ORDER, *OPTIONS], ids=lambda value: value[-50:])
def test_what_would_go_wrong_is_told(told, main, expected):
    """Each usual mistake of a set-up, with file, line and parameter."""
    diagnostics = told(main).diagnostics
    expected = expected.replace("main.cf: ", "main.cf:0: ")
    assert len([each for each in diagnostics if expected in each]) == 1, diagnostics


@pytest.mark.parametrize(
    "main",
    [
        f"{RECIPIENT} {CLOSED}, {SERVICE}, permit_mynetworks, permit_sasl_authenticated, permit",
        f"smtpd_sender_restrictions = permit_mynetworks\n{RECIPIENT} {SERVICE}",
        f"{RECIPIENT} check_client_access static:permit, {SERVICE}",
        f"smtpd_sender_restrictions = {SERVICE}\nsmtpd_data_restrictions = {SERVICE}",
        (
            f"smtpd_policy_service_policy_context = s\nsmtpd_sender_restrictions = {SERVICE}\n"
            f"{RECIPIENT} check_policy_service"
            " { unix:private/policy, timeout=5s, policy_context=r, default_action=DUNNO }"
        ),
        (
            f"smtpd_restriction_classes = later\nlater = {CLOSED}\nsmtpd_policy_service_default_action = later\n"
            f"smtpd_policy_service_timeout = 5s\n{RECIPIENT} {PLAIN}"
        ),
        f"{RECIPIENT} check_policy_service {{ inet:localhost:10040, timeout=5s, default_action=DUNNO }}",
    ],
    ids=lambda value: value[-50:],
)
def test_what_only_looks_wrong_is_left_alone(told, main):
    """Permissions behind it or in other lists, one call site a state, other endpoints, classes as default_action."""
    assert told(main).diagnostics == []


@pytest.mark.parametrize(
    ("policy", "reported"),
    [
        ("access !inner us !signed r\n", []),
        ("access !inner us !signed r\naccess us done r\n", ["permit_mynetworks", "permit_sasl_authenticated"]),
        ("access us !signed r\n", ["permit_mynetworks"]),
        ("access !inner us r\n", ["permit_sasl_authenticated"]),
        ("action default REJECT\naccess !inner us !signed r\n", ["permit_mynetworks", "permit_sasl_authenticated"]),
    ],
)
def test_permissions_in_front_of_rules_that_exempt_the_same_clients_anyway(told, policy, reported):
    """Nothing is lost where each rule begins with `!from_inside`; since `--postfix` exists it was a warning."""
    found = told(f"{RECIPIENT} permit_mynetworks permit_sasl_authenticated {CLOSED} {SERVICE}", policy=policy)
    warned = [each for each in found.diagnostics if "stands before check_policy_service" in each]
    assert [re.search(r"(permit_\w+) stands", each)[1] for each in warned] == reported


@pytest.mark.parametrize(
    ("main", "policy", "opens"),
    [
        (f"smtpd_relay_restrictions =\n{RECIPIENT} {SERVICE}, {CLOSED}", "access us y\n", True),
        (f"smtpd_relay_restrictions = {SERVICE}, {CLOSED}", "access us y\n", True),
        (f"smtpd_relay_restrictions =\n{RECIPIENT} {SERVICE}, {CLOSED}", "action default permit\naccess us r\n", True),
        (f"smtpd_relay_restrictions =\n{RECIPIENT} {SERVICE}, {CLOSED}", "access us r\n", False),
        (f"smtpd_relay_restrictions =\n{RECIPIENT} {CLOSED}, {SERVICE}", "access us y\n", False),
        (f"{RECIPIENT} {SERVICE}", "access us y\n", False),
        (f"smtpd_relay_restrictions = {SERVICE}\n{RECIPIENT} {CLOSED}", "access us y\n", False),
        (
            f"smtpd_relay_restrictions =\nsmtpd_sender_restrictions = {SERVICE}\n{RECIPIENT} {CLOSED}",
            "access us y\n",
            False,
        ),
    ],
    ids=lambda value: str(value)[-40:],
)
def test_an_open_relay_is_told(told, main, policy, opens):
    """When the policy may permit, and no list rejects foreign destinations whatever it says."""
    found = [each for each in told(main, policy=policy).diagnostics if "an open relay" in each]
    assert bool(found) is opens
    assert all(": error: " in each for each in found)


NEVER = "this rule never fires with this Postfix: "


@pytest.mark.parametrize(
    ("main", "line", "expected"),
    [
        (f"{RECIPIENT} {SERVICE}", "us done r", "Postfix asks only at RCPT, VRFY"),
        (f"disable_vrfy_command = yes\n{RECIPIENT} {SERVICE}", "us done r", "Postfix asks only at RCPT"),
        (f"{RECIPIENT} {SERVICE}", "us submitted r", "policy_context is only none"),
        (
            f"{RECIPIENT} permit_sasl_authenticated {SERVICE}",
            "us signed r",
            "permit_sasl_authenticated has already accepted its",
        ),
        (
            f"{RECIPIENT} permit_mynetworks {SERVICE}",
            "us inner r",
            "permit_mynetworks has already accepted its clients",
        ),
        (f"smtpd_helo_restrictions = {SERVICE}", "helo inner r", "Postfix asks only at RCPT, VRFY, ETRN"),
        (
            f"mail_version = 3.0.1\n{RECIPIENT} {SERVICE}",
            "us submitted r",
            "policy_context is sent only by Postfix 3.1 and later",
        ),
    ],
    ids=lambda value: value[-40:],
)
def test_lines_that_this_postfix_never_makes_fire_are_told(told, main, line, expected):
    """Because of the state, the context, a permission in front, or the version."""
    if "3.0.1" in main:
        main += "\nsmtpd_policy_service_policy_context = submission"
    found = [each for each in told(main, policy=f"access {line}\n").diagnostics if NEVER in each]
    assert len(found) == 1
    assert found[0].startswith("policy.conf:11: warning: ")
    assert expected in found[0]


@pytest.mark.parametrize(
    ("main", "line"),
    [
        (f"smtpd_end_of_data_restrictions = {SERVICE}", "us done r"),
        (f"{RECIPIENT} {SERVICE}", "us !submitted r"),
        (f"smtpd_policy_service_policy_context = submission\n{RECIPIENT} {SERVICE}", "us submitted r"),
        (f"{RECIPIENT} permit_sasl_authenticated {SERVICE}", "us !signed r"),
        (f"{RECIPIENT} permit_mynetworks {SERVICE}", "us outer r"),
        (f"{RECIPIENT} permit_mynetworks {SERVICE}", "us !inner r"),
        (f"smtpd_data_restrictions = {SERVICE}\n{RECIPIENT} permit_sasl_authenticated {SERVICE}", "us signed r"),
        (f"smtpd_delay_reject = no\nsmtpd_helo_restrictions = {SERVICE}", "helo inner r"),
    ],
    ids=lambda value: value[-40:],
)
def test_lines_that_may_fire_are_left_alone(told, main, line):
    """One way for a request to get there is enough."""
    assert [each for each in told(main, policy=f"access {line}\n").diagnostics if NEVER in each] == []


def test_actions_that_postfix_ignores_are_reported(told):
    """HOLD and the like before MAIL, and behind a proxy filter."""
    early = f"smtpd_helo_restrictions = {SERVICE}"
    hold = "access inner h\n"
    assert any(
        "ignores HOLD in smtpd_helo" in each
        for each in told(f"smtpd_delay_reject = no\n{early}", policy=hold).diagnostics
    )
    assert not any("ignores" in each for each in told(early, policy=hold).diagnostics)
    proxied = f"smtpd_proxy_filter = 127.0.0.1:10025\n{RECIPIENT} {SERVICE}"
    assert any("with smtpd_proxy_filter" in each for each in told(proxied, policy=hold).diagnostics)


DOCUMENTS = Path(__file__).parents[2]


def shown(document, name):
    """What a document shows of a file of Postfix: the indented blocks that begin with its name."""
    text = (DOCUMENTS / document).read_text()
    blocks = re.findall(rf"^( +)# {re.escape(name)}\n((?:\1.*\n)+)", text, re.MULTILINE)
    return ["".join(line.removeprefix(indent) for line in body.splitlines(keepends=True)) for indent, body in blocks]


@pytest.mark.parametrize("document", ["README.md", "docs/operations.md"])
def test_what_the_documents_show_is_left_alone(told, document):
    """A main.cf and master.cf copied from here get no warning from the same project."""
    assert shown(document, "main.cf")
    found = told("\n".join(shown(document, "main.cf")), "\n".join([SMTP, *shown(document, "master.cf")]))
    assert found.call_sites
    assert found.diagnostics == []


def test_the_submission_of_the_manual_has_its_own_context(told):
    """The snippet of master.cf is one service with the context that the text speaks of."""
    (snippet,) = [each for each in shown("docs/operations.md", "master.cf") if "submission inet" in each]
    asks = "submission/inet: smtpd_recipient_restrictions asks unix:private/policy at RCPT, VRFY"
    assert told("", SMTP + snippet).call_sites == [
        f"{asks}, policy_context submission",
        "smtp/inet: asks no policy server",
    ]


def test_overrides_in_master_cf_count(told):
    """A service's own -o lists and chroot are what its smtpd sees; delayed lists are asked at RCPT."""
    master = (
        "smtp inet n - n - - smtpd\nsubmission inet n - y - - smtpd\n"
        "  -o { smtpd_client_restrictions = check_policy_service { unix:/var/spool/postfix/private/policy, timeout=5s,"
        " policy_context=submission, { default_action = DUNNO } } }\n"
    )
    found = told("", master)
    asks = "smtpd_client_restrictions asks unix:/var/spool/postfix/private/policy"
    assert found.call_sites[0] == f"submission/inet: {asks} at RCPT, VRFY, ETRN, policy_context submission"
    assert any(each.startswith("master.cf:3: error: ") and "runs in a chroot" in each for each in found.diagnostics)
    assert "at CONNECT" in told("smtpd_delay_reject = no", master).call_sites[0]
    assert told("", master.replace("n - y", "n - n")).diagnostics == []


def test_what_services_have_alike_is_told_once(told):
    """A list of main.cf that three services use is one call site; an override of one parameter makes it another."""
    master = (
        SMTP + "submission inet n - y - - smtpd\nsmtps inet n - y - - smtpd\n -o smtpd_policy_service_timeout=200\n"
    )
    found = told(f"{RECIPIENT} {PLAIN}", master)
    assert [site.partition(":")[0] for site in found.call_sites] == ["smtp/inet, submission/inet", "smtps/inet"]
    timeouts = [each for each in found.diagnostics if "holds each smtpd" in each]
    assert [each.partition(" ")[0] for each in timeouts] == ["main.cf:5:", "master.cf:4:"]


def test_each_service_says_whom_it_asks(told):
    """Ours, another one, nobody: a typing error on port 25 is not hidden by submission, which asks."""
    master = (
        f"{SMTP}submission inet n - n - - smtpd\n -o smtpd_recipient_restrictions=$mine\n"
        "10025 inet n - n - - smtpd\n -o smtpd_recipient_restrictions=permit_mynetworks,reject\n"
        "pickup unix n - n 60 1 pickup\n"
    )
    polcy = SERVICE.replace("policy,", "polcy,")
    found = told(f"mine = {SERVICE}\n{RECIPIENT} {polcy}", master)
    assert found.call_sites == [
        "smtp/inet: smtpd_recipient_restrictions asks unix:private/polcy at RCPT, VRFY, which is not this policy",
        "submission/inet: smtpd_recipient_restrictions asks unix:private/policy at RCPT, VRFY",
        "10025/inet: asks no policy server",
    ]
    assert [each["ours"] for each in found.answer["postfix"]] == [False, True, False]
    (vain,) = [each for each in found.answer["diagnostics"] if "which does not exist" in each["message"]]
    assert (vain["line"], vain["hint"]) == (6, "did you mean /var/spool/postfix/private/policy?")


@pytest.mark.parametrize("endpoint", ["inet:127.0.0.1:10041", "inet:127.0.0.1:1040"])
def test_a_port_that_is_nearly_ours_is_told(told, endpoint):
    """Another policy service on another port is left alone."""
    found = told(f"{RECIPIENT} {SERVICE}\nsmtpd_data_restrictions = check_policy_service {{ {endpoint} }}")
    hints = [each["hint"] for each in found.answer["diagnostics"]]
    assert 'did you mean "inet:127.0.0.1:10040"?' in hints
    other = told(f"{RECIPIENT} {SERVICE}\nsmtpd_data_restrictions = check_policy_service {{ inet:127.0.0.1:60000 }}")
    assert not any("did you mean" in each["hint"] for each in other.answer["diagnostics"])


def test_a_finding_about_a_service_names_its_line_in_master_cf(told):
    """The line of its -o, wherever what is missing could be set, and never main.cf for what is not written there."""
    master = (
        f"{SMTP}submission inet n - n - - smtpd\n  # mine\n  -o syslog_name=postfix/submission\n"
        f"  -o {{ smtpd_recipient_restrictions = permit_mynetworks, {PLAIN} }}\n"
    )
    found = [each for each in told("", master).diagnostics if "submission/inet" in each]
    assert len(found) > 2
    assert all(each.startswith("master.cf:5: ") for each in found), found


PREPEND = "action p PREPEND X-Seen: yes\n"


def test_a_header_that_comes_after_the_message_is_told(told):
    """PREPEND where only END-OF-MESSAGE is asked; with another state at which its rule fires Postfix uses it there."""
    late = f"smtpd_end_of_data_restrictions = {SERVICE}"
    found = told(late, policy=f"{PREPEND}access us p\n").diagnostics
    assert [each for each in found if "ignores PREPEND at END-OF-MESSAGE" in each]
    both = told(f"{late}\nsmtpd_data_restrictions = {SERVICE}", policy=f"{PREPEND}access us p\n").diagnostics
    assert not [each for each in both if "PREPEND at END" in each]
    once = told(late, policy=f"{PREPEND}access us done p\n").diagnostics
    assert len([each for each in once if "PREPEND" in each]) == 1


STAYS = "the action lasts, and acts on the mail to the other recipients"


@pytest.mark.parametrize(
    ("main", "refusing"),
    [
        (
            f"{RECIPIENT} {SERVICE}, permit_mynetworks, reject_unauth_destination",
            "reject_unauth_destination, smtpd_reject",
        ),
        (
            f"{RECIPIENT} {SERVICE}, reject_unverified_recipient, reject_unlisted_recipient",
            "reject_unverified_recipient, r",
        ),
        (
            f"{RECIPIENT} reject_unlisted_recipient, {SERVICE}, check_recipient_access static:x",
            "check_recipient_access",
        ),
        (f"{RECIPIENT} {SERVICE}", "smtpd_reject_unlisted_recipient"),
        (
            f"smtpd_sender_restrictions = {SERVICE}\n{RECIPIENT} reject_unlisted_recipient",
            "defer_unauth_destination, r",
        ),
    ],
    ids=["destination", "verify", "access", "unlisted", "another-list"],
)
@pytest.mark.parametrize("action", ["h", "p"])
def test_an_action_in_front_of_what_may_refuse_its_recipient_is_told(told, main, refusing, action):
    """What refuses, which line has the action, and how to ask last; once a service, however many lines."""
    policy = f"{PREPEND}access us {action}\naccess inner {action}\n"
    (found,) = [each for each in told(main, policy=policy).diagnostics if STAYS in each]
    assert f"restrictions: {refusing}" in found
    assert "the reply of " in found
    assert "policy.conf:12 (and 1 more) is " in found


@pytest.mark.parametrize(
    ("main", "line"),
    [
        (f"{RECIPIENT} reject_unlisted_recipient, {SERVICE}", "us h"),
        (f"smtpd_reject_unlisted_recipient = no\n{RECIPIENT} {SERVICE}", "us h"),
        (f"{RECIPIENT} {SERVICE}, reject_unauth_destination", "us r"),
        (f"{RECIPIENT} {SERVICE}, reject_unauth_destination", "us submitted h"),
        (f"{RECIPIENT} {SERVICE}, reject_unauth_destination", "us done h"),
        (f"smtpd_data_restrictions = {SERVICE}", "us h"),
    ],
    ids=["last", "no-unlisted", "refusal", "context", "state", "data"],
)
def test_an_action_that_nothing_follows_is_left_alone(told, main, line):
    """Asked last, or at a command that is not about a recipient."""
    assert not [each for each in told(main, policy=f"access {line}\n").diagnostics if STAYS in each]


@pytest.mark.parametrize(
    ("to", "found"),
    [("quarantine:unix:private/store", 0), ("quarantine:unix:private/store-spam", 0), ("smtp:[127.0.0.1]:10025", 1)],
)
def test_a_filter_to_the_store_of_a_gateway_is_left_alone(told, to, found):
    """It acts on the mail to the others; and the store asks about each of them."""
    policy = f"action to_store FILTER {to}\naccess us to_store\n"
    said = told(f"{RECIPIENT} {SERVICE}, reject_unverified_recipient", policy=policy).diagnostics
    assert len([each for each in said if STAYS in each]) == found


def test_own_parameters_of_a_service_are_expanded(told):
    """-o smtpd_recipient_restrictions=$mine, as Debian's master.cf has it for submission."""
    master = "submission inet n - y - - smtpd\n -o smtpd_recipient_restrictions=$mine\n"
    found = told(f"mine = {SERVICE}, permit_sasl_authenticated, reject", master)
    assert found.diagnostics == []
    assert found.call_sites[0].startswith("submission/inet: smtpd_recipient_restrictions asks")


def test_a_class_that_only_a_table_names_is_a_call_site(told):
    """check_recipient_access may lead to it: at which state nobody can tell."""
    main = f"smtpd_restriction_classes = strict\nstrict = {SERVICE}\n{RECIPIENT} check_recipient_access static:strict"
    found = told(main, policy="access us done r\n")
    assert found.call_sites == ["smtp/inet: strict asks unix:private/policy when an access table says so"]
    assert found.diagnostics == []


def test_the_chroot_depends_on_the_compatibility_level(told):
    """A dash means no chroot since Postfix 3.0, but not with compatibility_level = 0."""
    main = f"{RECIPIENT} {SERVICE.replace('private', '/var/spool/postfix/private')}"
    dash = SMTP.replace("y", "-")
    assert told(main, dash).diagnostics == []
    assert any("runs in a chroot" in each for each in told(f"compatibility_level = 0\n{main}", dash).diagnostics)


@pytest.fixture
def queue(tmp_path_factory):
    """A queue directory with a socket that somebody else owns."""
    queue = tmp_path_factory.mktemp("queue")
    queue.chmod(0o755)
    (queue / "private").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(queue / "private" / "policy"))
        yield queue


@pytest.mark.parametrize(
    ("directory_mode", "socket_mode", "expected"),
    [
        (0o755, 0o666, ""),
        (0o755, 0o600, "user postfix may not write to the socket"),
        (0o755, 0o660, "its mode is 0660"),
        (0o700, 0o666, "user postfix may not search the directory"),
    ],
)
def test_the_socket_and_its_directory_are_looked_at(told, queue, directory_mode, socket_mode, expected):
    """As they are, whatever the settings would make of them."""
    (queue / "private").chmod(directory_mode)
    (queue / "private" / "policy").chmod(socket_mode)
    said = told(f"{RECIPIENT} {SERVICE}", queue=str(queue)).diagnostics
    found = [each for each in said if "the socket has owner" not in each]
    assert len(found) == bool(expected), found
    assert all(expected in each and ": error: " in each for each in found)


def test_a_socket_that_is_not_as_the_settings_have_it_is_told(told, queue):
    """As root, for every caller: its owner, group and mode, and those that were expected."""
    (queue / "private").chmod(0o755)
    (queue / "private" / "policy").chmod(0o666)
    (found,) = [each for each in told("", queue=str(queue)).diagnostics if "the socket has" in each]
    assert (
        found == "policy:0: warning: the socket has owner root, group root, mode 0666; expected postfix, postfix, 0660"
    )


def test_a_policy_that_does_not_load_is_no_excuse(told):
    """Mistakes of both are found in one run."""
    diagnostics = told(
        f"smtpd_policy_service_try_limit = 1\n{RECIPIENT} {SERVICE}", policy="access nobody r\n"
    ).diagnostics
    assert any("try_limit" in each for each in diagnostics)
    assert any("unknown acl" in each for each in diagnostics)


def test_in_words_the_call_sites_follow_the_diagnostics(told, tmp_path, capsys):
    """Each finding with its place and what to do, then where the policy is asked, then the sum."""
    told(f"{RECIPIENT} permit_mynetworks, {SERVICE}")
    assert check(str(tmp_path / "forkpolicy.toml"), as_json=False, postfix=str(tmp_path)) == 0
    text = capsys.readouterr().out
    assert f"{tmp_path}/main.cf:5: warning: smtp/inet: smtpd_recipient_restrictions: permit_mynetworks stands" in text
    assert "    if the policy should decide about them, put check_policy_service before permit_mynetworks\n" in text
    assert text.splitlines()[-2].startswith("smtp/inet: smtpd_recipient_restrictions asks unix:private/policy")
    assert text.splitlines()[-1].startswith("0 errors, ")


def test_none_leaves_postfix_out(told, tmp_path, capsys):
    """Whatever is wrong with it."""
    told("smtpd_policy_service_try_limit = 1")
    check(str(tmp_path / "forkpolicy.toml"), as_json=True, postfix="none")
    assert json.loads(capsys.readouterr().out)["postfix"] == []


def test_a_directory_that_is_none_is_told(tmp_path):
    """Asked for, a Postfix that cannot be read is an error with postconf's words."""
    with pytest.raises(PostfixError, match=r"main\.cf"):
        read_postfix(str(tmp_path / "nowhere"))


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("timeout=10x", '"10x" is not a valid time for timeout'),
        ("policy_contxt=x", '"policy_contxt" is not an option of check_policy_service'),
        ("max_idle=300s, max_ttl=1000s, retry_delay=1s, request_limit=0, try_limit=2", ""),
    ],
)
def test_options_with_which_smtpd_does_not_start(told, option, said):
    """Fatal to every smtpd; since `--postfix` exists check passed them."""
    service = f"check_policy_service {{ unix:private/policy, default_action=DUNNO, {option} }}"
    found = [each for each in told(f"{RECIPIENT} {service}, {CLOSED}").diagnostics if "smtpd does not start" in each]
    assert len(found) == bool(said)
    assert all(each.startswith("main.cf:") and f"error: smtp/inet: {RECIPIENT[:-2]}: {said}" in each for each in found)


def test_a_brace_that_nothing_closes(told):
    """Fatal to every smtpd; check called it a check_policy_service without a server since `--postfix` exists."""
    found = told(f"{RECIPIENT} {CLOSED}, check_policy_service {{ unix:private/policy, timeout=10s").diagnostics
    said = "no brace closes { unix:private/policy, timeout=10s: smtpd does not start, and no client is served"
    assert any(said in each for each in found), found


@pytest.mark.parametrize("asked", [True, False], ids=["asked", "not asked"])
def test_a_configuration_that_postconf_cannot_read_hides_nothing(tmp_path, capsys, monkeypatch, asked):
    """A mistake at main.cf next to those of the policy. Since `--postfix` exists check ended there, with status 2; and
    where nobody had asked, it said nothing of it.
    """
    main, settings = tmp_path / "main.cf", tmp_path / "forkpolicy.toml"
    main.write_text("garbage\n")
    settings.write_text('policy = "policy.conf"\n[server]\nlisten = ["unix:p"]\ncontrol = "unix:c"\n')
    (tmp_path / "policy.conf").write_text("acess x\n")
    monkeypatch.setenv("MAIL_CONFIG", str(tmp_path))
    status = check(str(settings), as_json=False, postfix=str(tmp_path) if asked else None)
    said = capsys.readouterr().out
    assert status == 1
    assert f"{main}: {'' if asked else 'warning: '}postconf cannot read this configuration: {main}, line 1" in said
    assert 'policy.conf:1:1: unknown statement "acess"' in said


def test_a_trial_with_warn_if_reject_names_what_acts_all_the_same(told):
    """Refusals become warnings; DISCARD, HOLD and their like do not, so the first such line is named."""
    policy = "action gone DISCARD\naccess us r\naccess inner gone\naccess outer h\n"
    diagnostics = told(f"{RECIPIENT} warn_if_reject {SERVICE}", policy=policy).diagnostics
    [found] = [each for each in diagnostics if "warn_if_reject" in each]
    assert re.search(r"accepted, but DISCARD of \S*policy.conf:13 \(and 1 more\) acts on the mail", found), found


def test_a_trial_of_refusals_alone_names_no_line(told):
    """A policy that can only refuse is on trial behind warn_if_reject."""
    [found] = [each for each in told(f"{RECIPIENT} warn_if_reject {SERVICE}").diagnostics if "warn_if" in each]
    assert found.endswith("what the policy rejects is logged and accepted")


BRIEF = SERVICE.replace("timeout=10s", "timeout=5s")


@pytest.mark.parametrize(
    ("service", "policy", "expected"),
    [
        (BRIEF, "acl bad rbl zone.example\naccess bad r\n", 1),
        (BRIEF, "access us r\n", 0),
        (BRIEF, "acl busy rate {sender} 1/1h\naccess busy r\n", 0),
        (SERVICE, "acl bad rbl zone.example\naccess bad r\n", 0),
    ],
    ids=["too short", "asks nobody", "remembers here", "long enough"],
)
def test_smtpd_must_wait_for_as_long_as_a_request_may(told, service, policy, expected):
    """A second more than [state] budget; where the policy asks nobody who takes time, that is nothing to compare."""
    diagnostics = told(f"{RECIPIENT} {service}, {CLOSED}", policy=policy).diagnostics
    found = [each for each in diagnostics if "smtpd waits 5 s for a reply, and a request may wait 4 s" in each]
    assert len(found) == expected, diagnostics
