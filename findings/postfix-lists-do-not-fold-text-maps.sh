#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): a domain with capitals in a texthash: or inline: map of mydestination, relay_domains ...
#
# Guess: Postfix folds case in tables. A map with the key Example.COM in a list of domains matches mail to example.com,
#        whatever its type, and `postmap -q example.com texthash:FILE`, which prints its value, proves it.
# Seen:  in the list itself, and in maps that postmap made (lmdb:), it matches. In texthash: and inline: it never does:
#        the list opens them without folding, and asks in lower case. postmap -q, and virtual_alias_maps, do fold.
#
# Needs root and Debian 12. Installs Postfix if it is missing, runs an instance of its own on loopback in a temporary
# folder, asks it for four recipients, and ends it. Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v postconf >/dev/null || [ ! -e /usr/lib/postfix/postfix-lmdb.so ]; then
    apt-get update -qq
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'postfix=3.7.11*' 'postfix-lmdb=3.7.11*' >/dev/null
fi
T=$(mktemp -d)
chmod 755 "$T"
cleanup() { postfix -c "$T/etc" stop >/dev/null 2>&1 || true; rm -rf "$T"; }
trap cleanup EXIT
mkdir -p "$T/etc" "$T/queue" "$T/data"
chown postfix "$T/data"
PORT=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
echo "Text.Example.COM x" >"$T/text"
echo "Made.Example.COM x" >"$T/made"
cat >"$T/etc/main.cf" <<CF
compatibility_level = 3.7
queue_directory = $T/queue
data_directory = $T/data
maillog_file = $T/log
maillog_file_prefixes = $T
myhostname = mx.example.net
mydestination = Plain.Example.COM texthash:$T/text lmdb:$T/made inline:{Inline.Example.COM=x}
relay_domains =
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_relay_restrictions = reject_unauth_destination
CF
cat >"$T/etc/master.cf" <<CF
127.0.0.1:$PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
CF
postmap -c "$T/etc" "lmdb:$T/made"
touch -d '1 minute ago' "$T/etc/main.cf" "$T/etc/master.cf" "$T"/made* "$T/text" # Postfix waits for new files
postfix -c "$T/etc" start 2>/dev/null
postconf -c "$T/etc" -h mail_version | sed 's/^/Postfix /'
echo "postmap -q text.example.com texthash: $(postmap -c "$T/etc" -q text.example.com "texthash:$T/text" || echo nothing)"
[ "$(postmap -c "$T/etc" -q text.example.com "texthash:$T/text")" = x ]
PORT=$PORT python3 - <<'PY'
import os, smtplib, sys

expected = {"plain": 250, "made": 250, "text": 554, "inline": 554}
with smtplib.SMTP("127.0.0.1", int(os.environ["PORT"]), timeout=20) as client:
    client.ehlo("client.example.org")
    client.mail("someone@example.org")
    seen = {name: client.rcpt(f"anna@{name}.example.com")[0] for name in expected}
for name, code in seen.items():
    print(f"RCPT TO:<anna@{name}.example.com>: {code}")
sys.exit(seen != expected)
PY
