"""What a calibration promises: nothing later is seen, batches do not matter, a restart changes nothing, few data change little."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.api import EvaluateRequest
from pipeline.calibration.blocks import Conditions, Targets, cases_of, probabilities, published
from pipeline.calibration.calibration import LOCAL, Calibration, Cases
from pipeline.calibration.pace import Pace
from pipeline.calibration.walk import Ground, Walk
from pipeline.contracts.forecasts import MEDIAN, QUANTILES
from pipeline.contracts.judging import Event
from pipeline.contracts.times import to_seconds
from pipeline.contracts.world_files import parse_world
from pipeline.steps import evaluate, reading
from pipeline.steps.calibrating import Book, ground_of, walk_of
from pipeline.stores.calibrations import dump_calibrations
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from pipeline.telemetry import QUIET
from pipeline.verification.events import event_probability
from pipeline.windows.reader import build_windows
from tests.unit.steps.evidence_world import CUTOFF, WORLD, Town, as_known, made_cube, make_town

SPREAD = np.array([-1.645, -1.282, -0.674, 0, 0.674, 1.282, 1.645], np.float32)
EVENT = '[domains.road.events.busy]\nvariable = "flow"\nabove = 24.0\n'
TINY = parse_world(WORLD + EVENT, "tiny.toml")
CUBE = made_cube(TINY)
KNOWN = as_known(CUBE, to_seconds(CUTOFF), None)
WINDOWS = build_windows(TINY, {"road": KNOWN}, as_of=to_seconds(CUTOFF), scalers=None, live=False)
GROUND = ground_of(TINY, WINDOWS, "road", KNOWN, WINDOWS.domains["road"].windows_of("test"))
VIEW = WINDOWS.domains["road"]
TEST = VIEW.windows_of("test")
FORECASTS = 20 + 8 * np.sin(2 * np.pi * VIEW.issue_time_W / 86400)[:, None, None, None, None] + 0.5 * SPREAD
FORECASTS = np.broadcast_to(FORECASTS, (len(VIEW.issue_time_W), 4, 5, 2, 7)).astype(np.float32)


def _raw(index_W: np.ndarray) -> np.ndarray:
    return FORECASTS[index_W]


def _poisoned(ground: Ground, moment: int, random: np.random.Generator) -> Ground:
    """The ground with everything that became known after a moment made up."""
    view = ground.view
    known = view.valid_time_T[:, None, None] + view.latency_TNV.astype(np.int64) <= moment
    observed = ground.observed_TNV.copy()
    late = ~known[: len(observed)]
    observed[late] = random.normal(0, 1000, int(late.sum()))
    good = np.where(known, view.good_TNV, random.random(known.shape) < 0.5)
    latency = np.where(known, view.latency_TNV, np.int32(60) + (moment - view.valid_time_T)[:, None, None].clip(0).astype(np.int32))
    return replace(ground, view=replace(view, good_TNV=good, latency_TNV=latency), observed_TNV=observed)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(at=st.integers(0, len(TEST) - 1))
def test_nothing_known_after_an_issue_time_reaches_its_forecast(at: int) -> None:
    moment = int(VIEW.issue_time_W[TEST[at]])
    poisoned = _poisoned(GROUND, moment, np.random.default_rng(at))
    true, false = walk_of(GROUND, _raw).forecast(TEST), walk_of(poisoned, _raw).forecast(TEST)
    assert np.array_equal(true[0][: at + 1], false[0][: at + 1])
    assert np.array_equal(true[1]["busy"][: at + 1], false[1]["busy"][: at + 1])
    if at < len(TEST) // 2:
        assert not np.array_equal(true[0], false[0])


@settings(max_examples=15, deadline=None, derandomize=True)
@given(cuts=st.lists(st.integers(1, len(TEST) - 1), max_size=6, unique=True))
def test_forecasts_do_not_depend_on_the_batches_they_are_made_in(cuts: list[int]) -> None:
    whole = walk_of(GROUND, _raw)
    parts = walk_of(GROUND, _raw)
    quantiles, events = whole.forecast(TEST)
    made = [parts.forecast(part) for part in np.split(TEST, sorted(cuts))]
    assert np.allclose(np.concatenate([m[0] for m in made]), quantiles, rtol=1e-6)
    assert np.allclose(np.concatenate([m[1]["busy"] for m in made]), events["busy"], atol=1e-6)
    end = to_seconds(CUTOFF)
    _same(whole.until(end), parts.until(end), rtol=1e-9)


def _same(a: Calibration, b: Calibration, rtol: float = 0) -> None:
    assert a.block == b.block
    for field in fields(Cases):
        assert np.allclose(getattr(a.cases, field.name), getattr(b.cases, field.name), rtol=rtol, atol=rtol), field.name
    assert np.allclose(a.missed_V, b.missed_V, rtol=rtol, atol=rtol)


def test_a_walk_that_begins_at_what_another_left_goes_on_nearly_as_that_would_have() -> None:
    # Blocks that were open when the other ended were begun with an earlier calibration than the one it left.
    half = int(VIEW.issue_time_W[TEST[len(TEST) // 2]])
    whole = walk_of(GROUND, _raw)
    whole.forecast(TEST)
    before = walk_of(GROUND, _raw)
    before.forecast(TEST[VIEW.issue_time_W[TEST] < half])
    state = before.until(half)
    after = Walk(GROUND, _raw, state)
    after.forecast(TEST[VIEW.issue_time_W[TEST] // GROUND.pace.block > state.block])
    end = to_seconds(CUTOFF)
    one, other = whole.until(end), after.until(end)
    assert one.block == other.block
    for name in ("seen_VLGR", "span_V", "size_VN", "seen_VN", "size_VH", "seen_VH"):
        assert np.allclose(getattr(one.cases, name), getattr(other.cases, name)), name
    assert np.allclose(one.cases.mass_VLGRB.sum(-1), other.cases.mass_VLGRB.sum(-1))
    assert np.allclose(one.scores, other.scores, rtol=0.05, atol=0.05)


# ---- One calibration, without windows ------------------------------------------------------------------------------


def _targets(nodes: int, window: float = 1 / 24) -> Targets:
    events = {"high": (0, Event(variable="x", above=1.0)), "low": (0, Event(variable="x", below=1.0))}
    groups = np.zeros(nodes, np.int64)
    return Targets(bounds=((-np.inf, np.inf),), groups=1, group_N=groups, leads=2, hours=1, window=window, events=events)


def _block(targets: Targets, state: Calibration, random: np.random.Generator, spread: float, windows: int = 6) -> tuple[Any, Cases]:
    """Forecasts of some windows about 0, whose outcomes have a spread of 1."""
    shape = (windows, targets.leads, len(targets.group_N), 1)
    raw = np.broadcast_to(spread * SPREAD, (*shape, 7)).astype(np.float32)
    truth = random.normal(0, 1, shape).astype(np.float32)
    here = Conditions(availability_WN=np.zeros(shape[::2], np.int8), hour_WL=np.zeros(shape[:2], np.int64))
    return (raw, here, truth), cases_of(state, targets, raw, here, truth, np.ones(shape, bool))


def _learned(targets: Targets, random: np.random.Generator, spread: float, blocks: int) -> Calibration:
    state = Calibration.start(0, targets.shape, tuple(targets.events))
    for _ in range(blocks):
        state = state.absorbed(_block(targets, state, random, spread)[1], 0.25, state)
    return state


@settings(max_examples=5, deadline=None, derandomize=True)
@given(spread=st.floats(0.4, 2.5), nodes=st.sampled_from([1, 8, 40]))
def test_intervals_come_to_hold_what_they_say_whichever_width_the_model_gives(spread: float, nodes: int) -> None:
    targets, random = _targets(nodes), np.random.default_rng(nodes)
    state = _learned(targets, random, spread, 240)
    (raw, here, truth), _ = _block(targets, state, random, spread, windows=4000 // nodes)
    moved = published(state, targets, raw, here)[..., 0, :]
    for low, high, level in ((1, 5, 0.8), (0, 6, 0.9)):
        inside = (truth[..., 0] >= moved[..., low]) & (truth[..., 0] <= moved[..., high])
        assert inside.mean() == pytest.approx(level, abs=0.03)
    told = probabilities(state, targets, raw, here)
    assert told["high"].mean() == pytest.approx(0.159, abs=0.03)
    assert np.allclose(told["high"] + told["low"], 1, atol=0.05)


def test_before_any_outcome_a_forecast_is_left_as_the_model_gives_it_and_after_one_window_nearly_so() -> None:
    targets, random = _targets(40), np.random.default_rng(1)
    state = Calibration.start(0, targets.shape, tuple(targets.events))
    (raw, here, _), cases = _block(targets, state, random, 0.2, windows=1)
    assert np.array_equal(published(state, targets, raw, here), raw)
    told = probabilities(state, targets, raw * 5, here)["high"]
    assert np.allclose(told, event_probability(targets.events["high"][1], raw[..., 0, :] * 5))
    once = published(state.absorbed(cases, 0.25, state), targets, raw, here)
    widths = [q[..., 5] - q[..., 1] for q in (raw, once)]
    assert (widths[1] >= widths[0]).all()
    assert widths[1].max() < 1.15 * widths[0].max()


def test_evidence_is_counted_in_time_and_not_in_cells() -> None:
    random = np.random.default_rng(2)
    few, many = _targets(16), _targets(1600)
    a, b = (_block(t, Calibration.start(0, t.shape, tuple(t.events)), random, 0.5)[1] for t in (few, many))
    assert np.array_equal(a.seen_VLGR, b.seen_VLGR)
    assert np.array_equal(a.span_V, b.span_V)
    alone = _targets(1)
    assert _block(alone, Calibration.start(0, alone.shape, tuple(alone.events)), random, 0.5)[1].span_V == pytest.approx(a.span_V / 4)


def test_evidence_of_events_is_counted_in_time_too() -> None:
    random = np.random.default_rng(2)
    few, many = _targets(16), _targets(1600)
    a, b = (_block(t, Calibration.start(0, t.shape, tuple(t.events)), random, 0.5)[1] for t in (few, many))
    assert a.told_EP.sum(1) == pytest.approx(6 * few.worth * np.ones(2))
    assert np.array_equal(a.told_EP, b.told_EP)


def _uneven(targets: Targets, random: np.random.Generator, windows: int = 6) -> tuple[Any, ...]:
    """Forecasts as wide everywhere, of outcomes spread by 2 at half of the nodes and by 3 in the second part of the day."""
    shape = (windows, targets.leads, len(targets.group_N), 1)
    hour = np.broadcast_to(np.arange(targets.leads) % 2, shape[:2])
    spread = np.where(np.arange(shape[2]) % 2, 2.0, 1.0) * np.where(hour, 3.0, 1.0)[..., None]
    truth = (spread[..., None] * random.normal(0, 1, shape)).astype(np.float32)
    here = Conditions(availability_WN=np.zeros(shape[::2], np.int8), hour_WL=hour.astype(np.int64))
    return np.broadcast_to(4 * SPREAD, (*shape, 7)).astype(np.float32), here, truth


def test_intervals_are_wider_at_nodes_and_in_parts_of_the_day_that_usually_err_more() -> None:
    targets, random = replace(_targets(40), hours=2), np.random.default_rng(6)
    state = Calibration.start(0, targets.shape, tuple(targets.events))
    for _ in range(120):
        raw, here, truth = _uneven(targets, random)
        state = state.absorbed(cases_of(state, targets, raw, here, truth, np.ones(truth.shape, bool)), 0.25, state)
    by_node, by_hour = (usual[0] for usual in state.usual)
    assert by_node[1] / by_node[0] == pytest.approx(2**LOCAL, abs=0.1)
    assert by_hour[1] / by_hour[0] == pytest.approx(3**LOCAL, abs=0.2)
    raw, here, truth = _uneven(targets, random, windows=200)
    made = published(state, targets, raw, here)[..., 0, :]
    inside = (truth[..., 0] >= made[..., 1]) & (truth[..., 0] <= made[..., 5])
    assert inside.mean() == pytest.approx(0.8, abs=0.03)
    width = (made[..., 5] - made[..., 1]).mean(axis=0)
    assert (width[:, 1::2] > 1.2 * width[:, ::2]).all()
    assert (width[1] > 1.4 * width[0]).all()


def test_probabilities_begin_with_the_models_own_and_end_with_what_came_true() -> None:
    targets, random = _targets(40), np.random.default_rng(7)
    own, told = [], []
    for blocks in (1, 4, 16, 64):
        state = _learned(targets, random, 0.4, blocks)
        (raw, here, _), _ = _block(targets, state, random, 0.4, windows=1)
        own.append(event_probability(targets.events["high"][1], raw[..., 0, :]).mean())
        told.append(probabilities(state, targets, raw, here)["high"].mean())
    assert own == pytest.approx([0.025] * 4)
    assert sorted(told) == pytest.approx(told)
    assert told[0] < 0.06
    assert told[-1] == pytest.approx(0.159, abs=0.03)


def test_cases_add_up_in_any_order() -> None:
    targets, random = _targets(8), np.random.default_rng(3)
    state = Calibration.start(0, targets.shape, tuple(targets.events))
    parts = [_block(targets, state, random, 0.7)[1] for _ in range(4)]
    one = sum(parts[1:], parts[0])
    other = sum(parts[-2::-1], parts[-1])
    after = [state.absorbed(cases, 0.25, state) for cases in (one, other)]
    _same(after[0], after[1], rtol=1e-12)
    assert one.mass_VLGRB.sum() == 4 * 6 * 2 * 8


def test_quantiles_stay_in_order_and_the_median_where_it_was() -> None:
    targets, random = _targets(8), np.random.default_rng(4)
    (raw, here, _), _ = _block(targets, Calibration.start(0, targets.shape, tuple(targets.events)), random, 0.3)
    moved = published(_learned(targets, random, 0.3, 12), targets, raw, here)
    assert np.array_equal(moved[..., MEDIAN], raw[..., MEDIAN])
    assert (np.diff(moved, axis=-1) >= 0).all()
    assert moved.shape[-1] == len(QUANTILES)


# ---- A model's book of calibrations --------------------------------------------------------------------------------

HOURS = (6, 12, 15, 18, 24)


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Town, Callable[[], Book]]:
    town = make_town(tmp_path, monkeypatch)
    evaluate.run(EvaluateRequest(world=town.file, as_of=CUTOFF), town.settings, QUIET)
    candidate = Registry(ObjectStore(town.settings.store), "tiny").candidates()[-1]
    return town, lambda: Book(town.world, town.settings, candidate, reading.load_models(candidate))


def _at(town: Town, book: Book, hours: int, read: int | None = None) -> bytes:
    """What is in force so long after the cut-off, by the inputs of a forecast issued then, or by all that is known later."""
    moment = CUTOFF + timedelta(hours=hours)
    known = reading.open_inputs(town.world, town.settings, CUTOFF + timedelta(hours=read or hours), live=read is None)
    return dump_calibrations({"road": book.at("road", to_seconds(moment), known)}, {})


def _forget(town: Town) -> None:
    for path in Path(town.settings.store).glob("registry/tiny/calibrations/**/*.safetensors"):
        path.unlink()


def test_a_book_says_the_same_in_any_order_after_any_restart_and_made_anew(opened: tuple[Town, Callable[[], Book]]) -> None:
    town, book = opened
    one = book()
    ascending = [_at(town, one, hours) for hours in HOURS]
    assert len(set(ascending)) == 4
    assert ascending[2] == ascending[1]
    assert [_at(town, book(), hours) for hours in HOURS] == ascending
    _forget(town)
    other = book()
    assert [_at(town, other, hours) for hours in HOURS[::-1]] == ascending[::-1]
    _forget(town)
    assert [_at(town, book(), hours, read=HOURS[-1]) for hours in HOURS] == ascending


def test_what_becomes_known_later_changes_no_page_of_a_book(opened: tuple[Town, Callable[[], Book]]) -> None:
    town, book = opened
    before = [_at(town, book(), hours) for hours in HOURS]
    _forget(town)
    late = town.cube.valid_time + 300 > to_seconds(CUTOFF + timedelta(hours=15))
    values = town.cube.values_TNV.copy()
    values[late] = 500
    town.cube = replace(town.cube, values_TNV=values)
    after = [_at(town, book(), hours) for hours in HOURS]
    assert after[:3] == before[:3]


# ---- Pace ----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    step=st.sampled_from([300, 900, 3600, 21600, 86400]),
    lag=st.integers(0, 90_000),
    horizon=st.integers(1, 30),
    k=st.integers(0, 99),
)
def test_a_block_is_settled_when_all_its_outcomes_are_due_and_not_before(step: int, lag: int, horizon: int, k: int) -> None:
    from pipeline.contracts.worlds import Clock

    pace = Pace(clock=Clock(step=timedelta(seconds=step)), start=0, lag=lag, horizon=horizon)
    block = pace.block_of(50 * 86400) + k
    labels = np.arange(0, 400 * 86400, step)
    issued = labels[(labels + lag >= pace.begin(block)) & (labels + lag < pace.begin(block + 1))]
    due = [pace.begin(block + 1), *((int(label) + lag) // step * step + horizon * step + lag for label in issued[-1:])]
    assert pace.settled(block) == max(due)
    known = pace.known_at(pace.begin(block))
    assert pace.settled(known) <= pace.begin(block) < pace.settled(known + 1)
    assert pace.window * min(12, max(1, pace.block // step)) == pytest.approx(pace.units * max(1, step / pace.block))
