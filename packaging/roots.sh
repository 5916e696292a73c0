# Root directories of Debian releases, for scripts that build or test in one. To be sourced by bash; needs `fail MESSAGE`.

cache=${XDG_CACHE_HOME:-$HOME/.cache}/forkpolicy
here=$(. /etc/os-release && echo "${VERSION_CODENAME:-unknown}")

# A root directory with the packages named, made by debootstrap once; its network is this machine's.
make_root() { # DIST DIRECTORY PACKAGE...
    local dist=$1 root=$2 each
    shift 2
    [ "$(id -u)" = 0 ] || fail "only root can build for $dist on $here"
    command -v debootstrap >/dev/null || fail "debootstrap is missing: apt-get install debootstrap"
    if [ ! -e "$root/.complete" ]; then
        rm -rf "$root"
        mkdir -p "${root%/*}"
        debootstrap --variant=minbase --include="$(IFS=,; echo "$*")" "$dist" "$root"
        touch "$root/.complete"
    fi
}

# An index and a certificate authority of this machine's own, and its name servers.
lend_network() { # ROOT
    local each
    for each in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
        if [ -e "$each" ]; then cp -L "$each" "$1$each"; fi
    done
}

# Run a command in a root directory; what is below DIRECTORY has the same path inside and outside.
inside_root() { # ROOT DIRECTORY COMMAND...
    local root=$1 shared=$2 status=0
    shift 2
    mkdir -p "$root$shared"
    unshare --mount sh -c 'mount --bind "$1" "$2$1" && mount -t proc proc "$2/proc" && shift && exec chroot "$@"' \
        - "$shared" "$root" "$@" || status=$?
    rmdir -p --ignore-fail-on-non-empty "$root$shared"
    return $status
}
