"""Cube: bring every domain's cube up to the observations, in one commit."""

from __future__ import annotations

from airflow.sdk import dag

from dags._house import asset, house, woken_by
from dags._steps import Step
from pipeline.api import BuildCubeRequest, World, load_world, scheduled_worlds


def cube(world: World) -> None:
    """The cube DAG of a world."""

    @dag(**house(world, "cube"), schedule=woken_by(world, "observations"), doc_md=__doc__)
    def build() -> None:
        Step(request=BuildCubeRequest, world=world, clock="now", pool="cube", announces=asset(world, "cube"))

    build()


for name in scheduled_worlds():
    cube(load_world(name))
