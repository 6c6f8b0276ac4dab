"""What `cubecast status` says: gathered from receipts, shown to people or given to programs."""

from __future__ import annotations

import posixpath
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, TextIO

from pipeline.api import STEPS, Receipt, World
from pipeline.contracts.alerts import Alert
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.monitoring.running import due_within

Records = Mapping[tuple[str, str | None], Mapping[str, Any]]
State = Mapping[str, Any]
Holes = Mapping[str, Any]
_ORDER = [request.step for request in STEPS]
_ACCOUNT = ("raw", "observations", "duplicates", "rejected")
_WIDTH = 160
_HOLES = ("holes", "of", "open", "cells", "about", "first seen", "tries", "asked for until")


def receipt_line(receipt: Receipt, seconds: float) -> str:
    """A receipt in one line: `observe aarhus: done, 7,137,361 raw, 7,135,969 observations (31.2 s)`."""
    counts = "".join(f", {value:,} {name}" for name, value in headline_counts(receipt.counts).items())
    notes = "".join(f"; {note}" for note in receipt.notes[:2])
    return f"{receipt.step} {receipt.world}: {receipt.outcome}{counts}{notes} ({seconds:.1f} s)"


def headline_counts(counts: Mapping[str, int], most: int = 4) -> dict[str, int]:
    """The counts worth a line: those of a part (`roads.raw`) added up over the parts."""
    totals: dict[str, int] = {}
    for name, value in counts.items():
        whole = name.rpartition(".")[2]
        totals[whole] = totals.get(whole, 0) + value
    accounted = {name: totals.pop(name) for name in _ACCOUNT if name in totals}
    return dict(list((accounted | totals).items())[:most])


def state_of(world: World, store: str) -> dict[str, Any]:
    """The state of a world as its store tells it now."""
    from pipeline import clock
    from pipeline.stores.holes import HoleStore
    from pipeline.stores.monitoring import MonitoringStore
    from pipeline.stores.objects import ObjectStore
    from pipeline.stores.receipts import Receipts

    objects = ObjectStore(store)
    holes = HoleStore(objects, world).report(to_seconds(clock.clock_of(world)))
    return collect(world, store, Receipts(objects).newest(world.name), holes, MonitoringStore(objects, world.name).standing())


def collect(world: World, store: str, records: Records, holes: Holes, alerts: Iterable[Alert] = ()) -> dict[str, Any]:
    """The state of a world as its newest receipts tell it, with what its sources owe (`HoleStore.report`) and the alerts that stand."""
    steps = [_step(record, store) for _, record in sorted(records.items(), key=_in_flow)]
    newest = {step["step"]: step for step in sorted(steps, key=_recency)}
    ids = {name: value for step in newest.values() for name, value in step["ids"].items()}
    paths = {name: path for step in _ORDER[3:] if step in newest for name, path in newest[step]["paths"].items()}
    return {
        "world": world.name,
        "title": world.title,
        "store": store,
        "latest_issue_time": max((step["as_of"] for step in steps if step["step"] in ("predict", "publish")), default=None),
        "snapshot": ids.get("snapshot"),
        "model": ids.get("model_id"),
        "steps": steps,
        "sources": _sources(world, steps),
        "holes": dict(holes),
        "scores": newest.get("evaluate", {}).get("details", {}).get("headline", []),
        "alerts": [alert.to_json() for alert in alerts],
        "due_within": {name: int(span.total_seconds()) for name, span in _due_within(world).items()},
        "verified": newest.get("verify", {}).get("details", {}).get("latest", {}),
        "paths": paths,
    }


def _due_within(world: World) -> dict[str, timedelta]:
    return due_within(world.schedule, world.monitoring) if world.schedule else {}


def _recency(step: Mapping[str, Any]) -> str:
    return str(step["confirmed_time"] or step["recorded_time"])


def _in_flow(item: tuple[tuple[str, str | None], Any]) -> tuple[int, str]:
    (step, source), _ = item
    return (_ORDER.index(step) if step in _ORDER else len(_ORDER), source or "")


def _step(record: Mapping[str, Any], store: str) -> dict[str, Any]:
    receipt = Receipt.model_validate(record["receipt"])
    return {
        "step": receipt.step,
        "source": record["source"],
        "as_of": format_instant(receipt.as_of),
        "recorded_time": record["recorded_time"],
        "confirmed_time": record["confirmed_time"],
        "seconds": record["seconds"],
        "outcome": receipt.outcome,
        "ids": receipt.ids,
        "counts": receipt.counts,
        "notes": list(receipt.notes),
        "details": receipt.details,
        "paths": {
            name: path if "://" in path or path.startswith("/") else posixpath.join(store, path) for name, path in receipt.paths.items()
        },
    }


def _sources(world: World, steps: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, int]]:
    """Per source every raw row by what became of it, from the newest receipt of observe that counts it."""
    found: dict[str, dict[str, int]] = {}
    for step in sorted((s for s in steps if s["step"] == "observe"), key=_recency):
        for source in world.sources:
            if f"{source}.raw" in step["counts"]:
                found[source] = {name: step["counts"].get(f"{source}.{name}", 0) for name in _ACCOUNT}
    return found


def show(state: State, stream: TextIO) -> None:
    """Print the state for people."""
    from rich.console import Console

    console = Console(file=stream, width=None if stream.isatty() else _WIDTH, highlight=False)
    console.print(f"[bold]{state['world']}[/bold]  {state['title']}")
    if state["steps"]:
        ids = "".join(f"   {name} {state[name][:16]}" for name in ("snapshot", "model") if state[name])
        console.print(f"latest issue time  [bold]{state['latest_issue_time'] or 'none yet'}[/bold]{ids}\n")
        console.print(_table(("step", "as of", "recorded", "outcome", "s", "what came out"), map(_row, _by_step(state["steps"]))), "")
    else:
        console.print(f"no step has ended yet in {state['store']}; try: cubecast run --world {state['world']}", soft_wrap=True)
    if state["sources"]:
        rows = [(name, *(f"{counts[part]:,}" for part in _ACCOUNT), _balance(counts)) for name, counts in state["sources"].items()]
        console.print(_table(("source", "raw", "= observations", "+ duplicates", "+ rejected", ""), rows), "")
    if any(state["holes"].values()):
        console.print(_table(_HOLES, list(_holes(state["holes"]))), "")
    if state["scores"]:
        console.print(_table(("held-out scores", "MAE", "baselines", "leads won"), map(_score, state["scores"])), "")
    if state["alerts"]:
        console.print(_table(("alert", "about", "since", "what was found", "see"), map(_alert, state["alerts"])), "")
    for name, path in state["paths"].items():
        console.print(f"{name:12} {path}", soft_wrap=True, markup=False)


def _table(titles: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    numeric = {"s", "open", "cells", "tries", "raw", "= observations", "+ duplicates", "+ rejected", "MAE"}
    for title in titles:
        table.add_column(
            title, justify="right" if title in numeric else "left", no_wrap=title not in ("what came out", "baselines", "what was found")
        )
    for row in rows:
        table.add_row(*row)
    return table


def _by_step(steps: Iterable[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """The newest receipts of each step: that of all sources, or those of each where they are newer."""
    grouped: list[list[Mapping[str, Any]]] = []
    for name in _ORDER:
        whole = [s for s in steps if s["step"] == name and s["source"] is None]
        parts = [s for s in steps if s["step"] == name and s["source"] is not None]
        newer = whole if not parts or (whole and _recency(whole[0]) > max(map(_recency, parts))) else parts
        if newer:
            grouped.append(newer)
    return grouped


def _row(steps: list[Mapping[str, Any]]) -> tuple[str, ...]:
    outcome = "done" if any(step["outcome"] == "done" for step in steps) else "unchanged"
    confirmed = " ✓" if all(step["confirmed_time"] for step in steps) else ""
    counts = headline_counts({f"{n}.{name}": value for n, step in enumerate(steps) for name, value in step["counts"].items()}, most=6)
    came_out = ", ".join([*(f"{value:,} {name}" for name, value in counts.items()), *(note for step in steps for note in step["notes"])])
    seconds = sum(step["seconds"] for step in steps)
    return (steps[0]["step"], max(s["as_of"] for s in steps), max(map(_recency, steps)), outcome + confirmed, f"{seconds:.1f}", came_out)


def _balance(counts: Mapping[str, int]) -> str:
    return "✓" if counts["raw"] == sum(counts[part] for part in _ACCOUNT[1:]) else "[red]does not add up[/red]"


def _score(row: Mapping[str, Any]) -> tuple[str, ...]:
    baselines = ", ".join(f"{name} {_figure(mae)}" for name, mae in row["baselines"].items())
    return (f"{row['domain']} {row['variable']}", _figure(row["mae"]), baselines, f"{row['leads_won']}/{row['leads']}")


def _holes(holes: Holes) -> Iterator[tuple[str, ...]]:
    """A row per source and kind of what is asked for again, then what was given up."""
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for hole in holes["open"]:
        grouped.setdefault((hole["source"], hole["what"] if hole["kind"] == "cells" else "deliveries"), []).append(hole)
    for (source, what), found in grouped.items():
        days = sorted({(hole["first"] or "?")[:10] for hole in found})
        cells = f"{sum(hole['cells'] for hole in found):,}" if what != "deliveries" else ""
        span = days[0] if len(days) == 1 else f"{days[0]} .. {days[-1]}"
        seen, expires = min(hole["first_seen"] for hole in found), max(hole["expires"] for hole in found)
        yield (source, what, f"{len(found)}", cells, span, seen, str(max(hole["tries"] for hole in found)), expires)
    gone = Counter(hole["source"] for hole in holes["expired"]) + Counter(holes["days_given_up"])
    for source, count in gone.items():
        yield (source, "given up", f"{count}", "", "", "", "", "")


def _alert(row: Mapping[str, Any]) -> tuple[str, ...]:
    level = f"[red]{row['rule']}[/red]" if row["level"] == "block" else row["rule"]
    about = " ".join(row[part] for part in ("domain", "variable", "subject") if row[part])
    return (level, about, format_instant(from_seconds(row["since"])), row["text"], row["mend"].removeprefix("docs/runbooks/"))


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
