#!/usr/bin/env bash
# policyd-rate-limit 1.0.1.1 (Debian 12): what its limit of "mails" counts.
#
# Guess: `limits: [[5, 86400]]` lets a login send five mails a day; its own configuration says "10 mails by minutes".
#        Postfix's `instance` tells the recipients of one mail from several mails.
# Seen:  it counts recipients: of one mail to eight, with one instance, three recipients are refused, and five get it.
#        A request that Postfix sends once more, since it lost its connection, counts once more: the same instance and
#        recipient, sent five times, leave no room for a sixth recipient. The instance is never read.
#
# Needs root and Debian 12. Installs policyd-rate-limit if it is missing, runs it on a UNIX socket in a temporary folder,
# and ends it. Exit status 0: as described; 1: not so any more.
set -euo pipefail
if ! command -v policyd-rate-limit >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'policyd-rate-limit=1.0.1.1*' >/dev/null
fi
T=$(mktemp -d)
chmod 755 "$T"
chown nobody:nogroup "$T"
PID=0
cleanup() {
    [ "$PID" = 0 ] || kill "$PID" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$T"
}
trap cleanup EXIT
cat >"$T/settings.yaml" <<CONF
debug: False
user: "nobody"
group: "nogroup"
pidfile: "$T/pid"
sqlite_config:
    database: "$T/db.sqlite3"
backend: 0
SOCKET: "$T/policy"
socket_permission: 0666
limits:
    - [5, 86400]
limits_by_id: {}
limit_by_sasl: True
limit_by_sender: False
limit_by_ip: False
limited_networks: []
success_action: "dunno"
fail_action: "defer_if_permit Rate limit reached"
db_error_action: "defer_if_permit No database"
delay_to_close: 300
report: False
report_from: null
report_to: null
report_subject: "report"
report_limits: [86400]
report_only_if_needed: True
smtp_server: ["localhost", 25]
smtp_starttls: False
smtp_credentials: null
CONF
policyd-rate-limit --file "$T/settings.yaml" >"$T/log" 2>&1 &
PID=$!
dpkg-query -W -f '${Package} ${Version}\n' policyd-rate-limit
python3 - "$T" <<'PY'
import socket, sys, time

folder = sys.argv[1]
REQUEST = (
    "request=smtpd_access_policy\nprotocol_state=RCPT\ninstance={instance}\nclient_address=203.0.113.9\n"
    "sender={login}\nrecipient=friend{recipient}@example.org\nsasl_method=PLAIN\nsasl_username={login}\nsize=100\n\n"
)


def connected():
    until_s = time.monotonic() + 20
    while True:
        try:
            connection = socket.socket(socket.AF_UNIX)
            connection.connect(f"{folder}/policy")
            connection.settimeout(20)
            return connection
        except OSError:
            if time.monotonic() > until_s:
                sys.exit(f"policyd-rate-limit did not start:\n{open(f'{folder}/log').read()}")
            time.sleep(0.1)


def ask(connection, **values):
    connection.sendall(REQUEST.format(**values).encode())
    return connection.recv(4096).decode().strip()


connection = connected()
replies = [ask(connection, instance="1.1.0", login="anna@example.com", recipient=each) for each in range(8)]
passed = replies.count("action=dunno")
print(f"one mail to 8 recipients, limit 5: {passed} pass, then {replies[-1]!r}")
again = []
for _ in range(5):
    with connected() as lost:
        again.append(ask(lost, instance="2.2.0", login="carl@example.com", recipient=1))
last = ask(connection, instance="3.3.0", login="carl@example.com", recipient=2)
print(f"one request five times: {set(again)}; another mail after it: {last!r}")
sys.exit(not (passed == 5 and set(again) == {"action=dunno"} and "Rate limit reached" in last))
PY
