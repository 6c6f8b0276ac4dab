"""Forecasts of the made-up weather by others: runs that know the truth with an error that grows with the lead, as CSV.

A run is one file, published `latency` after its start; each row says its run and when it was published. Faults: a run
that never comes, one that comes half a day late, one that is corrected.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.deliveries import Delivery, Part
from pipeline.contracts.times import compact_instant, from_seconds, to_seconds
from pipeline.contracts.worlds import Source
from pipeline.sources.csv_options import CsvOptions
from pipeline.sources.synthetic_truth import CELL_DEGREES, DAY, HOUR, SOUTH_WEST, Array, SyntheticOptions, weather_at

OUTLOOK_ROWS = CsvOptions(time="valid", node_column="place", init="run", published="published")
_ABSENT, _LATE, _CORRECTED = 9, 13, 17
"""Runs, counted modulo 20, that never come, come late, come wrong at first."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """One published state of a run; seconds UTC."""

    number: int
    init_time: int
    published_time: int
    wrong: bool


def outlook_places(options: SyntheticOptions) -> tuple[tuple[str, ...], Array]:
    """Four places about the corners of the grid, as (latitude, longitude), and their names."""
    y, x = (np.array([0.25, 0.75]) * (n - 1) for n in (options.rows, options.columns))
    places = np.array([(a, b) for a in y for b in x])
    return ("sw", "se", "nw", "ne"), places * CELL_DEGREES + SOUTH_WEST


def runs_of(options: SyntheticOptions, cycle: int, latency: int) -> list[Run]:
    """What is ever published, in that order."""
    start = to_seconds(options.start)
    found = []
    for number in range(options.days * DAY // cycle):
        init, kind = start + number * cycle, number % 20 if options.faults else -1
        delay = DAY // 2 if kind == _LATE else 0
        if kind != _ABSENT:
            found.append(Run(number=number, init_time=init, published_time=init + latency + delay, wrong=kind == _CORRECTED))
        if kind == _CORRECTED:
            found.append(Run(number=number, init_time=init, published_time=init + latency + 3 * HOUR, wrong=False))
    return sorted(found, key=lambda run: (run.published_time, run.init_time))


def outlook_deliveries(source: Source, options: SyntheticOptions, as_of: int) -> Iterator[Delivery]:
    """One delivery per published state of a run that is out by `as_of`, after the places."""
    names, places = outlook_places(options)
    lines = [f"{name},{y:.6f},{x:.6f}" for name, (y, x) in zip(names, places, strict=True)]
    table = ("id,latitude,longitude\n" + "\n".join(lines) + "\n").encode()
    yield Delivery(name="nodes.csv", parts=(Part(name="nodes.csv", location=_at(options, "nodes.csv"), read=lambda: table),), role="nodes")
    cycle, latency = int((source.runs or source.ahead).total_seconds()), int(source.latency.total_seconds())
    reach = int(source.ahead.total_seconds())
    for run in runs_of(options, cycle, latency):
        if run.published_time > as_of:
            return
        name = f"run-{compact_instant(from_seconds(run.init_time))}-{compact_instant(from_seconds(run.published_time))}.csv"
        part = Part(name=name, location=_at(options, name), read=partial(_csv, options, run, reach))
        yield Delivery(name=name, parts=(part,), covers=(run.init_time, run.init_time + reach), published_time=run.published_time)


def foreseen(options: SyntheticOptions, run: Run, valid_T: NDArray[np.int64]) -> tuple[Array, Array]:
    """(T, 4) temperature and rain as a run foresees them."""
    rng = np.random.default_rng([options.seed, 5, run.number])
    lead = ((valid_T - run.init_time) / HOUR)[:, None]
    temperature, rain = weather_at(options, valid_T, outlook_places(options)[1])
    temperature = temperature + rng.normal(0, 1, temperature.shape) * (0.2 + 0.05 * lead) + (5.0 if run.wrong else 0.0)
    return np.round(temperature, 1), np.round(rain * np.exp(rng.normal(0, 1, rain.shape) * (0.05 + 0.02 * lead)), 1)


def _at(options: SyntheticOptions, name: str) -> str:
    return f"synthetic://{options.seed}/outlook/{name}"


def _csv(options: SyntheticOptions, run: Run, reach: int) -> bytes:
    valid_T = np.arange(run.init_time + HOUR, run.init_time + reach + 1, HOUR, dtype=np.int64)
    temperature, rain = foreseen(options, run, valid_T)
    start, published = (f"{from_seconds(t):%Y-%m-%dT%H:%M:%SZ}" for t in (run.init_time, run.published_time))
    lines = ["run,valid,place,temperature,rain,published"]
    for t, valid in enumerate(valid_T.tolist()):
        stamp = f"{from_seconds(valid):%Y-%m-%dT%H:%M:%SZ}"
        lines += [
            f"{start},{stamp},{place},{temperature[t, p]:.1f},{rain[t, p]:.1f},{published}"
            for p, place in enumerate(outlook_places(options)[0])
        ]
    return ("\n".join(lines) + "\n").encode()
