import numpy as np
import pytest

from pipeline.contracts.world_files import parse_world
from pipeline.contracts.worlds import Domain, DomainVariable
from pipeline.errors import ContractError
from pipeline.windows.scaling import dump_scalers, fit_scaler, load_scalers, scale_values
from tests.feeds import WORLD

DOMAIN = parse_world(WORLD, "little").domains["traffic"]


def domain_scaled(*kinds: str) -> Domain:
    variables = {f"v{i}": DomainVariable.model_validate({"source": "road", "scale": kind}) for i, kind in enumerate(kinds)}
    return DOMAIN.model_copy(update={"variables": variables})


def values(seed: int = 0, steps: int = 3000) -> np.ndarray:
    rng = np.random.default_rng(seed)
    found = (rng.normal(size=(steps, 3, 1)) * np.array([1, 10, 100]).reshape(1, 3, 1) + 50).astype(np.float32)
    found[rng.random(found.shape) < 0.2] = np.nan
    return found


def test_one_spread_per_variable_is_that_of_all_nodes_together() -> None:
    data = values()
    scaler = fit_scaler(domain_scaled("variable"), data)
    np.testing.assert_allclose(scaler.center_NV[:, 0], np.nanmean(data.astype(np.float64)), rtol=1e-5)
    np.testing.assert_allclose(scaler.scale_NV[:, 0], np.nanstd(data.astype(np.float64)), rtol=1e-5)
    assert (scaler.relative_NV == 0).all()


def test_one_spread_per_node_is_its_own() -> None:
    data = values()
    scaler = fit_scaler(domain_scaled("node"), data)
    np.testing.assert_allclose(scaler.center_NV[:, 0], np.nanmean(data[..., 0].astype(np.float64), axis=0), rtol=1e-5)
    np.testing.assert_allclose(scaler.scale_NV[:, 0], np.nanstd(data[..., 0].astype(np.float64), axis=0), rtol=1e-5)


def test_a_node_that_is_silent_or_stuck_takes_what_is_usual() -> None:
    data = values()
    data[:, 0], data[:, 1] = np.nan, 7.0
    scaler = fit_scaler(domain_scaled("node"), data)
    assert scaler.scale_NV[0, 0] == scaler.scale_NV[1, 0] == scaler.scale_NV[2, 0]
    assert scaler.center_NV[1, 0] == 7.0
    assert np.isfinite(scaler.center_NV).all()


def test_a_relative_variable_keeps_its_values_and_has_the_spread_of_its_changes() -> None:
    rng = np.random.default_rng(1)
    prices = 100 * np.cumprod(1 + rng.normal(0, 0.02, size=(4000, 2, 1)), axis=0).astype(np.float32)
    scaler = fit_scaler(domain_scaled("relative"), prices)
    assert (scaler.center_NV == 0).all()
    assert (scaler.scale_NV == 1).all()
    np.testing.assert_allclose(scaler.relative_NV, 0.02, rtol=0.1)


def test_nothing_known_gives_a_scaler_that_changes_nothing() -> None:
    scaler = fit_scaler(domain_scaled("variable", "node"), np.full((5, 2, 2), np.nan, np.float32))
    assert (scaler.center_NV == 0).all()
    assert (scaler.scale_NV == 1).all()


def test_scaled_values_are_zero_where_nothing_is_known() -> None:
    data = values()
    scaler = fit_scaler(domain_scaled("variable"), data)
    missing = np.isnan(data)
    scaled = scale_values(data.copy(), scaler)
    assert (scaled[missing] == 0).all()
    np.testing.assert_allclose(scaled[~missing] * scaler.scale_NV[0, 0] + scaler.center_NV[0, 0], data[~missing], rtol=1e-4, atol=1e-4)


def test_scalers_survive_a_dump_bit_for_bit_and_other_bytes_are_refused() -> None:
    scalers = {"a": fit_scaler(domain_scaled("node"), values()), "b": fit_scaler(domain_scaled("variable"), values(1))}
    found = load_scalers(dump_scalers(scalers))
    for name, scaler in scalers.items():
        assert found[name].scale_NV.tobytes() == scaler.scale_NV.tobytes()
        assert found[name].center_NV.tobytes() == scaler.center_NV.tobytes()
    assert dump_scalers(found) == dump_scalers(scalers)
    with pytest.raises(ContractError, match="bytes that are none"):
        load_scalers(b"no scalers")
