# Ask before Debian's Postfix, rspamd, Redis and swaks are installed for `make gateway`, where one is missing. Nothing of the system
# is started: tests/servers.sh has how. Without a terminal nothing is asked and nothing installed.
export PATH="$PATH:/usr/sbin:/sbin"
if [ "$(id -u)" != 0 ]; then
    echo "make gateway: runs as root, since Postfix, rspamd and the store change their users; this is $(id -un). Become root (sudo make gateway)" >&2
    exit 1
fi
missing=
command -v postconf >/dev/null || missing="$missing postfix"
command -v rspamd >/dev/null || missing="$missing rspamd"
command -v redis-server >/dev/null || missing="$missing redis-server"
command -v swaks >/dev/null || missing="$missing swaks"
[ "$missing" ] || exit 0
if [ ! -t 0 ]; then
    echo "make gateway: missing:$missing. Install them: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi
printf 'Install%s from Debian, without starting a service? [y/N] ' "$missing"
read -r answer
case $answer in [yY]*) ;; *) exit 1 ;; esac
sh tests/postfix/install.sh && sh tests/servers.sh rspamd redis-server swaks
