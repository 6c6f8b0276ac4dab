"""Monitoring: score published forecasts with what happened, then hold inputs, forecasts and steps against what was promised.

It runs after each cube and, so that it looks also while nothing comes in, after each forecast. The task `monitor` looks even where
`verify` failed, and fails itself where an alert blocks; the run counts as a success only where both did.
"""

from __future__ import annotations

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import TriggerRule, chain, dag

from dags._house import house, woken_by
from dags._steps import Step
from pipeline.api import MonitorRequest, VerifyRequest, World, load_world, scheduled_worlds


def monitoring(world: World) -> None:
    """The monitoring DAG of a world."""
    wakes = ("cube", "forecast") if world.schedule else ("forecast",)

    @dag(**house(world, "monitoring"), schedule=woken_by(world, *wakes), doc_md=__doc__)
    def build() -> None:
        verify = Step(request=VerifyRequest, world=world, clock="now")
        monitor = Step(request=MonitorRequest, world=world, clock="now", trigger_rule=TriggerRule.ALL_DONE)
        chain(verify, [monitor, EmptyOperator(task_id="verified", doc_md="What was forecast has been scored.")])

    build()


for name in scheduled_worlds():
    monitoring(load_world(name))
