"""Whole grids are screened as single readings are, cell by cell."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts.worlds import RawVariable
from pipeline.quality.screen import screen
from pipeline.quality.slabs import screened_bands

ODD = [
    np.nan,
    np.inf,
    -np.inf,
    -3.0,
    -999.0,
    9999.0,
    1e39,
    -1e39,
    3.4028235e38,
    3.4028236e38,
    0.0,
    -0.0,
    20.0,
    290.0,
    500.0,
    501.0,
    -1.0,
    5e-324,
]
VARIABLES = {
    "rain": RawVariable(unit="mm/h", missing=(-3.0,), valid_min=0.0, valid_max=500.0),
    "warmth converted": RawVariable(unit="K", to="degC", missing=(-999.0, 9999.0), valid_min=-60.0, valid_max=60.0),
    "a fill code within bounds": RawVariable(unit="mm/h", missing=(20.0,), valid_min=0.0),
    "no bounds, no codes": RawVariable(unit="m"),
    "rules over series": RawVariable(unit="degC", valid_max=60.0, spike=1.0, stuck_after=2, usual=(5.0, 15.0)),
}


@pytest.mark.parametrize("received", [100, 99])
@pytest.mark.parametrize("name", VARIABLES)
def test_every_cell_of_a_grid_gets_the_value_and_the_flags_that_a_reading_of_its_own_would(name: str, received: int) -> None:
    random = np.random.default_rng(1)
    cells = np.where(random.random(100_000) < 0.5, random.choice(ODD, 100_000), random.normal(100, 200, 100_000))
    bands = list(screened_bands(cells.reshape(10, 10_000), VARIABLES[name], valid_time=100, received_time=received))
    assert [first for first, _, _ in bands] == [0, 6]
    alone = screen(
        {"one": np.where(np.isinf(cells), np.nan, cells)},
        {"one": VARIABLES[name]},
        node=np.zeros(len(cells), np.int32),
        valid_time=np.full(len(cells), 100),
        punctual=np.zeros(len(cells), np.bool_),
        received_time=received,
    )["one"]
    values, flags = (np.concatenate([band[k] for band in bands]).reshape(-1) for k in (1, 2))
    assert values.tobytes() == alone.values.tobytes()
    np.testing.assert_array_equal(flags, alone.flags)
