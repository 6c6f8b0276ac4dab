"""Monitoring: score published forecasts with what happened."""

from __future__ import annotations

from airflow.sdk import dag

from dags._steps import Step, asset, house
from pipeline.api import VerifyRequest, scheduled_worlds


def monitoring(world: str) -> None:
    """The monitoring DAG of a world."""

    @dag(**house(world, "monitoring"), schedule=[asset(world, "forecast")], doc_md=__doc__)
    def build() -> None:
        Step(request=VerifyRequest, world=world, clock="now")

    build()


for name in scheduled_worlds():
    monitoring(name)
