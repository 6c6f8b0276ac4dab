"""Statistics are a monoid, bit for bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts.forecasts import QUANTILES
from pipeline.contracts.judging import Event
from pipeline.verification.exact import FINE, from_text, grouped_sum, integers, limbs_of, normal, to_text
from pipeline.verification.grounds import Grounds, Watched
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis, Statistics

AXIS = Axis(variables=("count", "speed"), units=("1", "km/h"), lead_times=(300, 600, 900))


def _cases(seed: int, windows: int, scale: float) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    truth = (random.standard_normal((windows, 3, 17, 2)) * scale).astype(np.float32)
    quantiles = np.sort((random.standard_normal((windows, 3, 17, 2, len(QUANTILES))) * scale).astype(np.float32), axis=-1)
    return {
        "issue_time_W": (random.integers(0, 4, windows) * 86400 + random.integers(0, 86400, windows)).astype(np.int64),
        "truth_WLNV": truth,
        "good_WLNV": random.random(truth.shape) < 0.8,
        "quantiles_WLNVQ": quantiles,
    }


def _score(cases: dict[str, np.ndarray], chosen: np.ndarray) -> Statistics:
    """Told apart by all that can be, from the cases themselves."""
    at = {k: v[chosen] for k, v in cases.items()}
    issue, truth = at["issue_time_W"], at["truth_WLNV"]
    grounds = Grounds(
        regions=("west", "east"),
        region_N=np.arange(17) % 2,
        hour_WL=(issue[:, None] + np.array(AXIS.lead_times)) // 10800 % 8,
        regimes={"wet": (("no", "yes", "unknown"), (issue[:, None] % 7 + np.arange(17)).astype(np.int8) % 3)},
        events={"high": Watched(event=Event(variable="count", above=0.1), variable=0)},
        ratio_V=(True, True),
        relative_V=(False, True),
        origin_WNV=truth[:, 0] * 0.9,
        weight_N=np.linspace(0.5, 1.5, 17),
        climate_WLNV=truth[:, ::-1],
    )
    return score_windows(domain="traffic", axis=AXIS, model="joint", grounds=grounds, **at)


@given(st.integers(0, 2**31), st.integers(1, 25), st.sampled_from([1e-4, 1.0, 3e3, 1e6]), st.data())
@settings(max_examples=40, deadline=None)
def test_any_order_and_any_split_of_windows_gives_equal_sums(seed: int, windows: int, scale: float, data: st.DataObject) -> None:
    cases = _cases(seed, windows, scale)
    whole = _score(cases, np.arange(windows))
    order = np.array(data.draw(st.permutations(range(windows))))
    cuts = sorted(data.draw(st.lists(st.integers(0, windows), max_size=5)))
    parts = [_score(cases, part) for part in np.split(order, cuts)]
    merged = Statistics.zero()
    for part in data.draw(st.permutations(parts)):
        merged = merged + part
    assert merged == whole
    assert Statistics.from_json(merged.to_json()) == whole


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_zero_is_neutral_and_addition_is_associative_and_commutative(seed: int) -> None:
    a, b, c = (_score(_cases(seed + i, 5, 10.0), np.arange(5)) for i in range(3))
    assert a + Statistics.zero() == a == Statistics.zero() + a
    assert (a + b) + c == a + (b + c)
    assert a + b == b + a
    assert a + b != a


@given(st.lists(st.floats(-(2.0**80), 2.0**80), min_size=1, max_size=40), st.data())
@settings(max_examples=80, deadline=None)
def test_an_exact_sum_equals_rational_arithmetic_to_the_unit_in_any_grouping(values: list[float], data: st.DataObject) -> None:
    exact = sum((Fraction(v) for v in values), Fraction(0))
    found = grouped_sum(limbs_of(np.array(values)), np.zeros(len(values), np.int64))[0]
    assert abs(Fraction(int(integers(found)), 2**FINE) - exact) <= Fraction(len(values), 2 ** (FINE + 1))
    cut = data.draw(st.integers(0, len(values)))
    parts = [normal(limbs_of(np.array(part)).sum(axis=0)) for part in (values[cut:], values[:cut])]
    assert (normal(parts[0] + parts[1]) == found).all()
    assert (from_text(to_text(found[None]), (1,)) == found).all()
