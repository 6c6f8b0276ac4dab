"""What OpenLineage is told of each step: datasets with their snapshot and their rows."""

import warnings

import pytest

from pipeline.api import STEPS, Receipt, ReplayRequest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from dags import _lineage


def told(step, source=None, **found):
    return _lineage.lineage(Receipt(step=step, world="tiny", as_of="2025-11-01T12:00:00Z", outcome="done", **found), source)


def version(dataset):
    return dataset.facets["version"].datasetVersion if "version" in dataset.facets else None


def test_a_source_that_is_observed_goes_from_its_landing_to_its_observations_with_the_rows():
    found = told("observe", "roads", ids={"roads.observations": "o-1"}, counts={"roads.observations": 71, "roads.raw": 80})
    assert [(d.namespace, d.name, version(d)) for d in found.inputs] == [("cubecast://tiny", "landing/roads", None)]
    assert [(d.name, version(d)) for d in found.outputs] == [("observations/roads", "o-1")]
    assert found.outputs[0].outputFacets["outputStatistics"].rowCount == 71


def test_a_forecast_says_of_which_snapshot_and_which_model_it_is():
    found = told("predict", ids={"snapshot": "s1", "model_id": "m1", "forecast": "f1"}, counts={"values": 5})
    assert {d.name: version(d) for d in found.inputs} == {"cubes": "s1", "registry": "m1"}
    assert {d.name: version(d) for d in found.outputs} == {"forecasts": "f1"}


@pytest.mark.parametrize("request_type", [*STEPS, ReplayRequest], ids=lambda kind: kind.step)
def test_every_step_writes_one_dataset_and_counts_its_rows(request_type):
    rows = _lineage.FLOW[request_type.step].rows
    found = told(request_type.step, "roads", counts={f"roads.{rows}": 3} if request_type.step in ("land", "observe") else {rows: 3})
    assert [d.outputFacets["outputStatistics"].rowCount for d in found.outputs] == [3]


def test_a_step_that_touches_no_data_tells_nothing():
    assert told("inputs") is None
