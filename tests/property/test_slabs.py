"""Whole grids meet the axis as a row per cell would, and other cells as they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alignment.aggregate import Method, Readings, aggregate
from pipeline.alignment.aggregate_slabs import Slabs, aggregate_slabs
from pipeline.alignment.regrid import Regridder, target_nodes, to_grid, to_nodes, unchanged
from pipeline.contracts.modalities import TargetGrid
from pipeline.contracts.nodes import NodeSet
from pipeline.errors import ContractError

AXIS = np.arange(1, 6) * 3600
LATITUDE, LONGITUDE = np.arange(58, 49.9, -0.25), np.arange(-10, 2.01, 0.25)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), method=st.sampled_from(["mean", "sum", "last", "max", "min"]))
def test_slabs_become_the_cells_that_a_row_per_cell_becomes(seed: int, method: Method) -> None:
    rng, cells = np.random.default_rng(seed), 4
    valid = rng.choice(np.arange(0, 6 * 3600, 900), size=int(rng.integers(0, 14))).astype(np.int64)
    available = valid + rng.choice([0, 300, 600, 4000, 9000], size=len(valid))
    flags = rng.choice([0, 0, 0, 2, 64], size=(len(valid), cells)).astype(np.uint16)
    values = np.where(rng.random((len(valid), cells)) < 0.2, np.nan, rng.choice([1.5, 2.25, 7.0], size=(len(valid), cells))).astype(
        np.float32
    )
    flags[np.isnan(values) & (flags == 0)] = 1
    slabs = Slabs(valid_time=valid, available_time=available, values_SP=values, flags_SP=flags)
    found = aggregate_slabs(slabs, axis_T=AXIS, edge=0, method=method, latency=600)
    rows = Readings(
        node=np.tile(np.arange(cells, dtype=np.int32), len(valid)),
        valid_time=np.repeat(valid, cells),
        available_time=np.repeat(available, cells),
        value=values.reshape(-1),
        flag=flags.reshape(-1),
    )
    wanted = aggregate(rows, axis_T=AXIS, edge=0, nodes=cells, method=method, latency=600)
    for name in ("values_TN", "flags_TN", "latency_TN"):
        np.testing.assert_array_equal(getattr(found, name), getattr(wanted, name), err_msg=name)
    orders = [np.lexsort((c.available_time, c.node, c.step)) for c in (found, wanted)]
    for name in ("step", "node", "value", "flag", "available_time", "superseded_time"):
        np.testing.assert_array_equal(getattr(found, name)[orders[0]], getattr(wanted, name)[orders[1]], err_msg=name)


def applied(regridder: Regridder, values: np.ndarray, flags: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    flags = np.zeros(values.shape, np.uint16) if flags is None else flags
    return regridder.apply((k, values[k : k + 7], flags[k : k + 7]) for k in range(0, len(values), 7))


def field(latitude: np.ndarray, longitude: np.ndarray) -> np.ndarray:
    return (2 * latitude + 3 * longitude).astype(np.float32)


@pytest.mark.parametrize("method", ["bilinear", "conservative"])
@pytest.mark.parametrize("turned", [False, True])
def test_a_slope_stays_a_slope_whatever_the_order_of_the_axes(method: str, turned: bool) -> None:
    target = TargetGrid.model_validate({"bounds": (51.0, -9.0, 57.0, 1.0), "step": 0.5, "method": method})
    latitude, longitude = (LATITUDE[::-1], (LONGITUDE + 360) % 360) if turned else (LATITUDE, LONGITUDE)
    values, flags = applied(to_grid(latitude, longitude, target), field(latitude[:, None], (longitude[None] + 180) % 360 - 180))
    nodes = target_nodes(target)
    np.testing.assert_allclose(values, field(nodes.latitude, nodes.longitude), atol=2e-3)
    assert not flags.any()
    assert (nodes.shape, nodes.latitude[0], nodes.longitude[0]) == ((12, 20), 56.75, -8.75)


def test_conservative_keeps_the_integral_over_the_sphere() -> None:
    latitude, longitude = np.arange(-89.5, 90), np.arange(0.5, 360)
    values = np.random.default_rng(3).uniform(0, 9, (180, 360)).astype(np.float32)
    target = TargetGrid(bounds=(-90.0, -180.0, 90.0, 180.0), step=7.5, method="conservative")
    found, flags = applied(to_grid(latitude, longitude, target), values)
    weights = [np.sin(np.radians(y + s)) - np.sin(np.radians(y - s)) for y, s in ((latitude, 0.5), (target_nodes(target).latitude, 3.75))]
    before, after = (np.average(v, weights=w) for v, w in ((values.mean(axis=1), weights[0]), (found, weights[1])))
    assert not flags.any()
    np.testing.assert_allclose(after, before, rtol=1e-6)


def test_bad_cells_are_left_out_and_where_most_are_bad_their_flags_are_told() -> None:
    target = TargetGrid(bounds=(51.0, -9.0, 52.0, -8.0), step=0.5, method="conservative")
    regridder = to_grid(LATITUDE, LONGITUDE, target)
    values, flags = np.ones((len(LATITUDE), len(LONGITUDE)), np.float32), np.zeros((len(LATITUDE), len(LONGITUDE)), np.uint16)
    inside = np.ix_((LATITUDE > 51.4) & (LATITUDE < 52.1), (LONGITUDE > -9.1) & (LONGITUDE < -8.4))
    values[inside], flags[inside] = -99.0, 128
    found, bits = applied(regridder, values, flags)
    assert bits.tolist() == [128, 0, 0, 0]
    assert np.isnan(found[0])
    assert found[1:].tolist() == [1.0, 1.0, 1.0]


def test_a_target_outside_the_grid_has_nothing() -> None:
    target = TargetGrid(bounds=(57.0, -11.0, 60.0, -9.0), step=1.0)
    _, flags = applied(to_grid(LATITUDE, LONGITUDE, target), field(LATITUDE[:, None], LONGITUDE[None]))
    assert flags.reshape(3, 2).tolist() == [[1, 1], [1, 1], [1, 0]]


def test_nodes_take_the_value_between_the_four_cells_around_them() -> None:
    nodes = NodeSet(ids=tuple("abcd"), latitude=np.array([51.1, 57.93, np.nan, 59.0]), longitude=np.array([-8.9, 1.99, 0.0, 0.0]))
    values, flags = applied(to_nodes(LATITUDE, LONGITUDE, nodes), field(LATITUDE[:, None], LONGITUDE[None]))
    np.testing.assert_allclose(values[:2], field(nodes.latitude[:2], nodes.longitude[:2]), atol=1e-4)
    assert flags.tolist() == [0, 0, 1, 1]


def test_a_grid_that_has_changed_is_refused_where_the_domain_has_none_of_its_own() -> None:
    nodes = NodeSet(ids=tuple("abcd"), latitude=np.array([2.0, 2, 1, 1]), longitude=np.array([5.0, 6, 5, 6]), shape=(2, 2))
    values = np.arange(4, dtype=np.float32).reshape(2, 2)
    assert applied(unchanged(np.array([2.0, 1]), np.array([5.0, 6]), nodes), values)[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(ContractError, match="give the domain a grid of its own"):
        unchanged(np.array([2.5, 1]), np.array([5.0, 6]), nodes)
