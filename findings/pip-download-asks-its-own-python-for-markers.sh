#!/usr/bin/env bash
# pip 26.0: `pip download --python-version`, and requirements that are for some versions of Python only.
#
# Guess: with --python-version 3.13 the markers of a requirements file (`; python_version < "3.13"`) are those of 3.13, as are
#        the wheels that pip chooses: so one machine can collect what another version of Python will install.
# Seen:  the wheels are for the version that was asked for, the markers are those of the Python that runs pip. What 3.13
#        does not need is downloaded, and what it alone needs is missing, without a message.
#
# Installs pip in a temporary folder; needs Python 3.11 or 3.12. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -c 'import sys; sys.exit(sys.version_info >= (3, 13))' || { echo "needs Python 3.11 or 3.12"; exit 1; }
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check pip==26.0
"$T/venv/bin/pip" --version | cut -d ' ' -f 1,2
cat > "$T/requirements.txt" <<'END'
async-timeout==5.0.1 ; python_version < "3.13"
zope-event==6.2 ; python_version >= "3.13"
hiredis==3.5.0
END
"$T/venv/bin/pip" --quiet download --no-deps --only-binary=:all: --python-version 3.13 -d "$T/got" -r "$T/requirements.txt"
got=$(cd "$T/got" && ls)
echo "asked for 3.13 by $("$T/venv/bin/python" --version):"
echo "$got"
grep -q '^hiredis-3.5.0-cp313-' <<< "$got" && grep -q '^async_timeout-' <<< "$got" && ! grep -q '^zope' <<< "$got"
