"""Forecasts by others: windows take the run that was known, as a plain model in memory does, in training as live."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.contracts.times import from_seconds
from pipeline.contracts.windows import DomainWindows, Scaler, WindowSet
from pipeline.cube.groups import FUTURE
from pipeline.stores.cubes import CubeStore
from pipeline.windows.reader import build_windows, earliest_needed
from tests.feeds import START, Place, Row, build, make_place, observe

HOURS, STEP, CYCLE, LATENCY, REACH = 30, 1800, 3 * 3600, 3600, 8 * 3600
END = START + HOURS * 3600
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a smaller seed is no simpler case
PLACES = {"a": (56.0, 10.0), "b": (56.1, 10.0), "c": (56.0, 10.3), "x": (56.02, 10.01)}

WORLD = """
name = "little"
title = "A little world"
start = "2025-10-24T00:00Z"
[sources.road]
adapter = "csv"
latency = "20min"
nodes = { rows = [["a", 56.0, 10.0], ["x", 56.02, 10.01]] }
[sources.road.variables]
speed = { unit = "km/h" }
[sources.outlook]
adapter = "csv"
latency = "1h"
runs = "3h"
ahead = "9h"
nodes = { rows = [["a", 56.0, 10.0], ["b", 56.1, 10.0], ["c", 56.0, 10.3]] }
[sources.outlook.variables]
rain = { unit = "mm" }
warmth = { unit = "degC" }
[domains.traffic]
title = "Roads"
clock = { step = "30min" }
context = 4
horizon = 5
[domains.traffic.future]
source = "outlook"
reach = "8h"
neighbours = 1
[domains.traffic.future.variables]
warmth = { interpolate = "1h" }
rain = { aggregate = "max" }
[domains.traffic.variables]
speed = { source = "road" }
"""


def road_rows() -> list[Row]:
    stamps = range(START, END + 1, STEP)
    return [Row(n, t, t + 600, {"speed": (float(k % 17), 0)}) for n in "ax" for k, t in enumerate(stamps)]


def run_rows(rng: np.random.Generator) -> list[Row]:
    """Hourly or finer forecasts; runs that miss, come late, in parts, and are corrected, by stations that come and go."""
    rows = []
    for init in range(START - CYCLE, END, CYCLE):
        if rng.random() < 0.15:
            continue
        late = int(rng.choice([0, 600, 5000, 15000]))
        stations = [s for s in "abc" if rng.random() < (0.3 if s == "b" and init < START + 9 * 3600 else 0.9)]
        for station in stations:
            for valid in range(init - 1800, init + 9 * 3600 + 1, 1800 if rng.random() < 0.3 else 3600):
                arrival = init + int(rng.choice([600, 3600, 3600, 3660])) + late
                rows.append(Row(station, valid, arrival, one_reading(rng), init_time=init))
                if rng.random() < 0.1:
                    rows.append(Row(station, valid, arrival + int(rng.choice([60, 4000, 9000])), one_reading(rng), init_time=init))
    return rows


def one_reading(rng: np.random.Generator) -> dict[str, tuple[float, int]]:
    kinds = [(float(np.float32(rng.normal(5, 3))), 0), (math.nan, 1), (99.0, 2)]
    return {name: kinds[int(rng.choice(3, p=[0.8, 0.1, 0.1]))] for name in ("rain", "warmth")}


def place_with(rows: list[Row]) -> Place:
    place = make_place(Path(tempfile.mkdtemp()), WORLD)
    observe(place, "road", road_rows())
    observe(place, "outlook", rows)
    return place


def windows_at(place: Place, as_of: int, scalers: dict[str, Scaler] | None = None, *, read: int | None = None) -> WindowSet:
    """The windows of training, or with scalers the live one; from cubes as of `as_of`, or of a later instant."""
    store, live, moment = CubeStore(place.settings.store, "little"), scalers is not None, from_seconds(read or as_of)
    start = earliest_needed(place.world, "traffic", as_of) if live else None
    cubes = {"traffic": store.open(moment, "traffic", start=start)}
    runs = {"traffic": store.open_runs(moment, "traffic", start=as_of - REACH if live and read is None else None)}
    return build_windows(place.world, cubes, as_of=as_of, scalers=scalers, live=live, runs=runs, nodes={"traffic": ("a", "x")})


def scalers_of(windows: WindowSet) -> dict[str, Scaler]:
    domain = windows.domains["traffic"]
    assert domain.future is not None
    return {"traffic": domain.scaler, "traffic" + FUTURE: domain.future.scaler}


def seen(domain: DomainWindows, window: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(L, N, F) what a window finds at its targets; 0 where nothing."""
    future = domain.future
    assert future is not None
    shape = (domain.horizon, len(domain.node_ids), len(future.variables))
    values, good = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    run = int(future.run_W[window])
    for lead in range(domain.horizon if run >= 0 else 0):
        step = int(domain.end_W[window]) + 1 + lead - int(future.first_step_I[run])
        if 0 <= step < future.values_IHNF.shape[1]:
            values[lead], good[lead] = future.values_IHNF[run, step], future.good_IHNF[run, step]
    return values, good


def naive(rows: list[Row], issue: int, label: int, variable: str, width: int) -> dict[str, float]:
    """Station -> good value at a label of the newest run known at `issue`, by the words of the contract."""
    arrival = {id(r): max(r.available_time, r.init_time + LATENCY) for r in rows}
    known = [r for r in rows if arrival[id(r)] <= issue and any(says(*r.values[v]) for v in r.values)]
    known = [r for r in known if r.init_time < r.valid_time <= r.init_time + REACH]
    runs = sorted({r.init_time for r in known if r.init_time + REACH > issue})
    newest = max((r.init_time for r in known), default=None)
    if newest is None or newest not in runs:
        return {}
    mine = sorted((r for r in known if r.init_time == newest), key=lambda r: r.available_time)
    return {s: v for s in "abc" if (v := naive_cell([r for r in mine if r.node == s], label, variable, width)) is not None}


def says(value: float, flag: int) -> bool:
    return not (math.isnan(value) and flag <= 1)


def naive_cell(rows: list[Row], label: int, variable: str, width: int) -> float | None:
    latest = {r.valid_time: r.values[variable] for r in rows if says(*r.values[variable]) and label - width < r.valid_time <= label}
    good = [value for _, (value, flag) in sorted(latest.items()) if flag == 0]
    if not good:
        return None
    return float(np.float32(max(good) if variable == "rain" else np.mean(np.array(good, np.float64))))


def naive_interpolated(rows: list[Row], issue: int, label: int) -> dict[str, float]:
    at, before, after = (naive(rows, issue, label + d, "warmth", STEP) for d in (0, -STEP, STEP))
    between = {s: float(np.float32((before[s] + after[s]) / 2)) for s in "abc" if s in before and s in after}
    return between | at


def naive_node(node: str, values: dict[str, float], present: set[str]) -> float | None:
    """The value of the station of that name, else of the nearest one that the run speaks of."""
    if node in present:
        return values.get(node)
    far = {
        s: math.dist(PLACES[node], (PLACES[s][0], PLACES[node][1] + (PLACES[s][1] - PLACES[node][1]) * math.cos(math.radians(56))))
        for s in present
    }
    return values.get(min(far, key=far.__getitem__)) if far else None


@settings(max_examples=4, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_window_finds_what_the_naive_model_finds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = run_rows(rng)
    place = place_with(rows)
    build(place, END)
    domain = windows_at(place, END).domains["traffic"]
    future = domain.future
    assert future is not None
    assert future.variables == ("warmth", "rain")
    found = 0
    for window in rng.choice(len(domain.end_W), size=8):
        issue, end = int(domain.issue_time_W[window]), int(domain.end_W[window])
        values, good = seen(domain, int(window))
        physical = values * future.scaler.scale_NV + future.scaler.center_NV
        labels = [int(t) for t in domain.valid_time_T[end + 1 : end + 1 + domain.horizon]]
        inside = range(labels[0] - REACH, labels[0] + REACH, STEP)
        present = {s for t in inside for v in ("rain", "warmth") for s in naive(rows, issue, t, v, STEP)}
        for lead, label in enumerate(labels):
            for n, node in enumerate(("a", "x")):
                maps = (naive_interpolated(rows, issue, label), naive(rows, issue, label, "rain", STEP))
                for f, wanted in enumerate(naive_node(node, m, present) for m in maps):
                    assert good[lead, n, f] == (wanted is not None), (window, lead, node, f)
                    if wanted is not None:
                        np.testing.assert_allclose(physical[lead, n, f], wanted, rtol=1e-4, atol=1e-4)
                        found += 1
    assert found > 0


@settings(max_examples=4, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1))
def test_the_future_of_a_training_window_is_that_of_the_live_window_bit_for_bit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    place = place_with(run_rows(rng))
    build(place, END)
    training = windows_at(place, END)
    domain = training.domains["traffic"]
    shown = 0
    for window in rng.choice(len(domain.end_W), size=8):
        issue, scalers = int(domain.issue_time_W[window]), scalers_of(training)
        live = windows_at(place, issue, scalers).domains["traffic"]
        later = windows_at(place, issue, scalers, read=END)
        assert later.domains["traffic"].future is not None
        assert digest_of(later) == digest_of(windows_at(place, issue, scalers))
        then, now = seen(domain, int(window)), seen(live, 0)
        assert [a.tobytes() for a in then] == [a.tobytes() for a in now]
        assert (future_time(domain, int(window)) == future_time(live, 0)).all()
        shown += int(then[1].sum())
    assert shown > 0


def digest_of(windows: WindowSet) -> str:
    return replace(windows, snapshot="").digest


def future_time(domain: DomainWindows, window: int) -> NDArray[np.int64]:
    """When the run of a window started and since when it was known."""
    future = domain.future
    assert future is not None
    run = int(future.run_W[window])
    return np.array([-1, -1]) if run < 0 else np.array([future.init_time_I[run], future.available_time_I[run]])


@settings(max_examples=3, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), hour=st.integers(12, HOURS - 1))
def test_no_run_known_after_the_cut_off_changes_a_byte(seed: int, hour: int) -> None:
    rng = np.random.default_rng(seed)
    rows, as_of = run_rows(rng), START + hour * 3600 + 420
    poison: dict[str, Any] = {"rain": (-777.0, 0), "warmth": (777.0, 0)}
    clean = place_with(rows)
    poisoned = place_with([replace(r, values=poison) if max(r.available_time, r.init_time + LATENCY) > as_of else r for r in rows])
    for place in (clean, poisoned):
        build(place, END)
    first, second = windows_at(clean, as_of), windows_at(poisoned, as_of)
    assert first.digest == second.digest
    live = [windows_at(place, as_of, scalers_of(first)).digest for place in (clean, poisoned)]
    assert live[0] == live[1]


@settings(max_examples=3, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, HOURS * 3600), min_size=1, max_size=3))
def test_runs_built_in_pieces_have_the_digest_of_those_built_at_once(seed: int, cuts: list[int]) -> None:
    rows = sorted(run_rows(np.random.default_rng(seed)), key=lambda r: r.available_time)
    at_once, pieces = place_with(rows), make_place(Path(tempfile.mkdtemp()), WORLD)
    observe(pieces, "road", road_rows())
    done = 0
    for cut in [*(START + c for c in sorted(set(cuts))), 10**10]:
        batch = [r for r in rows if done < r.available_time <= cut]
        observe(pieces, "outlook", batch)
        build(pieces, min(cut, END))
        done = cut
    first, second = build(at_once, END), build(pieces, END)
    assert first.ids["digest.traffic.future"] == second.ids["digest.traffic.future"]
    assert second.outcome == "unchanged"
