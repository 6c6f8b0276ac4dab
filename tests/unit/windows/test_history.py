from datetime import timedelta

import numpy as np
import pytest

from pipeline.contracts.cubes import NEVER
from pipeline.contracts.world_files import parse_world
from pipeline.contracts.worlds import Coarse, Domain
from pipeline.windows.history import Series, coarse_means, history_names, longest_lag, season_history
from tests.feeds import WORLD

HOURLY = parse_world(WORLD, "little").domains["slow"]
STEP = 3600


def domain(*, horizon: int = 2, seasons: tuple[int, ...] = (4,), coarse: Coarse | None = None) -> Domain:
    return HOURLY.model_copy(update={"horizon": horizon, "seasons": tuple(timedelta(hours=h) for h in seasons), "coarse": coarse})


def series(steps: int = 20, latency: int = 0, **old: list[int]) -> Series:
    """Values 0, 1, 2 … of one node."""
    count = len(old.get("step", []))
    return Series(
        valid_time_T=np.arange(steps, dtype=np.int64) * STEP,
        values_TNV=np.arange(steps, dtype=np.float32).reshape(-1, 1, 1),
        good_TNV=np.ones((steps, 1, 1), np.bool_),
        latency_TNV=np.full((steps, 1, 1), latency, np.int32),
        old_step=np.array(old.get("step", []), np.int32),
        old_node=np.zeros(count, np.int32),
        old_variable=np.zeros(count, np.int16),
        old_value=np.array(old.get("value", []), np.float32),
        old_good=np.ones(count, np.bool_),
        old_latency=np.array(old.get("known", []), np.int64),
        old_superseded=np.array(old.get("until", []), np.int64),
    )


def test_names_follow_the_seasons_and_the_longest_is_the_anchor() -> None:
    found = domain(seasons=(24, 168))
    assert history_names(found) == ("lag_1d", "lag_1w", "mean_1d", "mean_1w")
    assert longest_lag(found) == 1
    assert history_names(domain(seasons=())) == ()
    assert longest_lag(domain(seasons=())) == -1


def test_the_lag_is_one_season_before_and_the_mean_that_of_up_to_four() -> None:
    values, good = season_history(domain(), series())
    assert good[:, 0, 0, 0].tolist() == [False] * 4 + [True] * 16
    assert values[4:, 0, 0, 0].tolist() == list(range(16))
    assert values[19, 0, 0, 1] == np.mean([15, 11, 7, 3])
    assert values[9, 0, 0, 1] == np.mean([5, 1])


def test_a_cell_that_the_earliest_window_could_not_know_yet_gives_way_to_the_season_before() -> None:
    # Targets at s are first issued at s - 4: with a latency the cell at s - 4 is not known then.
    values, good = season_history(domain(horizon=4), series(latency=60))
    assert good[:, 0, 0, 0].tolist() == [False] * 8 + [True] * 12
    assert values[19, 0, 0, 0] == 11
    assert values[19, 0, 0, 1] == np.mean([11, 7, 3], dtype=np.float32)


def test_a_season_shorter_than_the_horizon_is_looked_for_further_back() -> None:
    values, _ = season_history(domain(horizon=5), series())
    assert values[19, 0, 0, 0] == 11


def test_a_cell_revised_since_enters_as_it_was_known_then() -> None:
    late = series(step=[10, 11], value=[100, 200], known=[0, 3 * STEP], until=[5 * STEP, 6 * STEP])
    late.latency_TNV[10], late.latency_TNV[11] = 5 * STEP, 6 * STEP
    values, good = season_history(domain(), late)
    # The limit is season - horizon = 2 steps after each cell, 6 for the season before.
    assert values[14, 0, 0, 0] == 100
    assert (values[15, 0, 0, 0], good[15, 0, 0, 0]) == (7, True)
    assert values[18, 0, 0, 1] == np.mean([14, 10, 6, 2])


def test_coarse_means_are_those_of_the_steps_that_end_at_each() -> None:
    values, good = coarse_means(domain(coarse=Coarse(steps=5, count=2)), series(), 0)
    assert values[4:, 0, 0].tolist() == [float(np.mean(range(s - 4, s + 1))) for s in range(4, 20)]
    assert good.all()


def test_coarse_means_leave_out_steps_whose_latency_cannot_have_passed_and_cells_that_came_later() -> None:
    slow = series(latency=STEP)
    slow.latency_TNV[8] = STEP + 1
    values, _ = coarse_means(domain(coarse=Coarse(steps=4, count=1)), slow, STEP)
    assert values[10, 0, 0] == np.mean([7, 9])


@pytest.mark.parametrize("width", [1, 2, 3, 7, 12, 31])
def test_coarse_means_have_the_same_bits_wherever_the_series_begins(width: int) -> None:
    rng = np.random.default_rng(width)
    whole = series(200)
    whole.values_TNV[:] = rng.normal(size=whole.values_TNV.shape)
    whole.good_TNV[:] = rng.random(whole.good_TNV.shape) < 0.8
    whole.latency_TNV[~whole.good_TNV] = NEVER
    tail = series(120)
    for name in ("values_TNV", "good_TNV", "latency_TNV"):
        getattr(tail, name)[:] = getattr(whole, name)[80:]
    config = domain(coarse=Coarse(steps=width, count=1))
    a, b = coarse_means(config, whole, 0)[0][80:], coarse_means(config, tail, 0)[0]
    assert a[width:].tobytes() == b[width:].tobytes()
    assert whole.good_TNV[100 - width + 1 : 101].sum() == 0 or np.isclose(
        a[20, 0, 0], whole.values_TNV[100 - width + 1 : 101][whole.good_TNV[100 - width + 1 : 101]].mean(), rtol=1e-4
    )
