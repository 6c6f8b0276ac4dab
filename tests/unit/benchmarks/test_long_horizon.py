"""What the benchmark of long horizons would publish, and how it counts."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from benchmarks.long_horizon import SETS, WALK, Judge, doubt, published
from benchmarks.long_horizon_published import PUBLISHED, Row


class _Errors:
    def __init__(self, by_window: list[float]) -> None:
        self.by_window = by_window


def _doubt(gain: float, windows: int, horizon: int) -> float | None:
    noise = np.random.default_rng(1).normal(0, 0.01, windows)
    ours, walk = _Errors((1 - gain + noise).tolist()), _Errors([1.0] * windows)
    return doubt(cast(Judge, ours), cast(Judge, walk), horizon)


@pytest.mark.parametrize(("p", "stands"), [(None, WALK), (0.2, WALK), (0.001, "joint")])
def test_of_prices_the_random_walk_stands_until_something_is_better_beyond_doubt(p: float | None, stands: str) -> None:
    assert published(SETS["exchange"], {"joint": 0.1, WALK: 0.9}, p) == stands


def test_where_nothing_stands_the_least_error_is_published() -> None:
    assert published(SETS["illness"], {"joint": 0.3, "ridge": 0.4, WALK: 0.8}, None) == "joint"
    assert published(SETS["illness"], {"joint": 0.5, "ridge": 0.4, WALK: 0.8}, 0.001) == "ridge"


def test_windows_that_overlap_are_no_proof_and_a_loss_is_none() -> None:
    assert _doubt(0.2, windows=41, horizon=720) is None
    sure = _doubt(0.2, windows=400, horizon=5)
    assert sure is not None
    assert sure < 0.01
    assert _doubt(-0.2, windows=400, horizon=5) == 1


def test_a_row_is_held_against_the_median_and_the_best_of_those_known() -> None:
    ours = np.array([[0.40, 0.41], [0.42, 0.41]])
    row = Row(
        dataset="ETTh1",
        horizon=96,
        prices=False,
        alone=ours,
        out=ours + 1,
        walk=(1.3, 0.7),
        stands=("joint", "joint"),
        p=(0.1, None),
        others={"a": (0.40, 0.42), "b": (0.41, 0.43), "c": (0.50, 0.40)},
    )
    assert row.verdict(row.shown) == [(True, False), (True, False)]


def test_each_published_model_has_a_figure_for_every_horizon() -> None:
    for name, models in PUBLISHED.items():
        assert all(len(rows) == len(SETS[name].horizons) for rows in models.values()), name
