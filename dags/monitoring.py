"""Monitoring: score published forecasts with what happened."""

from __future__ import annotations

from airflow.sdk import dag

from dags._house import house, woken_by
from dags._steps import Step
from pipeline.api import VerifyRequest, World, load_world, scheduled_worlds


def monitoring(world: World) -> None:
    """The monitoring DAG of a world."""

    @dag(**house(world, "monitoring"), schedule=woken_by(world, "cube" if world.schedule else "forecast"), doc_md=__doc__)
    def build() -> None:
        Step(request=VerifyRequest, world=world, clock="now")

    build()


for name in scheduled_worlds():
    monitoring(load_world(name))
