"""Monitoring over the real chain: what is planted in the tiny world is found with its name while it lasts, and a clean world is quiet."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from pipeline.api import BuildCubeRequest, LandRequest, MonitorRequest, ObserveRequest, Receipt
from pipeline.settings import Settings
from pipeline.stores.monitoring import MonitoringStore
from pipeline.stores.objects import ObjectStore
from tests.flow.chain import run_step, settings_for
from tests.world import tiny_world

START, END = datetime(2025, 10, 22, tzinfo=UTC), datetime(2025, 10, 31, tzinfo=UTC)


def built(folder: Path, *, faults: bool) -> tuple[str, Settings]:
    """The tiny world from landing to cube, all nine days known."""
    file, settings = str(tiny_world(folder, faults=faults)), settings_for(folder / "store")
    for request in (
        LandRequest(world=file, as_of=END, received_time=END),
        ObserveRequest(world=file, as_of=END),
        BuildCubeRequest(world=file, as_of=END),
    ):
        run_step(request, settings)
    return file, settings


def look(file: str, settings: Settings, day: float) -> Receipt:
    """What the monitoring finds so many days after the start, as known then."""
    moment = (START + timedelta(days=day)).replace(second=0, microsecond=0)
    return run_step(MonitorRequest(world=file, as_of=moment), settings)


def found(receipt: Receipt) -> set[str]:
    return {row["alert"] for row in receipt.details["alerts"]}


def test_a_planted_stuck_sensor_a_late_source_and_an_outage_are_found_while_they_last(tmp_path: Path) -> None:
    file, settings = built(tmp_path, faults=True)
    stuck = found(look(file, settings, 4.3 + 5 / 24))
    assert {"frozen_sensor/traffic/speed/road00002"} == {key for key in stuck if key.startswith("frozen")}
    outage = found(look(file, settings, 5.09 + 1 / 24))
    assert {"late_source/traffic/speed/roads", "late_source/traffic/count/roads"} <= outage
    late = found(look(file, settings, 6.125 + 3 / 24))
    assert {"late_source/weather/temperature/weather", "late_source/weather/rain/weather"} <= late
    healed = look(file, settings, 8.5)
    look(file, settings, 8.6)
    assert healed.counts["blocking"] == 0
    store = MonitoringStore(ObjectStore(settings.store), "tiny")
    assert not {key for key in (alert.key for alert in store.standing()) if key.startswith(("frozen", "late"))}


def test_a_clean_world_raises_nothing_as_of_any_instant(tmp_path: Path) -> None:
    file, settings = built(tmp_path, faults=False)
    looks = [look(file, settings, day) for day in (4.3 + 5 / 24, 5.09 + 1 / 24, 6.125 + 3 / 24, 7.0, 8.5, 9.0)]
    assert [sorted(found(receipt)) for receipt in looks] == [[]] * len(looks)
