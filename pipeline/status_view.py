"""`cubecast status` for people: what the cockpit shows, as tables in a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.api import STEPS
from pipeline.cockpit.grid import OUTCOMES
from pipeline.cockpit.signs import best_baseline, curves, sparkline
from pipeline.contracts.times import format_instant, from_seconds, parse_instant
from pipeline.status import PARTS, headline_counts, recency
from pipeline.status_grid import SIGNS, grid_lines, pending

State = Mapping[str, Any]
Row = tuple[str | Text, ...]
_ORDER = [request.step for request in STEPS]
_WIDTH = 160
_FEW = 3
_MOST_NOTES = 5
_MOST_PENDING = 5
_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def show(state: State, stream: TextIO) -> None:
    """Print the state for people; `pipeline.status.everything_of` gathers it."""
    console = Console(file=stream, width=None if stream.isatty() else _WIDTH, highlight=False)
    for part in _head(state):
        console.print(part)
    for section in SECTIONS:
        parts = list(section(state))
        if parts:
            console.print()
        for part in parts:
            console.print(part)
    if state["paths"]:
        console.print()
    for name, path in state["paths"].items():
        console.print(f"{name:12} {path}", soft_wrap=True, markup=False)


def _head(state: State) -> Iterator[RenderableType]:
    yield Text.assemble((state["world"], "bold"), f"  {state['title']}")
    if not state["steps"]:
        yield Text(f"no step has ended yet in {state['store']}; try: cubecast run --world {state['world']}")
        return
    newest = state["latest_issue_time"]
    age = f", {_age(_seconds_since(newest, state['now']))} old" if newest else ""
    ids = "".join(f"   {name} {state[name][:12]}" for name in ("snapshot", "model") if state[name])
    yield Text.assemble("newest issue time  ", (_minute(newest or "none yet"), "bold"), f"{age}{ids}")


def _grid(state: State) -> Iterator[RenderableType]:
    yield from grid_lines(state["grid"]) if "grid" in state else ()


def _unfinished(state: State) -> Iterator[RenderableType]:
    found = pending(state["grid"]) if "grid" in state else []
    rows = [
        (c["step"], _minute(format_instant(from_seconds(c["as_of"]))), Text(OUTCOMES[c["outcome"]], SIGNS[c["outcome"]][1]), c["link"])
        for c in found[:_MOST_PENDING]
    ]
    yield from _table(("not ended well", "as of", "state", f"in Airflow ({len(found)} in all)"), rows)


def _steps(state: State) -> Iterator[RenderableType]:
    yield from _table(("step", "as of", "recorded", "outcome", "s", "what came out"), map(_step, _by_step(state["steps"])))


def _by_step(steps: Iterable[State]) -> list[list[State]]:
    """The newest receipts of each step: that of all sources, or those of each where they are newer."""
    grouped: list[list[State]] = []
    for name in _ORDER:
        whole = [s for s in steps if s["step"] == name and s["source"] is None]
        parts = [s for s in steps if s["step"] == name and s["source"] is not None]
        newer = whole if not parts or (whole and recency(whole[0]) > max(map(recency, parts))) else parts
        if newer:
            grouped.append(newer)
    return grouped


def _step(steps: list[State]) -> Row:
    outcome = "done" if any(step["outcome"] == "done" for step in steps) else "unchanged"
    confirmed = " ✓" if all(step["confirmed_time"] for step in steps) else ""
    counts = headline_counts({f"{n}.{name}": value for n, step in enumerate(steps) for name, value in step["counts"].items()}, 3)
    came_out = ", ".join(f"{value:,} {name}" for name, value in counts.items())
    seconds = sum(step["seconds"] for step in steps)
    times = (_minute(max(s["as_of"] for s in steps)), _minute(max(map(recency, steps))))
    return (steps[0]["step"], *times, outcome + confirmed, f"{seconds:.1f}", came_out)


def _sources(state: State) -> Iterator[RenderableType]:
    rows = [(name, *(f"{counts[part]:,}" for part in PARTS), _balance(counts)) for name, counts in state["sources"].items()]
    yield from _table(("source", "raw", "= observations", "+ duplicates", "+ rejected", ""), rows)


def _balance(counts: Mapping[str, int]) -> Text:
    return Text("✓") if counts["raw"] == sum(counts[part] for part in PARTS[1:]) else Text("does not add up", "red")


def _inputs(state: State) -> Iterator[RenderableType]:
    rows = [(name, _age(row.get("age_seconds")), _share(row.get("share_present"))) for name, row in state["inputs"].items()]
    yield from _table(("freshness at the newest issue time", "newest good value", "present"), rows)


def _holes(state: State) -> Iterator[RenderableType]:
    yield from _table(("holes", "of", "open", "cells", "about", "first seen", "tries", "asked for until"), _hole_rows(state["holes"]))


def _hole_rows(holes: State) -> Iterator[Row]:
    """A row per source and kind of what is asked for again, then what was given up."""
    grouped: dict[tuple[str, str], list[State]] = {}
    for hole in holes["open"]:
        grouped.setdefault((hole["source"], hole["what"] if hole["kind"] == "cells" else "deliveries"), []).append(hole)
    for (source, what), found in grouped.items():
        days = sorted({(hole["first"] or "?")[:10] for hole in found})
        cells = f"{sum(hole['cells'] for hole in found):,}" if what != "deliveries" else ""
        span = days[0] if len(days) == 1 else f"{days[0]} to {days[-1]}"
        seen, expires = min(hole["first_seen"] for hole in found), max(hole["expires"] for hole in found)
        yield (source, what, f"{len(found)}", cells, span, seen[:10], str(max(hole["tries"] for hole in found)), expires[:10])
    gone = Counter(hole["source"] for hole in holes["expired"]) + Counter(holes["days_given_up"])
    for source, count in gone.items():
        yield (source, "given up", f"{count}", "", "", "", "", "")


def _alerts(state: State) -> Iterator[RenderableType]:
    yield from _table(("alert", "about", "since", "what was found", "see"), map(_alert, state["alerts"]))


def _alert(row: State) -> Row:
    about = " ".join(row[part] for part in ("domain", "variable", "subject") if row[part])
    see = row["mend"].removeprefix("docs/runbooks/")
    style = "red" if row["level"] == "block" else ""
    return (Text(row["rule"], style), about, _minute(format_instant(from_seconds(row["since"]))), row["text"], see)


def _models(state: State) -> Iterator[RenderableType]:
    champion, decisions = state["models"]["champion"], state["models"]["decisions"]
    if champion:
        yield Text.assemble(
            "champion  ", (champion["model_id"], "bold"), f" since {_minute(champion['as_of'])} ({champion['how']}): {champion['reason']}"
        )
    if not decisions:
        return
    last = decisions[0]
    yield Text.assemble(
        "last verdict  ", (last["model_id"], "bold"), f" as of {_minute(last['as_of'])} ", (last["says"], "bold"), f": {last['reason']}"
    )
    if last["outcome"] == "pending":
        yield Text(
            f"approve it in Airflow (Required Actions), or: cubecast models approve {last['model_id']} --world {state['world']} --reason TEXT"
        )
    yield from _table(("target", "published", "why"), map(_verdict, last["targets"]))


def _verdict(row: State) -> Row:
    more = f" (+{len(row['why']) - 1})" if len(row["why"]) > 1 else ""
    taken = Text.assemble(("taken: " if row["takes"] else "kept back: ", "bold"), row["short"], more)
    return (f"{row['domain']} {row['variable']}", row["published"], taken)


def _decisions(state: State) -> Iterator[RenderableType]:
    earlier = state["models"]["decisions"][1 : 1 + _FEW]
    yield from _table(
        ("earlier verdicts", "as of", "what became of it"), [(d["model_id"], _minute(d["as_of"]), d["says"]) for d in earlier]
    )


def _training(state: State) -> Iterator[RenderableType]:
    rows = [(row["model_id"], str(row["epoch"]), _minute(row["since"]), curves(row["history"])) for row in state["running"]]
    yield from _table(("training now", "epochs", "newest epoch ended", "validation error by epoch, relative to the anchor's"), rows)
    titles = ("candidate", "trained as of", "recipe", "epochs", "validation error by epoch")
    for c in state["models"]["candidates"][:1]:
        yield from _table(titles, [(c["model_id"], _minute(c["as_of"]), c["recipe"] or "-", str(c["epochs"] or "-"), curves(c["history"]))])


def _held_out(state: State) -> Iterator[RenderableType]:
    yield from _table(
        ("held-out scores", "MAE", "best baseline", "its MAE", "skill", "80 % holds", "leads won"), map(_score, state["scores"])
    )


def _score(row: State) -> Row:
    name, mae = best_baseline(row["baselines"])
    gained = None if mae is None or row["mae"] is None else 1 - row["mae"] / mae
    figures = (_figure(row["mae"]), name, _figure(mae), _share(gained), _share(row.get("coverage_80")))
    return (f"{row['domain']} {row['variable']}", *figures, f"{row['leads_won']}/{row['leads']}")


def _outcomes(state: State) -> Iterator[RenderableType]:
    newest = {(r["domain"], r["variable"], r["model"]): r["mae"] for r in (state["verified"] or {}).get("headline", [])}
    rows = []
    for row in state["skill"]:
        skills, held = ([day[key] for day in row["days"] if day[key] is not None] for key in ("skill", "coverage"))
        joint = newest.get((row["domain"], row["variable"], "joint"))
        figures = (_figure(row["days"][-1]["mae"]), _figure(joint))
        trends = (sparkline(skills), _share(skills[-1] if skills else None), sparkline(held), _share(held[-1] if held else None))
        rows.append((f"{row['domain']} {row['variable']}", *figures, *trends))
    yield from _table(("against what came", "MAE", "joint", "skill by day", "newest", "80 % holds by day", "newest"), rows)


def _cost(state: State) -> Iterator[RenderableType]:
    days = state["cost"]
    if days:
        totals = [sum(steps.values()) for steps in days.values()]
        day, steps = list(days.items())[-1]
        most = sorted(steps.items(), key=lambda item: -item[1])[:_FEW]
        parts = ", ".join(f"{step} {seconds:,.0f}" for step, seconds in most)
        yield Text(f"cost       {sparkline(totals)}  {day}: {totals[-1]:,.0f} s ({parts})")
    stored = {area: size for area, size in state["storage"].items() if size}
    if stored:
        areas = ", ".join(f"{area} {_bytes(size)}" for area, size in sorted(stored.items(), key=lambda item: -item[1]))
        yield Text(f"storage    {_bytes(sum(stored.values()))}: {areas}")


def _notes(state: State) -> Iterator[RenderableType]:
    notes = state["notes"]
    more = [f"and {len(notes) - _MOST_NOTES} more: --json"] if len(notes) > _MOST_NOTES else []
    yield from _table(("warnings that do not block",), [(note,) for note in [*notes[:_MOST_NOTES], *more]])


SECTIONS: Sequence[Callable[[State], Iterator[RenderableType]]] = (
    _grid,
    _unfinished,
    _steps,
    _alerts,
    _inputs,
    _sources,
    _holes,
    _models,
    _decisions,
    _training,
    _held_out,
    _outcomes,
    _cost,
    _notes,
)
"""What is shown, in this order; a section that has nothing to say is left out."""

_NUMERIC = {
    "s",
    "open",
    "cells",
    "tries",
    "raw",
    "= observations",
    "+ duplicates",
    "+ rejected",
    "MAE",
    "its MAE",
    "joint",
    "skill",
    "newest",
}
_NUMERIC |= {"80 % holds", "leads won", "epochs", "present", "newest good value"}
_WRAPPED = {"what came out", "what was found", "why", "warnings that do not block", "see", "validation error by epoch"}


def _table(titles: tuple[str, ...], rows: Iterable[Row]) -> Iterator[Table]:
    """A table, or nothing where it would be empty."""
    held = list(rows)
    if not held:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, justify="right" if title in _NUMERIC else "left", no_wrap=title not in _WRAPPED, overflow="fold")
    for row in held:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    yield table


def _seconds_since(instant: str, now: str) -> int:
    return int((parse_instant(now) - parse_instant(instant)).total_seconds())


def _minute(instant: str) -> str:
    return instant[:16].replace("T", " ")


def _age(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} d"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _bytes(count: int) -> str:
    return next((f"{count / size:.3g} {unit}" for size, unit in _UNITS if count >= size), f"{count} B")
