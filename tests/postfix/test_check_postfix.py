"""`forkpolicy check --postfix` on real configurations, read by the real postconf."""

from __future__ import annotations

import json
import os

import pytest

from forkpolicy.tools import check

POLICY = "acl us sender @example.com\nacl done protocol_state END-OF-MESSAGE\naction y OK\naction r REJECT\n"
GOOD = "check_policy_service { unix:private/policy, timeout=10s, { default_action = 451 4.7.1 later } }"


@pytest.fixture
def told(tmp_path, capsys):
    """A function: the complaints and hooks for main.cf and master.cf lines, and lines of a policy."""
    (tmp_path / "forkpolicy.toml").write_text(
        'policy = "policy.conf"\n[server]\nlisten = ["unix:/var/spool/postfix/private/policy"]\n'
    )

    def check_it(main, master="smtp inet n - y - - smtpd\n", policy="access us r\n"):
        (tmp_path / "policy.conf").write_text(POLICY + policy)
        usual = "compatibility_level = 3.7\nmyhostname = mail.example.com\nqueue_directory = /var/spool/postfix\n"
        (tmp_path / "main.cf").write_text(f"{usual}{main}\n")
        (tmp_path / "master.cf").write_text(master)
        for name in ("main.cf", "master.cf"):
            # Postfix waits a second for files that were just written to "cool down".
            os.utime(tmp_path / name, (0, 0))
        check.run(str(tmp_path / "forkpolicy.toml"), as_json=True, postfix=str(tmp_path))
        answer = json.loads(capsys.readouterr().out)
        kept = [each for each in answer["complaints"] if "never used" not in each["message"]]
        return [f"{each['path'].rpartition('/')[2]}: {each['severity']}: {each['message']}" for each in kept], answer[
            "postfix"
        ]

    return check_it


def test_a_good_set_up_is_described_and_left_alone(told):
    """Where it is hooked and at which state it is asked; no warning."""
    complaints, hooks = told(f"smtpd_recipient_restrictions = {GOOD}, permit_mynetworks, reject_unauth_destination")
    assert complaints == []
    assert hooks == ["smtp/inet: smtpd_recipient_restrictions asks unix:private/policy at RCPT"]


@pytest.mark.parametrize(
    ("main", "policy", "expected"),
    [
        ("", "access us r\n", "main.cf: warning: no smtpd service asks this policy"),
        (
            f"smtpd_recipient_restrictions = permit_mynetworks, {GOOD}",
            "access us r\n",
            "requests from mynetworks never reach",
        ),
        (
            f"smtpd_recipient_restrictions = permit_sasl_authenticated {GOOD}",
            "access us r\n",
            "of authenticated clients never",
        ),
        (
            "smtpd_recipient_restrictions = check_policy_service unix:private/policy",
            "access us r\n",
            "holds each smtpd for 201 s",
        ),
        (
            "smtpd_recipient_restrictions = check_policy_service unix:private/policy",
            "access us r\n",
            "server configuration problem",
        ),
        (
            f"smtpd_policy_service_try_limit = 1\nsmtpd_recipient_restrictions = {GOOD}",
            "access us r\n",
            "error: smtp/inet: smtpd_recipient_restrictions: try_limit 1",
        ),
        (
            f"smtpd_recipient_restrictions = {GOOD}\nrecipient_delimiter = +",
            "access us r\n",
            'is "+" in Postfix and "" here',
        ),
        (f"smtpd_recipient_restrictions = {GOOD}", "access us done r\n", "never fires: Postfix asks at RCPT only"),
        (
            f"smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = {GOOD}, reject_unauth_destination",
            "access us y\n",
            "an open relay",
        ),
        (
            "smtpd_recipient_restrictions = check_policy_service 127.0.0.1:10040, reject_unauth_destination",
            "access us r\n",
            "has no type",
        ),
        (
            f"mail_owner = mailer\nsmtpd_recipient_restrictions = {GOOD}",
            "access us r\n",
            "user mailer may not write to the socket",
        ),
    ],
    ids=lambda value: value[:50],
)
def test_what_would_go_wrong_is_told(told, main, policy, expected):
    """Each usual mistake of a set-up, with file and parameter."""
    complaints, _ = told(main, policy=policy)
    assert any(expected in each for each in complaints), complaints


def test_overrides_in_master_cf_count(told):
    """A service's own -o lists and chroot are what its smtpd sees; delayed lists are asked at RCPT."""
    master = (
        "smtp inet n - n - - smtpd\nsubmission inet n - y - - smtpd\n"
        "  -o { smtpd_client_restrictions = check_policy_service { unix:/var/spool/postfix/private/policy, timeout=5s,"
        " policy_context=submission, { default_action = DUNNO } } }\n"
    )
    complaints, hooks = told("", master)
    (hook,) = hooks
    assert hook.startswith("submission/inet: smtpd_client_restrictions asks unix:/var/spool/postfix/private/policy ")
    assert hook.endswith(" at RCPT, policy_context submission")
    assert any(each.startswith("master.cf: error: ") and "runs in a chroot" in each for each in complaints)
    _, early = told("smtpd_delay_reject = no", master)
    assert "at CONNECT" in early[0]


def test_a_directory_that_is_none_is_told(told, tmp_path):
    """Asked for, a Postfix that cannot be read is an error with postconf's words."""
    from forkpolicy.tools.postfix import PostfixError, read_postfix

    with pytest.raises(PostfixError, match=r"main\.cf"):
        read_postfix(str(tmp_path / "nowhere"))
