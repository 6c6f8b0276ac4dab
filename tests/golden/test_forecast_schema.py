"""The format of published forecasts: a change of it is a change for every reader, and shows here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import icechunk
import zarr

from pipeline.publishing.event_tables import event_table
from pipeline.publishing.tables import forecast_table
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from tests.unit.stores.published_demo import FORECAST, PAGE, publish

EVENTS = PAGE.world.domains["weather"].events
GOLDEN = Path(__file__).parent / "forecast_schema.json"


def _schema(folder: Path) -> dict[str, Any]:
    objects = ObjectStore(str(folder))
    record = publish(objects)
    artefact = json.loads(next((folder / "forecasts/demo/artefacts").glob("*.json")).read_text())
    repository = icechunk.Repository.open(icechunk.local_filesystem_storage(PublishedStore(objects, "demo").url("zarr")))
    group = zarr.open_group(repository.readonly_session("main").store, mode="r", path="weather")
    return {
        "artefact": {"keys": sorted(artefact), "domain": sorted(artefact["domains"]["weather"]), "format": artefact["format"]},
        "parquet": {field.name: str(field.type) for field in forecast_table(FORECAST, "weather", revision=0).schema},
        "events": {field.name: str(field.type) for field in event_table(FORECAST, "weather", EVENTS, revision=0).schema},
        "events_key": record["events"]["weather"],
        "parquet_key": record["parquet"]["weather"],
        "record": sorted(record),
        "zarr": {name: array.metadata.to_dict() for name, array in group.arrays()},
        "zarr_attributes": dict(group.attrs),
    }


def test_the_formats_of_forecasts_are_those_of_the_golden_file(tmp_path: Path) -> None:
    """To accept a wanted change: GOLDEN=write pytest tests/golden."""
    found = json.dumps(_schema(tmp_path), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text()
