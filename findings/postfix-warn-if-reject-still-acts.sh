#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): what `warn_if_reject check_policy_service ...` lets a policy server do.
#
# Guess: with warn_if_reject in front, a policy server can be tried on live mail. Whatever it replies is logged as a
#        warning, and the mail goes on as if it had not been asked.
# Seen:  only refusals become warnings. HOLD, DISCARD, REDIRECT, FILTER and BCC act as ever: a mail on trial is held,
#        thrown away with "250 Ok", sent to somebody else.
#
# Needs root and Debian 12. Installs Postfix if it is missing, runs an instance of its own on loopback in a temporary
# folder, sends six mails, and ends it. Exit status 0: as described; 1: not so any more.
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
smtpd_recipient_restrictions = warn_if_reject check_policy_service unix:$T/policy, permit
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
import os, re, smtplib, socket, sys, threading, time
from pathlib import Path

folder, port = os.environ["T"], int(os.environ["PORT"])
reply = ""


def serve(listener):
    while True:
        peer, _ = listener.accept()
        threading.Thread(target=answer, args=(peer.makefile("rwb"),), daemon=True).start()


def answer(stream):
    for line in stream:
        if line == b"\n":
            stream.write(f"action={reply}\n\n".encode())
            stream.flush()


listener = socket.socket(socket.AF_UNIX)
listener.bind(f"{folder}/policy")
os.chmod(f"{folder}/policy", 0o666)
listener.listen()
threading.Thread(target=serve, args=(listener,), daemon=True).start()


def log_when(wanted, start):
    """The log since `start` once it has `wanted`; what it has after ten seconds otherwise."""
    end = time.monotonic() + 10
    while True:
        text = Path(f"{folder}/log").read_text()[start:]
        if re.search(wanted, text) or time.monotonic() > end:
            return text
        time.sleep(0.05)


CASES = [  # reply of the policy server, what the log shows of the mail
    ("REJECT no", r"reject_warning: .* no;[\s\S]*to=<anna@example.com>.*status=sent"),
    ("HOLD", r"NOQUEUE: hold:"),
    ("DISCARD", r"NOQUEUE: discard:"),
    ("REDIRECT other@example.com", r"to=<other@example.com>, orig_to=<anna@example.com>.*status=sent"),
    ("FILTER error:on-trial", r"to=<anna@example.com>.*status=bounced \(on-trial\)"),
    ("BCC copy@example.com", r"to=<copy@example.com>.*status=sent"),
]
as_seen = True
for reply, wanted in CASES:
    start = len(Path(f"{folder}/log").read_text())
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("someone@example.net", ["anna@example.com"], "Subject: trial\r\n\r\ntrial\r\n")
    text = log_when(wanted, start)
    found = bool(re.search(wanted, text))
    if reply == "DISCARD":
        found = found and "status=" not in text
    as_seen = as_seen and found
    print(f"policy says {reply:<28} client gets 250; {'seen' if found else 'NOT SEEN'} in the log: {wanted}")
held = sum(path.is_file() for path in Path(f"{folder}/queue/hold").rglob("*"))
print(f"held mails: {held}")
sys.exit(not (as_seen and held == 1))
PY
