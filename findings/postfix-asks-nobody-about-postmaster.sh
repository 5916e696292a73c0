#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): which recipients no restriction is asked about, and no policy server.
#
# Guess: every recipient goes through smtpd_relay_restrictions and smtpd_recipient_restrictions. With a plain `reject` in both,
#        no RCPT TO is accepted.
# Seen:  RCPT TO:<postmaster>, without a domain, gets "250 Ok" whatever stands there. <postmaster@example.com>, <Anna> and
#        <postmaster+x> are refused. smtpd_data_restrictions is asked about it, and sees it if it is the only recipient.
#
# Needs root and Debian 12. Installs Postfix if it is missing, runs an instance of its own on loopback in a temporary
# folder, sends no mail, and ends it. Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v postconf >/dev/null; then
    apt-get update -qq
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'postfix=3.7.11*' >/dev/null
fi
T=$(mktemp -d)
chmod 755 "$T"
cleanup() { postfix -c "$T/etc" stop >/dev/null 2>&1 || true; rm -rf "$T"; }
trap cleanup EXIT
mkdir -p "$T/etc" "$T/queue" "$T/data"
chown postfix "$T/data"
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat >"$T/etc/main.cf" <<CF
compatibility_level = 3.7
queue_directory = $T/queue
data_directory = $T/data
maillog_file = $T/log
maillog_file_prefixes = $T
myhostname = mx.example.com
mydestination =
relay_domains = example.com
relay_transport = discard:
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject
smtpd_recipient_restrictions = reject
smtpd_data_restrictions = check_recipient_access inline:{ { postmaster@ = REJECT seen at DATA }, { postmaster = REJECT seen at DATA } }
CF
cat >"$T/etc/master.cf" <<CF
127.0.0.1:$PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
error unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
CF
touch -d '1 minute ago' "$T/etc/main.cf" "$T/etc/master.cf" # Postfix waits for files that were just written
postfix -c "$T/etc" start 2>/dev/null
postconf -c "$T/etc" -h mail_version | sed 's/^/Postfix /'
PORT=$PORT python3 - <<'PY'
import os, smtplib, sys

EXPECTED = {"<postmaster>": 250, "<POSTMASTER>": 250, "<postmaster@example.com>": 554, "<anna>": 554, "<postmaster+x>": 554}
as_seen = True
with smtplib.SMTP("127.0.0.1", int(os.environ["PORT"]), timeout=20) as client:
    client.ehlo("client.example.net")
    for recipient, expected in EXPECTED.items():
        client.docmd("MAIL FROM:<someone@example.net>")
        code, text = client.docmd(f"RCPT TO:{recipient}")
        print(f"smtpd_recipient_restrictions = reject, RCPT TO:{recipient}: {code} {text.decode()}")
        as_seen = as_seen and code == expected
        if code == 250:
            code, text = client.docmd("DATA")
            print(f"  DATA: {code} {text.decode()}")
            as_seen = as_seen and code == 554
        client.docmd("RSET")
sys.exit(not as_seen)
PY
