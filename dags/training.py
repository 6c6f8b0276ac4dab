"""Training: train a candidate, score it on held-out time, and promote what beats its baselines and the champion.

In a world whose `[promotion]` asks for a person, what the evidence proposes waits for an answer under *Required actions*.
"""

from __future__ import annotations

from airflow.sdk import Param, chain, dag

from dags._approval import Answer, Approval
from dags._house import asset, at, house, woken_by
from dags._steps import Step
from pipeline.api import EvaluateRequest, PromoteRequest, TrainRequest, World, load_world, scheduled_worlds

PARAMS = {
    "recipe": Param(
        None, type=["null", "string"], title="Recipe", description="A named configuration of the model; by default the world's."
    ),
    "seed": Param(0, type="integer", title="Seed", description="The seed of everything drawn at random."),
    "options": Param({}, type="object", title="Options", description="Values of the recipe to change, such as {'epochs': 3}."),
}


def training(world: World) -> None:
    """The training DAG of a world."""

    @dag(**house(world, "training", params=PARAMS), schedule=at(world, "train") or woken_by(world, "cube"), doc_md=__doc__)
    def build() -> None:
        train = Step(request=TrainRequest, world=world, clock="issue_time", from_params=tuple(PARAMS), pool="gpu")
        evaluate = Step(request=EvaluateRequest, world=world, clock="issue_time", model_of="train", pool="gpu")
        promote = Step(request=PromoteRequest, world=world, clock="issue_time", model_of="train", announces=asset(world, "champion"))
        chain(train, evaluate, promote)
        if world.promotion.approval == "human":
            approved = Answer(world=world, answer="approve", announces=asset(world, "champion"))
            chain(promote, Approval(world=world), [approved, Answer(world=world, answer="reject")])

    build()


for name in scheduled_worlds():
    training(load_world(name))
