#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): a message that smtpd_end_of_data_restrictions refuse, and the client's next message.
#
# Guess: the end of the data ends the transaction, whatever the reply is (RFC 5321, 4.1.1.4: the buffers are cleared): the
#        client goes on with MAIL, as it does after a milter or cleanup has refused a message.
# Seen:  the transaction stays open. MAIL is a "503 nested MAIL command", while RCPT and DATA are taken: they go on with the
#        sender and the recipients of the message that was refused, which gets the next message as well, and a policy
#        server sees the old instance. A client that sends RSET after each message, as Postfix's own does, never notices.
#
# Needs root and Debian 12. Installs Postfix if it is missing, runs an instance of its own on loopback in a temporary
# folder, sends two messages, and ends it. Exit status 0: as described; 1: not so any more.
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
import os, socket, sys, threading

folder, port = os.environ["T"], int(os.environ["PORT"])
instances, replies = [], iter(["450 4.7.1 not now", "DUNNO"])

listener = socket.socket(socket.AF_UNIX)
listener.bind(f"{folder}/policy")
os.chmod(f"{folder}/policy", 0o666)
listener.listen()


def serve():
    connection, _ = listener.accept()
    with connection:
        while request := connection.recv(65536):
            values = dict(line.split("=", 1) for line in request.decode().split("\n") if line)
            instances.append((values["protocol_state"], values["instance"], values["recipient_count"]))
            connection.sendall(f"action={next(replies)}\n\n".encode())


threading.Thread(target=serve, daemon=True).start()
client = socket.create_connection(("127.0.0.1", port), timeout=20)
lines = client.makefile("rb")


def say(command, until="250"):
    if command:
        client.sendall(command.encode() + b"\r\n")
    while True:
        line = lines.readline().decode().rstrip()
        if line[3:4] != "-":
            print(f"{command.splitlines()[0] if command else '(banner)'}: {line}")
            return line[:3]


say("")
say("HELO client.example.org")
first = [say("MAIL FROM:<a@example.org>"), say("RCPT TO:<anna@example.com>"), say("DATA"), say("Subject: 1\r\n\r\n1\r\n.")]
second = [say("MAIL FROM:<b@example.org>"), say("RCPT TO:<bert@example.com>"), say("DATA"), say("Subject: 2\r\n\r\n2\r\n.")]
say("QUIT")
print("asked:", instances)
assert first == ["250", "250", "354", "450"], first
assert second == ["503", "250", "354", "250"], second
# One instance; the second message has the recipients of both.
(_, one, _), (_, other, count) = instances
sys.exit(not (one == other and count == "2"))
PY
