from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from models import api
from models.points import longest_lag
from models.state import pack, unpack
from pipeline.contracts.forecasts import BASELINES, EXTRA_BASELINES, MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError, ContractError
from tests.unit.models.conftest import road, shop
from tests.unit.models.planted import altered, together


def error(predictor: api.Predictor, windows: WindowSet, domain: str) -> float:
    d = windows.domains[domain]
    index = d.windows_of("test")
    step = d.end_W[index][:, None] + np.arange(1, d.horizon + 1)
    v = list(d.targets)
    median = predictor.predict(windows, domain, index).quantiles_BLNVQ[..., MEDIAN]
    return float(np.abs(median - d.unscale(d.values_TNV[step])[..., v])[d.good_TNV[step][..., v]].mean())


def test_each_domain_has_the_baselines_that_suit_it(city: WindowSet) -> None:
    fitted = api.fit_baselines(city)
    rivals = api.load_baselines(fitted.state, fitted.meta)
    assert tuple(rivals) == tuple(k for k in BASELINES if k not in EXTRA_BASELINES)
    assert set(rivals["seasonal_persistence"].scalers) == {"road"}
    assert set(rivals["persistence"].scalers) == {"road", "shop", "sky"}


def test_a_baselines_number_is_all_anchor_also_at_a_bound(city: WindowSet) -> None:
    fitted, d = api.fit_baselines(city), city.domains["road"]
    narrow = altered(city, "road", lower_V=np.array([10, 5], np.float32))
    for rival in api.load_baselines(fitted.state, fitted.meta).values():
        said = rival.predict(narrow, "road", d.windows_of("test"))
        assert np.array_equal(said.split_BLNVP[..., 0], said.quantiles_BLNVQ[..., MEDIAN])
        assert not said.split_BLNVP[..., 1:].any()
        assert (said.split_BLNVP[..., 0] == narrow.domains["road"].lower_V).any()


def test_seasonal_persistence_says_what_was_one_season_before(city: WindowSet) -> None:
    fitted = api.fit_baselines(city)
    d = city.domains["road"]
    index = d.windows_of("test")
    said = api.load_baselines(fitted.state, fitted.meta)["seasonal_persistence"].predict(city, "road", index)
    step = d.end_W[index][:, None] + np.arange(1, d.horizon + 1)
    lag = d.history_names.index("lag_1d")
    good = d.history_good_TNVK[step][..., lag]
    assert good.any()
    expected = d.unscale(d.history_TNVK[step][..., lag])
    np.testing.assert_allclose(said.quantiles_BLNVQ[..., MEDIAN][good], np.maximum(expected, 0)[good], rtol=1e-6)


def test_the_longest_season_is_the_one_of_seasonal_persistence() -> None:
    assert longest_lag(("lag_7d", "lag_1d", "mean_7d", "mean_1d")) == 0
    assert longest_lag(("lag_1d", "lag_1w")) == 1
    assert longest_lag(("mean_7d",)) is None


def test_persistence_of_a_price_is_the_random_walk(city: WindowSet) -> None:
    fitted = api.fit_baselines(city)
    d = city.domains["shop"]
    index = d.windows_of("test")
    said = api.load_baselines(fitted.state, fitted.meta)["persistence"].predict(city, "shop", index).quantiles_BLNVQ
    newest = d.unscale(d.values_TNV[d.end_W[index]])[..., list(d.targets)]
    np.testing.assert_array_equal(said[..., MEDIAN], np.broadcast_to(newest[:, None], said.shape[:-1]))
    wide = (said[..., -1] - said[..., 0]) / newest[:, None]
    assert (wide[:, 1] > wide[:, 0]).all()


def test_boosted_trees_learn_are_kept_as_text_and_are_the_same_again() -> None:
    windows = together(road(days=12), shop())
    first, second = (api.fit_baselines(windows, ("boosted_trees",)) for _ in range(2))
    assert first.state == second.state
    rivals = api.load_baselines(first.state, first.meta)
    assert tuple(rivals) == BASELINES
    assert error(rivals["boosted_trees"], windows, "road") < 0.8 * error(rivals["persistence"], windows, "road")
    said = rivals["boosted_trees"].predict(windows, "shop", windows.domains["shop"].windows_of("live"))
    assert said.quantiles_BLNVQ.shape == (1, 2, 3, 1, 7)
    assert (np.diff(said.quantiles_BLNVQ, axis=-1) >= 0).all()


def test_without_lightgbm_the_mend_is_named(city: WindowSet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(ConfigError, match=r"cubecast\[boosting\].*extra_baselines"):
        api.fit_baselines(city, ("boosted_trees",))
    with pytest.raises(ConfigError, match="there are: boosted_trees"):
        api.fit_baselines(city, ("forest",))


def test_a_baseline_of_a_later_version_is_refused(city: WindowSet) -> None:
    fitted = api.fit_baselines(together(replace(city.domains["shop"])))
    arrays = unpack(fitted.state)
    renamed = {k.replace("persistence/", "oracle/"): a for k, a in arrays.items()}
    with pytest.raises(ContractError, match="oracle"):
        api.load_baselines(pack(renamed), fitted.meta | {"kinds": ["oracle"]})
