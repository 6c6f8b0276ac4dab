from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from models import api
from models.batch import Around
from models.gather import Gatherer, usual_values
from models.joint import JointModel, quantiles
from models.layers.spatial import AffineSampling, Diffusion, GridSpace, NodeSpace
from models.prediction import within
from models.shapes import shape_of
from models.state import unpack
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError, ContractError
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import road, sky
from tests.unit.models.planted import Planted, altered, plant, together

TINY = api.resolve_config("tiny", {})


@pytest.fixture(scope="module")
def fitted(city: WindowSet) -> api.Fitted:
    return api.fit(city, TINY, seed=1, progress=QUIET)


@pytest.fixture(scope="module")
def predictor(fitted: api.Fitted) -> api.Predictor:
    return api.load(fitted.state, fitted.meta)


def observed(windows: WindowSet, domain: str, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    d = windows.domains[domain]
    step = d.end_W[index][:, None] + np.arange(1, d.horizon + 1)
    v = list(d.targets)
    return d.unscale(d.values_TNV[step])[..., v], d.good_TNV[step][..., v]


def mean_error(predictor: api.Predictor, windows: WindowSet, domain: str) -> np.ndarray:
    index = windows.domains[domain].windows_of("test")
    y, good = observed(windows, domain, index)
    median = predictor.predict(windows, domain, index).quantiles_BLNVQ[..., MEDIAN]
    return np.asarray((np.abs(median - y) * good).sum((0, 1, 2)) / good.sum((0, 1, 2)))


@pytest.mark.parametrize("domain", ["road", "sky", "shop"])
def test_an_untrained_model_says_exactly_the_anchor(city: WindowSet, domain: str) -> None:
    untrained = api.fit(city, replace(TINY, epochs=0), seed=3, progress=QUIET)
    d = city.domains[domain]
    index = d.windows_of("test")[:5]
    said = api.load(untrained.state, untrained.meta).predict(city, domain, index)
    shape = api._usable(city)[0][domain]
    batch = Gatherer(d, shape.usual_NV).batch(index)
    anchor = d.unscale(batch.anchor_BLNV.numpy())[..., list(d.targets)]
    assert np.array_equal(said.split_BLNVP[..., 0], np.clip(anchor, d.lower_V[0], None))
    assert np.array_equal(said.quantiles_BLNVQ[..., MEDIAN], np.clip(anchor, d.lower_V[0], None))
    assert not said.split_BLNVP[..., 1:].any()


def test_a_term_is_credited_with_what_it_changes_within_the_bounds(city: WindowSet) -> None:
    bounded = replace(city.domains["shop"], lower_V=np.zeros(2, np.float32), upper_V=np.array([3, np.nan], np.float32))
    terms = np.array([[1, -1.6, 0.3], [2, 2, -3], [-1, 2, 0.1], [1, 1, 0.7]], np.float32)[None, None, :, None]
    expected = [[1, -1, 0], [2, 1, -2], [0, 1, 0.1], [1, 1, 0.7]]
    np.testing.assert_allclose(within(bounded, terms)[0, 0, :, 0], expected, atol=1e-6)


@pytest.mark.parametrize("domain", ["road", "sky", "shop"])
def test_the_split_adds_up_to_the_median(city: WindowSet, predictor: api.Predictor, domain: str) -> None:
    d = city.domains[domain]
    unbounded = altered(city, domain, lower_V=np.full_like(d.lower_V, -np.inf))
    said = predictor.predict(unbounded, domain, d.windows_of("test"))
    median = said.quantiles_BLNVQ[..., MEDIAN]
    assert said.parts == ("anchor", "series", "space", *sorted(set(city.domains) - {domain}))
    np.testing.assert_allclose(said.split_BLNVP.sum(-1), median, rtol=1e-5, atol=1e-5)
    lower, upper = (np.quantile(median, q, axis=(0, 1, 2)).astype(np.float32) for q in (0.3, 0.7))
    narrow = altered(city, domain, lower_V=np.resize(lower, d.lower_V.shape), upper_V=np.resize(upper, d.upper_V.shape))
    kept = predictor.predict(narrow, domain, d.windows_of("test"))
    assert np.array_equal(kept.quantiles_BLNVQ[..., MEDIAN], np.clip(median, lower, upper))
    np.testing.assert_allclose(kept.split_BLNVP.sum(-1), kept.quantiles_BLNVQ[..., MEDIAN], rtol=1e-5, atol=1e-5)
    running = said.split_BLNVP.cumsum(-1)
    inside = ((running > lower[:, None]) & (running < upper[:, None])).all(-1)
    assert 0.1 < inside.mean() < 0.7
    assert np.array_equal(kept.split_BLNVP[inside], said.split_BLNVP[inside])
    without = predictor.predict(unbounded, domain, d.windows_of("test"), split=False)
    np.testing.assert_allclose(without.quantiles_BLNVQ, said.quantiles_BLNVQ, rtol=1e-4, atol=1e-4)
    assert domain != "road" or all(np.abs(said.split_BLNVP[..., k]).max() > 0 for k in range(5))


def test_a_hidden_layer_of_the_head_learns_and_the_split_still_adds_up(city: WindowSet) -> None:
    deep, index = api.fit(city, replace(TINY, head_hidden=8, epochs=1), seed=1, progress=QUIET), city.domains["road"].windows_of("test")
    last = unpack(deep.state)["weights/road/nets.road.head_deep.2.weight"]
    assert last.shape[1] == 8
    assert np.abs(last).max() > 0
    model = api.load(deep.state, deep.meta)
    said = model.predict(city, "road", index)
    np.testing.assert_allclose(said.split_BLNVP.sum(-1), said.quantiles_BLNVQ[..., MEDIAN], rtol=1e-5, atol=1e-5)
    whole = model.predict(city, "road", index, split=False)
    np.testing.assert_allclose(whole.quantiles_BLNVQ, said.quantiles_BLNVQ, rtol=1e-4, atol=1e-4)


def test_quantiles_are_laid_around_the_median_that_is_published(city: WindowSet, predictor: api.Predictor) -> None:
    d, bounds = city.domains["road"], {"lower_V": np.full(2, -np.inf, np.float32)}
    free = predictor.predict(altered(city, "road", **bounds), "road", d.windows_of("test")).quantiles_BLNVQ
    bounds["lower_V"] = np.quantile(free[..., MEDIAN], 0.5, axis=(0, 1, 2)).astype(np.float32)
    kept = predictor.predict(altered(city, "road", **bounds), "road", d.windows_of("test")).quantiles_BLNVQ
    assert 0.4 < (kept[..., MEDIAN] > free[..., MEDIAN]).mean() < 0.6
    above = slice(MEDIAN + 1, None)
    np.testing.assert_allclose(kept[..., above] - kept[..., [MEDIAN]], free[..., above] - free[..., [MEDIAN]], atol=1e-4)


def test_quantiles_never_cross_and_keep_to_the_bounds(city: WindowSet, predictor: api.Predictor) -> None:
    for domain, d in city.domains.items():
        q = predictor.predict(city, domain, d.windows_of("test")).quantiles_BLNVQ
        assert np.isfinite(q).all()
        assert (np.diff(q, axis=-1) >= 0).all()
        assert (q >= d.lower_V[0]).all()
    wild = quantiles(torch.zeros(3), torch.rand(3, 6))
    assert (wild.diff(dim=-1) >= 0).all()
    assert torch.equal(wild[:, MEDIAN], torch.zeros(3))


@pytest.mark.parametrize("domain", ["road", "sky", "shop"])
def test_an_untrained_model_spreads_as_persistence_errs(city: WindowSet, domain: str) -> None:
    city = altered(city, domain, lower_V=np.full_like(city.domains[domain].lower_V, -np.inf))
    untrained, base = api.fit(city, replace(TINY, epochs=0), seed=3, progress=QUIET), api.fit_baselines(city)
    index = city.domains[domain].windows_of("test")
    said = api.load(untrained.state, untrained.meta).predict(city, domain, index).quantiles_BLNVQ
    persistence = api.load_baselines(base.state, base.meta)["persistence"].predict(city, domain, index).quantiles_BLNVQ
    np.testing.assert_allclose(said, persistence, rtol=1e-3, atol=0.02)


def test_the_weights_of_other_domains_start_at_zero(city: WindowSet) -> None:
    untrained = api.fit(city, replace(TINY, epochs=0), seed=3, progress=QUIET)
    for weighed in api.load(untrained.state, untrained.meta).explain().values():
        assert set(weighed["w_x"].values()) == {0.0}
        assert not np.any(list(weighed["w_y"].values()))
        assert set(weighed["alpha"]) == {0.5}


def test_a_trained_model_has_moved_every_mixing_weight(city: WindowSet, predictor: api.Predictor) -> None:
    weighed = predictor.explain()["road"]
    assert np.ptp(weighed["alpha"]) > 0
    assert np.shape(weighed["beta"]) == (5, 4)
    assert all(np.all(np.array(w) != 0) for w in weighed["w_y"].values())
    assert all(w != 0 for w in weighed["w_x"].values())


def test_without_modalities_no_domain_sees_another(city: WindowSet) -> None:
    control = api.fit(city, replace(TINY, modalities=False, epochs=1), seed=1, progress=QUIET)
    alone = api.load(control.state, control.meta)
    other = altered(city, "sky", values_TNV=city.domains["sky"].values_TNV + 5)
    index = city.domains["road"].windows_of("test")
    said = alone.predict(city, "road", index)
    assert said.parts == ("anchor", "series", "space")
    assert np.array_equal(said.quantiles_BLNVQ, alone.predict(other, "road", index).quantiles_BLNVQ)


def test_another_domain_changes_the_forecast_once_trained(city: WindowSet, predictor: api.Predictor) -> None:
    index = city.domains["road"].windows_of("test")
    other = altered(city, "sky", values_TNV=city.domains["sky"].values_TNV + 1)
    said, otherwise = (predictor.predict(w, "road", index).quantiles_BLNVQ for w in (city, other))
    assert not np.array_equal(said, otherwise)


def test_masked_cells_cannot_reach_training_or_forecasts(city: WindowSet, fitted: api.Fitted, predictor: api.Predictor) -> None:
    poisoned = city
    for name, d in city.domains.items():
        poisoned = altered(
            poisoned,
            name,
            values_TNV=np.where(d.good_TNV, d.values_TNV, np.float32(1e30)),
            history_TNVK=np.where(d.history_good_TNVK, d.history_TNVK, np.float32(np.nan)),
            coarse_TNV=np.where(d.coarse_good_TNV, d.coarse_TNV, np.float32(-1e30)),
        )
    again = api.fit(poisoned, TINY, seed=1, progress=QUIET)
    assert again.state == fitted.state
    index = city.domains["road"].windows_of("live")
    clean, dirty = (predictor.predict(w, "road", index).quantiles_BLNVQ for w in (city, poisoned))
    assert np.array_equal(clean, dirty)


def test_what_comes_after_the_issue_time_cannot_reach_a_forecast(city: WindowSet, predictor: api.Predictor) -> None:
    d = city.domains["road"]
    w = int(d.windows_of("test")[4])
    issue, later = int(d.issue_time_W[w]), city
    for name, other in city.domains.items():
        unknown = (other.valid_time_T[:, None, None] + other.latency_TNV.astype(np.int64)) > issue
        later = altered(later, name, values_TNV=np.where(unknown, np.float32(123), other.values_TNV))
    clean, dirty = (predictor.predict(x, "road", np.array([w])) for x in (city, later))
    assert np.array_equal(clean.quantiles_BLNVQ, dirty.quantiles_BLNVQ)
    assert np.array_equal(clean.split_BLNVP, dirty.split_BLNVP)


def test_a_planted_pattern_is_learnt_better_than_any_baseline() -> None:
    windows = together(road(days=14), sky(days=14))
    config = replace(TINY, epochs=5, least_steps=60, steps=60, learning_rate=1e-2)
    joint = api.fit(windows, config, seed=0, progress=QUIET)
    error = mean_error(api.load(joint.state, joint.meta), windows, "road")
    base = api.fit_baselines(windows)
    rivals = {k: mean_error(p, windows, "road") for k, p in api.load_baselines(base.state, base.meta).items()}
    assert all((error < rival).all() for rival in rivals.values()), (error, rivals)


def test_an_outage_of_a_whole_domain_and_of_a_whole_context_still_forecasts(city: WindowSet, predictor: api.Predictor) -> None:
    d = city.domains["road"]
    index = d.windows_of("live")
    dark = city
    for name, other in city.domains.items():
        dark = altered(dark, name, latency_TNV=np.full_like(other.latency_TNV, 2**31 - 1), good_TNV=np.zeros_like(other.good_TNV))
    said = predictor.predict(dark, "road", index)
    assert np.isfinite(said.quantiles_BLNVQ).all()
    absent = replace(dark, domains={"road": dark.domains["road"]})
    assert np.array_equal(predictor.predict(absent, "road", index).quantiles_BLNVQ, said.quantiles_BLNVQ)


def test_windows_of_another_world_are_refused(city: WindowSet, predictor: api.Predictor) -> None:
    renamed = altered(city, "road", node_ids=("a", "b", "c", "d", "e"))
    with pytest.raises(ContractError, match="node_ids"):
        predictor.predict(renamed, "road", np.array([0]))
    with pytest.raises(ContractError, match="forecast of domain 'sea'"):
        predictor.predict(city, "sea", np.array([0]))
    other_scale = altered(city, "road", scaler=replace(city.domains["road"].scaler, scale_NV=city.domains["road"].scaler.scale_NV * 2))
    with pytest.raises(ContractError, match="scale"):
        predictor.predict(other_scale, "road", np.array([0]))


def test_state_and_meta_of_two_models_are_refused(city: WindowSet, fitted: api.Fitted) -> None:
    quick = {"epochs": 1, "steps": 1, "least_steps": 1}
    worlds = [city, together(road(nodes=3)), together(road(nodes=7))]
    models = [api.fit(world, api.resolve_config("tiny", quick), seed=1, progress=QUIET) for world in worlds]
    models += [api.fit(worlds[1], api.resolve_config("tiny", quick | {"members": m}), seed=1, progress=QUIET) for m in (2, 3)]
    for state, meta in itertools.permutations(models, 2):
        with pytest.raises(ContractError):
            api.load(state.state, meta.meta)


def test_a_state_that_is_damaged_or_of_another_kind_is_refused(city: WindowSet, fitted: api.Fitted) -> None:
    with pytest.raises(ContractError, match="no safetensors"):
        api.load(fitted.state[:100], fitted.meta)
    base = api.fit_baselines(city)
    with pytest.raises(ContractError, match="kind 'baselines'"):
        api.load(base.state, base.meta)
    with pytest.raises(ContractError, match="schema 99"):
        api.load(fitted.state, fitted.meta | {"schema": 99})


def test_a_model_with_an_option_of_another_version_is_neither_read_nor_gone_on_from(city: WindowSet, fitted: api.Fitted) -> None:
    later = replace(fitted, meta=fitted.meta | {"config": fitted.meta["config"] | {"depth": 3}})
    with pytest.raises(ContractError, match="does not know: depth"):
        api.load(later.state, later.meta)
    with pytest.raises(ContractError, match="does not know: depth"):
        api.fit(city, api.resolve_config("tiny", {"epochs": 1}), seed=0, progress=QUIET, initial=later)


def test_one_node_alone_trains_and_forecasts() -> None:
    values = np.sin(np.arange(220) / 5)[:, None, None].astype(np.float32)
    values[-2:] = np.nan
    one = plant(
        Planted(
            domain="one",
            values_TNV=values,
            valid_time_T=3600 * np.arange(220, dtype=np.int64),
            variables=("x",),
            context=6,
            horizon=2,
            slots_per_day=24,
            step_seconds=3600,
        )
    )
    windows = together(one)
    joint = api.fit(windows, replace(TINY, epochs=1), seed=0, progress=QUIET)
    said = api.load(joint.state, joint.meta).predict(windows, "one", one.windows_of("live"))
    assert said.quantiles_BLNVQ.shape == (1, 2, 1, 1, 7)


@pytest.mark.parametrize(
    ("options", "holds"),
    [
        ({"temporal": "gru"}, "road.temporal.cell.weight_ih_l0"),
        ({"temporal": "rnn", "time_attention": "full"}, "road.temporal.mixing.take.weight"),
        ({"temporal": "linear", "attention": "full"}, "road.space.full.take.weight"),
        ({"spatial_transformer": True, "mix_tokens": True, "hubs": 0}, "sky.space.sampling.where.weight"),
    ],
)
def test_every_option_of_the_model_trains_and_splits(city: WindowSet, options: dict[str, object], holds: str) -> None:
    config = api.resolve_config("tiny", {"epochs": 1, "steps": 6, "least_steps": 6, "least_gain": 0.0, **options})
    fitted = api.fit(city, config, seed=0, progress=QUIET)
    assert any(name.endswith(holds) for name in unpack(fitted.state))
    model = api.load(fitted.state, fitted.meta)
    for domain in ("road", "sky"):
        said = model.predict(city, domain, city.domains[domain].windows_of("test"))
        np.testing.assert_allclose(said.split_BLNVP.sum(-1), said.quantiles_BLNVQ[..., MEDIAN], rtol=1e-5, atol=1e-5)


def test_heads_that_do_not_divide_their_width_are_refused_with_one_that_does() -> None:
    with pytest.raises(ConfigError, match="such as 16"):
        api.resolve_config("tiny", {"attention": "full", "hidden": 14, "heads": 8})


def test_attention_gives_nothing_to_what_is_not_seen() -> None:
    seen = torch.tensor([[True, True, False]])
    x = torch.randn(1, 3, 8)
    other = x.clone()
    other[0, 2] = 99
    for attention in ("full", "hubs"):
        config = replace(TINY, hidden=8, attention=attention)
        space = NodeSpace(3, np.zeros((2, 0), np.int32), np.zeros(0, np.float32), config)
        for p in space.parameters():
            torch.nn.init.normal_(p)
        torch.testing.assert_close(space(x, seen)[:, :2], space(other, seen)[:, :2])


def test_affine_sampling_begins_as_the_identity_and_can_move() -> None:
    sampling, grid = AffineSampling(3), torch.randn(2, 3, 5, 7)
    torch.testing.assert_close(sampling(grid), grid)
    with torch.no_grad():
        sampling.where.bias[2] = 2 / 7
    torch.testing.assert_close(sampling(grid)[..., :-1], grid[..., 1:])


def test_sparse_and_dense_diffusion_agree(monkeypatch: pytest.MonkeyPatch, city: WindowSet) -> None:
    shape = api._usable(city)[0]["road"]
    dense = Diffusion(5, shape.edges_2E, shape.edge_weight_E, 2)
    monkeypatch.setattr("models.layers.spatial.DENSE_NODES", 0)
    x = torch.randn(2, 5, 16)
    for one, other in zip(dense(x), Diffusion(5, shape.edges_2E, shape.edge_weight_E, 2)(x), strict=True):
        torch.testing.assert_close(one, other)


def test_a_grid_far_from_even_sizes_keeps_its_shape() -> None:
    assert sky().grid_shape == (2, 3)
    assert GridSpace((5, 7), replace(TINY, hidden=4, levels=3))(torch.randn(2, 35, 4), torch.ones(2, 35, dtype=torch.bool)).shape == (
        2,
        35,
        4,
    )


@pytest.mark.parametrize("changes", [True, False])
def test_a_series_read_as_changes_does_not_know_its_level(changes: bool) -> None:
    low = road(days=4)
    raised = {
        f"{k}_{axes}": getattr(low, f"{k}_{axes}") + 5 * getattr(low, f"{k}_good_{axes}")
        for k, axes in (("history", "TNVK"), ("coarse", "TNV"))
    }
    high = replace(low, values_TNV=low.values_TNV + 5 * low.good_TNV, **raised)
    config = api.resolve_config("tiny", {"changes": changes})
    index, said = low.windows_of("train")[:6], []
    for d in (low, high):
        usual = usual_values(d)
        torch.manual_seed(0)
        model = JointModel({"road": shape_of(d, usual)}, {}, ("road",), config).eval()
        for p in model.parameters():
            torch.nn.init.normal_(p, std=0.1)
        batch = Gatherer(d, usual).batch(index)
        with torch.inference_mode():
            said.append(model("road", batch, Around(contexts={}, documents={}), {}, parts=False, spread_windows=0).median_BLNV)
    assert torch.allclose(*said, atol=1e-4) == changes
