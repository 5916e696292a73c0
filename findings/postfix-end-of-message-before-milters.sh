#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): the order of a policy server at END-OF-MESSAGE and a milter.
#
# Guess: smtpd_end_of_data_restrictions come last, when milters have seen the message; so a policy server that counts
#        at END-OF-MESSAGE counts mail that is accepted, and a scanner has seen what the policy server refuses there.
# Seen:  the policy server is asked *before* the milter gets a single header. When it refuses, the milter hears
#        of the recipients and of DATA and then that the message is aborted: a scanner never learns from such mail. When
#        it permits, the milter may still refuse: the policy server has then counted a mail that was not accepted, and
#        is not asked again. A DISCARD at that stage hides the message from the milter, too.
#
# Needs root and Debian 12. Installs Postfix if it is missing, runs an instance of its own on loopback with a small
# milter in a temporary folder, sends four mails, and ends it. Exit status 0: as described; 1: not so any more.
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
smtpd_end_of_data_restrictions = check_policy_service unix:$T/policy
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
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
CF
touch -d '1 minute ago' "$T/etc/main.cf" "$T/etc/master.cf" # Postfix waits for files that were just written
postfix -c "$T/etc" start 2>/dev/null
postconf -c "$T/etc" -h mail_version | sed 's/^/Postfix /'
T=$T PORT=$PORT python3 - <<'PY'
import os, smtplib, socket, struct, sys, threading

folder, port = os.environ["T"], int(os.environ["PORT"])
policy_reply, milter_reply, events = "DUNNO", b"c", []


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
            events.append("policy")
            stream.write(f"action={policy_reply}\n\n".encode())
            stream.flush()


STEPS = {b"R": "milter:recipient", b"T": "milter:data", b"L": "milter:header", b"B": "milter:body", b"E": "milter:end"}


def milter(stream):
    """Milter protocol 6: agree, go on at each step, answer the end of the message with `milter_reply`."""

    def send(data):
        stream.write(struct.pack(">I", len(data)) + data)
        stream.flush()

    while size := stream.read(4):
        command = stream.read(struct.unpack(">I", size)[0])[:1]
        if command in STEPS and (not events or events[-1] != STEPS[command]):
            events.append(STEPS[command])
        if command == b"O":
            send(b"O" + struct.pack(">III", 6, 0, 0))
        elif command not in (b"D", b"A", b"K", b"Q"):
            send(milter_reply if command == b"E" else b"c")


listen("policy", policy)
listen("milter", milter)
BEFORE = ["milter:recipient", "milter:data", "policy"]
CONTENT = ["milter:header", "milter:body", "milter:end"]
SEEN = [
    ("DUNNO", b"c", 250, BEFORE + CONTENT),
    ("REJECT no", b"c", 554, BEFORE),
    ("DISCARD", b"c", 250, BEFORE),
    ("DUNNO", b"r", 550, BEFORE + CONTENT),
]
as_seen = True
for policy_reply, milter_reply, code, expected in SEEN:
    events.clear()
    with smtplib.SMTP("127.0.0.1", port, timeout=20) as client:
        client.ehlo()
        client.mail("someone@example.net")
        client.rcpt("anna@example.com")
        found, text = client.data("Subject: x\r\n\r\nx\r\n")
    as_seen = as_seen and (found, events) == (code, expected)
    print(f"policy {policy_reply:<9} milter {'refuses' if milter_reply == b'r' else 'permits'}: client gets {found};", *events)
sys.exit(not as_seen)
PY
