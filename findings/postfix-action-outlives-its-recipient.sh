#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): an action on the whole message for a recipient that is refused afterwards.
#
# Guess: a recipient that is answered with 554 has no part in the mail; a HOLD or FILTER that an access table or a policy
#        server said about it, before another restriction refused it, is gone with it.
# Seen:  the action stays. The mail to the *other* recipient, about whom nothing was said, waits in the hold queue, or goes
#        through the filter. The last restriction of the list is the one place where that cannot happen, and only
#        behind reject_unlisted_recipient, which Postfix otherwise checks after the list.
#
# Needs root and Debian 12. Installs Postfix if it is missing, runs an instance of its own on loopback in a temporary
# folder, sends two mails, and ends it. Exit status 0: as described; 1: not so any more.
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
smtpd_recipient_restrictions =
    check_recipient_access inline:{ { held@example.com = HOLD suspicious }, { filtered@example.com = FILTER discard:filtered } }
    check_recipient_access inline:{ { held@example.com = REJECT no }, { filtered@example.com = REJECT no } }
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
T=$T PORT=$PORT python3 - <<'PY'
import os, pathlib, smtplib, sys, time

port, base = int(os.environ["PORT"]), pathlib.Path(os.environ["T"])


def send(first):
    """One mail to a recipient that is acted upon and refused, and to one that is neither; its queue id."""
    for _ in range(100):
        try:
            session = smtplib.SMTP("127.0.0.1", port, timeout=30)
            break
        except OSError:
            time.sleep(0.1)
    with session:
        session.ehlo()
        session.mail("a@example.net")
        codes = session.rcpt(f"{first}@example.com")[0], session.rcpt("other@example.com")[0]
        text = session.data("Subject: x\r\n\r\nx\r\n")[1].decode()
        print(f"{first}: RCPT {codes[0]}; other: RCPT {codes[1]}; {text}")
        if codes != (554, 250):
            sys.exit("the set-up is not as meant")
        return text.split()[-1]


def seen(what, deadline_s=30):
    until = time.monotonic() + deadline_s
    while not what():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


held, filtered = send("held"), send("filtered")
is_held = seen(lambda: (base / "queue/hold" / held).exists())
print(f"the mail to other@ of which held@ was refused is on hold: {is_held}")
line = f"{filtered}: to=<other@example.com>"
seen(lambda: any(line in row for row in (base / "log").read_text().splitlines()))
is_filtered = any(line in row and "(filtered)" in row for row in (base / "log").read_text().splitlines())
print(f"the mail to other@ of which filtered@ was refused went through the filter: {is_filtered}")
sys.exit(0 if is_held and is_filtered else 1)
PY
