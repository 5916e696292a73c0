#!/usr/bin/env bash
# Dovecot 2.3: a program that checks people's passwords by IMAP, as a web page does, and wrong passwords of one of them.
#
# Guess: wrong passwords slow down who typed them: the account, or that connection.
# Seen:  Dovecot counts them by the client's address (anvil's penalty), which is the program's for all. After some wrong
#        passwords for anna, ben's right one waits for seconds. With login_trusted_networks the program may say the
#        browser's address by ID (x-originating-ip): then anna's browser waits, and ben's does not.
#
# Needs Debian's dovecot-imapd installed, and root; starts it in a temporary folder on loopback.
# Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'kill "${DOVECOT:-}" 2>/dev/null && wait "$DOVECOT" 2>/dev/null; rm -rf "$T"' EXIT
chmod 755 "$T"
PORT=$(python3 -c 'import socket; s = socket.create_server(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$T/run" "$T/state"
printf '%s:{PLAIN}right::::::\n' anna@example.com ben@example.com > "$T/users"
serve() {
    cat > "$T/dovecot.conf" <<CONF
base_dir = $T/run
state_dir = $T/state
log_path = $T/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
login_trusted_networks = $1
mail_location = maildir:$T/mail/%u
passdb {
  driver = passwd-file
  args = username_format=%u $T/users
}
userdb {
  driver = static
  args = uid=65534 gid=65534 home=$T/mail
}
service auth {
  user = root
}
service imap-login {
  inet_listener imap {
    port = $PORT
  }
}
CONF
    dovecot -F -c "$T/dovecot.conf" 2> /dev/null &
    DOVECOT=$!
    until (exec 3<> "/dev/tcp/127.0.0.1/$PORT") 2> /dev/null; do kill -0 $DOVECOT; done
}
stop() {
    kill $DOVECOT
    wait $DOVECOT || true
}
# How long ben's right password takes after four wrong ones of anna, each with the address of a browser.
measure() {
    python3 - "$PORT" <<'PY'
import imaplib
import socket
import sys
import time


class Elsewhere(imaplib.IMAP4):
    """From another address than the server's own, which Dovecot believes without being asked to."""

    def _create_socket(self, timeout):
        return socket.create_connection((self.host, self.port), source_address=("127.0.0.2", 0))


def sign_in(name, password, browser):
    began_s = time.monotonic()
    connection = Elsewhere("127.0.0.1", int(sys.argv[1]))
    connection.xatom("ID", f'("name" "page" "x-originating-ip" "{browser}")')
    try:
        connection.authenticate("PLAIN", lambda _: f"\0{name}\0{password}".encode())
    except imaplib.IMAP4.error:
        pass
    took_s = time.monotonic() - began_s
    connection.logout()
    return took_s


for number in range(4):
    sign_in("anna@example.com", f"wrong {number}", "192.0.2.1")
print(f"{sign_in('ben@example.com', 'right', '192.0.2.2'):.1f}")
PY
}
dovecot --version
serve ''
together=$(measure)
stop
serve 127.0.0.0/8
apart=$(measure)
stop
echo "ben's right password after four wrong ones of anna: $together s; with login_trusted_networks and ID: $apart s"
python3 -c 'import sys; sys.exit(not (float(sys.argv[1]) > 2 and float(sys.argv[2]) < 1))' "$together" "$apart"
