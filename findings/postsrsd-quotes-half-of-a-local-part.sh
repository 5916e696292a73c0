#!/usr/bin/env bash
# postsrsd 1.10 (Debian 12): senders whose local part needs quotes.
#
# Guess: `"a b"@example.com` is rewritten to one local part that is quoted as a whole, or left alone.
# Seen:  the quotes stay where they were: SRS0=hash=day=example.com="a b"@gateway. That local part is neither a Dot-string
#        nor a Quoted-string (RFC 5321, 4.1.2), so a strict next server refuses a mail whose sender was valid. Asked
#        for that address, postsrsd itself takes it back to what it was: only the servers between do not.
#
# Needs root for the installation, and Debian 12. Runs postsrsd on loopback with a secret of its own, and ends it. Exit
# status 0: as described; 1: not so any more.
set -euo pipefail
if [ ! -x /usr/sbin/postsrsd ]; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends 'postsrsd=1.10-2*' >/dev/null
fi
dpkg-query -W postsrsd
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
echo 0123456789abcdef >"$T/secret"
python3 - "$T/secret" <<'PY'
import re
import socket
import subprocess
import sys
import time


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def ask(port, address):
    until_s = time.monotonic() + 20
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", port), 5)
            break
        except OSError:
            if time.monotonic() > until_s:
                sys.exit("postsrsd did not start")
            time.sleep(0.1)
    with connection:
        # tcp_table(5): what is not printable, blanks and % are escaped.
        connection.sendall(b"get %b\n" % address.replace("%", "%25").replace(" ", "%20").encode())
        code, _, text = connection.recv(4096).decode().strip().partition(" ")
        text = text.replace("%20", " ").replace("%25", "%")
        print(f"{address} -> {code} {text}")
        return text


there, back = free_port(), free_port()
words = ["/usr/sbin/postsrsd", "-s", sys.argv[1], "-d", "gateway.example.net", "-l", "127.0.0.1"]
server = subprocess.Popen([*words, "-f", str(there), "-r", str(back)])
try:
    plain = ask(there, "anna@example.com")
    quoted = ask(there, '"a b"@example.com')
    returned = ask(back, quoted)
finally:
    server.terminate()
    server.wait()
local = quoted.rpartition("@")[0]
is_dot_string = re.fullmatch(r"[\w!#$%&'*+/=?^`{|}~.-]+", local)
is_quoted_string = re.fullmatch(r'"[^"]*"', local)
print(f"the local part is a Dot-string: {bool(is_dot_string)}, a Quoted-string: {bool(is_quoted_string)}")
as_described = plain.startswith("SRS0=") and local.endswith('="a b"') and not is_dot_string and not is_quoted_string
sys.exit(not (as_described and returned == '"a b"@example.com'))
PY
