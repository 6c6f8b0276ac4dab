"""Forecast: predict from what was known at the issue time, and publish."""

from __future__ import annotations

from airflow.sdk import chain, dag

from dags._steps import Step, asset, house
from pipeline.api import PredictRequest, PublishRequest, scheduled_worlds


def forecast(world: str) -> None:
    """The forecast DAG of a world."""

    @dag(**house(world, "forecast"), schedule=[asset(world, "champion")], doc_md=__doc__)
    def build() -> None:
        predict = Step(request=PredictRequest, world=world, clock="issue_time")
        publish = Step(request=PublishRequest, world=world, clock="issue_time", announces=asset(world, "forecast"))
        chain(predict, publish)

    build()


for name in scheduled_worlds():
    forecast(name)
