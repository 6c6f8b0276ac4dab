from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from pipeline.monitoring.distances import ks, psi, thinned


@given(st.integers(0, 10_000), st.integers(1, 300), st.integers(1, 300), st.booleans())
def test_the_kolmogorov_smirnov_distance_equals_that_of_scipy(seed: int, n: int, m: int, tied: bool) -> None:
    random = np.random.default_rng(seed)
    one, two = random.normal(size=n), random.normal(0.3, 1.5, size=m)
    if tied:
        one, two = one.round(), two.round()
    assert ks(one, two) == pytest.approx(ks_2samp(one, two).statistic, abs=1e-12)


def test_psi_is_the_sum_over_the_reference_deciles() -> None:
    random = np.random.default_rng(1)
    one, two = random.normal(size=4000), random.normal(0.7, 1, size=3000)
    edges = np.quantile(one, np.linspace(0, 1, 11)[1:-1])
    shares = [np.bincount(np.searchsorted(edges, x, side="left"), minlength=10) / len(x) for x in (one, two)]
    assert psi(one, two) == pytest.approx(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum(), rel=0.01)
    assert psi(one, one) == pytest.approx(0, abs=1e-12)


def test_more_zeros_are_a_shift_though_most_values_are_zero_anyway() -> None:
    random = np.random.default_rng(2)
    dry = np.where(random.random(5000) < 0.8, 0.0, random.gamma(1, 1, 5000))
    wet = np.where(random.random(5000) < 0.4, 0.0, random.gamma(1, 1, 5000))
    assert psi(dry, wet) > 0.5
    assert psi(dry, random.permutation(dry)[:2000]) < 0.02


def test_what_is_missing_does_not_count_and_nothing_is_no_distance() -> None:
    values = np.array([1.0, 2.0, np.nan, 3.0])
    assert ks(values, np.array([1.0, 2.0, 3.0])) == 0
    assert ks(values, np.array([np.nan])) == psi(values, np.array([])) == 0


def test_a_thinned_sample_stands_for_all_of_it() -> None:
    values = np.random.default_rng(3).normal(size=100_000)
    assert ks(values, thinned(values, 4096)) < 1 / 4096
    assert len(thinned(values[:10], 4096)) == 10
