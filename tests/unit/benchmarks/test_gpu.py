"""The benchmark of a GPU, dry on a processor: windows in a file, wide windows, and every figure."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import torch

from benchmarks.gpu import accuracy, gemm_flops, speed
from benchmarks.gpu_windows import newest, read, spread, write
from models import api
from models.gather import Gatherer, usual_values
from tests.unit.models.conftest import road, sky
from tests.unit.models.planted import together
from tests.unit.models.told import informed


def test_windows_come_back_from_a_file_with_halves_where_they_are_scaled(tmp_path: Path) -> None:
    told = informed(days=4)
    write(told, tmp_path / "told.npz")
    again = read(tmp_path / "told.npz")
    assert (again.world, again.as_of, set(again.domains), again.texts) == (told.world, told.as_of, set(told.domains), {})
    for name, domain in told.domains.items():
        for field in (f.name for f in fields(domain)):
            was, now = getattr(domain, field), getattr(again.domains[name], field)
            if isinstance(was, np.ndarray):
                np.testing.assert_allclose(now, was, rtol=1e-3, atol=1e-3)
                assert now.dtype == was.dtype
    assert again.domains["road"].future is not None
    assert np.array_equal(again.domains["road"].future.run_W, told.domains["road"].future.run_W)


def test_the_newest_days_and_more_nodes_gather_what_all_days_and_nodes_gather() -> None:
    whole = together(road(days=8, nodes=5))
    late, wide = newest(whole, 4), spread(whole, "road", 13)
    last = {name: w.domains["road"].windows_of("live") for name, w in (("whole", whole), ("late", late), ("wide", wide))}
    batches = {
        name: Gatherer(w.domains["road"], usual_values(w.domains["road"])).batch(last[name])
        for name, w in (("whole", whole), ("late", late), ("wide", wide))
    }
    torch.testing.assert_close(batches["late"].context.x_BCNV, batches["whole"].context.x_BCNV)
    torch.testing.assert_close(batches["late"].history_BLNVK, batches["whole"].history_BLNVK)
    assert batches["wide"].context.x_BCNV.shape[2] == len(wide.domains["road"].node_ids) == 13
    assert torch.equal(batches["wide"].context.seen_BCNV[:, :, 5:10], batches["whole"].context.seen_BCNV)
    assert wide.domains["road"].edges_2E.max() < 13


def test_every_figure_is_measured() -> None:
    windows, cpu = together(road(days=4), sky(days=4)), torch.device("cpu")
    config = api.resolve_config("tiny", {"epochs": 1, "steps": 3, "least_steps": 3})
    peak = gemm_flops(cpu, torch.float32, 128)
    found = speed(windows, config, cpu, peak, rounds=1)
    assert found["steps"] == 6
    assert found["epoch_s"] > 0
    assert 0 < found["of_gemm_peak"] < 10
    assert 0 <= found["stall"] < 1
    assert 0 <= found["waiting"] < 1
    said = accuracy(windows, config, cpu, seeds=1)
    assert {k: len(v) for k, v in said["road"].items()} == {"bfloat16": 1, "float32": 1}
