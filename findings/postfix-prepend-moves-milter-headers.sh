#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): where a milter's header lands when a policy server replied PREPEND.
#
# Guess: a milter that inserts a header at index 1 gets it below Postfix's own Received line, index 0 above it; what a
#        policy server prepends stands on top and changes nothing for the milter.
# Seen:  each PREPEND counts as one header for the milter's index. Index 1 is below Received without a PREPEND, above
#        Received with one, and *between* the two prepended lines with two (two recipients, one PREPEND each). A header
#        meant to stand right below Received (authentication results, traces) leaves its place.
#
# Needs root and Debian 12. Installs Postfix if it is missing, runs an instance of its own on loopback with a small
# milter in a temporary folder, sends three mails, and ends it. Exit status 0: as described; 1: not so any more.
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
relay_transport = lmtp:unix:$T/catcher
alias_maps =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_peername_lookup = no
smtpd_recipient_restrictions = check_policy_service unix:$T/policy, permit
smtpd_milters = unix:$T/milter
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
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
CF
touch -d '1 minute ago' "$T/etc/main.cf" "$T/etc/master.cf" # Postfix waits for files that were just written
postfix -c "$T/etc" start 2>/dev/null
postconf -c "$T/etc" -h mail_version | sed 's/^/Postfix /'
T=$T PORT=$PORT python3 - <<'PY'
import os, smtplib, socket, struct, sys, threading

folder, port = os.environ["T"], int(os.environ["PORT"])
reply, delivered, arrived = "DUNNO", [], threading.Semaphore(0)


def listen(name, serve):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/{name}")
    os.chmod(f"{folder}/{name}", 0o666)
    listener.listen()

    def accept():
        while True:
            peer, _ = listener.accept()
            threading.Thread(target=serve, args=(peer.makefile("rwb"),), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def policy(stream):
    for line in stream:
        if line == b"\n":
            stream.write(f"action={reply}\n\n".encode())
            stream.flush()


def milter(stream):
    """Milter protocol 6: agree, go on at each step, insert one header at index 1 when the message ends."""

    def send(data):
        stream.write(struct.pack(">I", len(data)) + data)
        stream.flush()

    while size := stream.read(4):
        command = stream.read(struct.unpack(">I", size)[0])[:1]
        if command == b"O":
            send(b"O" + struct.pack(">III", 6, 1, 0))  # version 6, may add headers, wants every step
        elif command == b"E":
            send(b"i" + struct.pack(">I", 1) + b"X-Milter\0yes\0")
            send(b"c")
        elif command not in (b"D", b"A", b"K", b"Q"):
            send(b"c")


def catcher(stream):
    """LMTP: keep the header names of each message."""
    recipients = 0

    def say(text):
        stream.write(text + b"\r\n")
        stream.flush()

    say(b"220 catcher")
    for line in stream:
        verb = line[:4].upper()
        recipients += verb == b"RCPT"
        if verb == b"DATA":
            say(b"354 go on")
            lines = list(iter(stream.readline, b".\r\n"))
            header = lines[: lines.index(b"\r\n")]
            delivered.append([each.split(b":")[0].decode() for each in header if each[:1] not in b" \t"])
            for _ in range(recipients):
                say(b"250 ok")
            arrived.release()
        else:
            say(b"250 ok")


listen("policy", policy)
listen("milter", milter)
listen("catcher", catcher)
SEEN = [
    ("DUNNO", ["anna"], ["Received", "X-Milter"]),
    ("PREPEND X-Policy: checked", ["anna"], ["X-Policy", "X-Milter", "Received"]),
    ("PREPEND X-Policy: checked", ["anna", "berta"], ["X-Policy", "X-Milter", "X-Policy", "Received"]),
]
as_seen = True
for reply, names, expected in SEEN:
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.sendmail("someone@example.net", [f"{name}@example.com" for name in names], "Subject: x\r\n\r\nx\r\n")
    assert arrived.acquire(timeout=20), "the mail was not delivered"
    found = [name for name in delivered[-1] if name in ("Received", "X-Milter", "X-Policy")]
    as_seen = as_seen and found == expected
    print(f"{len(names)} recipient(s), policy says {reply:<26} headers from the top: {', '.join(found)}")
sys.exit(not as_seen)
PY
