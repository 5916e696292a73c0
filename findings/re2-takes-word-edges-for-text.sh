#!/usr/bin/env bash
# google-re2 1.1.20251105: what becomes of escapes that regexp: tables (POSIX, with the C library's extensions) have.
#
# Guess: RE2 refuses each escape that it does not know, as it refuses \Z, \h and \1, so that an expression copied from a
#        regexp: table either means the same or is an error.
# Seen:  a backslash in front of punctuation is always that character: \< and \> are < and >, \` and \' are quotes. They
#        compile, and never match a name or an address. {,3} compiles, too, as four characters, and [[=a=]] as a class
#        followed by a bracket. grep -E, with the library of regexp: tables, matches every one of them.
#
# Installs the package in a temporary folder; needs GNU grep. Exit status 0: as described; 1: not so any more.
set -euo pipefail
T=$(mktemp -d)
trap 'rm -rf "$T"' EXIT
python3 -m venv "$T/venv"
"$T/venv/bin/pip" install --quiet --disable-pip-version-check google-re2==1.1.20251105
cat >"$T/escapes.py" <<'PY'
import subprocess
import sys

import re2

options = re2.Options()
options.log_errors = False
as_text = [(r"\<news\>", "the news today"), (r"\`news", "news"), (r"news\'", "news"), ("a{,3}b", "aab"), ("[[=a=]]z", "az")]
differ = 0
for expression, text in as_text:
    ours = re2.search(expression, text, options) is not None
    grep = subprocess.run(["grep", "-qE", expression], input=text, text=True, check=False).returncode == 0
    print(f"{expression:10} in {text!r:16} RE2 {ours!s:6} grep -E {grep}")
    differ += grep and not ours
refused = 0
for expression in (r"\Z", r"\h", r"(a)\1"):
    try:
        re2.compile(expression, options)
    except re2.error as error:
        print(f"{expression:10} RE2 refuses: {error.args[0].decode()}")
        refused += 1
sys.exit(not (differ == len(as_text) and refused == 3))
PY
grep --version | head -1
echo "google-re2 1.1.20251105"
"$T/venv/bin/python" "$T/escapes.py"
