"""Ingest: fetch what each source has delivered and parse it.

Start here: trigger it with an **issue time**, and the whole chain runs: cube, training, forecast, monitoring.
One task group per source; the observations of all sources are announced together.
"""

from __future__ import annotations

from airflow.sdk import chain, dag, get_current_context, task, task_group

from dags._steps import Step, asset, house, times
from pipeline.api import LandRequest, ObserveRequest, load_world, scheduled_worlds


def ingest(world: str) -> None:
    """The ingest DAG of a world."""
    observations = asset(world, "observations")

    @task(outlets=[observations], doc_md="All sources are observed: tell the cube, and hand on the times.")
    def announce() -> None:
        context = get_current_context()
        when = times(context["triggering_asset_events"], context["params"])
        context["outlet_events"][observations].extra = {**when}

    @dag(**house(world, "ingest"), schedule=None, doc_md=__doc__)
    def build() -> None:
        done = announce()
        for source in load_world(world).sources:

            @task_group(group_id=source)
            def delivery(source: str) -> None:
                land = Step(request=LandRequest, world=world, clock="now", fields={"source": source})
                observe = Step(request=ObserveRequest, world=world, clock="now", fields={"source": source})
                chain(land, observe)

            chain(delivery(source), done)

    build()


for name in scheduled_worlds():
    ingest(name)
