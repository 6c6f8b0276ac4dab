"""What the feeds of the made-up world report: the truth with noise, and the planted faults, each on a list."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.times import to_seconds
from pipeline.sources.synthetic_truth import DAY, HOUR, Array, Feed, SyntheticOptions, Truth

FaultKind = Literal["outage", "late", "revision", "spike", "stuck", "fill_code", "duplicate", "malformed", "unit"]
FILL = -999.0


@dataclass(frozen=True, kw_only=True)
class PlantedFault:
    """One fault: from `start` to `end` (seconds UTC, both inclusive) at a node (None: all)."""

    kind: FaultKind
    node: str | None
    start: int
    end: int
    variable: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Reports:
    """Rows in the order published: one per sensor or instrument and instant, or one slab of all cells per instant.

    `garbage` are lines that follow a row and are no readings.
    """

    ids: tuple[str, ...]
    node: NDArray[np.int64]
    valid: NDArray[np.int64]
    published: NDArray[np.int64]
    values: dict[str, Array]
    garbage: dict[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(kw_only=True, eq=False)
class _Draft:
    """Reports while faults are planted in them."""

    ids: tuple[str, ...]
    node: NDArray[np.int64]
    valid: NDArray[np.int64]
    published: NDArray[np.int64]
    values: dict[str, Array]
    start: int
    days: int
    faults: list[PlantedFault] = field(default_factory=list)

    def span(self, day: float, hours: float) -> tuple[int, int]:
        """From a day (counted on, modulo the world's length) for some hours."""
        begin = self.start + round((day % self.days) * DAY)
        return begin, begin + round(hours * HOUR)

    def rows(self, node: int | None, span: tuple[int, int]) -> NDArray[np.int64]:
        """Rows of a node (None: all) in a span, both ends included."""
        inside = (self.valid >= span[0]) & (self.valid <= span[1])
        return np.flatnonzero(inside & (self.node == node) if node is not None else inside)

    def note(self, kind: FaultKind, node: int | None, span: tuple[int, int], variable: str | None = None) -> None:
        """Put a fault on the list."""
        name = None if node is None else self.ids[node]
        self.faults.append(PlantedFault(kind=kind, node=name, start=span[0], end=span[1], variable=variable))

    def drop(self, rows: NDArray[np.int64]) -> None:
        """Take rows out."""
        self._take(np.setdiff1d(np.arange(len(self.valid)), rows))

    def add(self, rows: NDArray[np.int64], published: NDArray[np.int64], values: dict[str, Array]) -> None:
        """Report rows once more."""
        self.node, self.valid = np.append(self.node, self.node[rows]), np.append(self.valid, self.valid[rows])
        self.published = np.append(self.published, published)
        self.values = {name: np.concatenate([old, values[name]]) for name, old in self.values.items()}

    def settle(self) -> None:
        """Put rows into the order published."""
        self._take(np.lexsort((self.node, self.valid, self.published)))

    def _take(self, rows: NDArray[np.int64]) -> None:
        self.node, self.valid, self.published = self.node[rows], self.valid[rows], self.published[rows]
        self.values = {name: old[rows] for name, old in self.values.items()}


_CODES: dict[Feed, int] = {"weather": 2, "roads": 3, "prices": 4}


def plant(options: SyntheticOptions, truth: Truth, latency: int) -> tuple[Reports, tuple[PlantedFault, ...]]:
    """The reports of the feed of `options`, and the faults planted in them."""
    rng = np.random.default_rng([options.seed, _CODES[options.feed]])
    draft = _clean(options, truth, latency, rng)
    garbage: tuple[str, ...] = ()
    if options.faults:
        if options.feed == "weather":
            _plant_weather(draft)
        elif options.feed == "roads":
            garbage = _plant_roads(draft, rng)
        else:
            garbage = _plant_prices(draft)
    draft.settle()
    lines = _scatter(draft, garbage) if garbage else {}
    reports = Reports(ids=draft.ids, node=draft.node, valid=draft.valid, published=draft.published, values=draft.values, garbage=lines)
    return reports, tuple(draft.faults)


def _clean(options: SyntheticOptions, truth: Truth, latency: int, rng: np.random.Generator) -> _Draft:
    """Reports with noise and without faults."""
    start, days = to_seconds(options.start), options.days
    if options.feed == "weather":
        temperature = truth.temperature_TC + rng.normal(0, 0.3, truth.temperature_TC.shape)
        rain = np.round(truth.rain_TC * np.exp(rng.normal(0, 0.1, truth.rain_TC.shape)), 1)
        values: dict[str, Array] = {"temperature": np.round(temperature, 2).astype(np.float64), "rain": rain.astype(np.float64)}
        valid, ids = truth.hour_T, truth.cell_ids
        node = np.zeros(len(valid), np.int64)
    elif options.feed == "roads":
        speed = np.clip(truth.speed_TN + rng.normal(0, 1.5, truth.speed_TN.shape), 3, None)
        count = np.maximum(truth.count_TN + rng.normal(0, 1, truth.count_TN.shape) * np.sqrt(truth.count_TN), 0)
        values = {"speed": np.round(speed, 1).ravel(), "count": np.round(count).astype(np.float64).ravel()}
        valid, node, ids = (
            np.repeat(truth.road_T, options.sensors),
            np.tile(np.arange(options.sensors), len(truth.road_T)),
            truth.sensor_ids,
        )
    else:
        values, ids = {"price": np.round(truth.price_TI, 4).ravel()}, truth.instrument_ids
        valid, node = np.repeat(truth.hour_T, options.instruments), np.tile(np.arange(options.instruments), len(truth.hour_T))
    return _Draft(ids=ids, node=node, valid=valid, published=valid + latency, values=values, start=start, days=days)


def _late(draft: _Draft, node: int | None, span: tuple[int, int], delay: int) -> None:
    draft.published[draft.rows(node, span)] += delay
    draft.note("late", node, span)


def _outage(draft: _Draft, node: int | None, span: tuple[int, int]) -> None:
    draft.drop(draft.rows(node, span))
    draft.note("outage", node, span)


def _revise(draft: _Draft, node: int | None, span: tuple[int, int], variable: str, factor: float, shift: float) -> None:
    """Report wrong values first, and the right ones a day later."""
    rows = draft.rows(node, span)
    right = {name: values[rows].copy() for name, values in draft.values.items()}
    draft.values[variable][rows] = np.round(draft.values[variable][rows] * factor + shift, 0 if variable == "count" else 1)
    draft.add(rows, draft.published[rows] + DAY, right)
    draft.note("revision", node, span, variable)


def _repeat(draft: _Draft, rows: NDArray[np.int64]) -> None:
    """Report rows twice in the same delivery."""
    draft.add(rows, draft.published[rows], {name: values[rows] for name, values in draft.values.items()})
    for row in rows:
        moment = int(draft.valid[row])
        draft.note("duplicate", int(draft.node[row]), (moment, moment))


def _plant_weather(draft: _Draft) -> None:
    _late(draft, None, draft.span(6.125, 3), 5 * HOUR)
    _outage(draft, None, draft.span(4.625, 1))
    span = draft.span(2.25, 1)
    draft.values["temperature"][draft.rows(None, span)] += 273.15
    draft.note("unit", None, span, "temperature")
    _revise(draft, None, draft.span(7.5, 2), "temperature", 1.0, 4.0)
    _repeat(draft, draft.rows(None, draft.span(1.5, 0)))


def _plant_roads(draft: _Draft, rng: np.random.Generator) -> tuple[str, ...]:
    count = len(draft.ids)
    _late(draft, 0, draft.span(6.35, 4), 6 * HOUR)
    _outage(draft, 1 % count, draft.span(3.25, 8))
    _outage(draft, None, draft.span(5.09, 1))
    span = draft.span(4.3, 5)
    rows = draft.rows(2 % count, span)
    draft.values["speed"][rows] = draft.values["speed"][rows[0]] if len(rows) else 0
    draft.note("stuck", 2 % count, span, "speed")
    span = draft.span(6.4, 2)
    for name in draft.values:
        draft.values[name][draft.rows(3 % count, span)] = FILL
        draft.note("fill_code", 3 % count, span, name)
    for day in range(1, draft.days, 2):
        node = int(rng.integers(count))
        span = draft.span(day + 0.1, 0.24)
        for row in draft.rows(node, span)[:1]:
            draft.values["speed"][row] = min(draft.values["speed"][row] + 90, 178.0)
            draft.note("spike", node, (int(draft.valid[row]), int(draft.valid[row])), "speed")
    _revise(draft, 4 % count, draft.span(7.0, 6), "count", 1.3, 0.0)
    _repeat(draft, np.sort(rng.choice(len(draft.valid), max(len(draft.valid) // 400, 2), replace=False)))
    return (
        "link down",
        "2025-13-45T99:00:00+00:00,road00000,55.0,10,2025-10-13T00:00:00Z",
        "2025-10-15T10:00:00+02:00,road00000,fast,3,2025-10-15T08:05:00Z",
    )


def _plant_prices(draft: _Draft) -> tuple[str, ...]:
    count = len(draft.ids)
    _late(draft, 0, draft.span(5.25, 3), 4 * HOUR)
    _outage(draft, 1 % count, draft.span(3.5, 5))
    _revise(draft, 1 % count, draft.span(7.2, 4), "price", 1.02, 0.0)
    _repeat(draft, draft.rows(0, draft.span(2.5, 2)))
    return ("1760500800;GOOD0000;n/c;1760500860",)


def _scatter(draft: _Draft, lines: tuple[str, ...]) -> dict[int, tuple[str, ...]]:
    """Lines that are no readings, one after the first report of every third day or so."""
    found: dict[int, tuple[str, ...]] = {}
    for number, day in enumerate(range(1, draft.days, 2)):
        span = draft.span(day + 0.5, 1)
        rows = np.flatnonzero((draft.published >= span[0]) & (draft.published <= span[1]))
        if len(rows):
            found[int(rows[0])] = (lines[number % len(lines)],)
            draft.note("malformed", None, span)
    return found
