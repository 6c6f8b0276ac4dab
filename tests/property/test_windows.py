"""A window in training is the live window of its issue time, bit for bit, and nothing later than the cut-off reaches it."""

from __future__ import annotations

import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.times import from_seconds
from pipeline.contracts.windows import DomainWindows, Scaler, WindowSet
from pipeline.errors import LookaheadError
from pipeline.stores.cubes import CubeStore
from pipeline.windows.nodes import fit_nodes
from pipeline.windows.reader import build_windows, earliest_needed
from tests.feeds import START, Place, Row, build, make_place, observe, random_rows

HOURS = 30
END = START + HOURS * 3600
DOMAINS = ("traffic", "slow", "market")
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a smaller seed is no simpler case


def seen_at(domain: DomainWindows, issue: int, context: slice) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Values and masks of these steps as a window of any domain issued at `issue` sees them."""
    good = domain.good_TNV[context] & (domain.valid_time_T[context, None, None] + domain.latency_TNV[context].astype(np.int64) <= issue)
    values = np.where(good, domain.values_TNV[context], np.float32(0))
    for p in range(int(domain.patch_start_T[context.start]), int(domain.patch_start_T[context.stop])):
        if domain.patch_known_time[p] <= issue < domain.patch_gone_time[p]:
            cell = (domain.patch_step[p] - context.start, domain.patch_node[p], domain.patch_variable[p])
            assert not good[cell]
            values[cell], good[cell] = domain.patch_value[p], True
    return values, good


def gather(domain: DomainWindows, window: int) -> dict[str, NDArray[Any]]:
    """Everything that one window sees."""
    end, issue = int(domain.end_W[window]), int(domain.issue_time_W[window])
    context = slice(end - domain.context + 1, end + 1)
    ahead = slice(end + 1, end + 1 + domain.horizon)
    values, good = seen_at(domain, issue, context)
    coarse = [end - j * domain.coarse_steps for j in range(domain.coarse_count) if end - j * domain.coarse_steps >= 0]
    return {
        "valid_time": domain.valid_time_T[context.start : ahead.stop],
        "values": values,
        "good": good,
        "history": domain.history_TNVK[ahead],
        "history_good": domain.history_good_TNVK[ahead],
        "coarse": domain.coarse_TNV[coarse],
        "coarse_good": domain.coarse_good_TNV[coarse],
        "time_of_day": domain.time_of_day_T[context.start : ahead.stop],
        "day_of_week": domain.day_of_week_T[context.start : ahead.stop],
        "position": domain.position_N2,
    }


def cubes_of(place: Place, as_of: int, names: tuple[str, ...] = DOMAINS, *, recent: bool = False) -> dict[str, DomainCube]:
    store = CubeStore(place.settings.store, "little")
    return {d: store.open(from_seconds(as_of), d, start=earliest_needed(place.world, d, as_of) if recent else None) for d in names}


def scalers_of(windows: WindowSet) -> dict[str, Scaler]:
    return {name: domain.scaler for name, domain in windows.domains.items()}


def share_rows(rng: np.random.Generator) -> list[Row]:
    """Closes of three weeks, some revised a day later."""
    rows = []
    for day in range(-22, 2):
        close = START + day * 86400 + 20 * 3600
        for node in ("A", "B"):
            price = float(np.float32(rng.normal(100, 3)))
            rows.append(Row(node, close, close + 900, {"close": (price, 0)}))
            if rng.random() < 0.3:
                rows.append(Row(node, close, close + 90000, {"close": (price + 1, 0)}))
    return rows


def one_place(seed: int) -> tuple[Place, list[Row], list[Row]]:
    rng = np.random.default_rng(seed)
    place, road, shares = make_place(Path(tempfile.mkdtemp())), random_rows(rng, hours=HOURS), share_rows(rng)
    observe(place, "road", road)
    observe(place, "shares", shares)
    return place, road, shares


def assert_same_bits(first: WindowSet, second: WindowSet) -> None:
    for name in first.domains:
        for field in fields(DomainWindows):
            a, b = getattr(first.domains[name], field.name), getattr(second.domains[name], field.name)
            pairs = [(getattr(a, f.name), getattr(b, f.name)) for f in fields(Scaler)] if isinstance(a, Scaler) else [(a, b)]
            for x, y in pairs:
                if isinstance(x, np.ndarray):
                    assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), (name, field.name)
                else:
                    assert x == y, (name, field.name)


@settings(max_examples=4, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_training_window_is_the_live_window_of_its_issue_time_bit_for_bit(seed: int) -> None:
    place, _, _ = one_place(seed)
    build(place, END)
    newest = cubes_of(place, END)
    training = build_windows(place.world, newest, as_of=END, scalers=None, live=False)
    scalers = scalers_of(training)
    assert sum(len(d.patch_step) for d in training.domains.values()) > 0
    rng = np.random.default_rng(seed)
    for name, domain in training.domains.items():
        for window in rng.choice(len(domain.issue_time_W), size=4):
            issue = int(domain.issue_time_W[window])
            cubes = cubes_of(place, issue, (name,), recent=bool(rng.integers(0, 2)))
            cube = fit_nodes(cubes[name], domain.node_ids)
            live = build_windows(place.world, {name: cube}, as_of=issue, scalers=scalers, live=True).domains[name]
            assert list(live.issue_time_W) == [issue]
            later = build_windows(place.world, newest, as_of=issue, scalers=scalers, live=True, nodes={name: domain.node_ids})
            assert_same_bits(later, WindowSet(**{**vars(later), "domains": {**later.domains, name: live}}))
            then, now = gather(domain, int(window)), gather(live, 0)
            for key, value in then.items():
                assert (value.shape, value.tobytes()) == (now[key].shape, now[key].tobytes()), (name, key)


@settings(max_examples=3, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), hour=st.integers(16, HOURS - 8))
def test_windows_since_an_instant_gather_the_bits_of_all_windows_from_cubes_of_then_or_later(seed: int, hour: int) -> None:
    place, _, _ = one_place(seed)
    build(place, END)
    as_of, since = START + (hour + 7) * 3600, START + hour * 3600
    whole = build_windows(place.world, cubes_of(place, as_of), as_of=as_of, scalers=None, live=False)
    scalers, nodes = scalers_of(whole), {name: d.node_ids for name, d in whole.domains.items()}
    for read in (as_of, END):
        recent = build_windows(place.world, cubes_of(place, read), as_of=as_of, scalers=scalers, live=False, nodes=nodes, since=since)
        for name, domain in whole.domains.items():
            part = recent.domains[name]
            assert name == "market" or len(part.valid_time_T) < len(domain.valid_time_T)
            asked = domain.issue_time_W[domain.issue_time_W >= since]
            assert part.issue_time_W[part.issue_time_W >= since].tolist() == asked.tolist()
            for issue in asked[:: max(1, len(asked) // 4)]:
                then, now = (gather(d, int(np.flatnonzero(d.issue_time_W == issue)[0])) for d in (domain, part))
                for key, value in then.items():
                    assert (value.shape, value.tobytes()) == (now[key].shape, now[key].tobytes()), (name, key)
                then, now = (seen_at(d, int(issue), newest(d, int(issue))) for d in (domain, part))
                assert [a.tobytes() for a in then] == [a.tobytes() for a in now], name


def newest(domain: DomainWindows, issue: int) -> slice:
    """The steps of a domain that a window of another one, issued at `issue`, looks at."""
    end = int(np.searchsorted(domain.valid_time_T, issue, side="right"))
    return slice(max(end - domain.context, 0), end)


@settings(max_examples=4, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_training_sees_of_other_domains_is_what_is_seen_live_bit_for_bit(seed: int) -> None:
    place, _, _ = one_place(seed)
    build(place, END)
    training = build_windows(place.world, cubes_of(place, END), as_of=END, scalers=None, live=False)
    rng, patched = np.random.default_rng(seed), 0
    for issue in rng.choice(training.domains["traffic"].issue_time_W, size=6):
        cubes = {n: fit_nodes(c, training.domains[n].node_ids) for n, c in cubes_of(place, int(issue)).items()}
        live = build_windows(place.world, cubes, as_of=int(issue), scalers=scalers_of(training), live=True)
        for name, domain in training.domains.items():
            then, now = (seen_at(d, int(issue), newest(d, int(issue))) for d in (domain, live.domains[name]))
            assert [a.tobytes() for a in then] == [a.tobytes() for a in now], name
            known, gone = domain.patch_known_time, domain.patch_gone_time
            patched += int(((known <= issue) & (issue < gone)).sum())
    assert patched > 0


@settings(max_examples=2, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), hour=st.integers(16, HOURS - 1))
def test_nothing_available_after_the_cut_off_reaches_windows_or_scalers(seed: int, hour: int) -> None:
    clean, road, shares = one_place(seed)
    as_of, rng = START + hour * 3600 + 420, np.random.default_rng(seed + 1)
    poisoned = make_place(Path(tempfile.mkdtemp()))
    for source, rows in (("road", road), ("shares", shares)):
        observe(poisoned, source, [_poison(r, rng) if r.available_time > as_of else r for r in rows])
    build(clean, END)
    build(poisoned, END)
    first, second = (build_windows(p.world, cubes_of(p, as_of), as_of=as_of, scalers=None, live=False) for p in (clean, poisoned))
    assert_same_bits(first, second)
    assert first.digest == second.digest
    live = [build_windows(p.world, cubes_of(p, as_of), as_of=as_of, scalers=scalers_of(first), live=True) for p in (clean, poisoned)]
    assert_same_bits(live[0], live[1])
    later = [build_windows(p.world, cubes_of(p, END), as_of=END, scalers=None, live=False) for p in (clean, poisoned)]
    assert later[0].digest != later[1].digest


def _poison(row: Row, rng: np.random.Generator) -> Row:
    return replace(row, values={k: (float(np.float32(rng.normal(1e4, 1e3))), 0) for k in row.values})


def test_folds_are_disjoint_in_time_and_no_target_crosses_a_boundary() -> None:
    place, _, _ = one_place(1)
    build(place, END)
    windows = build_windows(place.world, cubes_of(place, END), as_of=END, scalers=None, live=False)
    traffic = windows.domains["traffic"]
    span = END - START
    first, second = START + round(span * 0.7), START + round(span * 0.8)
    last = traffic.valid_time_T[traffic.end_W + traffic.horizon]
    train, validation, test = (traffic.windows_of(f) for f in ("train", "validation", "test"))
    assert len(train)
    assert len(validation)
    assert len(test)
    assert (last[train] <= first).all()
    assert (traffic.issue_time_W[validation] >= first).all()
    assert (last[validation] <= second).all()
    assert (traffic.issue_time_W[test] >= second).all()
    assert (last[test] <= END).all()
    gap = np.flatnonzero(traffic.fold_W == -1)
    assert len(gap)
    assert len(train) + len(validation) + len(test) + len(gap) == len(traffic.issue_time_W)


def test_a_cube_read_as_of_later_is_refused() -> None:
    place, _, _ = one_place(2)
    build(place, END)
    with pytest.raises(LookaheadError, match="open the cube with the same as_of"):
        build_windows(place.world, cubes_of(place, END), as_of=END - 60, scalers=None, live=False)
