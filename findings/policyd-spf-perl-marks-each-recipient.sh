#!/usr/bin/env bash
# postfix-policyd-spf-perl 2.011 (Debian 12): a mail of this machine to several recipients.
#
# Guess: it keeps results by `instance`, the attribute that is the same for all recipients of a mail, so that its header
#        is put in front of a mail once, as its comments say of Received-SPF.
# Seen:  for clients that it exempts (localhost, relays, domains) the reply is PREPEND for each recipient, so a mail to
#        three has the same Authentication-Results three times. A reader that takes the first or refuses repeats
#        finds that only in mail to many.
#
# Needs root for the installation, and Debian 12. Asks the program on its standard input, as Postfix's spawn(8) does; no
# name is resolved. Exit status 0: as described; 1: not so any more.
set -euo pipefail
if [ ! -x /usr/sbin/postfix-policyd-spf-perl ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        'postfix-policyd-spf-perl=2.011-*' >/dev/null
fi
dpkg-query -W postfix-policyd-spf-perl
python3 - <<'PY'
import subprocess
import sys

REQUEST = (
    "request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nhelo_name=mail.example.org\nqueue_id=\n"
    "sender=anna@example.org\nrecipient={}\nclient_address=127.0.0.1\nclient_name=localhost\ninstance=1a2b.1.0\n\n"
)
asked = "".join(REQUEST.format(name) for name in ("b@example.com", "c@example.com", "d@example.com"))
done = subprocess.run(
    ["/usr/sbin/postfix-policyd-spf-perl"], input=asked, capture_output=True, text=True, timeout=60, check=True
)
replies = [line for line in done.stdout.splitlines() if line]
print("\n".join(replies))
sys.exit(not (len(replies) == 3 and len(set(replies)) == 1 and "PREPEND Authentication-Results" in replies[0]))
PY
