from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models import api
from models.documents import DocumentGatherer
from models.gather import CPU, Gatherer, usual_values
from models.layers.summary import GridTokens
from pipeline.contracts.forecasts import MEDIAN
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError, ContractError
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import START, road, sky
from tests.unit.models.planted import Planted, altered, plant, together
from tests.unit.models.told import JAM, STEP, informed

TINY = api.resolve_config("tiny", {"epochs": 4, "steps": 60, "least_steps": 60, "learning_rate": 1e-2})
PARTS = ("anchor", "series", "space", "future", "text_news")


@pytest.fixture(scope="module")
def told() -> WindowSet:
    return informed()


@pytest.fixture(scope="module")
def fitted(told: WindowSet) -> api.Fitted:
    return api.fit(told, TINY, seed=1, progress=QUIET)


@pytest.fixture(scope="module")
def predictor(fitted: api.Fitted) -> api.JointPredictor:
    return api.load(fitted.state, fitted.meta)


def error(predictor: api.JointPredictor, windows: WindowSet, without: tuple[str, ...] = ()) -> float:
    d = windows.domains["road"]
    index = d.windows_of("test")
    step = d.end_W[index][:, None] + np.arange(1, d.horizon + 1)
    median = predictor.predict(windows, "road", index, without=without).quantiles_BLNVQ[..., MEDIAN]
    return float(np.abs(median - d.unscale(d.values_TNV[step]))[d.good_TNV[step]].mean())


def test_a_window_reads_its_run_at_its_target_steps(told: WindowSet) -> None:
    d = told.domains["road"]
    assert d.future is not None
    w = d.windows_of("train")[[10, 11]]
    batch = Gatherer(d, usual_values(d)).batch(w)
    assert batch.ahead_BNLX is not None
    assert batch.ahead_B is not None
    assert batch.ahead_BNLX.shape == (2, 4, 4, 3)
    for b, window in enumerate(w):
        run = int(d.future.run_W[window])
        lead = int(d.end_W[window]) + 1 - int(d.future.first_step_I[run]) + np.arange(4)
        inside = lead < 7
        expected = np.where(inside[:, None], d.future.values_IHNF[run, np.minimum(lead, 6), :, 0], 0)
        np.testing.assert_array_equal(batch.ahead_BNLX[b, :, :, 0].T, expected)
        np.testing.assert_array_equal(batch.ahead_BNLX[b, :, :, 1].T, np.broadcast_to(inside[:, None], (4, 4)))
        assert batch.ahead_BNLX[b, 0, 0, 2] == pytest.approx((d.issue_time_W[window] - d.future.init_time_I[run]) / (4 * STEP))


def test_a_run_that_was_not_known_or_is_not_there_counts_as_absent(told: WindowSet) -> None:
    d = told.domains["road"]
    assert d.future is not None
    w = d.windows_of("train")[:3]
    none = replace(d, future=replace(d.future, run_W=np.full_like(d.future.run_W, -1)))
    late = replace(d, future=replace(d.future, available_time_I=d.future.available_time_I + 10**9))
    empty = {name: getattr(d.future, name)[:0] for name in ("init_time_I", "available_time_I", "first_step_I", "values_IHNF", "good_IHNF")}
    bare = replace(d, future=replace(d.future, run_W=np.full_like(d.future.run_W, -1), **empty))
    for domain in (none, late, bare):
        batch = Gatherer(domain, usual_values(domain)).batch(w)
        assert batch.ahead_B is not None
        assert batch.ahead_BNLX is not None
        assert not batch.ahead_B.any()
        assert not batch.ahead_BNLX[..., :2].any()


def test_what_a_run_holds_where_it_is_not_good_cannot_be_read(told: WindowSet) -> None:
    d = told.domains["road"]
    assert d.future is not None
    poison = replace(d, future=replace(d.future, values_IHNF=np.where(d.future.good_IHNF, d.future.values_IHNF, np.float32(np.nan))))
    w = d.windows_of("train")[::5]
    clean, dirty = (Gatherer(x, usual_values(x)).batch(w).ahead_BNLX for x in (d, poison))
    assert torch.equal(clean, dirty)


def test_a_window_sees_the_documents_of_its_reach_and_no_later_one(told: WindowSet) -> None:
    texts = told.texts["news"]
    issue = np.array([texts.available_time_D[40], texts.available_time_D[40] - 1], np.int64)
    seen = DocumentGatherer(texts, 256, 512, CPU).at(issue, "road", 4)
    for b, t in enumerate(issue):
        expected = np.flatnonzero((texts.available_time_D > t - texts.reach) & (texts.available_time_D <= t))
        own = seen.pair_window_E == b
        assert own.sum() == len(expected)
        np.testing.assert_array_equal(seen.pair_place_E[own], texts.place_D[expected])
        np.testing.assert_allclose(seen.pair_age_E[own], (t - texts.available_time_D[expected]) / texts.reach, rtol=1e-6)
        for p in range(2):
            there = expected[texts.place_D[expected] == p]
            assert seen.count_BP[b, p] == len(there)
            newest = (t - texts.available_time_D[there[-1]]) / texts.reach if len(there) else 1
            assert seen.age_BP[b, p] == pytest.approx(newest)
    assert int(seen.tokens_D.sum()) == len(seen.token_K)


def test_of_many_documents_the_newest_are_seen_and_large_hash_spaces_fold(told: WindowSet) -> None:
    texts = told.texts["news"]
    issue = texts.available_time_D[[-1]]
    whole, few = (DocumentGatherer(texts, rows, most, CPU).at(issue, "road", 4) for rows, most in ((256, 512), (5, 2)))
    assert len(few.pair_age_E) == 2
    assert torch.equal(few.pair_age_E, whole.pair_age_E[-2:])
    assert int(few.token_K.max()) < 5


def test_a_time_without_documents_is_absent_and_harmless(told: WindowSet, predictor: api.JointPredictor) -> None:
    texts = told.texts["news"]
    silent = replace(told, texts={"news": replace(texts, available_time_D=texts.available_time_D + 10**9)})
    index = told.domains["road"].windows_of("test")
    said = predictor.predict(silent, "road", index)
    assert np.isfinite(said.quantiles_BLNVQ).all()
    assert not said.split_BLNVP[..., PARTS.index("text_news")].any()
    np.testing.assert_array_equal(said.quantiles_BLNVQ, predictor.predict(told, "road", index, without=("text_news",)).quantiles_BLNVQ)
    np.testing.assert_array_equal(said.quantiles_BLNVQ, predictor.predict(replace(told, texts={}), "road", index).quantiles_BLNVQ)


def test_the_split_adds_up_with_every_modality(told: WindowSet, predictor: api.JointPredictor) -> None:
    said = predictor.predict(told, "road", told.domains["road"].windows_of("test"))
    assert said.parts == PARTS
    np.testing.assert_allclose(said.split_BLNVP.sum(-1), said.quantiles_BLNVQ[..., MEDIAN], rtol=1e-5, atol=1e-5)
    assert all(np.abs(said.split_BLNVP[..., k]).max() > 0 for k in range(len(PARTS)))


def test_every_modality_starts_with_no_weight(told: WindowSet) -> None:
    untrained = api.fit(told, replace(TINY, epochs=0), seed=3, progress=QUIET)
    weighed = api.load(untrained.state, untrained.meta).explain()["road"]
    assert set(weighed["w_x"]) == {"future", "text_news"}
    assert set(weighed["w_x"].values()) == {0.0}
    assert not np.any(list(weighed["w_y"].values()))


def test_what_others_foresee_and_what_is_written_is_learnt(told: WindowSet, predictor: api.JointPredictor) -> None:
    blind = api.fit(told, replace(TINY, blind="future, text_news"), seed=1, progress=QUIET)
    control = api.load(blind.state, blind.meta)
    assert error(predictor, told) < 0.7 * error(control, told)
    alone = {name: error(predictor, told, without=(name,)) for name in ("future", "text_news")}
    assert min(alone.values()) > 1.1 * error(predictor, told), alone
    assert control.predict(told, "road", told.domains["road"].windows_of("live")).parts == PARTS[:3]


def test_the_word_counts_and_not_that_something_was_written(told: WindowSet, predictor: api.JointPredictor) -> None:
    texts = told.texts["news"]
    other = replace(told, texts={"news": replace(texts, token=np.where(texts.token == JAM, 30, texts.token).astype(np.int32))})
    assert error(predictor, other) > 1.1 * error(predictor, told)


def test_the_same_documents_and_seed_give_the_same_bytes(told: WindowSet) -> None:
    quick = replace(TINY, epochs=1, steps=6, least_steps=6)
    assert api.fit(told, quick, seed=5, progress=QUIET).state == api.fit(told, quick, seed=5, progress=QUIET).state


def test_a_stream_that_links_to_no_node_is_read_by_all(told: WindowSet) -> None:
    loose = replace(told, texts={"news": replace(told.texts["news"], links={})})
    quick = api.fit(loose, replace(TINY, epochs=1, steps=20, least_steps=20, least_gain=0.0), seed=5, progress=QUIET)
    said = api.load(quick.state, quick.meta).predict(loose, "road", loose.domains["road"].windows_of("test"))
    assert np.abs(said.split_BLNVP[..., PARTS.index("text_news")]).max() > 0


def test_documents_and_runs_of_another_kind_are_refused_and_absent_ones_are_not(told: WindowSet, predictor: api.JointPredictor) -> None:
    index = told.domains["road"].windows_of("live")
    other = replace(told, texts={"news": replace(told.texts["news"], buckets=99)})
    with pytest.raises(ContractError, match="buckets=99"):
        predictor.predict(other, "road", index)
    future = told.domains["road"].future
    assert future is not None
    for wrong in (
        replace(future, variables=("rain",)),
        replace(future, scaler=replace(future.scaler, scale_NV=future.scaler.scale_NV * 2)),
    ):
        with pytest.raises(ContractError, match="future"):
            predictor.predict(altered(told, "road", future=wrong), "road", index)
    absent = predictor.predict(altered(told, "road", future=None), "road", index)
    np.testing.assert_array_equal(absent.quantiles_BLNVQ, predictor.predict(told, "road", index, without=("future",)).quantiles_BLNVQ)
    with pytest.raises(ContractError, match="modality 'weather'"):
        predictor.predict(told, "road", index, without=("weather",))


def test_a_place_that_is_first_heard_of_later_changes_no_earlier_forecast(told: WindowSet, predictor: api.JointPredictor) -> None:
    texts = told.texts["news"]
    pairs, weight = texts.links["road"]
    late = int(texts.available_time_D[-1]) + 10**6
    more = replace(
        texts,
        place_ids=(*texts.place_ids, "west"),
        available_time_D=np.append(texts.available_time_D, late),
        valid_time_D=np.append(texts.valid_time_D, late),
        place_D=np.append(texts.place_D, np.int32(2)),
        token_start_D=np.append(texts.token_start_D, len(texts.token) + 1),
        token=np.append(texts.token, np.int32(5)),
        links={"road": (np.concatenate([pairs, [[0, 1], [2, 2]]], 1).astype(np.int32), np.append(weight, [0.5, 0.5]).astype(np.float32))},
    )
    index = told.domains["road"].windows_of("test")
    said, again = (predictor.predict(replace(told, texts={"news": t}), "road", index).quantiles_BLNVQ for t in (texts, more))
    np.testing.assert_allclose(said, again, rtol=1e-6)  # a matrix of one more row may be multiplied in another order


def test_a_name_that_two_modalities_share_is_refused(told: WindowSet) -> None:
    clash = replace(told.domains["road"], domain="future")
    with pytest.raises(ConfigError, match="rename"):
        api.fit(replace(told, domains={"future": clash}), TINY, seed=0, progress=QUIET)
    with pytest.raises(ConfigError, match="allowed: road, future, text_news"):
        api.fit(told, replace(TINY, blind="news"), seed=0, progress=QUIET)


def test_where_a_node_lies_is_read(told: WindowSet) -> None:
    quick = replace(TINY, epochs=1, steps=10, least_steps=10, least_gain=0.0)
    placed = altered(told, "road", position_N2=np.array([[-1, 0], [0, 1], [1, 0], [0, -1]], np.float32))
    fitted = api.fit(placed, quick, seed=5, progress=QUIET)
    elsewhere = altered(placed, "road", position_N2=np.zeros((4, 2), np.float32))
    assert fitted.state != api.fit(elsewhere, quick, seed=5, progress=QUIET).state


def test_a_grid_tells_others_of_its_cells_by_convolution(city: WindowSet) -> None:
    assert GridTokens(4, (9, 13), 16)(torch.randn(2, 117, 4)).shape == (2, 12, 4)
    windows = together(road(), sky())
    quick = replace(TINY, epochs=1, steps=10, least_steps=10)
    with_map, without = (api.fit(windows, replace(quick, grid_tokens=n), seed=5, progress=QUIET) for n in (16, 0))
    assert with_map.meta["parameters"]["road"] > without.meta["parameters"]["road"]


def vectored(told: WindowSet) -> WindowSet:
    """The same documents, whose words say nothing any more and whose vectors say what they said."""
    texts = told.texts["news"]
    jam = np.array([JAM in texts.token[a:b] for a, b in zip(texts.token_start_D[:-1], texts.token_start_D[1:], strict=True)])
    vector_DW = np.random.default_rng(4).normal(0, 0.1, (len(jam), 8)).astype(np.float16)
    vector_DW[:, 2] += np.where(jam, 1, -1).astype(np.float16)
    mute = np.full_like(texts.token, 3)
    return replace(told, texts={"news": replace(texts, token=mute, vector_DW=vector_DW)})


def test_what_a_documents_vector_says_is_learnt_and_a_model_reads_vectors_of_its_own_width_only(told: WindowSet) -> None:
    spoken = vectored(told)
    mute = replace(spoken, texts={"news": replace(spoken.texts["news"], vector_DW=np.zeros((0, 0), np.float16))})
    read, unread = (api.fit(windows, TINY, seed=1, progress=QUIET) for windows in (spoken, mute))
    listening, deaf = (api.load(fitted.state, fitted.meta) for fitted in (read, unread))
    assert error(listening, spoken) < 0.9 * error(deaf, mute)
    index = told.domains["road"].windows_of("test")
    np.testing.assert_array_equal(deaf.predict(spoken, "road", index).quantiles_BLNVQ, deaf.predict(mute, "road", index).quantiles_BLNVQ)
    said = listening.predict(spoken, "road", index)
    np.testing.assert_allclose(said.split_BLNVP.sum(-1), said.quantiles_BLNVQ[..., MEDIAN], rtol=1e-5, atol=1e-5)
    wide = replace(spoken.texts["news"], vector_DW=np.zeros((len(spoken.texts["news"].place_D), 9), np.float16))
    for other in (mute.texts["news"], wide):
        with pytest.raises(ContractError, match="width="):
            listening.predict(replace(spoken, texts={"news": other}), "road", index)
    texts = spoken.texts["news"]
    none = replace(
        texts,
        available_time_D=texts.available_time_D[:0],
        valid_time_D=texts.valid_time_D[:0],
        place_D=texts.place_D[:0],
        token_start_D=texts.token_start_D[:1],
        token=texts.token[:0],
        vector_DW=np.zeros((0, 0), np.float16),
    )
    without = listening.predict(spoken, "road", index, without=("text_news",))
    np.testing.assert_array_equal(
        listening.predict(replace(spoken, texts={"news": none}), "road", index).quantiles_BLNVQ, without.quantiles_BLNVQ
    )


def followed(nodes: int = 12, days: int = 8) -> WindowSet:
    """Roads that follow, two steps later, the one cell of another domain beside each of them; the cells know nothing of each other."""
    chance = np.random.default_rng(4)
    steps, horizon = 48 * days, 2
    cells = chance.normal(0, 1, (steps + horizon, nodes)).astype(np.float32)
    beside = chance.permutation(nodes).astype(np.int32)
    roads = np.roll(cells, 2, axis=0)[:, beside] + chance.normal(0, 0.1, cells.shape).astype(np.float32)
    views = []
    for name, values in (("road", roads), ("cell", cells)):
        values[steps:] = np.nan
        views.append(
            plant(
                Planted(
                    domain=name,
                    values_TNV=values[..., None],
                    valid_time_T=START + 1800 * np.arange(steps + horizon, dtype=np.int64),
                    variables=("level",),
                    context=4,
                    horizon=horizon,
                    slots_per_day=48,
                    step_seconds=1800,
                )
            )
        )
    near = {"cell": (beside[:, None], np.ones((nodes, 1), np.float32))}
    return together(replace(views[0], near=near), views[1])


def test_what_happens_beside_a_node_is_learnt_of_the_node_of_another_domain_there() -> None:
    windows = followed()
    view = windows.domains["road"]
    index = view.windows_of("test")
    came = view.values_TNV[view.end_W[index][:, None] + np.arange(1, view.horizon + 1)]
    options = {"hidden": 16, "epochs": 4, "patience": 4, "steps": 30, "least_steps": 30, "modality_dropout": 0.0, "outage_share": 0.0}
    error = {}
    for near in (True, False):
        fitted = api.fit(windows, api.resolve_config("tiny", {**options, "near": near}), seed=1, progress=QUIET)
        predictor = api.load(fitted.state, fitted.meta)
        said = predictor.predict(windows, "road", index, split=False).quantiles_BLNVQ[..., MEDIAN]
        error[near] = float(np.abs((said - view.scaler.center_NV) / view.scaler.scale_NV - came).mean())
        mute = predictor.predict(windows, "road", index[:3], split=False, without=("cell",)).quantiles_BLNVQ
        assert np.isfinite(mute).all()
        recent = altered(windows, "road", near={})
        np.testing.assert_array_equal(said, predictor.predict(recent, "road", index, split=False).quantiles_BLNVQ[..., MEDIAN])
    assert error[True] < 0.5 * error[False]
