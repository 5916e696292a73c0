#!/usr/bin/env bash
# debhelper 13.11.4, dh_installsystemd --no-stop-on-upgrade: the way for a service that replaces itself.
#
# Guess: an upgrade does not stop the service, so it does not start it either: a service that an administrator has stopped
#        (and not disabled) is still stopped after an upgrade.
# Seen:  postinst runs `deb-systemd-invoke start` whenever the package is configured, upgrades included, and whatever version
#        was configured before: the stopped service starts. --no-restart-on-upgrade is another name of the same option; only
#        --no-start ends it, and then a first installation does not start the service, and a removal does not stop it.
#
# Builds a package in a temporary folder and runs its postinst with programs that print; needs debhelper, init-system-helpers.
# Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
dpkg-query -W debhelper
mkdir -p "$T/package/debian/source" "$T/bin"
cd "$T/package"
cat > debian/control <<'END'
Source: sample
Maintainer: sample <sample@example.com>
Build-Depends: debhelper-compat (= 13)

Package: sample
Architecture: all
Description: sample
END
printf 'sample (1) bookworm; urgency=medium\n\n  * One.\n\n -- sample <sample@example.com>  Sat, 01 Jan 2022 00:00:00 +0000\n' > debian/changelog
printf '[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n' > debian/sample.service
for program in deb-systemd-invoke deb-systemd-helper systemctl; do
    printf '#!/bin/sh\n[ "$1" = --quiet ] || echo "  %s $*" >&3\n' $program > "$T/bin/$program"
done
chmod +x "$T"/bin/*
start_of() { # OPTIONS: what a postinst of an upgrade from version 0.9 runs
    rm -rf debian/sample debian/*.debhelper debian/*.substvars debian/.debhelper
    dh_installsystemd "$@"
    dh_installdeb
    # Whether or not this machine runs systemd.
    sed 's,-d /run/systemd/system,-d /,' debian/sample/DEBIAN/postinst > "$T/postinst"
    PATH="$T/bin:$PATH" sh -e -c ". $T/postinst" postinst configure 0.9 3>&1
}
for option in --no-stop-on-upgrade --no-restart-on-upgrade; do
    echo "$option:"
    said=$(start_of "$option")
    echo "$said"
    grep -q 'deb-systemd-invoke start sample.service' <<< "$said"
done
echo "--no-stop-on-upgrade --no-start:"
said=$(start_of --no-stop-on-upgrade --no-start)
echo "$said"
! grep -q 'deb-systemd-invoke' <<< "$said"
