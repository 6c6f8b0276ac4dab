"""A cube built day by day is the cube built at once, digest for digest, whatever came late, twice or from new nodes."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.contracts.times import from_seconds
from pipeline.cube.digests import chunk_digest
from pipeline.stores import cube_books
from pipeline.stores.cubes import CubeStore
from pipeline.telemetry import QUIET
from tests.feeds import START, Place, Row, build, make_place, observe, random_rows

HOURS = 20
END = START + HOURS * 3600


def batches(rows: list[Row], seed: int, count: int) -> list[list[Row]]:
    """The rows as they might arrive: mostly in order of arrival, nodes one after the other, some days late."""
    rng = np.random.default_rng(seed)
    turn = [min(int((r.available_time - START) / (END - START) * count + rng.exponential(0.3)), count - 1) for r in rows]
    late = {node: int(rng.integers(0, count)) for node in {r.node for r in rows}}
    return [[r for r, t in zip(rows, turn, strict=True) if max(t, late[r.node]) == k] for k in range(count)]


def contents(place: Place) -> dict[str, bytes]:
    store = CubeStore(place.settings.store, "little")
    found = {}
    for domain in store.domains():
        for as_of in (END - 7200, 10**10):
            cube = store.open(from_seconds(as_of), domain)
            order = np.argsort(cube.nodes.ids)
            for name in ("values_TNV", "flags_TNV", "latency_TNV"):
                found[f"{domain} {as_of} {name}"] = getattr(cube, name)[:, order].tobytes()
    return found


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 3), heap=st.sampled_from([1, 65536]))
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_built_in_steps_or_at_once_the_cube_is_the_same(seed: int, count: int, heap: int) -> None:
    rows = random_rows(np.random.default_rng(seed), hours=HOURS)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(cube_books, "REVISION_CHUNK", heap)
        steps, once = make_place(Path(folder) / "steps"), make_place(Path(folder) / "once")
        for k, batch in enumerate(batches(rows, seed, count)):
            if batch:
                observe(steps, "road", batch)
                observe(once, "road", batch)
                build(steps, END - (count - 1 - k) * 3600)
        build(steps, END)
        build(once, END)
        assert contents(steps) == contents(once)
        stores = [CubeStore(place.settings.store, "little") for place in (steps, once)]
        assert {n: d.digest for n, d in stores[0].state().domains.items()} == {n: d.digest for n, d in stores[1].state().domains.items()}
        for store in stores:
            store.verify(QUIET)


def test_a_digest_is_blind_for_empty_nodes_at_the_end_and_for_nothing_else() -> None:
    values = np.array([[1.0, 2.0], [3.0, np.nan]], np.float32)
    wider = np.concatenate([values, np.full((2, 3), np.nan, np.float32)], axis=1)
    assert chunk_digest([values]) == chunk_digest([wider])
    assert chunk_digest([values]) != chunk_digest([values[:, ::-1]])
    assert chunk_digest([values]) != chunk_digest([values.T])
    shifted = np.concatenate([np.full((2, 1), np.nan, np.float32), values], axis=1)
    assert chunk_digest([values]) != chunk_digest([shifted])
