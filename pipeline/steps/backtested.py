"""What backtests have shown: each origin by itself, all of them pooled, and the joint model against every rival."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.contracts.backtests import BacktestRecord
from pipeline.contracts.forecasts import BASELINES
from pipeline.contracts.scores import Scorecard
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.worlds import World
from pipeline.settings import Settings
from pipeline.steps.judging import judged_by
from pipeline.stores.backtests import BacktestStore
from pipeline.verification.metrics import score_rows
from pipeline.verification.statistics import Statistics
from pipeline.verification.tables import tables_of


@dataclass(frozen=True, kw_only=True, eq=False)
class _Found:
    """What one origin found, its statistics read."""

    content: Mapping[str, Any]
    statistics: Statistics


def together(world: World, record: BacktestRecord, found: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """The scorecard of the origins that are done: each by itself, all pooled, and the joint model against each rival.

    Pooled statistics are the exact sum of the origins', so the order in which they were done cannot matter.
    """
    each = [_Found(content=found[n], statistics=Statistics.from_json(found[n]["statistics"])) for n in sorted(found)]
    pooled = Statistics.added(origin.statistics for origin in each)
    notes = dict.fromkeys(note for origin in each for note in origin.content["notes"])
    if len(each) < record.origins:
        notes |= {f"{len(each)} of {record.origins} origins are done": None}
    card = Scorecard(
        world=world.name,
        model_id=record.backtest_id,
        as_of=format_instant(from_seconds(max((origin.content["origin"]["settled"] for origin in each), default=0))),
        fold="backtest",
        periods=_ends(each),
        snapshot=each[-1].content["snapshot"] if each else "",
        windows={name: sum(origin.content["windows"].get(name, 0) for origin in each) for name in pooled.axes},
        **tables_of(pooled),
        judged_by=judged_by(world),
        notes=tuple(notes),
    )
    return {
        "backtest": record.model_dump(mode="json"),
        "origins": [_summary(origin) for origin in each],
        "scorecard": card.model_dump(mode="json"),
        "notes": list(notes),
    }


def _ends(each: Iterable[_Found]) -> dict[str, tuple[str, str]]:
    found: dict[str, tuple[str, str]] = {}
    for origin in each:
        for name, (first, last) in origin.content["periods"].items():
            found[name] = (found[name][0] if name in found else first, last)
    return found


def _summary(origin: _Found) -> dict[str, Any]:
    """One origin by itself: where it lies, how many cells it expected and scored, and every model over all leads."""
    content = origin.content
    rows = [row for row in score_rows(origin.statistics) if row.lead == 0]
    counted = [row for row in rows if row.model == BASELINES[0]]
    at = {name: format_instant(from_seconds(content["origin"][name])) for name in ("cut_off", "begin", "end", "settled")}
    return {
        "number": content["origin"]["number"],
        **at,
        "model_id": content["model_id"],
        "windows": content["windows"],
        **{name: sum(getattr(row, name) for row in counted) for name in ("expected", "n", "missing")},
        "rows": [row.model_dump(mode="json") for row in rows],
    }


def list_backtests(settings: Settings, world: World) -> list[dict[str, Any]]:
    """Every backtest of a world: what was asked, and how many origins are done."""
    store = BacktestStore(settings, world.name)
    records = [store.record(backtest_id) for backtest_id in store.ids()]
    return [{"backtest": r.backtest_id, "record": r.model_dump(mode="json"), "done": len(store.found(r.backtest_id))} for r in records]


def show_backtest(settings: Settings, world: World, backtest_id: str) -> dict[str, Any]:
    """The scorecard of a backtest.

    Raises:
        NotYetAvailable: There is none of that name, or no origin is done.
    """
    store = BacktestStore(settings, world.name)
    found = store.record(backtest_id).backtest_id
    return {"id": found, **store.scorecard(found), "url": store.scorecard_url(found)}
