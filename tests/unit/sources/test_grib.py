"""GRIB 1 and 2, with known answers, and a real file where the shared data are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import ConfigError, ContractError
from pipeline.settings import read_settings
from pipeline.sources.grib import GribAdapter
from tests.unit.sources.made import at, grib, source

pytest.importorskip("eccodes", reason="the extra 'grib' is not installed")
GRID = source("grib", {}, {"a": {"column": "2t", "unit": "K"}}, latency="5h")


@pytest.mark.parametrize("edition", [1, 2])
def test_messages_are_read_cell_by_cell_with_their_places(edition: int) -> None:
    data = grib(edition=edition)
    found = GribAdapter().parse(GRID, {"x.grib": data})
    assert found.valid_time[::6].tolist() == [at(f"2020-03-01T0{h}:00") for h in range(3)]
    np.testing.assert_allclose(found.values["a"][6:11], [100, 101, 102, 110, 111], atol=1e-3)
    assert np.isnan(found.values["a"][5::6]).all()
    assert found.published_time is None
    places = GribAdapter().parse_places(GRID, {"x.grib": data})
    assert (places.shape, places.ids) == ((2, 3), found.node_ids)
    assert places.longitude.tolist() == [-1, 0, 1] * 2


def test_a_forecast_is_known_when_its_run_was_published() -> None:
    found = GribAdapter().parse(GRID, {"x.grib": grib(1, step=6)})
    assert found.published_time is not None
    assert found.valid_time[0] == at("2020-03-01T06:00")
    assert found.published_time[0] == at("2020-03-01T05:00")


def test_a_level_may_be_named_and_a_variable_that_is_not_there_is_refused() -> None:
    read = source("grib", {}, {"a": {"column": "2t:heightAboveGround:2", "unit": "K"}})
    assert len(GribAdapter().parse(read, {"x.grib": grib(1)})) == 6
    with pytest.raises(ContractError, match=r"column '10u' of x\.grib"):
        GribAdapter().parse(source("grib", {}, {"a": {"column": "10u", "unit": "m/s"}}), {"x.grib": grib(1)})


@pytest.mark.parametrize("cut", [1, 8, 15, 60, 100, -4, -1])
def test_a_truncated_file_is_refused_with_message_and_place(cut: int) -> None:
    with pytest.raises(ContractError, match=r"x\.grib"):
        GribAdapter().parse(GRID, {"x.grib": grib(2)[:cut]})


def test_a_message_that_declares_a_terabyte_is_refused() -> None:
    data = bytearray(grib(1))
    data[8:16] = (2**40).to_bytes(8, "big")
    with pytest.raises(ContractError, match=str(2**40)):
        GribAdapter().parse(GRID, {"x.grib": bytes(data)})


def test_flipped_bits_give_an_error_or_numbers_and_never_a_crash() -> None:
    whole = grib(1)
    for place in range(16, len(whole) - 4, 31):
        data = bytearray(whole)
        data[place] ^= 0xFF
        try:
            found = GribAdapter().parse(GRID, {"x.grib": bytes(data)})
        except ContractError:
            continue
        assert not np.isinf(found.values["a"]).any()


def test_without_the_extra_the_mend_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "eccodes", None)
    with pytest.raises(ConfigError, match=r"cubecast\[grib\]"):
        GribAdapter().check(GRID)


def test_the_decoder_is_never_loaded_into_the_process_that_asks(tmp_path: Path) -> None:
    (tmp_path / "x.grib").write_bytes(grib())
    asked = (
        "import sys; from pathlib import Path; from pipeline.contracts.worlds import Source; from pipeline.sources.grib import GribAdapter\n"
        "source, adapter = Source.model_validate_json(sys.argv[1]), GribAdapter()\n"
        "adapter.check(source)\n"
        "assert len(adapter.parse(source, {'x.grib': Path(sys.argv[2]).read_bytes()}).values['a'])\n"
        "assert not {'eccodes', 'gribapi'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", asked, GRID.model_dump_json(), str(tmp_path / "x.grib")], check=True, timeout=120)


@pytest.mark.shared
def test_a_real_reanalysis_file_is_read() -> None:
    data = read_settings().data
    if data is None:
        pytest.skip("no shared data")
    read = source("grib", {"area": [51.0, -1.0, 52.0, 0.5]}, {"a": {"column": "2t", "unit": "K", "to": "degC"}})
    found = GribAdapter().parse(read, {"e.grib": (data / "grids" / "era5-2mt-2019-03-uk.grib").read_bytes()})
    assert len(np.unique(found.valid_time)) == 744
    assert found.valid_time[0] == at("2019-03-01T00:00")
    assert 260 < np.nanmin(found.values["a"]) < np.nanmax(found.values["a"]) < 300
