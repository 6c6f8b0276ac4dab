"""The format of published forecasts: a change of it is a change for every reader, and shows here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from pipeline.publishing.tables import forecast_table
from pipeline.stores.forecasts import ForecastStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from tests.browser.demo import demo_page

GOLDEN = Path(__file__).parent / "forecast_schema.json"
SMALL = {"traffic": 3, "weather": 1, "parking": 2, "market": 2}


def _schema(folder: Path) -> dict[str, Any]:
    page, objects = demo_page(nodes=SMALL), ObjectStore(str(folder))
    ForecastStore(objects, "demo").add(page.forecast)
    artefact = json.loads(next((folder / "forecasts/demo/artefacts").glob("*.json")).read_text())
    labels = {"temperature": {"long_name": "Air temperature"}}
    key = PublishedStore(objects, "demo").put_zarr(page.forecast, "weather", page.cubes["weather"].nodes, revision=0, labels=labels)
    metadata = json.loads((folder / key / "zarr.json").read_text())
    metadata["attributes"]["provenance"] = "…"
    return {
        "artefact": {"keys": sorted(artefact), "domain": sorted(artefact["domains"]["weather"]), "format": artefact["format"]},
        "parquet": {field.name: str(field.type) for field in forecast_table(page.forecast, "weather", revision=0).schema},
        "zarr": metadata,
        "zarr_files": sorted(str(p.relative_to(folder / key)) for p in (folder / key).rglob("*") if p.is_file()),
    }


def test_the_formats_of_forecasts_are_those_of_the_golden_file(tmp_path: Path) -> None:
    """To accept a wanted change: GOLDEN=write pytest tests/golden."""
    found = json.dumps(_schema(tmp_path), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(found)
    assert found == GOLDEN.read_text()
