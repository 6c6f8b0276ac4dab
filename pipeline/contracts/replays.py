"""LaneRecord: what makes a lane of replay, so that equal questions meet in one lane and others never mix."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from pipeline.contracts.provenance import digest_json

Mode = Literal["replay", "reforecast"]
Retrain = Literal["daily", "weekly", "none"]


class LaneRecord(BaseModel):
    """Everything that the forecasts of a lane depend on beside the data: equal records are one lane.

    Attributes:
        since: When the first training of the lane is in force; None where nothing is trained.
        options: Values of the recipe that differ from the world's.
        model_id: The model of a reforecast, and since when it is the champion (`promoted_as_of`); None in a replay.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    world: str
    world_digest: str
    code_version: str
    mode: Mode
    retrain: Retrain
    since: str | None = None
    options: dict[str, Any] = {}
    seed: int = 0
    model_id: str | None = None
    promoted_as_of: str | None = None

    @property
    def lane_id(self) -> str:
        """The name of the lane."""
        return digest_json(self.model_dump(mode="json"))[:12]
