"""The service answers as its OpenAPI description says: schemathesis asks every route with allowed and with other values."""

from __future__ import annotations

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.feeds import Place
from tests.unit.serving.conftest import serve
from tests.unit.stores.published_demo import FORECAST

OPERATIONS = 13
REFUSED = ["400", "401", "403", "404", "405", "406", "414", "422", "429"]
"""What a wrong question may be answered with; 414 where it is longer than any right one."""
REAL = {
    "forecasts": {"world": "demo", "issue_time": "latest", "domain": "traffic", "node": FORECAST.domains["traffic"].node_ids[0]},
    "observations": {"world": "little", "domain": "traffic", "node": "n1"},
}
"""Names that there are, so that not every question ends at one that there is not."""


@pytest.fixture(scope="module")
def description(place: Place) -> Any:
    shelf, app = serve(place, [], hosts=())
    shelf.renew()
    config = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}})
    return schemathesis.openapi.from_asgi("/openapi.json", app, config=config)


@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@pytest.mark.parametrize("number", range(OPERATIONS))
def test_every_answer_is_one_that_the_description_names(description: Any, number: int, mode: schemathesis.GenerationMode) -> None:
    operations = [found.ok() for found in description.get_all_operations()]
    assert len(operations) == OPERATIONS
    operation = operations[number]
    if mode is schemathesis.GenerationMode.NEGATIVE and not list(operation.iter_parameters()):
        return  # nothing to be wrong
    real = REAL["observations" if "observations" in operation.path else "forecasts"]

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=operation.as_strategy(generation_mode=mode), there=st.booleans())
    def ask(case: schemathesis.Case, there: bool) -> None:
        if there and mode is schemathesis.GenerationMode.POSITIVE:
            case.path_parameters.update({name: real[name] for name in case.path_parameters})
        case.call_and_validate()

    ask()
