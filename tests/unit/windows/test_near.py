"""The nodes of another domain that lie nearest, against looking at all of them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alignment.graph import metres_of, unit_vectors
from pipeline.contracts.nodes import NodeSet
from pipeline.windows.near import MOST, neighbours


def nodes(chance: np.random.Generator, count: int, unknown: float) -> NodeSet:
    latitude, longitude = chance.uniform(56, 56.4, count), chance.uniform(-180, 180, count)
    latitude[chance.random(count) < unknown] = np.nan
    return NodeSet(ids=tuple(map(str, range(count))), latitude=latitude, longitude=longitude)


@given(st.integers(0, 10**6), st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.0, 0.5]))
@settings(deadline=None)
def test_each_node_is_given_the_nearest_of_another_domain_by_the_inverse_square_of_distance(
    seed: int, here: int, there: int, unknown: float
) -> None:
    chance = np.random.default_rng(seed)
    places = {"road": nodes(chance, here, unknown), "sky": nodes(chance, there, unknown)}
    found = neighbours(places, "road")
    known = [np.flatnonzero(~np.isnan(places[k].latitude)) for k in ("road", "sky")]
    if not len(known[0]) or not len(known[1]):
        assert found == {}
        return
    place_NJ, weight_NJ = found["sky"]
    assert place_NJ.shape == weight_NJ.shape == (here, min(MOST, len(known[1])))
    own, other = (unit_vectors(p.latitude, p.longitude) for p in places.values())
    for n in range(here):
        if n not in known[0]:
            assert not weight_NJ[n].any()
            continue
        metres = metres_of(np.linalg.norm(own[n] - other[known[1]], axis=1))
        nearest = known[1][np.argsort(metres, kind="stable")][: place_NJ.shape[1]]
        assert set(place_NJ[n].tolist()) == set(nearest.tolist())
        wanted = np.maximum(metres[np.searchsorted(known[1], place_NJ[n])], 100) ** -2
        np.testing.assert_allclose(weight_NJ[n], wanted / wanted.sum(), rtol=1e-3)


def test_a_domain_that_lies_nowhere_is_near_to_none() -> None:
    chance = np.random.default_rng(0)
    places = {"road": nodes(chance, 3, 0.0), "market": nodes(chance, 2, 1.1)}
    assert neighbours(places, "road") == neighbours(places, "market") == {}
