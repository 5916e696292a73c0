"""`forkpolicy import access ... --compare`: a private Postfix with the maps is asked the same, and agrees."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postfix.test_import_access import CLIENTS, HELOS, LOCAL, OTHERS, SITES
from tests.process.waiting import ended, eventually

ROUTE = re.compile(r"@[^@:]*:")


def requests(contexts):
    """The requests of 300 envelopes, one for each recipient, as Postfix writes them."""
    chance, texts = random.Random(1), []
    for _ in range(300):
        client, _, name = chance.choice(CLIENTS).partition("=")
        attributes = {
            "request": "smtpd_access_policy",
            "protocol_state": "RCPT",
            "client_address": client,
            "client_name": name or "unknown",
            "reverse_client_name": name or "unknown",
            "helo_name": chance.choice(HELOS),
            "sender": ROUTE.sub("", chance.choice([*OTHERS, *LOCAL, ""])),
            "recipient": ROUTE.sub("", chance.choice([*LOCAL, *OTHERS])),
            "policy_context": chance.choice(contexts),
        }
        texts.append("".join(f"{key}={value}\n" for key, value in attributes.items()))
    return "\n".join(texts) + "\n"


def compared(tmp_path, *words):
    """The command's status and what it prints."""
    contexts = words[-1]
    (tmp_path / "requests").write_text(requests(contexts))
    command = [sys.executable, "-m", "forkpolicy", "import", "access", *words[:-1]]
    done = subprocess.run(
        [*command, "--compare", str(tmp_path / "requests")], capture_output=True, text=True, check=False, timeout=100
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


@pytest.mark.parametrize(
    ("name", "contexts"),
    [
        ("small-office", ["recipient", "recipient-2"]),
        ("expressions", ["client", "sender", "recipient"]),
        ("networks", ["client"]),
        ("restriction-classes", ["recipient", "recipient-2"]),
        ("actions-that-go-on", ["recipient", "recipient-2", "recipient-3", "recipient-6"]),
    ],
)
def test_postfix_and_the_policy_agree(name, contexts, tmp_path):
    """Postfix and the policy agree."""
    etc = shutil.copytree(SITES / name, tmp_path / "etc")
    done = compared(tmp_path, str(etc / "main.cf"), contexts)
    assert "300 requests compared" in done.stdout, done.stdout + done.stderr
    assert "300 equal, 0 different" in done.stdout, done.stdout[:3000]


def test_a_map_alone_is_asked_without_a_context(tmp_path):
    """A map alone is asked without a context, and a difference is shown."""
    (tmp_path / "map").write_text("example.com REJECT no\n")
    done = compared(tmp_path, f"check_sender_access:hash:{tmp_path}/map", ["any"])
    assert "300 equal, 0 different" in done.stdout, done.stdout + done.stderr


def test_nothing_stays_where_the_command_is_killed(tmp_path):
    """The private Postfix ends with the command, however that ends."""
    (tmp_path / "map").write_text("example.com REJECT no\n")
    # So many that it is killed before it is done.
    (tmp_path / "requests").write_text(requests(["any"]) * 100)
    words = [f"check_sender_access:hash:{tmp_path}/map", "--compare", str(tmp_path / "requests")]
    with subprocess.Popen(
        [sys.executable, "-m", "forkpolicy", "import", "access", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as command:
        try:
            (master,) = eventually(lambda: masters_of(command.pid))
        finally:
            command.kill()
    ended(master)


def masters_of(pid):
    """The children of a process that are Postfix's master."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in children if Path(f"/proc/{each}/comm").read_text() == "master\n"]


@pytest.mark.parametrize("context", ["other", ""])
def test_requests_of_another_context_are_refused(tmp_path, context):
    """Requests of another context, or of none, are refused with those that there are, also where there is one alone."""
    (tmp_path / "map").write_text("example.com REJECT no\n")
    (tmp_path / "main.cf").write_text(f"smtpd_sender_restrictions = check_sender_access hash:{tmp_path}/map\n")
    done = compared(tmp_path, str(tmp_path / "main.cf"), [context])
    assert done.returncode == 2
    assert "needs requests of one of sender, " in done.stderr
