"""What a step read and wrote, as OpenLineage datasets; imported only where a listener asks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import InputDataset, OutputDataset
from openlineage.client.facet_v2 import dataset_version_dataset, output_statistics_output_dataset

from pipeline.api import Receipt


class Touched(NamedTuple):
    """The stores that a step reads and the one that it writes; which of its receipt's counts are the rows written."""

    reads: tuple[str, ...]
    writes: str
    rows: str


FLOW = {
    "land": Touched((), "landing", "deliveries"),
    "observe": Touched(("landing",), "observations", "observations"),
    "build_cube": Touched(("observations",), "cubes", "written_cells"),
    "train": Touched(("cubes",), "registry", "windows"),
    "evaluate": Touched(("cubes", "registry"), "registry", "scored"),
    "promote": Touched(("registry",), "registry", "targets"),
    "predict": Touched(("cubes", "registry"), "forecasts", "values"),
    "publish": Touched(("forecasts",), "forecasts", "rows"),
    "verify": Touched(("forecasts", "cubes"), "scores", "observed"),
    "replay": Touched(("cubes", "registry"), "replays", "issued"),
}
IDENTITY = {"observations": "observations", "cubes": "snapshot", "registry": "model_id", "forecasts": "forecast", "replays": "lane"}
"""Which id of a receipt is the version of a store."""


def lineage(receipt: Receipt, source: str | None) -> OperatorLineage[Any, Any] | None:
    """The datasets of a step: which snapshot of each store, and how many rows were written; None for a step that touches none."""
    touched = FLOW.get(receipt.step)
    if touched is None:
        return None
    ids, counts = ({name.removeprefix(f"{source}."): value for name, value in found.items()} for found in (receipt.ids, receipt.counts))
    return OperatorLineage(
        inputs=[InputDataset(**_named(receipt.world, name, source, ids)) for name in touched.reads],
        outputs=[OutputDataset(**_named(receipt.world, touched.writes, source, ids), outputFacets=_rows(counts.get(touched.rows)))],
    )


def _named(world: str, store: str, source: str | None, ids: Mapping[str, Any]) -> dict[str, Any]:
    place = f"{store}/{source}" if source and store in ("landing", "observations") else store
    version = ids.get(IDENTITY.get(store, ""))
    facets = {"version": dataset_version_dataset.DatasetVersionDatasetFacet(datasetVersion=version)} if version else {}
    return {"namespace": f"cubecast://{world}", "name": place, "facets": facets}


def _rows(count: Any) -> dict[str, Any]:
    if count is None:
        return {}
    return {"outputStatistics": output_statistics_output_dataset.OutputStatisticsOutputDatasetFacet(rowCount=int(count))}
