#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): what a key that stands twice in an access map means, by the type of the map.
#
# Guess: hash:, lmdb:, texthash: and inline: give the same answers for the same lines; of two lines with one key one
#        counts, the same one in each.
# Seen:  hash: and lmdb: keep the first (postmap warns and makes the map), inline: keeps the last without a word, and
#        texthash: is refused as a whole: smtpd answers 451 to every sender, also to those that stand in it once, while
#        "postmap -q" shows the first line as the answer.
#
# Needs root and Debian 12. Installs Postfix and its LMDB maps if they are missing, runs an instance of its own on UNIX
# sockets in a temporary folder, and ends it. Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v postconf >/dev/null || [ ! -e /usr/lib/postfix/postfix-lmdb.so ]; then
    apt-get update -qq
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'postfix=3.7.11*' \
        'postfix-lmdb=3.7.11*' >/dev/null
fi
T=$(mktemp -d)
chmod 755 "$T"
cleanup() { postfix -c "$T/etc" stop >/dev/null 2>&1 || true; rm -rf "$T"; }
trap cleanup EXIT
mkdir -p "$T/etc" "$T/queue" "$T/data"
printf 'spam@example.org REJECT first\nspam@example.org REJECT second\nother@example.org OK\n' >"$T/text"
INLINE='inline:{ {spam@example.org=REJECT first} {spam@example.org=REJECT second} {other@example.org=OK} }'
chown postfix "$T/data"
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
CF
cat >"$T/etc/master.cf" <<CF
hash unix n - n - - smtpd -o { smtpd_recipient_restrictions = check_sender_access hash:$T/hash, reject }
lmdb unix n - n - - smtpd -o { smtpd_recipient_restrictions = check_sender_access lmdb:$T/lmdb, reject }
texthash unix n - n - - smtpd -o { smtpd_recipient_restrictions = check_sender_access texthash:$T/text, reject }
inline unix n - n - - smtpd -o { smtpd_recipient_restrictions = check_sender_access $INLINE, reject }
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
for kind in hash lmdb; do
    cp "$T/text" "$T/$kind"
    postmap -c "$T/etc" "$kind:$T/$kind" 2>&1 | sed "s#$T/##g" # a warning, and status 0
done
postfix -c "$T/etc" start 2>/dev/null
postconf -c "$T/etc" -h mail_version | sed 's/^/Postfix /'
postmap -c "$T/etc" -q spam@example.org "texthash:$T/text" 2>/dev/null | sed 's/^/postmap -q texthash: /'
T=$T python3 - <<'PY'
import os, socket, sys

REFUSED, TAKEN, BROKEN = "554 5.7.1", "250 2.1.5", "451 4.3.5"
CASES = [  # type of map, sender, how the reply begins, and how it ends
    ("hash", "spam@example.org", REFUSED, "first"),
    ("hash", "other@example.org", TAKEN, "Ok"),
    ("lmdb", "spam@example.org", REFUSED, "first"),
    ("lmdb", "other@example.org", TAKEN, "Ok"),
    ("inline", "spam@example.org", REFUSED, "second"),
    ("inline", "other@example.org", TAKEN, "Ok"),
    ("texthash", "spam@example.org", BROKEN, "Server configuration error"),
    ("texthash", "other@example.org", BROKEN, "Server configuration error"),
    ("texthash", "nobody@example.org", BROKEN, "Server configuration error"),
]
as_seen = True
for kind, sender, begin, end in CASES:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(f"{os.environ['T']}/queue/public/{kind}")
        lines = client.makefile("rb")
        lines.readline()
        for command in ("HELO client.example.net", f"MAIL FROM:<{sender}>", "RCPT TO:<anna@example.com>"):
            client.sendall(f"{command}\r\n".encode())
            reply = lines.readline().decode().strip()
    as_seen = as_seen and reply.startswith(begin) and reply.endswith(end)
    print(f"{kind + ':':10} {sender:20} {reply}")
sys.exit(not as_seen)
PY
