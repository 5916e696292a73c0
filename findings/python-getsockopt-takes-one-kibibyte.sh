#!/usr/bin/env bash
# CPython's socket.getsockopt, and SO_PEERGROUPS of Linux: which groups the process at the other end of a UNIX socket has.
#
# Guess: an option of any size can be read by giving a buffer that is large enough, as with getsockopt(2); the kernel says
#        ERANGE where it is too small.
# Seen:  a buffer of more than 1,024 bytes is refused before the kernel is asked (OSError "getsockopt buflen out of range",
#        without an errno), so that the groups of a process with more than 256 cannot be read at all. A program that takes
#        an OSError for "no such option here" takes a member of the group for a stranger.
#
# Needs root (for setgroups) and python3. Exit status 0: as described; 1: not so any more.
set -euo pipefail
python3 - <<'PY'
import os, platform, socket, sys

SO_PEERGROUPS = 59
print(f"Python {platform.python_version()}, Linux {platform.release()}")


def asked(groups, size):
    """What the other end learns about a process with so many groups."""
    ours = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        os.setgroups(range(2000, 2000 + groups))
        one, other = socket.socketpair()
        try:
            said = f"{len(one.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, size)) // 4} groups"
        except OSError as error:
            said = f"{error} (errno {error.errno})"
        ours[1].sendall(said.encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return ours[0].recv(1000).decode()


seen = {(groups, size): asked(groups, size) for groups, size in ((256, 1024), (257, 1024), (257, 2048), (257, 1028))}
for (groups, size), said in seen.items():
    print(f"{groups} groups, {size} bytes: {said}")
sys.exit(
    not (
        seen[256, 1024] == "256 groups"
        and "errno 34" in seen[257, 1024]
        and "buflen out of range" in seen[257, 2048]
        and "buflen out of range" in seen[257, 1028]
    )
)
PY
