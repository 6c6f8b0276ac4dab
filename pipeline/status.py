"""What `cubecast status` says: gathered from receipts, shown to people or given to programs."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any, TextIO

from pipeline.api import STEPS, Receipt, World
from pipeline.contracts.times import format_instant

Records = Mapping[tuple[str, str | None], Mapping[str, Any]]
_ORDER = [request.step for request in STEPS]
_ISSUED = ("train", "evaluate", "promote", "predict", "publish")


def receipt_line(receipt: Receipt, seconds: float) -> str:
    """A receipt in one line: `observe aarhus: done, 71 rows, 2 rejected (3.2 s)`."""
    counts = "".join(f", {value:,} {name}" for name, value in _headlines(receipt.counts).items())
    notes = "".join(f"; {note}" for note in receipt.notes[:2])
    return f"{receipt.step} {receipt.world}: {receipt.outcome}{counts}{notes} ({seconds:.1f} s)"


def _headlines(counts: Mapping[str, int], most: int = 5) -> dict[str, int]:
    plain = {name: value for name, value in counts.items() if "." not in name and "/" not in name}
    return dict(list((plain or dict(counts)).items())[:most])


def collect(world: World, store: str, records: Records) -> dict[str, Any]:
    """The state of a world as its newest receipts tell it."""
    steps = [_step(record) for _, record in sorted(records.items(), key=_in_flow)]
    issued = [step["as_of"] for step in steps if step["step"] in ("predict", "publish")]
    paths = {name: path for step in steps if step["step"] in ("evaluate", "publish", "verify") for name, path in step["paths"].items()}
    ids = {name: value for step in steps for name, value in step["ids"].items()}
    return {
        "world": world.name,
        "title": world.title,
        "store": store,
        "latest_issue_time": max(issued, default=None),
        "snapshot": ids.get("snapshot"),
        "model": ids.get("model"),
        "steps": steps,
        "paths": {name: path if "://" in path or path.startswith("/") else posixpath.join(store, path) for name, path in paths.items()},
    }


def _in_flow(item: tuple[tuple[str, str | None], Any]) -> tuple[int, str]:
    (step, source), _ = item
    return (_ORDER.index(step) if step in _ORDER else len(_ORDER), source or "")


def _step(record: Mapping[str, Any]) -> dict[str, Any]:
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
        "paths": receipt.paths,
    }


def show(state: Mapping[str, Any], stream: TextIO) -> None:
    """Print the state for people."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=stream, soft_wrap=not stream.isatty())
    console.print(f"[bold]{state['world']}[/bold]  {state['title']}")
    console.print(f"latest issue time  [bold]{state['latest_issue_time'] or 'none yet'}[/bold]")
    if not state["steps"]:
        console.print(f"nothing has run yet; try: cubecast run --world {state['world']}")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in ("step", "as of", "recorded", "outcome", "s", "what came out"):
        table.add_column(title, justify="right" if title == "s" else "left", overflow="fold", no_wrap=title != "what came out")
    for step in state["steps"]:
        name = step["step"] + (f" {step['source']}" if step["source"] else "")
        outcome = step["outcome"] + (" ✓" if step["confirmed_time"] else "")
        table.add_row(name, step["as_of"], step["recorded_time"], outcome, f"{step['seconds']:.1f}", _what(step))
    console.print(table)
    for name, path in state["paths"].items():
        console.print(f"{name:12} {path}", soft_wrap=True, highlight=False)


def _what(step: Mapping[str, Any]) -> str:
    ids = [f"{name} {value[:12]}" for name, value in step["ids"].items()]
    counts = [f"{value:,} {name}" for name, value in step["counts"].items()]
    return ", ".join([*counts, *ids, *step["notes"]])
