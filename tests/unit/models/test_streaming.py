from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from models import api
from models.feeds import Feeds
from models.gather import Gatherer, usual_values
from models.joint import JointModel
from models.shapes import shape_of
from models.training.ahead import ahead
from models.training.excerpt import Layout, excerpt, spans_of
from models.training.folds import folds_of
from models.training.order import Streamed, generator, step_plan, streaming_layout
from pipeline.contracts.windows import DomainWindows, WindowSet
from pipeline.telemetry import QUIET
from tests.unit.models.conftest import road, shop, sky
from tests.unit.models.planted import altered, together
from tests.unit.models.test_gather import with_patches
from tests.unit.models.told import informed

STREAM = api.resolve_config("tiny", {"memory": "streamed", "stream_chunks": 6, "stream_together": 2, "epochs": 2})


def patched(d: DomainWindows) -> DomainWindows:
    """Every third step held another value for the first hour, at one node."""
    step = np.arange(0, len(d.valid_time_T) - d.horizon, 3)
    known = d.valid_time_T[step] + 60
    return with_patches(
        d, *((int(s), int(s) % len(d.node_ids), 0, 5 + s / 100, int(k), int(k) + 3600) for s, k in zip(step, known, strict=True))
    )


def same(one: object, other: object, where: str = "") -> None:
    if isinstance(one, tuple):
        assert isinstance(other, tuple)
        for k, (a, b) in enumerate(zip(one, other, strict=True)):
            same(a, b, f"{where}.{k}")
    elif isinstance(one, torch.Tensor):
        assert isinstance(other, torch.Tensor)
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert isinstance(other, dict)
        for k, value in one.items():
            same(value, other[k], f"{where}.{k}")
    elif is_dataclass(one):
        for f in fields(one):
            same(getattr(one, f.name), getattr(other, f.name), f"{where}.{f.name}")


def test_an_excerpt_gives_each_window_what_all_arrays_give_it(city: WindowSet) -> None:
    windows = replace(city, domains={name: patched(d) for name, d in city.domains.items()})
    shapes = {n: shape_of(d, usual_values(d)) for n, d in windows.domains.items()}
    model = JointModel(shapes, {}, ("road",), STREAM)
    d = windows.domains["road"]
    chunks = [(float(d.issue_time_W[40]), float(d.issue_time_W[60])), (float(d.issue_time_W[90]), float(d.issue_time_W[130]))]
    index = np.concatenate([np.arange(40, 60), np.arange(90, 130)])
    cut = {n: excerpt(o, spans_of(o, chunks), index if n == "road" else np.zeros(0, np.int64)) for n, o in windows.domains.items()}
    assert len(cut["road"].valid_time_T) < len(d.valid_time_T)
    whole, part = Feeds(windows, shapes, {}, STREAM), Feeds(replace(windows, domains=cut), shapes, {}, STREAM)
    chosen = np.array([0, 19, 20, 33, 59])
    for one, other in zip(part.batch(model, "road", chosen), whole.batch(model, "road", index[chosen]), strict=True):
        same(one, other)


def test_an_excerpt_keeps_each_windows_run() -> None:
    windows = informed(days=6)
    d = windows.domains["road"]
    chunks = [(float(d.issue_time_W[30]), float(d.issue_time_W[41])), (float(d.issue_time_W[60]), float(d.issue_time_W[80]))]
    index = np.concatenate([np.arange(30, 41), np.arange(60, 80)])
    part = excerpt(d, spans_of(d, chunks), index)
    one, other = Gatherer(part, usual_values(d)).batch(np.arange(len(index))), Gatherer(d, usual_values(d)).batch(index)
    same(one, other)


def test_an_epoch_has_the_steps_asked_for_and_no_window_twice_before_all(city: WindowSet) -> None:
    shapes = {n: shape_of(d, usual_values(d)) for n, d in city.domains.items()}
    train = {n: folds_of(d).train for n, d in city.domains.items()}
    plans = {n: step_plan(len(train[n]), len(shapes[n].node_ids), STREAM) for n in city.domains}
    layout = Layout(whole=(), share=1 / 3, reach={}, rows=dict.fromkeys(city.domains, 0))
    source = Streamed(lambda part: Feeds(part, shapes, {}, STREAM), city, train, plans, 6, 2, layout)
    seen: dict[str, list[int]] = {n: [] for n in city.domains}
    steps = dict.fromkeys(city.domains, 0)
    for segment in source.segments(list(city.domains), generator(0, 0)):
        for name, index in segment.steps:
            steps[name] += 1
            seen[name] += segment.feeds.windows.domains[name].issue_time_W[index].tolist()
    assert all(abs(steps[n] - plans[n].steps) <= 1 for n in steps), (steps, plans)
    counts = np.unique(seen["road"], return_counts=True)[1]
    assert counts.max() <= np.ceil(plans["road"].steps * plans["road"].size / len(train["road"])) + 1
    allowed = set(city.domains["road"].issue_time_W[train["road"]].tolist())
    assert set(seen["road"]) <= allowed


def test_streamed_training_is_reproducible() -> None:
    windows = together(road(days=8), sky(days=8), shop())
    config = replace(STREAM, steps=8, least_steps=8)
    first, second = (api.fit(windows, config, seed=2, progress=QUIET) for _ in range(2))
    assert first.state == second.state
    assert api.fit(windows, replace(config, memory="resident"), seed=2, progress=QUIET).state != first.state


def test_streamed_training_has_the_loss_curve_of_training_in_memory() -> None:
    windows = together(road(days=40), sky(days=40), shop())
    config = replace(STREAM, stream_chunks=32, stream_together=8, epochs=3, steps=12, least_steps=12, patience=3)
    curves: dict[str, dict[str, list[list[float]]]] = {m: {d: [] for d in windows.domains} for m in ("resident", "streamed")}
    for memory, by_domain in curves.items():
        for seed in range(3):
            history = api.fit(windows, replace(config, memory=memory), seed=seed, progress=QUIET).meta["history"]
            for domain, found in by_domain.items():
                found.append([epoch["loss"][domain] for epoch in history])
    for domain in windows.domains:
        (resident, streamed), (a, b) = ((f([curves[m][domain] for m in curves], 1)) for f in (np.mean, np.std))
        assert np.all(np.abs(resident - streamed) <= 3 * np.hypot(a, b) + 0.02 * resident), (domain, resident, streamed)


def test_small_domains_lie_in_memory_whole_and_what_their_windows_see_beside_them(city: WindowSet) -> None:
    windows = together(road(days=40), sky(days=40), shop())
    shapes = {n: shape_of(d, usual_values(d)) for n, d in windows.domains.items()}
    model = JointModel(shapes, {}, tuple(windows.domains), STREAM)
    train = {n: folds_of(d).train for n, d in windows.domains.items()}
    plans = {n: step_plan(len(train[n]), len(shapes[n].node_ids), STREAM) for n in windows.domains}
    layout = streaming_layout(windows, train, plans, model.reach(), STREAM)
    assert layout.whole == ("shop",)
    source = Streamed(lambda part: Feeds(part, shapes, {}, STREAM), windows, train, plans, 6, 2, layout)
    whole, seen = Feeds(windows, shapes, {}, STREAM), set()
    for segment in source.segments(list(windows.domains), generator(0, 0)):
        held = segment.feeds.windows.domains
        assert all(len(held[n].valid_time_T) <= layout.rows[n] for n in layout.rows)
        for name, index in segment.steps:
            if name == "shop":
                seen |= set(index.tolist())
                same(segment.feeds.batch(model, name, index), whole.batch(model, name, index))
    assert seen == set(train["shop"].tolist())


def test_windows_mapped_from_a_file_train_as_those_in_memory(tmp_path: Path) -> None:
    windows = together(road(days=4), sky(days=4))
    mapped = windows
    for name, d in windows.domains.items():
        arrays = {}
        for key in ("values_TNV", "good_TNV", "latency_TNV", "history_TNVK", "history_good_TNVK"):
            np.save(tmp_path / f"{name}-{key}.npy", getattr(d, key))
            arrays[key] = np.load(tmp_path / f"{name}-{key}.npy", mmap_mode="r")
        mapped = altered(mapped, name, **arrays)
    assert isinstance(mapped.domains["road"].values_TNV, np.memmap)
    config = replace(STREAM, epochs=1, steps=6, least_steps=6)
    assert mapped.digest == windows.digest
    assert api.fit(mapped, config, seed=2, progress=QUIET).state == api.fit(windows, config, seed=2, progress=QUIET).state


def test_what_is_made_ahead_comes_in_order_and_its_errors_too() -> None:
    def counted() -> Iterator[int]:
        yield from range(5)
        raise ValueError("at five")

    reader = ahead(counted())
    assert [next(reader) for _ in range(5)] == list(range(5))
    with pytest.raises(ValueError, match="at five"):
        next(reader)


def test_a_thread_that_works_ahead_ends_with_its_reader() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    reader = ahead(endless())
    next(reader)
    reader.close()
    assert closed.is_set()
    assert not [t for t in threading.enumerate() if t.name == "cubecast-ahead"]
