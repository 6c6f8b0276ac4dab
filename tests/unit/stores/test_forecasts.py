from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import NotYetAvailable, StoreError
from pipeline.stores.forecasts import ForecastStore, forecast_digest
from pipeline.stores.objects import ObjectStore
from tests.browser.demo import ISSUE_TIME, demo_page

PAGE = demo_page(nodes={"traffic": 7, "weather": 1, "parking": 3, "market": 4})
FORECAST = PAGE.forecast


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore(str(tmp_path))


def test_a_forecast_comes_back_bit_for_bit_with_its_provenance(objects: ObjectStore) -> None:
    store = ForecastStore(objects, "demo")
    issued, created = store.add(FORECAST)
    assert created
    assert issued.revision == 0
    found = store.read(ISSUE_TIME)
    assert forecast_digest(found) == forecast_digest(FORECAST) == issued.digest
    assert found.provenance == FORECAST.provenance
    for name, domain in FORECAST.domains.items():
        again = found.domains[name]
        assert again.quantiles_LNVQ.tobytes() == domain.quantiles_LNVQ.tobytes()
        assert again.quantiles_LNVQ.shape == domain.quantiles_LNVQ.shape
        assert (again.node_ids, again.parts, again.model_V, again.units) == (domain.node_ids, domain.parts, domain.model_V, domain.units)
    assert store.issue_times() == [ISSUE_TIME]


def test_the_regimes_and_the_probabilities_of_events_come_back_and_make_another_forecast(objects: ObjectStore) -> None:
    weather = FORECAST.domains["weather"]
    more = {"events": {"frost": weather.quantiles_LNVQ[..., 0, 3]}, "regimes": {"availability": np.int8([1])}}
    forecast = replace(FORECAST, domains={**FORECAST.domains, "weather": replace(weather, **more)})
    assert forecast_digest(forecast) != forecast_digest(FORECAST)
    ForecastStore(objects, "demo").add(forecast)
    again = ForecastStore(objects, "demo").read(ISSUE_TIME).domains["weather"]
    assert again.events["frost"].tobytes() == more["events"]["frost"].tobytes()
    assert again.regimes["availability"].tolist() == [1]


def test_the_same_forecast_is_unchanged_and_another_is_a_new_revision(objects: ObjectStore) -> None:
    store = ForecastStore(objects, "demo")
    store.add(FORECAST)
    same = replace(FORECAST, provenance={**FORECAST.provenance, "snapshot": "ANOTHER", "code_version": "x"})
    assert store.add(same)[1] is False
    other = replace(FORECAST, provenance={**FORECAST.provenance, "model_id": "another"})
    issued, created = store.add(other)
    assert (issued.revision, created) == (1, True)
    assert store.read(ISSUE_TIME).provenance["model_id"] == "another"
    assert store.read(ISSUE_TIME, 0).provenance["model_id"] == FORECAST.provenance["model_id"]


def test_a_forecast_never_issued_names_the_command_that_makes_it(objects: ObjectStore) -> None:
    store = ForecastStore(objects, "demo")
    with pytest.raises(NotYetAvailable, match="at no instant yet") as told:
        store.read(ISSUE_TIME)
    assert "cubecast predict --world demo" in told.value.mend
    store.add(FORECAST)
    with pytest.raises(NotYetAvailable, match="the nearest 2014-09-30T16:00:00Z"):
        store.read(ISSUE_TIME - 86400 * 40)
    with pytest.raises(NotYetAvailable, match="revisions 0 to 0"):
        store.read(ISSUE_TIME, 1)


def test_a_flipped_bit_in_any_file_of_a_forecast_is_found(objects: ObjectStore) -> None:
    store = ForecastStore(objects, "demo")
    store.add(FORECAST)
    files = [Path(objects.url(key)) for key in objects.list("forecasts")]
    assert len(files) == 3
    for path in files:
        whole = path.read_bytes()
        for position in range(0, len(whole), max(1, len(whole) // 20)):
            broken = bytearray(whole)
            broken[position] ^= 4
            path.write_bytes(bytes(broken))
            with pytest.raises(StoreError, match=path.name):
                store.read(ISSUE_TIME)
        path.write_bytes(whole)
