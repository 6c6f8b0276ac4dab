"""Retention: remove what has expired and nothing refers to, as the world's `[retention]` says."""

from __future__ import annotations

from airflow.sdk import dag

from dags._house import at, house
from dags._steps import Step
from pipeline.api import RetainRequest, World, load_world, scheduled_worlds


def retention(world: World) -> None:
    """The retention DAG of a world; without a schedule it runs when it is triggered."""

    @dag(**house(world, "retention"), schedule=at(world, "retention"), doc_md=__doc__)
    def build() -> None:
        Step(request=RetainRequest, world=world, clock="now", on_the_wall=("now",), pool="cube")

    build()


for name in scheduled_worlds():
    retention(load_world(name))
