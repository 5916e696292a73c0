#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): what postlogd(8) does when the file of maillog_file is renamed.
#
# Guess: postlogd opens the file for each line, or looks whether it is still there: after a rename the next line begins
#        a new file.
# Seen:  it goes on with the renamed file, and no new file appears, until Postfix is reloaded. Who follows the log by
#        its name sees nothing more.
#
# Needs root and Debian 12. Installs Postfix if it is missing, runs an instance of its own on loopback in a temporary
# folder, and ends it. Exit status 0: as described; 1: not so any more.
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
mynetworks = 192.0.2.1
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
CF
cat >"$T/etc/master.cf" <<CF
127.0.0.1:$PORT inet n - n - - smtpd
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
CF
touch -d '1 minute ago' "$T/etc/main.cf" "$T/etc/master.cf" # Postfix waits for files that were just written
postfix -c "$T/etc" start 2>/dev/null
postconf -c "$T/etc" -h mail_version | sed 's/^/Postfix /'
T=$T PORT=$PORT python3 - <<'PY'
import os, smtplib, subprocess, sys, time
from pathlib import Path

folder, port = Path(os.environ["T"]), int(os.environ["PORT"])
log, renamed = folder / "log", folder / "log.1"


def say_hello(name):
    """One session, which smtpd logs."""
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.ehlo(name)
        # A wrong recipient stands in the log with the name.
        client.docmd("MAIL FROM:<a@example.net>")
        client.docmd("RCPT TO:<b@example.org>")


def has(path, name):
    """Whether a line with that name comes within ten seconds."""
    end = time.monotonic() + 10
    while not (path.exists() and f"helo=<{name}>" in path.read_text()):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


say_hello("before")
seen = [("a session before the rename is in the log", has(log, "before"))]
log.rename(renamed)
say_hello("after")
seen.append(("after the rename it is in the renamed file", has(renamed, "after")))
seen.append(("and there is no new file", not log.exists()))
subprocess.run(["postfix", "-c", str(folder / "etc"), "reload"], check=True, stderr=subprocess.DEVNULL)
end = time.monotonic() + 10
while True:
    say_hello("reloaded")
    if log.exists() or time.monotonic() > end:
        break
seen.append(("after a reload it is in a new file", has(log, "reloaded")))
for words, is_so in seen:
    print(f"{words}: {'yes' if is_so else 'NO'}")
sys.exit(not all(is_so for _, is_so in seen))
PY
