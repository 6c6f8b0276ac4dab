"""Forecast: predict from what was known at the issue time, and publish.

In a world with a schedule it starts at each issue time, waits for late inputs at most as long as the world says, and forecasts at
its deadline with what there is. Elsewhere it starts when a champion is decided. A forecast that waits keeps no later one waiting.
"""

from __future__ import annotations

from airflow.sdk import chain, dag

from dags._house import asset, at, house, woken_by
from dags._steps import Step
from dags._waiting import Inputs
from pipeline.api import PredictRequest, PublishRequest, World, load_world, scheduled_worlds


def forecast(world: World) -> None:
    """The forecast DAG of a world."""
    schedule = at(world, "issue") or woken_by(world, "champion")

    @dag(**house(world, "forecast", max_active_runs=4), schedule=schedule, doc_md=__doc__)
    def build() -> None:
        inputs = Inputs(world=world)
        predict = Step(request=PredictRequest, world=world, clock="issue_time", issued_by="inputs")
        publish = Step(request=PublishRequest, world=world, clock="issue_time", issued_by="inputs", announces=asset(world, "forecast"))
        chain(inputs, predict, publish)

    build()


for name in scheduled_worlds():
    forecast(load_world(name))
