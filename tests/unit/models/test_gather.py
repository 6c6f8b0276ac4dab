from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.gather import Gatherer, usual_values
from pipeline.contracts.windows import DomainWindows, WindowSet


def gatherer(domain: DomainWindows) -> Gatherer:
    return Gatherer(domain, usual_values(domain))


def test_a_batch_holds_exactly_the_windows_context_and_targets(city: WindowSet) -> None:
    road = city.domains["road"]
    w = road.windows_of("train")[[3, 40]]
    batch = gatherer(road).batch(w)
    for b, end in enumerate(road.end_W[w]):
        good = road.good_TNV[end - 7 : end + 1]
        assert np.array_equal(batch.context.seen_BCNV[b], good)
        assert np.array_equal(batch.context.x_BCNV[b], np.where(good, road.values_TNV[end - 7 : end + 1], 0))
        assert np.array_equal(batch.good_BLNV[b], road.good_TNV[end + 1 : end + 5])
        assert np.array_equal(batch.y_BLNV[b], road.values_TNV[end + 1 : end + 5])
        assert np.array_equal(batch.coarse_BJNV[b], road.coarse_TNV[[end, end - 4, end - 8]])
        assert batch.time_of_day_B[b] == road.time_of_day_T[end + 1]


def test_a_value_that_comes_later_than_the_issue_time_is_not_seen(city: WindowSet) -> None:
    sky = city.domains["sky"]
    w = sky.windows_of("train")[[10]]
    early = replace(sky, issue_time_W=sky.valid_time_T[sky.end_W] + 599)
    late = replace(sky, issue_time_W=sky.valid_time_T[sky.end_W] + 600)
    assert not gatherer(early).batch(w).context.seen_BCNV[:, -1].any()
    assert gatherer(early).batch(w).context.seen_BCNV[:, -2].all()
    assert gatherer(late).batch(w).context.seen_BCNV[:, -1].all()


def test_another_domain_is_seen_up_to_the_issue_time_only(city: WindowSet) -> None:
    sky = city.domains["sky"]
    issue = np.array([sky.valid_time_T[20] + 599, sky.valid_time_T[20] + 600, sky.valid_time_T[0] - 1])
    context = gatherer(sky).context_at(issue, 4)
    assert context.seen_BCNV[:, -1, 0, 0].tolist() == [False, True, False]
    assert not context.has_BNV[2].any()
    assert np.allclose(context.last_BNV[1], sky.values_TNV[20])
    assert context.age_BNV[1, 0, 0] == pytest.approx(1 / 6)
    assert context.age_BNV[2, 0, 0] == 5


def with_patches(domain: DomainWindows, *patches: tuple[int, int, int, float, int, int]) -> DomainWindows:
    """The domain with patches (step, node, variable, value, known, gone)."""
    step, node, variable, value, known, gone = (np.array(column) for column in zip(*sorted(patches), strict=True))
    return replace(
        domain,
        patch_start_T=np.searchsorted(step, np.arange(len(domain.valid_time_T) + 1)).astype(np.int64),
        patch_step=step.astype(np.int32),
        patch_node=node.astype(np.int32),
        patch_variable=variable.astype(np.int16),
        patch_value=value.astype(np.float32),
        patch_known_time=known.astype(np.int64),
        patch_gone_time=gone.astype(np.int64),
    )


def test_a_patch_shows_the_window_what_was_known_then(city: WindowSet) -> None:
    road = city.domains["road"]
    w = int(road.windows_of("train")[5])
    end, issue = int(road.end_W[w]), int(road.issue_time_W[w])
    hidden = replace(road, latency_TNV=np.where(np.arange(len(road.valid_time_T))[:, None, None] == end, 10**6, road.latency_TNV))
    patched = with_patches(
        hidden,
        (end, 1, 0, 7.5, issue, issue + 1),
        (end, 2, 0, 8.5, issue + 1, issue + 900),
        (end, 2, 1, 9.5, issue - 900, issue),
        (end - 100, 0, 0, 9.9, 0, issue + 900),
    )
    batch = gatherer(patched).batch(np.array([w - 1, w]))
    assert batch.context.x_BCNV[1, -1, 1, 0] == 7.5
    assert batch.context.last_BNV[1, 1, 0] == 7.5
    assert batch.context.seen_BCNV[1, -1].sum() == 1
    plain = gatherer(road).batch(np.array([w - 1, w]))
    assert torch.equal(batch.context.x_BCNV[0], plain.context.x_BCNV[0])
    assert (batch.context.x_BCNV == 9.9).sum() == 0


def test_another_domain_sees_patches_too(city: WindowSet) -> None:
    sky = city.domains["sky"]
    issue = int(sky.valid_time_T[20]) + 600
    patched = with_patches(sky, (19, 0, 0, 7.5, issue - 600, issue + 1))
    context = gatherer(patched).context_at(np.array([issue, issue + 1]), 4)
    assert context.x_BCNV[0, -2, 0, 0] == 7.5
    assert context.x_BCNV[1, -2, 0, 0] == sky.values_TNV[19, 0, 0]


def test_the_anchor_is_the_newest_value_then_the_newest_mean_then_the_usual_value(city: WindowSet) -> None:
    road = city.domains["road"]
    w = road.windows_of("train")[[30]]
    end = int(road.end_W[w[0]])
    latency = road.latency_TNV.copy()
    latency[end - 2 : end + 1, 0], latency[end - 7 : end + 1, 1:3] = 2**31 - 1, 2**31 - 1
    coarse_good = road.coarse_good_TNV.copy()
    coarse_good[:, 2] = False
    road = replace(road, latency_TNV=latency, good_TNV=latency < 2**31 - 1, coarse_good_TNV=coarse_good)
    batch = gatherer(road).batch(w)
    newest = max(s for s in range(end - 7, end - 2) if road.good_TNV[s, 0, 0])
    assert batch.anchor_BLNV[0, 0, 0, 0] == road.values_TNV[newest, 0, 0]
    assert batch.context.age_BNV[0, 0, 0] == end - newest
    assert batch.anchor_BLNV[0, 3, 1, 0] == road.coarse_TNV[end, 1, 0]
    assert batch.anchor_BLNV[0, 3, 2, 0] == usual_values(road)[2, 0]


def test_an_anchor_one_season_back_follows_the_target(city: WindowSet) -> None:
    road = replace(city.domains["road"], anchor_V=np.array([0, -1], np.int16))
    w = road.windows_of("test")[[9]]
    batch = gatherer(road).batch(w)
    end = int(road.end_W[w[0]])
    for lead in range(4):
        s = end + 1 + lead
        expected = np.where(road.history_good_TNVK[s, :, 0, 0], road.history_TNVK[s, :, 0, 0], batch.base_BNV[0, :, 0])
        assert np.array_equal(batch.anchor_BLNV[0, lead, :, 0], expected)
        assert torch.equal(batch.anchor_BLNV[0, lead, :, 1], batch.base_BNV[0, :, 1])


def test_what_is_masked_cannot_be_read_whatever_it_holds(city: WindowSet) -> None:
    road = city.domains["road"]
    poison = replace(
        road,
        values_TNV=np.where(road.good_TNV, road.values_TNV, np.float32(np.nan)),
        history_TNVK=np.where(road.history_good_TNVK, road.history_TNVK, np.float32(np.inf)),
        coarse_TNV=np.where(road.coarse_good_TNV, road.coarse_TNV, np.float32(1e30)),
    )
    w = road.windows_of("train")[::7]
    clean, dirty = gatherer(road).batch(w), gatherer(poison).batch(w)
    for name in ("history_BLNVK", "coarse_BJNV", "anchor_BLNV", "y_BLNV", "base_BNV"):
        assert torch.equal(getattr(clean, name), getattr(dirty, name)), name
    assert torch.equal(clean.context.x_BCNV, dirty.context.x_BCNV)


def test_batches_of_one_size_reuse_their_memory(city: WindowSet) -> None:
    g = gatherer(city.domains["road"])
    w = city.domains["road"].windows_of("train")
    first = g.batch(w[:4]).history_BLNVK.data_ptr()
    assert g.batch(w[4:8]).history_BLNVK.data_ptr() == first
