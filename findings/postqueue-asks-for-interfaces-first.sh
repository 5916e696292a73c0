#!/usr/bin/env bash
# Postfix 3.7.11 (Debian 12): what postqueue(1) needs besides the socket of showq(8).
#
# Guess: `postqueue -j` talks to a UNIX socket, so a process that may use AF_UNIX and AF_INET alone can run it, such as a
#        systemd unit with RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6.
# Seen:  it reads main.cf as every program of Postfix, finds the addresses of this machine first, and ends in getifaddrs
#        where it gets no socket of AF_NETLINK. Without new privileges its set-group-id bit counts for nothing, too:
#        its user must be a member of postdrop.
#
# Needs root, Debian 12 and an x86-64 or arm64 machine. Installs Postfix if it is missing, runs an instance of its own in
# a temporary folder, and ends it. Exit status 0: as described; 1: not so any more.
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
cat >"$T/etc/main.cf" <<CF
compatibility_level = 3.7
queue_directory = $T/queue
data_directory = $T/data
maillog_file = $T/log
maillog_file_prefixes = $T
myhostname = mx.example.com
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
CF
cat >"$T/etc/master.cf" <<CF
showq unix n - n - - showq
qmgr unix n - n 300 1 qmgr
postlog unix-dgram n - n - 1 postlogd
CF
touch -d '1 minute ago' "$T/etc/main.cf" "$T/etc/master.cf" # Postfix waits for files that were just written
postfix -c "$T/etc" start 2>/dev/null
postconf -c "$T/etc" -h mail_version | sed 's/^/Postfix /'
T=$T python3 - <<'PY'
import ctypes, grp, os, platform, struct, subprocess, sys

AF_NETLINK, EAFNOSUPPORT, NOBODY = 16, 97, 65534
SOCKET = {"x86_64": 41, "aarch64": 198}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)


def without_netlink():
    """In the child: socket(2) of AF_NETLINK fails, as under RestrictAddressFamilies= of systemd."""
    steps = (
        (0x20, 0, 0, 0),  # load the number of the call
        (0x15, 0, 3, SOCKET),  # another call: allow
        (0x20, 0, 0, 16),  # load its first argument
        (0x15, 0, 1, AF_NETLINK),
        (0x06, 0, 0, 0x00050000 | EAFNOSUPPORT),
        (0x06, 0, 0, 0x7FFF0000),
    )
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in steps))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(steps), ctypes.addressof(code)))
    if libc.prctl(22, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")


def ask(groups, filtered):
    """The status of postqueue as nobody, without new privileges, and what it said."""

    def become():
        os.setgroups(groups)
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        libc.prctl(38, 1, 0, 0, 0)
        if filtered:
            without_netlink()

    words = ["postqueue", "-c", f"{os.environ['T']}/etc", "-j"]
    done = subprocess.run(words, capture_output=True, text=True, preexec_fn=become)
    return done.returncode, done.stderr.strip()


postdrop = [grp.getgrnam("postdrop").gr_gid]
answers = {
    "without the group": ask([], False),
    "as a member of postdrop": ask(postdrop, False),
    "as a member, without AF_NETLINK": ask(postdrop, True),
}
for name, (status, said) in answers.items():
    print(f"{name}: status {status} {said}")
is_so = (
    "Permission denied" in answers["without the group"][1]
    and answers["as a member of postdrop"][0] == 0
    and "getifaddrs" in answers["as a member, without AF_NETLINK"][1]
)
sys.exit(not is_so)
PY
