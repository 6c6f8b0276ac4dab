from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.contracts.times import from_seconds
from pipeline.contracts.windows import Future, Scaler, Texts, WindowSet
from pipeline.errors import ContractError, NotYetAvailable
from pipeline.stores.cubes import CubeStore
from pipeline.stores.windows import load_windows, save_windows
from pipeline.windows.nodes import fit_nodes
from pipeline.windows.reader import build_windows
from tests.feeds import START, build, make_place, observe, random_rows

END = START + 24 * 3600


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> WindowSet:
    place = make_place(tmp_path_factory.mktemp("windows"))
    observe(place, "road", random_rows(np.random.default_rng(3), hours=24))
    build(place, END)
    store = CubeStore(place.settings.store, "little")
    cubes = {d: store.open(from_seconds(END), d) for d in ("traffic", "slow")}
    return build_windows(place.world, cubes, as_of=END, scalers=None, live=False)


def test_windows_survive_a_file_with_the_same_digest(windows: WindowSet, tmp_path: Path) -> None:
    save_windows(windows, tmp_path / "windows.safetensors")
    found = load_windows(tmp_path / "windows.safetensors")
    assert found.digest == windows.digest
    assert found.domains["traffic"].variables == ("speed", "count")
    assert [p.name for p in tmp_path.iterdir()] == ["windows.safetensors"]


def test_forecasts_by_others_and_texts_survive_a_file_too(windows: WindowSet, tmp_path: Path) -> None:
    traffic = windows.domains["traffic"]
    shape = (2, 3, len(traffic.node_ids), 1)
    one = np.ones((1, 1), np.float32)
    future = Future(
        variables=("rain",),
        units=("mm",),
        init_time_I=np.array([0, 1], np.int64),
        available_time_I=np.array([2, 3], np.int64),
        first_step_I=np.array([-1, 4], np.int32),
        values_IHNF=np.arange(np.prod(shape), dtype=np.float32).reshape(shape),
        good_IHNF=np.ones(shape, np.bool_),
        run_W=np.full(len(traffic.end_W), -1, np.int32),
        scaler=Scaler(center_NV=one, scale_NV=one, relative_NV=one),
    )
    texts = Texts(
        reach=60,
        buckets=8,
        place_ids=("a",),
        available_time_D=np.array([5], np.int64),
        valid_time_D=np.array([4], np.int64),
        place_D=np.zeros(1, np.int32),
        token_start_D=np.array([0, 2], np.int64),
        token=np.array([3, 7], np.int32),
        links={"traffic": (np.zeros((2, 1), np.int32), np.ones(1, np.float32))},
    )
    whole = replace(windows, domains={**windows.domains, "traffic": replace(traffic, future=future)}, texts={"talk": texts})
    save_windows(whole, tmp_path / "windows.safetensors")
    found = load_windows(tmp_path / "windows.safetensors")
    assert found.digest == whole.digest != windows.digest
    assert found.domains["slow"].future is None
    assert found.texts["talk"].links["traffic"][1].tolist() == [1.0]


def test_a_file_that_is_absent_cut_or_another_is_refused(windows: WindowSet, tmp_path: Path) -> None:
    file = tmp_path / "windows.safetensors"
    with pytest.raises(NotYetAvailable, match="no such file"):
        load_windows(file)
    save_windows(windows, file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ContractError, match="no whole safetensors file"):
        load_windows(file)


def test_the_last_value_and_last_weeks_value_are_named_as_anchors(windows: WindowSet) -> None:
    traffic = windows.domains["traffic"]
    assert traffic.history_names == ("lag_2h", "lag_4h", "mean_2h", "mean_4h")
    assert traffic.anchor_V.tolist() == [1, -1]
    assert windows.domains["slow"].history_TNVK.shape[-1] == 0


def test_a_cube_brought_to_the_models_nodes_drops_new_ones_and_misses_absent_ones(tmp_path: Path) -> None:
    place = make_place(tmp_path)
    observe(place, "road", random_rows(np.random.default_rng(4), hours=6))
    build(place, START + 6 * 3600)
    cube = CubeStore(place.settings.store, "little").open(from_seconds(START + 6 * 3600), "traffic")
    found = fit_nodes(cube, ("n2", "gone", "n0"))
    np.testing.assert_array_equal(found.values_TNV[:, 0], cube.values_TNV[:, 2])
    assert np.isnan(found.values_TNV[:, 1]).all()
    assert (found.flags_TNV[:, 1] == 1).all()
    assert set(found.revisions.node.tolist()) <= {0, 2}
    assert (found.revisions.node == 0).sum() == (cube.revisions.node == 2).sum()
    assert fit_nodes(cube, cube.nodes.ids) is cube
