"""What a forecast was made from, which of it was present and how old: lines for a terminal, rows for a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.contracts.forecasts import Forecast
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.contracts.worlds import World
from pipeline.publishing.words import duration_text, instant_text, label_text

SEEN = ("inputs", "future", "texts", "absent")
"""Keys of a forecast's provenance that this module tells."""

_NO_RUN, _NO_DOCUMENT = "no run was known", "none within their reach"


def seen_lines(provenance: Mapping[str, Any]) -> list[str]:
    """A line per domain, run of others' forecasts and stream of documents; a provenance that lacks one of these says nothing of it."""
    lines = []
    for name, state in provenance.get("inputs", {}).items():
        lines.append(f"input {name}: newest value {duration_text(state['age_seconds'])} old, {state['share_present']:.0%} present")
    for name, run in provenance.get("future", {}).items():
        told = run and f"run of {run['init_time']}, {duration_text(run['age_seconds'])} old, known {run['known_time']}, {_of_targets(run)}"
        lines.append(f"forecasts by others for {name}: {told or _NO_RUN}")
    for name, seen in provenance.get("texts", {}).items():
        told = f"{seen['documents']:,}, the newest {duration_text(seen['age_seconds'])} old" if seen["documents"] else _NO_DOCUMENT
        lines.append(f"documents of {name}: {told}")
    return lines + [f"input {name}: absent, not forecast" for name in provenance.get("absent", [])]


def reading_rows(world: World, forecast: Forecast) -> list[dict[str, Any]]:
    """Per domain and variable its newest good value, and how much of the context was there."""
    inputs: Mapping[str, Any] = forecast.provenance.get("inputs", {})
    rows = []
    for name in (d for d in world.domains if d in inputs):
        domain, states = world.domains[name], inputs[name].get("variables", {})
        for i, variable in enumerate(v for v in domain.variables if v in states):
            state = states[variable]
            newest, percent = state["newest_time"], 100 * state["share_present"]
            rows.append(
                {
                    "domain": "" if i else domain.title,
                    "variable": label_text(variable, domain.variables[variable].long_name),
                    "newest": "never" if newest is None else instant_text(newest, world.zone),
                    "age": duration_text(state["age_seconds"]),
                    "places": f"{state['nodes_present']:,} of {state['nodes']:,}",
                    "present": f"{percent:.0f} % of {state['steps']:,} steps",
                    "percent": f"{percent:.1f}",
                }
            )
    return rows


def run_rows(world: World, forecast: Forecast) -> list[dict[str, Any]]:
    """Per domain the run of others' forecasts that it used."""
    found: Mapping[str, Any] = forecast.provenance.get("future", {})
    rows = []
    for name in (d for d in world.domains if d in found):
        run, future = found[name], world.domains[name].future
        rows.append(
            {
                "domain": world.domains[name].title,
                "source": future.source if future else "",
                "run": instant_text(_seconds(run["init_time"]), world.zone) if run else _NO_RUN.capitalize(),
                "age": duration_text(run["age_seconds"] if run else None),
                "known": instant_text(_seconds(run["known_time"]), world.zone) if run else duration_text(None),
                "present": _of_targets(run) if run else "",
                "percent": f"{100 * run['share_present']:.1f}" if run else "",
            }
        )
    return rows


def document_rows(world: World, forecast: Forecast) -> list[dict[str, Any]]:
    """Per stream how many documents were seen, and the newest of them."""
    found: Mapping[str, Any] = forecast.provenance.get("texts", {})
    rows = []
    for name, seen in found.items():
        age = seen["age_seconds"]
        rows.append(
            {
                "stream": label_text(name),
                "reach": duration_text(int(world.texts[name].reach.total_seconds())) if name in world.texts else "",
                "documents": f"{seen['documents']:,}",
                "newest": _NO_DOCUMENT.capitalize() if age is None else instant_text(forecast.issue_time - age, world.zone),
                "age": duration_text(age),
            }
        )
    return rows


def _of_targets(run: Mapping[str, Any]) -> str:
    return f"{100 * run['share_present']:.0f} % of the targets"


def _seconds(instant: str) -> int:
    return to_seconds(parse_instant(instant))
