#!/usr/bin/env bash
# urllib3 2.8.0: a body in gzip without Content-Length and chunks, which ends before gzip does.
#
# Guess: urllib3 raises DecodeError or IncompleteRead, as it does for a body that is shorter than its Content-Length, and
#        for a gzip whose sum is wrong. The format says where it ends, and urllib3 is what decompresses it.
# Seen:  status 200 and what could be decompressed: most of the list, or all of it but its sum and length. The same when
#        the connection ends without the end of TLS, which Python's ssl hides by default (suppress_ragged_eofs).
#
# Installs urllib3 and trustme in a temporary folder; listens on loopback. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check urllib3==2.8.0 trustme==1.2.1
"$T/venv/bin/python" - <<'PY'
import contextlib
import gzip
import socket
import ssl
import sys
import threading

import trustme
import urllib3

print("urllib3", urllib3.__version__)
authority = trustme.CA()
server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
authority.issue_cert("localhost").configure_cert(server)
authority.configure_trust(client)
text = "".join(f"host{at * at}.example\n" for at in range(5000)).encode()
packed = gzip.compress(text)
head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
coded = head + b"Content-Encoding: gzip\r\n"
cases = {
    "gzip, whole": (coded + b"\r\n" + packed, True),
    "gzip, half": (coded + b"\r\n" + packed[: len(packed) // 2], True),
    "gzip, without its last 8 bytes": (coded + b"\r\n" + packed[:-8], True),
    "gzip, another sum": (coded + b"\r\n" + packed[:-8] + bytes(8), True),
    "gzip, half, with a length": (coded + b"Content-Length: %d\r\n\r\n" % len(packed) + packed[:-9], True),
    "plain, half, TLS not ended": (head + b"\r\n" + text[: len(text) // 2], False),
}
listening = socket.create_server(("127.0.0.1", 0))


def serve():
    for answer, ends_tls in cases.values():
        connection, _ = listening.accept()
        with server.wrap_socket(connection, server_side=True) as tls:
            while b"\r\n\r\n" not in tls.recv(65536):
                pass
            tls.sendall(answer)
            if ends_tls:
                with contextlib.suppress(OSError):
                    tls.unwrap()


threading.Thread(target=serve, daemon=True).start()
seen = []
for name in cases:
    url = f"https://localhost:{listening.getsockname()[1]}/"
    try:
        with urllib3.PoolManager(ssl_context=client, retries=False, timeout=10) as pool:
            response = pool.request("GET", url)
        seen.append(f"{response.status} " + ("all" if response.data == text else "a part"))
    except urllib3.exceptions.HTTPError as error:
        seen.append(type(error).__name__)
    print(f"{name}: {seen[-1]}")
sys.exit(seen != ["200 all", "200 a part", "200 all", "DecodeError", "ProtocolError", "200 a part"])
PY
