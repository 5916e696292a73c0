"""Postfix's lines in a real journal: systemd-journald in a mount namespace of its own, asked by journalctl."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
JOURNALD = Path("/lib/systemd/systemd-journald")
NO_MOUNT = 77
SCRIPT = r"""
mount -t tmpfs tmpfs /run || exit 77
mkdir -p /run/systemd/journal "/run/log/journal/$(cat /etc/machine-id)"
"$1" & journald=$!
"$2" -c "$3"
status=$?
kill $journald
wait $journald
exit $status
"""
PROGRAM = r"""
import socket, sys, time
from forkpolicy.history.errors import HistoryError
from forkpolicy.history.mail_log.journal import Journal
from forkpolicy.history.mail_log.mails import mails_of, mails_with
from tests.process.waiting import eventually

def connected():
    each = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        each.connect("/run/systemd/journal/dev-log")
    except OSError:
        each.close()
        return None
    return each

began_s = time.time() - 60
log = eventually(connected)
for text in (
    "smtpd[7]: 4F2A1C3D5E: client=mail.example.org[198.51.100.7]",
    "qmgr[7]: 4F2A1C3D5E: from=<a@example.org>, size=1, nrcpt=1 (queue active)",
    "smtp[7]: 4F2A1C3D5E: to=<b+x@example.com>, relay=mx[192.0.2.9]:25, delay=1, dsn=2.0.0, status=sent (250 ok)",
    "smtpd[7]: 5F2A1C3D5E: client=mail.example.net[198.51.100.8]",
):
    log.send(b"<22>Nov 28 12:00:00 postfix/" + text.encode())
log.send(b"<30>Nov 28 12:00:00 other[7]: 4F2A1C3D5E: to=<b+x@example.com>: not of the mail facility")
until_s = time.time() + 60
journal = Journal()
(mail,) = eventually(lambda: mails_with(journal, "B+X@example.com", began_s, until_s))
(delivery,) = mail.deliveries.values()
assert (mail.queue_id, mail.client, mail.sender) == ("4F2A1C3D5E", "198.51.100.7", "a@example.org"), mail
assert (delivery.recipient, delivery.status) == ("b+x@example.com", "sent (250 ok)"), mail
assert {each.queue_id for each in mails_of(journal, ["4F2A1C3D5E", "5F2A1C3D5E"], began_s, until_s)} == {
    "4F2A1C3D5E", "5F2A1C3D5E"}
assert mails_with(journal, "nobody@example.com", began_s, until_s) == []
try:
    mails_with(Journal(["--no-such-option"]), "b", began_s, until_s)
except HistoryError as error:
    assert "journalctl: " in str(error) and "mail_log" in str(error), error
else:
    raise AssertionError("no error")
print("fine")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount namespace needs root")
@pytest.mark.skipif(not JOURNALD.exists(), reason="systemd-journald is not installed")
def test_mails_of_the_journal():
    """Found by text in any case and by queue ids, of the mail facility alone; what journalctl cannot do is named."""
    words = ["unshare", "--mount", "bash", "-c", SCRIPT, "bash", str(JOURNALD), sys.executable, PROGRAM]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode == NO_MOUNT:
        pytest.skip("nothing can be mounted here")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("fine\n")
