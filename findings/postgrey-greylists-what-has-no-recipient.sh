#!/usr/bin/env bash
# postgrey 1.37 (Debian 12): a request without a recipient is a new mail to it.
#
# Guess: asked at DATA or END-OF-MESSAGE about a message of several recipients, where Postfix sends an empty recipient, it
#        says nothing (DUNNO): it has passed each of them at RCPT.
# Seen:  it greylists client, sender and an empty recipient as a triplet of its own. A message to two recipients that has
#        waited is deferred again at DATA, with a link to help about no domain. It reads neither protocol_state nor
#        recipient_count. So ask it at RCPT only, also where a policy server passes its requests on.
#
# Needs root and Debian 12. Installs postgrey if it is missing, runs it on a UNIX socket in a temporary folder, and ends it.
# Exit status 0: as described; 1: not so any more.
set -euo pipefail
PATH=$PATH:/usr/sbin
if ! command -v postgrey >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'postgrey=1.37*' >/dev/null
    update-rc.d postgrey disable >/dev/null 2>&1 || true
fi
T=$(mktemp -d)
chmod 755 "$T"
chown postgrey "$T"
PID=
cleanup() {
    [ -z "$PID" ] || kill "$PID" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$T"
}
trap cleanup EXIT
postgrey --unix="$T/socket" --dbdir="$T" --delay=1 --auto-whitelist-clients=0 \
    --whitelist-clients=/dev/null --whitelist-recipients=/dev/null >"$T/log" 2>&1 &
PID=$!
dpkg-query -W -f '${Package} ${Version}\n' postgrey
python3 - "$T" <<'PY'
import socket, sys, time

folder = sys.argv[1]
REQUEST = (
    "request=smtpd_access_policy\nprotocol_state={}\nprotocol_name=ESMTP\nclient_address=203.0.113.9\n"
    "client_name=mx.example.net\nhelo_name=mx.example.net\nsender=anna@example.net\nrecipient={}\nrecipient_count={}\n"
    "queue_id=\ninstance=1.2.3\nsize=100\n\n"
)
until_s = time.monotonic() + 20
while True:
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(f"{folder}/socket")
        break
    except OSError:
        if time.monotonic() > until_s:
            sys.exit(f"postgrey did not start:\n{open(f'{folder}/log').read()}")
        time.sleep(0.1)
connection.settimeout(20)


def ask(state, recipient, count):
    connection.sendall(REQUEST.format(state, recipient, count).encode())
    reply = connection.recv(4096).decode().strip()
    print(f"{state} recipient={recipient} recipient_count={count}: {reply}")
    return reply.split()[0]


first = [ask("RCPT", f"{name}@example.com", 0) for name in "ab"]
time.sleep(2.1)
again = [ask("RCPT", f"{name}@example.com", 0) for name in "ab"]
data = ask("DATA", "", 2)
sys.exit(not (first == ["action=DEFER_IF_PERMIT"] * 2 and again == ["action=PREPEND", "action=DUNNO"] and data == first[0]))
PY
