"""Scalers know the training fold only: what lies in validation and test time cannot reach them."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline.contracts.times import from_seconds
from pipeline.stores.cubes import CubeStore
from pipeline.windows.folds import fold_boundaries
from pipeline.windows.reader import build_windows
from tests.feeds import START, Row, build, make_place, observe

HOURS = 30
END = START + HOURS * 3600


@pytest.mark.parametrize("domain", ["traffic", "slow"])
def test_no_value_after_the_training_fold_reaches_a_scaler(tmp_path, domain):
    place = make_place(tmp_path)
    steps = range(HOURS * 6)
    observe(
        place,
        "road",
        [Row(n, START + k * 600, START + k * 600, {"speed": (50.0 + k % 7, 0), "count": (k % 5, 0)}) for n in "ab" for k in steps],
    )
    build(place, END)
    cube = CubeStore(place.settings.store, "little").open(from_seconds(END), domain)
    later = cube.valid_time > fold_boundaries(place.world, domain, END)[0]
    assert 0 < later.sum() < len(later)
    changed = replace(cube, values_TNV=np.where(later[:, None, None], cube.values_TNV * 9 + 1000, cube.values_TNV).astype(np.float32))
    windows = [build_windows(place.world, {domain: c}, as_of=END, scalers=None, live=False).domains[domain] for c in (cube, changed)]
    assert windows[0].values_TNV[later.nonzero()[0]].tobytes() != windows[1].values_TNV[later.nonzero()[0]].tobytes()
    for name in ("center_NV", "scale_NV", "relative_NV"):
        assert getattr(windows[0].scaler, name).tobytes() == getattr(windows[1].scaler, name).tobytes(), name
