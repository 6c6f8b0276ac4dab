"""Ingest: fetch what each source has delivered and parse it.

Runs at the world's own cadence, or when it is triggered with an **issue time**: then the whole chain runs, cube, training,
forecast and monitoring. One task group per source; what has come is announced even where one source failed, as long as it is enough
for a cube (`required`, `enough`). A source that is late is waited for, then skipped with a warning or failed, as the world's `late`
says; a run with a source that failed is a failed run.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TriggerRule, chain, dag, get_current_context, task, task_group

from dags._enough import told
from dags._house import asset, at, house, times
from dags._steps import Step
from dags._waiting import Landing
from pipeline.api import ObserveRequest, World, load_world, scheduled_worlds


def ingest(world: World) -> None:
    """The ingest DAG of a world."""
    observations = asset(world, "observations")

    @task(
        outlets=[observations],
        trigger_rule=TriggerRule.ALL_DONE if world.schedule else TriggerRule.ALL_SUCCESS,
        doc_md="The sources are observed, or enough of them (`required`, `enough`): tell the cube, and hand on the times.",
    )
    def announce() -> None:
        context = get_current_context()
        context["outlet_events"][observations].extra = {**times(context), **told(world, context)}

    @dag(**house(world, "ingest"), schedule=at(world, "ingest"), doc_md=__doc__)
    def build() -> None:
        done = announce()
        # What has come is announced in any case: the run is as good as its sources because this last task is.
        every = EmptyOperator(task_id="every_source", trigger_rule=TriggerRule.NONE_FAILED, doc_md="No source has failed.")
        chain(done, every)
        for source in world.sources:

            @task_group(group_id=source)
            def delivery(source: str) -> None:
                land = Landing(world=world, source=source)
                observe = Step(request=ObserveRequest, world=world, clock="now", fields={"source": source})
                chain(land, observe)

            chain(delivery(source), [done, every])

    build()


for name in scheduled_worlds():
    ingest(load_world(name))
