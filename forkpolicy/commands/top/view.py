"""How `top` shows an activity: as a frame for a full screen, and as text. Pure; the keys change `View`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from forkpolicy.commands.shared.status_report import duration
from forkpolicy.terminal.frame import Column, Frame, Table, Word

if TYPE_CHECKING:
    from collections.abc import Callable

    from forkpolicy.activity import Activity, Counted, Worker
    from forkpolicy.status import StateStatus, Status

SHOWN: Final = 10
WORKER_ORDERS: Final[dict[str, Callable[[Worker], float]]] = {
    "worker": lambda each: each.slot,
    "busy": lambda each: -(each.busy or 0.0),
    "requests/s": lambda each: -(each.requests_s or 0.0),
    "conns": lambda each: -each.connections,
    "p99": lambda each: -each.latency_us[1],
}
COUNT_ORDERS: Final[dict[str, Callable[[Counted], tuple[float, ...]]]] = {
    "rate": lambda each: (-(each.per_s or 0.0), -each.total),
    "total": lambda each: (-each.total,),
}


@dataclass(slots=True)
class View:
    """What keys have chosen."""

    workers_by: str = "worker"
    counts_by: str = "rate"
    paused: bool = False

    def press(self, key: str) -> None:
        """Act on a key; others do nothing."""
        if key == "s":
            self.workers_by = _next(list(WORKER_ORDERS), self.workers_by)
        elif key == "r":
            self.counts_by = _next(list(COUNT_ORDERS), self.counts_by)
        elif key in ("p", " "):
            self.paused = not self.paused


def _next(names: list[str], name: str) -> str:
    return names[(names.index(name) + 1) % len(names)]


def frame_of(look: Status, activity: Activity, view: View, trouble: str) -> Frame:
    """The screen. `trouble`: why there was no newer look, "" where there was."""
    head = [_state(look, view, trouble)]
    if trouble:
        head.append((Word(trouble, "red"),))
    head += [_rates(look, activity), _actions(activity)]
    if look.state:
        head.append(_remembered(look.state))
    tables = (_workers(activity, view), _rules(activity, view), _domains(activity, view))
    foot = f"s workers by {view.workers_by}", f"r rules by {view.counts_by}"
    keys = (Word("q quit", "bold"), Word("p resume" if view.paused else "p pause", "bold"))
    return Frame(tuple(head), tables, (*keys, *(Word(text, "bold") for text in foot)))


def text_of(activity: Activity) -> str:
    """The rates as lines of text; empty where there is nothing to compare with."""
    if not activity.is_known:
        return ""
    times = "  ".join(
        f"p{name} {us:.0f} us" for name, us in zip(("50", "99", "99.9"), activity.latency_us, strict=True)
    )
    busy = " ".join(f"{each.busy:.0%}" for each in activity.workers if each.busy is not None)
    lines = [f"{activity.requests_s:,.0f} requests/s  {times}  busy {busy}"]
    if words := [word.text for word in _actions(activity)]:
        lines.append("  ".join(words))
    for what, counted in (("rule", activity.rules), ("denied sender's domain", activity.domains)):
        rows = [each for each in ranked(counted, "rate") if each.total][:SHOWN]
        if rows:
            lines += ["", f"{'per second':>12} {'total':>12}  {what}"]
            lines += [f"{_rate(each.per_s):>12} {each.total:>12,}  {each.text}" for each in rows]
    return "\n".join([*lines, "", ""])


def ranked(counted: list[Counted], order: str) -> list[Counted]:
    """In an order of COUNT_ORDERS."""
    return sorted(counted, key=COUNT_ORDERS[order])


def _state(look: Status, view: View, trouble: str) -> tuple[Word, ...]:
    state = "no reply" if trouble else "stopping" if look.stopping else "serving"
    words = [Word("forkpolicy", "bold"), Word(state, "bold red" if state != "serving" else "bold green")]
    if view.paused:
        words.append(Word("paused", "bold yellow"))
    words += [Word(f"generation {look.generation}"), Word(f"up {duration(look.uptime_s)}")]
    words += [Word(f"version {look.version}"), Word(f"master {look.pid}"), Word(look.settings)]
    return tuple(words)


def _rates(look: Status, activity: Activity) -> tuple[Word, ...]:
    requests = _rate(activity.requests_s if activity.is_known else None)
    names = ("p50", "p99", "p99.9")
    times = [Word(f"{name} {_time(us)}") for name, us in zip(names, activity.latency_us, strict=True)]
    connections = sum(each.connections for each in activity.workers)
    workers = f"{len(activity.workers)} of {look.wanted_workers} workers"
    return Word(f"{requests} requests/s", "bold"), *times, Word(f"{connections:,} connections"), Word(workers)


def _actions(activity: Activity) -> tuple[Word, ...]:
    frequent = sorted(activity.actions_s.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Word(f"{verb} {_rate(per_s)}/s") for verb, per_s in frequent)


def _remembered(state: StateStatus) -> tuple[Word, ...]:
    """How full the memory is, and what a loss of power would forget; of an engine whether it can be reached."""
    figures, age_s = state.figures, state.save_age_s
    if state.engine:
        return (Word(state.engine), Word("up") if state.up else Word("DOWN", "bold red"))
    share = f"{figures.used_bytes / figures.max_bytes:.0%} full" if figures.max_bytes else "size unknown"
    saved = Word("nothing saved yet") if age_s is None else Word(f"saved {age_s:.0f} s ago")
    words = (Word(f"{figures.entries:,} records remembered"), Word(share), saved)
    return words if state.up and not figures.trouble else (*words, Word("NOT KEPT ON DISK", "bold red"))


def _workers(activity: Activity, view: View) -> Table:
    by = view.workers_by
    columns = (
        Column("worker", 6, 0, False, by == "worker"),
        Column("pid", 8, 4),
        Column("gen", 4, 5),
        Column("conns", 6, 2, False, by == "conns"),
        Column("requests/s", 10, 0, False, by == "requests/s"),
        Column("busy", 5, 0, False, by == "busy"),
        Column("p50", 7, 3),
        Column("p99", 7, 1, False, by == "p99"),
        Column("p99.9", 7, 6),
        Column("", 9),
    )
    rows = [
        (
            str(each.slot),
            str(each.pid),
            str(each.generation),
            f"{each.connections:,}",
            _rate(each.requests_s),
            "-" if each.busy is None else f"{each.busy:.0%}",
            *(_time(us) for us in each.latency_us),
            each.state,
        )
        for each in sorted(activity.workers, key=WORKER_ORDERS[by])
    ]
    return Table(columns, rows)


def _rules(activity: Activity, view: View) -> Table:
    # Its file's name without the directory, which is as wide as the screen.
    named = [replace(each, text=each.text[each.text.partition(": ")[0].rfind("/") + 1 :]) for each in activity.rules]
    return _counted(named, view, "hits/s", "rule")


def _domains(activity: Activity, view: View) -> Table:
    return _counted(activity.domains, view, "denied/s", "sender's domain")


def _counted(counted: list[Counted], view: View, rate: str, what: str) -> Table:
    by = view.counts_by
    columns = (
        Column(rate, 9, 0, False, by == "rate"),
        Column("total", 11, 1, False, by == "total"),
        Column(what, 20),
    )
    rows = [(_rate(each.per_s), f"{each.total:,}", each.text) for each in ranked(counted, by) if each.total]
    return Table(columns, rows)


def _rate(per_s: float | None) -> str:
    return "-" if per_s is None else f"{per_s:,.0f}" if per_s >= 10 or not per_s else f"{per_s:.1f}"


def _time(us: float) -> str:
    return "-" if not us else f"{us:.0f}us" if us < 10_000 else f"{us / 1000:.0f}ms" if us < 1e7 else f"{us / 1e6:.0f}s"
