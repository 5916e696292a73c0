"""`forkpolicy-compile`: the command line, and nothing but the command line.

Exit status: 0 every table was compiled (or needed nothing); 1 --verify found a damaged table; 2 wrong usage;
73 a table, or a message about it, cannot be written; 78 a source, the policy or the settings are wrong. Neither one
bad table nor outputs that cannot be written keep the others from being compiled.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from forkpolicy import __version__, expiry, standard_streams
from forkpolicy.compile import report
from forkpolicy.compile.console_tables import is_of_console
from forkpolicy.compile.directory import locked
from forkpolicy.compile.feed_urls import is_feed
from forkpolicy.compile.output.verify import verify_table
from forkpolicy.compile.outputs import Outputs
from forkpolicy.compile.protect import own_tables
from forkpolicy.compile.result import Options, Result
from forkpolicy.compile.sources.registry import STDIN
from forkpolicy.compile.table import compile_table
from forkpolicy.compile.watch import StderrLog, watch
from forkpolicy.compile_failures import note, note_compiles
from forkpolicy.errors import (
    EXIT_CANNOT_WRITE,
    EXIT_CONFIG,
    EXIT_DONE,
    EXIT_NO,
    CannotWriteError,
    ForkpolicyError,
    TableError,
    UsageError,
    nearest,
)
from forkpolicy.policy.load import declared_tables
from forkpolicy.settings import DEFAULT_PATH, load_settings
from forkpolicy.tables.format import SUFFIX
from forkpolicy.terminal.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from forkpolicy.compile.directory import TablesDirectory
    from forkpolicy.policy.nodes import TableDeclaration
    from forkpolicy.settings import Settings

_EXAMPLES = """\
examples:
  forkpolicy-compile                          compile all tables that the policy declares
  forkpolicy-compile local_domains            compile one
  forkpolicy-compile --dry-run --stats        say what would change, and what the tables consist of
  forkpolicy-compile --if-changed             for timers: nothing to do costs milliseconds
  zcat list.gz | forkpolicy-compile feed      a table whose source is "-" reads standard input

exit status:
  0 done, or nothing to do; 1 --verify found a damaged table; 2 wrong usage;
  73 a table or an output cannot be written; 78 a source, the policy or the settings are wrong;
  130 interrupted from the terminal
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The program: compile tables, and clean up after an interrupt from the terminal; the exit status."""
    try:
        with _interrupted_once():
            return compile_tables(argv)
    except KeyboardInterrupt:
        Outputs(error_closed=sys.stderr is None).write_message("interrupted: the tables in use are unchanged")
        return 130


def compile_tables(argv: Sequence[str] | None = None) -> int:
    """Compile tables; the exit status. Mistakes are reported on standard error, never as a traceback."""
    outputs = Outputs(error_closed=sys.stderr is None)
    standard_streams.make_usable()
    arguments = make_parser().parse_args(argv)
    try:
        status = _run(arguments, outputs)
    except ForkpolicyError as error:
        outputs.write_message(str(error))
        return error.exit_code
    return EXIT_CANNOT_WRITE if outputs.failed and not status else status


@contextlib.contextmanager
def _interrupted_once() -> Iterator[None]:
    """Ignore every interrupt but the first, which is cleaned up after: each process of ours may cause one."""

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        signal.signal(signum, signal.SIG_IGN)
        raise KeyboardInterrupt

    # Otherwise a shell has put us into the background, and ignores interrupts for us.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        # After an interrupt another may come for as long as this process lives.
        if signal.getsignal(signal.SIGINT) is interrupt:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def make_parser() -> argparse.ArgumentParser:
    """The parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="forkpolicy-compile",
        description="Compile the tables that the policy declares from their sources, each whole or not at all.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--version", action="version", version=f"%(prog)s {__version__}")
    add("-c", dest="settings", metavar="FILE", default=DEFAULT_PATH, help="settings file (default: %(default)s)")
    add("tables", metavar="TABLE", nargs="*", help="a declared table; none: all of them")
    add("--json", action="store_true", help="results as one JSON document")
    add("--dry-run", action="store_true", help="put nothing in place; show the difference to the table in use")
    add("--if-changed", action="store_true", help="skip tables whose sources have not changed")
    add("--verify", action="store_true", help="compile nothing; check the compiled tables from end to end")
    add("--stats", action="store_true", help="show what the tables consist of")
    add("--skip-bad", action="store_true", help="leave wrong lines out and count them")
    add("--allow-wide", action="store_true", help="accept networks wider than /8 (IPv6: /16)")
    add(
        "--allow-shrink",
        action="store_true",
        help="accept empty sources, and tables that lose more than half of their entries",
    )
    add(
        "--console",
        action="store_true",
        help="compile the tables whose sources the web console writes, and no others",
    )
    # For the watcher: a machine may lose networks; an empty list next to them is still a failed download.
    add(
        "--interfaces-may-shrink",
        action="store_true",
        help="accept fewer networks from `interfaces:` sources; the other entries keep their limit",
    )
    add(
        "--watch-interfaces",
        action="store_true",
        help="as a service: if `watch_interfaces` is set, compile when networks of this machine change",
    )
    add(
        "--protect",
        metavar="FILE-OR-TABLE",
        action="append",
        default=[],
        help="refuse tables with an entry that concerns a name or network of this list; may be repeated",
    )
    add(
        "--allow-own",
        action="store_true",
        help="accept lists fetched by https:// that have an entry for our own networks and names",
    )
    return parser


def _run(arguments: argparse.Namespace, outputs: Outputs) -> int:
    settings = load_settings(arguments.settings)
    if arguments.watch_interfaces:
        if arguments.tables:
            raise UsageError(
                "--watch-interfaces compiles all tables with networks of this machine: leave their names out"
            )
        return _watch(settings, outputs)
    # Whatever a link there leads to is not the console's to show: its lines would be mistakes in `status`.
    theirs = settings.console.path
    every = [each._replace(others_below=theirs) for each in declared_tables(settings.policy, settings.shadow)]
    declared = _chosen(every, arguments.tables)
    if arguments.console:
        declared = _of_console(declared, settings, outputs)
    if arguments.verify:
        return _verify(declared, Path(settings.tables), outputs, as_json=arguments.json)
    options = Options(
        skip_bad=arguments.skip_bad,
        allow_wide=arguments.allow_wide,
        allow_shrink=arguments.allow_shrink,
        interfaces_may_shrink=arguments.interfaces_may_shrink,
        dry_run=arguments.dry_run,
        if_changed=arguments.if_changed,
        stats=arguments.stats,
        protect=tuple(arguments.protect),
        own_tables=own_tables(every),
        allow_own=arguments.allow_own,
        recipient_delimiter=settings.mail.recipient_delimiter,
        today=expiry.today(),
    )
    with locked(Path(settings.tables), outputs.write_message) as directory:
        # What protects feeds comes first.
        ordered = sorted(declared, key=lambda each: any(map(is_feed, each.sources)))
        results = [_compile(each, directory, options, outputs, as_json=arguments.json) for each in ordered]
        if not options.dry_run:
            _note_failures(results, directory)
            _note_compiles(results, directory)
    if arguments.json:
        outputs.write_result(report.as_json(results))
    return _exit_status(results)


def _note_failures(results: list[Result], directory: TablesDirectory) -> None:
    """For `status`. A directory that takes no tables takes no notes either, and that has been reported."""
    with contextlib.suppress(OSError):
        note(directory.path, {each.name: _why_failed(each) for each in results}, directory.aside("failures"))


def _note_compiles(results: list[Result], directory: TablesDirectory) -> None:
    """For the console."""
    done = {
        each.name: (each.entries, [str(found) for found in each.diagnostics if found.severity == "warning"])
        for each in results
        if each.state == "compiled"
    }
    with contextlib.suppress(OSError):
        note_compiles(directory.path, done, directory.aside("compiles"))


def _why_failed(result: Result) -> str:
    if result.state not in ("refused", "not written"):
        return ""
    errors = [str(each) for each in result.diagnostics if each.severity == "error"]
    return result.reason or "\n".join(errors) or result.state


def _watch(settings: Settings, outputs: Outputs) -> int:
    """Until the end of the process; at once where the settings do not want it, or the kernel does not allow it."""
    if not settings.watch_interfaces:
        outputs.write_message("watch_interfaces is not set: nothing to do")
        return EXIT_DONE
    watch(settings.path, StderrLog(settings.log.format), compile_tables)
    return EXIT_NO


def _chosen(declared: list[TableDeclaration], names: list[str]) -> list[TableDeclaration]:
    known = {each.name: each for each in declared}
    for name in names:
        if name not in known:
            near = nearest(name, known)
            meant = f'did you mean "{near}"?' if near else f"it declares: {', '.join(known) or 'none'}"
            raise UsageError(f'the policy declares no table "{name}"; {meant}')
    chosen = [known[name] for name in dict.fromkeys(names)] if names else list(known.values())
    readers = [each.name for each in chosen if STDIN in each.sources]
    if len(readers) > 1:
        raise UsageError(f'standard input is one list, and "-" is a source of {" and ".join(readers)}: name one table')
    return chosen


def _of_console(declared: list[TableDeclaration], settings: Settings, outputs: Outputs) -> list[TableDeclaration]:
    directory = settings.console.tables
    chosen = [each for each in declared if is_of_console(each, directory)]
    if not chosen:
        outputs.write_message(f"no table has all of its sources in {directory}: nothing to do")
    return chosen


def _compile(
    declaration: TableDeclaration, directory: TablesDirectory, options: Options, outputs: Outputs, *, as_json: bool
) -> Result:
    try:
        with Progress(sys.stderr, f"{declaration.name}: ") as progress:
            result = compile_table(declaration, directory, options, progress)
    except CannotWriteError as error:
        outputs.write_message(f"table {declaration.name}: {error}; the table in use is unchanged")
        path = str(directory.table(declaration.name))
        return Result(declaration.name, declaration.kind, path, "not written", str(error))
    for diagnostic in result.diagnostics:
        outputs.write_message(str(diagnostic))
    if result.state == "refused":
        outputs.write_message(report.refusal(result))
    elif not as_json:
        outputs.write_result(report.summary(result))
    return result


def _exit_status(results: list[Result]) -> int:
    states = {result.state for result in results}
    if "refused" in states:
        return EXIT_CONFIG
    return EXIT_CANNOT_WRITE if "not written" in states else EXIT_DONE


def _verify(declared: list[TableDeclaration], directory: Path, outputs: Outputs, *, as_json: bool) -> int:
    findings: list[dict[str, object]] = []
    for each in declared:
        path = directory / f"{each.name}{SUFFIX}"
        try:
            info = verify_table(str(path), each.name, each.kind)
        except TableError as error:
            findings.append({"name": each.name, "ok": False, "reason": str(error)})
        else:
            findings.append({"name": each.name, "ok": True, "entries": info.entries, "path": str(path)})
    if as_json:
        outputs.write_result(json.dumps(findings, indent=2))
    for found in findings if not as_json else ():
        say = outputs.write_result if found["ok"] else outputs.write_message
        say(report.finding(found))
    return EXIT_DONE if all(finding["ok"] for finding in findings) else EXIT_NO


if __name__ == "__main__":
    sys.exit(main())
