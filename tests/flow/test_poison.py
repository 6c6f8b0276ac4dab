"""The poison test: nothing that could be known only after T can change a byte of what is made for T."""

import dataclasses
from collections import Counter

import numpy as np
import pyarrow as pa

from pipeline.contracts.times import to_seconds
from pipeline.contracts.world_files import load_world
from pipeline.sources.adapter import NO_TIME
from pipeline.sources.synthetic import SyntheticAdapter
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Registry
from tests.flow.chain import run_chain, settings_for
from tests.world import tiny_world


def _products(world_file, settings, as_of):
    world = load_world(str(world_file))
    objects = ObjectStore(settings.store)
    registry, forecasts = Registry(objects, world.name), ForecastStore(objects, world.name)
    promotion = registry.champion(as_of)
    candidate = registry.candidate(promotion.model_id)
    files = {name: candidate.read(name) for name in ("joint.safetensors", "baselines.safetensors", "scalers.safetensors")}
    forecast = forecasts.read(to_seconds(as_of))
    arrays = {
        (name, field.name): getattr(domain, field.name)
        for name, domain in forecast.domains.items()
        for field in dataclasses.fields(domain)
        if isinstance(getattr(domain, field.name), np.ndarray)
    }
    scorecard = registry.scorecard(promotion.model_id).model_dump(exclude={"snapshot"})
    return promotion, files, scorecard, arrays


def _poison_readings(monkeypatch, as_of):
    """Make the made-up feeds say something random in every reading that could be known only after `as_of`."""
    count, parse, generator = Counter(), SyntheticAdapter.parse, np.random.default_rng(0)

    def poisoned(self, source, parts):
        readings = parse(self, source, parts)
        available = readings.valid_time + int(source.latency.total_seconds())
        if readings.published_time is not None:
            available = np.where(readings.published_time != NO_TIME, readings.published_time, available)
        late = available > as_of
        count["rows"] += int(late.sum())
        values = {name: np.where(late, generator.uniform(-500, 500, len(late)), column) for name, column in readings.values.items()}
        text = readings.text
        if text is not None:
            text = pa.array(
                [f"nonsense {generator.integers(99)}" if bad else said for said, bad in zip(text.to_pylist(), late, strict=True)]
            )
            count["documents"] += int(late.sum())
        if readings.init_time is not None:
            count["forecasts"] += int(late.sum())
        if source.slabs:
            count["cells of grids"] += int(late.sum())
        return dataclasses.replace(readings, values=values, text=text)

    monkeypatch.setattr(SyntheticAdapter, "parse", poisoned)
    return count


def test_randomising_everything_available_after_as_of_changes_no_byte(tmp_path, monkeypatch):
    world_file = tiny_world(tmp_path)
    rows = '[sources.weather]\nadapter = "synthetic"\n'
    text = world_file.read_text()
    assert rows in text
    world_file.write_text(text.replace(rows, rows + "slabs = true\n"))
    world = load_world(str(world_file))
    as_of = world.recorded.as_of
    clean = settings_for(tmp_path / "clean")
    run_chain(world_file, clean)
    poisoned_rows = _poison_readings(monkeypatch, to_seconds(as_of))
    poisoned = settings_for(tmp_path / "poisoned")
    run_chain(world_file, poisoned)
    assert min(poisoned_rows[kind] for kind in ("rows", "forecasts", "documents", "cells of grids")) > 10
    for a, b in zip(_products(world_file, clean, as_of), _products(world_file, poisoned, as_of), strict=True):
        if isinstance(a, dict) and a and isinstance(next(iter(a.values())), np.ndarray):
            assert a.keys() == b.keys()
            for key in a:
                assert a[key].tobytes() == b[key].tobytes(), key
        else:
            assert a == b
