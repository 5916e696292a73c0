#!/bin/bash
# A path unit that starts a service whenever a file changes (systemd.path(5)). Expected: the file changes six times in ten seconds,
# the service runs six times, or at least for the last change. Seen with systemd 252: the sixth start is refused by the service's
# start limit (StartLimitBurst=5 in 10 s, also of starts that succeed), and with it the *path unit* fails and stays failed: later
# changes start nothing, a day later either. StartLimitIntervalSec=0 in the service mends it.
# Needs root and a Debian (apt-get); boots a container over this machine's files, changes kept in memory, no network.
set -eu
command -v systemd-nspawn >/dev/null || DEBIAN_FRONTEND=noninteractive apt-get install -y -qq systemd-container=252.\* >/dev/null
systemd-nspawn --version | head -1
folder=$(mktemp -d)
trap 'umount "$folder/memory/root" "$folder/memory" 2>/dev/null; rm -rf "$folder"' EXIT
mkdir "$folder/units" "$folder/memory"
mount -t tmpfs tmpfs "$folder/memory"
mkdir "$folder/memory/upper" "$folder/memory/work" "$folder/memory/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/memory/upper,workdir=$folder/memory/work" "$folder/memory/root"
unit() { cat >"$folder/units/$1"; }
for each in limited unlimited; do
    unit "$each.path" <<EOF
[Path]
PathChanged=/run/$each
EOF
    [ $each = limited ] && limit="" || limit="StartLimitIntervalSec=0"
    unit "$each.service" <<EOF
[Unit]
$limit
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo run >>/finding/$each'
EOF
done
unit finding.service <<'EOF'
[Unit]
After=basic.target dbus.socket
[Service]
Type=oneshot
ExecStart=/bin/bash /finding/inside
ExecStopPost=/bin/systemctl poweroff --no-block
EOF
unit finding.target <<'EOF'
[Unit]
Requires=basic.target finding.service
After=basic.target
AllowIsolate=yes
EOF
cat >"$folder/inside" <<'EOF'
runs() { wc -l </finding/$1; }
change() { # a change of the file, and the run that it should start, waited for up to two seconds
    local before after=0
    before=$(runs $1)
    echo x >>/run/$1
    for _ in $(seq 100); do after=$(runs $1); [ "$after" -gt "$before" ] && break; sleep 0.02; done
    until [ "$(systemctl show -p ActiveState --value $1.service)" != activating ]; do sleep 0.02; done
}
for each in limited unlimited; do
    : >/finding/$each
    systemctl start $each.path
    for _ in 1 2 3 4 5 6; do change $each; done
    sleep 11 # longer than StartLimitIntervalSec
    change $each
    echo "$each $(runs $each) $(systemctl show -p ActiveState --value $each.path) $(systemctl show -p Result --value $each.path)"
done >/finding/seen 2>/finding/errors
EOF
cp "$folder"/units/* "$folder/memory/root/etc/systemd/system/"
timeout 120 systemd-nspawn -q -D "$folder/memory/root" --register=no --keep-unit --private-network --console=pipe \
    --bind="$folder:/finding" -b systemd.unit=finding.target </dev/null >"$folder/console" 2>&1 || true
[ -s "$folder/seen" ] || { cat "$folder/console"; exit 1; }

echo "expected of each: 7 runs, path unit active"
sed 's/^\([a-z]*\) \([0-9]*\)/seen: service \1: \2 runs, path unit/' "$folder/seen"
grep -qx "limited 5 failed .*" "$folder/seen" && grep -qx "unlimited 7 active success" "$folder/seen" || { echo CHANGED; exit 1; }
