#!/usr/bin/env bash
# smtplib of Python 3.11 (LMTP) against aiosmtpd 1.4.6: a message for two recipients, one of whom cannot have it.
#
# Guess: smtplib.LMTP speaks LMTP. Its difference from SMTP is that the server answers the end of a message once for each
#        recipient that it has accepted (RFC 2033, 4.2), so sendmail() returns those that were refused then.
# Seen:  it reads one answer. sendmail() returns {} (everybody has got it) though the second recipient got 552, and that
#        answer stays in the connection: the next message's MAIL command is refused with it (SMTPSenderRefused), and the
#        mail is not sent that was not at fault. With the other order of recipients sendmail() raises SMTPDataError,
#        which says that nobody has the message; the second recipient has.
#
# Installs aiosmtpd in a temporary folder; the server listens on loopback for as long as the script runs. Exit status 0: as
# described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check aiosmtpd==1.4.6
timeout 60 "$T/venv/bin/python" -W ignore - <<'PY'
import platform, smtplib, socket, sys
from importlib.metadata import version

from aiosmtpd.controller import Controller
from aiosmtpd.lmtp import LMTP


class Mailboxes:
    """Everybody is known; the mailbox of full@ takes no more."""

    async def handle_DATA(self, server, session, envelope):
        return "\r\n".join("552 5.2.2 mailbox full" if "full@" in each else "250 2.0.0 kept" for each in envelope.rcpt_tos)


class LmtpController(Controller):
    def factory(self):
        return LMTP(self.handler)


# The controller connects to its own port to see that it serves: a free one is picked beforehand.
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
controller = LmtpController(Mailboxes(), hostname="127.0.0.1", port=port)
controller.start()
print("Python", platform.python_version(), "aiosmtpd", version("aiosmtpd"))
text = "Subject: a test\r\n\r\nbody\r\n"


def send(*recipients):
    """Send to these, then another message to somebody else, on one connection."""
    client = smtplib.LMTP("127.0.0.1", port)
    refused = client.sendmail("anna@example.com", recipients, text)
    try:
        client.sendmail("anna@example.com", ["bert@example.com"], text)
        second = "sent"
    except smtplib.SMTPException as error:
        second = type(error).__name__
    client.close()
    print(f"to {' and '.join(recipients)}: refused {refused or 'nobody'}; the next message: {second}")
    return refused, second


last = send("carla@example.com", "full@example.com")
try:
    first = send("full@example.com", "carla@example.com")
except smtplib.SMTPException as error:
    first = type(error).__name__
    print(f"to full@example.com and carla@example.com: {first}")
controller.stop()
sys.exit(not (last == ({}, "SMTPSenderRefused") and first == "SMTPDataError"))
PY
