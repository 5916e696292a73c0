"""The completion script of a shell, made by shtab of the parsers of all commands.

What stands for a file, a directory or a name is known by its placeholder in `--help`, so that no command says it twice.
Names come from `forkpolicy completion --names KIND`, with the `-c FILE` of the line that is being written.
Raises UsageError where shtab is not installed.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Final

from forkpolicy.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

FILES: Final = frozenset({"FILE", "REQUESTS", "OTHER.toml", "FILE | NAME=VALUE | LINE"})
DIRECTORIES: Final = frozenset({"DIR"})
# Of arguments, not of options: `init --domain NAME` means another name.
NAMES: Final = {
    "TABLE": "tables",
    "FILE-OR-TABLE": "tables",
    "NAME": "remembered",
    "[KIND] [NAME]": "remembered",
    "LIST": "lists",
    "WORD": "rules",
}

# bash splits words at colons, and completes what is behind the last one. Names are of a policy that may be anybody's:
# they are compared and printed, and never stand where the shell expands words.
_BASH: Final = r"""
_forkpolicy_names() {
    local at line=${COMP_LINE:0:COMP_POINT} settings=() word name
    word=${line##*[[:space:]]}
    for ((at = 1; at < COMP_CWORD; at++)); do
        [[ ${COMP_WORDS[at]} == -c ]] && settings=(-c "${COMP_WORDS[at + 1]/#\~/$HOME}")
    done
    while IFS= read -r name; do
        [[ $name == "$word"* ]] || continue
        [[ $word == *:* ]] && name=${name#"${word%:*}:"}
        printf '%s\n' "$name"
    done < <(command forkpolicy completion --names "$1" "${settings[@]}" 2>/dev/null)
}
"""
# The buffer may have other commands in front of this one, which are not ours to run; of `words` _arguments leaves some.
_ZSH: Final = r"""
_forkpolicy_names() {
    local -a line settings names
    local word
    for word in ${(z)LBUFFER}; do
        [[ $word == [\;\|\&]* ]] && line=() || line+=($word)
    done
    local at=${line[(I)-c]}
    (( at )) && settings=(-c ${line[at+1]/#\~/$HOME})
    names=(${(f)"$(command forkpolicy completion --names $1 $settings 2>/dev/null)"})
    compadd -a names
}
"""
_FISH: Final = r"""
function _forkpolicy_names
    set -l line (commandline -opc)
    set -l settings
    if set -l at (contains -i -- -c $line)
        set settings -c (string replace -r '^~' $HOME -- $line[(math $at + 1)])
    end
    command forkpolicy completion --names $argv[1] $settings 2>/dev/null
end
"""


def script(shell: str, program: str) -> str:
    """The script for one of our two programs."""
    try:
        import shtab  # noqa: PLC0415 - an extra
    except ImportError:
        raise UsageError("completion scripts need shtab: pip install 'forkpolicy[terminal]'") from None
    parser = _parser_of(program)
    kinds = sorted(set(NAMES.values()))
    for action in _arguments(parser):
        if isinstance(action.choices, dict):
            # shtab takes these for the commands of a command.
            action.choices = list(action.choices)
        what = _completed_by(action)
        if what == "file":
            action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's way to say it
        elif what == "directory":
            action.complete = shtab.DIRECTORY  # type: ignore[attr-defined]
        elif what:
            action.complete = _names(what)  # type: ignore[attr-defined]
    functions = "".join(f"_forkpolicy_{kind}() {{ _forkpolicy_names {kind}; }}\n" for kind in kinds)
    preamble = {"bash": _BASH + functions, "zsh": _ZSH + functions, "fish": _FISH}[shell]
    return str(shtab.complete(parser, shell, preamble=preamble)).rstrip("\n")


def _names(kind: str) -> dict[str, str]:
    return {"bash": f"_forkpolicy_{kind}", "zsh": f"_forkpolicy_{kind}", "fish": f"(_forkpolicy_names {kind})"}


def _parser_of(program: str) -> argparse.ArgumentParser:
    from forkpolicy.commands.main import make_parser  # noqa: PLC0415 - it imports this command
    from forkpolicy.compile.command import make_parser as make_compile_parser  # noqa: PLC0415

    return make_parser() if program == "forkpolicy" else make_compile_parser()


def _arguments(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from _arguments(each)
        else:
            yield action


def _completed_by(action: argparse.Action) -> str:
    """`file`, `directory`, a kind of names, or nothing."""
    placeholder = str(action.metavar)
    if placeholder in FILES:
        return "file"
    if placeholder in DIRECTORIES:
        return "directory"
    is_name = not action.option_strings or placeholder == "FILE-OR-TABLE"
    return NAMES.get(placeholder, "") if is_name else ""
