"""BacktestRecord: what makes a rolling-origin backtest, so that equal questions have one answer."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline.contracts.provenance import digest_json


class BacktestRecord(BaseModel):
    """Everything that a backtest depends on beside the data.

    Attributes:
        first, last: The blocks reach from the one to before the other.
        origins: How many blocks.
        embargo: Seconds between what a model learned from and its block, at least.
        recipe, options: What is trained; None: the world's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    world: str
    world_digest: str
    code_version: str
    first: str
    last: str
    origins: int
    embargo: int
    recipe: str | None = None
    options: dict[str, Any] = {}
    seed: int = 0

    @property
    def backtest_id(self) -> str:
        """The name of the backtest."""
        return digest_json(self.model_dump(mode="json"))[:12]
