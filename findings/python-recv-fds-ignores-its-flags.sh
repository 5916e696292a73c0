#!/usr/bin/env bash
# Python 3.9 to 3.13, socket.recv_fds: what its argument `flags` does.
#
# Guess: PEP 446 made every descriptor that Python creates close-on-exec, and recv_fds(sock, size, maxfds, flags) hands
#        flags on to recvmsg(2): at least with MSG_CMSG_CLOEXEC a received descriptor is closed by exec.
# Seen:  received descriptors are inherited by programs, and flags are ignored, all of them: recv_fds takes the argument
#        and calls recvmsg without it. MSG_CMSG_CLOEXEC does not close, MSG_PEEK takes the message, MSG_DONTWAIT waits.
#        A server that passes descriptors and execs (an upgrade in place, a helper) leaks them into that program.
#        sock.recvmsg with the flag, or os.set_inheritable(fd, False) afterwards, does what was meant.
#
# Needs python3 (Debian 12 has 3.11.2) and installs nothing: it is the standard library. Exit status 0: as described;
# 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
cat >"$T/pass.py" <<'PY'
import array, os, socket, subprocess, sys

FLAG = socket.MSG_CMSG_CLOEXEC
ours, theirs = socket.socketpair()
ours.settimeout(5)
file = os.open("/dev/null", os.O_RDONLY)


def inherited(fd):
    """Whether a program that is started finds the descriptor open."""
    program = f"import os; os.fstat({fd})"
    return subprocess.run([sys.executable, "-c", program], close_fds=False, stderr=subprocess.DEVNULL).returncode == 0


def seen_of(receive):
    socket.send_fds(theirs, [b"x"], [file])
    fd = receive()
    answer = inherited(fd)
    os.close(fd)
    return answer


def by_recvmsg():
    _, ancillary, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(4), FLAG)
    return array.array("i", ancillary[0][2])[0]


print("opened here: inherited", inherited(file))
print("recv_fds: inherited", seen_of(lambda: socket.recv_fds(ours, 1, 1)[1][0]))
print("recv_fds with MSG_CMSG_CLOEXEC: inherited", seen_of(lambda: socket.recv_fds(ours, 1, 1, FLAG)[1][0]))
print("recvmsg with MSG_CMSG_CLOEXEC: inherited", seen_of(by_recvmsg))
theirs.send(b"ab")
print("recv_fds with MSG_PEEK:", *(socket.recv_fds(ours, 1, 1, socket.MSG_PEEK)[0] for _ in range(2)))
PY
python3 --version
python3 "$T/pass.py" | tee "$T/seen"
diff "$T/seen" - <<'SEEN'
opened here: inherited False
recv_fds: inherited True
recv_fds with MSG_CMSG_CLOEXEC: inherited True
recvmsg with MSG_CMSG_CLOEXEC: inherited False
recv_fds with MSG_PEEK: b'a' b'b'
SEEN
