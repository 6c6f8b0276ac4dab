"""As-of reading answers as it would have then, checked against a plain model in memory."""

from __future__ import annotations

import math
import tempfile
from collections import defaultdict
from dataclasses import fields
from pathlib import Path

import numpy as np
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from pipeline.alignment.as_of import earlier
from pipeline.contracts.cubes import NEVER, DomainCube, Revisions
from pipeline.contracts.times import from_seconds
from pipeline.stores.cubes import CubeStore
from tests.feeds import START, Place, Row, build, make_place, observe, random_rows

HOURS = 8
END = START + HOURS * 3600
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # a smaller seed is no simpler case


def naive_cell(rows: list[Row], variable: str, label: int, width: int, method: str, latency: int, as_of: int) -> tuple[float, int]:
    """Value and flag of one cell at `as_of`, by the words of the contract."""
    mine = [
        r for r in rows if label - width < r.valid_time <= label and not (math.isnan(r.values[variable][0]) and r.values[variable][1] <= 1)
    ]
    on_time = [r for r in mine if r.available_time <= label + latency]
    late = sorted({r.available_time for r in mine if r.available_time > label + latency})
    first = naive_version(on_time, variable, method)
    if first and label + latency > as_of:
        return math.nan, 1
    moments = [t for t in late if t <= as_of]
    if not moments:
        return first or (math.nan, 1)
    version = naive_version([r for r in mine if r in on_time or r.available_time <= moments[-1]], variable, method)
    assert version
    return version


def naive_version(rows: list[Row], variable: str, method: str) -> tuple[float, int] | None:
    readings: dict[int, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda r: (r.valid_time, r.available_time)):
        readings[row.valid_time].append(row)
    if not readings:
        return None
    newest = [versions[-1] for versions in readings.values()]
    good = [r.values[variable][0] for r in newest if r.values[variable][1] == 0]
    if not good:
        flag = 0
        for r in newest:
            flag |= r.values[variable][1]
        return math.nan, flag
    values = np.array(good, np.float64)
    value = {
        "mean": lambda: np.add.reduceat(values, [0])[0] / len(values),
        "sum": lambda: np.add.reduceat(values, [0])[0],
        "last": lambda: values[-1],
    }
    return float(np.float32(value[method]())), 0


def one_place(rows: list[Row]) -> Place:
    place = make_place(Path(tempfile.mkdtemp()))
    observe(place, "road", rows)
    return place


@settings(max_examples=10, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), moment=st.integers(0, 2 * HOURS * 3600))
def test_open_as_of_shows_each_cell_as_the_naive_model_does(seed: int, moment: int) -> None:
    rows = random_rows(np.random.default_rng(seed), hours=HOURS, nodes=2)
    place, as_of = one_place(rows), START + moment
    build(place, END)
    for domain, width, methods in (("traffic", 1800, {"speed": "mean", "count": "sum"}), ("slow", 3 * 3600, {"speed": "last"})):
        cube = CubeStore(place.settings.store, "little").open(from_seconds(as_of), domain)
        assert (cube.valid_time <= as_of).all()
        assert len(cube.valid_time) == (min(as_of, END) - START) // (1800 if domain == "traffic" else 3600) + 1
        for n, node in enumerate(cube.nodes.ids):
            mine = [r for r in rows if r.node == node]
            for v, variable in enumerate(cube.variables):
                want = [naive_cell(mine, variable, int(t), width, methods[variable], 1200, as_of) for t in cube.valid_time]
                np.testing.assert_array_equal(cube.values_TNV[:, n, v], np.array([w[0] for w in want], np.float32))
                np.testing.assert_array_equal(cube.flags_TNV[:, n, v], [w[1] for w in want])
        shown = cube.latency_TNV != NEVER
        assert (np.broadcast_to(cube.valid_time[:, None, None], shown.shape)[shown] + cube.latency_TNV[shown] <= as_of).all()
        assert (cube.revisions.superseded_time <= as_of).all()


@settings(max_examples=4, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), moment=st.integers(0, HOURS * 3600))
def test_a_later_cube_shows_the_past_exactly_as_the_cube_of_then_did(seed: int, moment: int) -> None:
    rows = random_rows(np.random.default_rng(seed), hours=HOURS)
    as_of = START + moment
    whole, then = one_place(rows), one_place([r for r in rows if r.available_time <= as_of] or rows[:1])
    build(whole, END)
    build(then, as_of)
    for domain in ("traffic", "slow"):
        now = CubeStore(whole.settings.store, "little").open(from_seconds(as_of), domain)
        before = CubeStore(then.settings.store, "little").open(from_seconds(as_of), domain)
        assert now.nodes.ids == before.nodes.ids or len(before.nodes) == 0
        for name in ("valid_time", "values_TNV", "flags_TNV", "latency_TNV"):
            np.testing.assert_array_equal(getattr(now, name), getattr(before, name))
        for name in ("step", "node", "variable", "value", "flag", "available_time", "superseded_time"):
            np.testing.assert_array_equal(getattr(now.revisions, name), getattr(before.revisions, name))


@settings(max_examples=4, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(1, HOURS * 3600), min_size=1, max_size=3))
def test_a_cube_built_in_pieces_has_the_digest_of_one_built_at_once(seed: int, cuts: list[int]) -> None:
    rows = random_rows(np.random.default_rng(seed), hours=HOURS)
    at_once, in_pieces = one_place(rows), make_place(Path(tempfile.mkdtemp()))
    done = -(10**9)
    for cut in [*(START + c for c in sorted(set(cuts))), 10**10]:
        batch = [r for r in rows if done < r.available_time <= cut]
        if batch:
            observe(in_pieces, "road", batch)
            build(in_pieces, min(cut, END))
        done = cut
    first, second = build(at_once, END), build(in_pieces, END)
    if (
        CubeStore(at_once.settings.store, "little").nodes("traffic").ids
        == CubeStore(in_pieces.settings.store, "little").nodes("traffic").ids
    ):
        assert {k: v for k, v in first.ids.items() if k != "snapshot"} == {k: v for k, v in second.ids.items() if k != "snapshot"}
    assert build(in_pieces, END).outcome == "unchanged"


@settings(max_examples=4, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), moment=st.integers(0, HOURS * 3600), more=st.integers(0, HOURS * 3600))
def test_what_was_known_stays_known(seed: int, moment: int, more: int) -> None:
    place = one_place(random_rows(np.random.default_rng(seed), hours=HOURS))
    build(place, END)
    store = CubeStore(place.settings.store, "little")
    early, late = store.open(from_seconds(START + moment), "traffic"), store.open(from_seconds(START + moment + more), "traffic")
    steps = len(early.valid_time)
    kept = [late.nodes.ids.index(i) for i in early.nodes.ids]
    assert ((late.latency_TNV[:steps][:, kept] != NEVER) >= (early.latency_TNV != NEVER)).all()
    assert len(late.revisions) >= len(early.revisions)


@settings(max_examples=4, deadline=None, phases=PHASES)
@given(seed=st.integers(0, 2**32 - 1), moments=st.lists(st.integers(0, HOURS * 3600), min_size=1, max_size=6))
def test_a_cube_in_memory_taken_back_to_an_earlier_instant_is_the_cube_opened_at_it(seed: int, moments: list[int]) -> None:
    rng = np.random.default_rng(seed)
    place = one_place(random_rows(rng, hours=HOURS))
    build(place, END)
    store, start = CubeStore(place.settings.store, "little"), START + int(rng.integers(0, 4)) * 3600
    for domain in ("traffic", "slow"):
        newest = store.open(from_seconds(END), domain, start=start)
        for moment in moments:
            ours, theirs = earlier(newest, START + moment), store.open(from_seconds(START + moment), domain, start=start)
            assert_same(ours, theirs)
            part = earlier(newest, START + moment, first=2, stop=5)
            np.testing.assert_array_equal(part.values_TNV, ours.values_TNV[2:5])
            assert (part.revisions.step + 2).tolist() == [s for s in ours.revisions.step.tolist() if 2 <= s < 5]


def assert_same(ours: DomainCube, theirs: DomainCube) -> None:
    assert (ours.as_of, ours.nodes.digest) == (theirs.as_of, theirs.nodes.digest)
    for name in ("valid_time", "values_TNV", "flags_TNV", "latency_TNV", "node_known_time_N"):
        assert getattr(ours, name).tobytes() == getattr(theirs, name).tobytes(), name
    for field in fields(Revisions):
        assert getattr(ours.revisions, field.name).tobytes() == getattr(theirs.revisions, field.name).tobytes(), field.name
