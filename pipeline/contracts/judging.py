"""How a world's forecasts are judged: events, regimes, the rules of promotion. Light: stdlib and pydantic only."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipeline.contracts.world_types import Duration, Name, Table

AVAILABILITY = "availability"
"""The regime that every domain has: how much of a node's context was there at the issue time."""

AVAILABILITY_LABELS = ("present", "gappy", "absent")
REGIME_LABELS = ("no", "yes", "unknown")
"""What the codes 0, 1, 2 of a regime mean; of one that a world declares: its condition does not hold, holds, or nobody knew."""

PRESENT_SHARE = 0.8
"""Share of a node's context, over its target variables, from which on it counts as present; with nothing of it, as absent."""


class _Threshold(Table):
    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if (self.above is None) == (self.below is None):
            raise ValueError("give either above or below, in the variable's unit")
        return self

    @property
    def condition(self) -> Literal["above", "below"]:
        """On which side of the threshold it holds."""
        return "below" if self.above is None else "above"

    @property
    def threshold(self) -> float:
        """The value that is passed, in the variable's unit."""
        return (self.below or 0.0) if self.above is None else self.above


class Event(_Threshold):
    """What people want to be warned of: a target above, or below, a value; a warning is given from probability `warn_at` on."""

    variable: Name
    title: str = ""
    warn_at: Annotated[float, Field(gt=0, lt=1)] = 0.5


class Regime(_Threshold):
    """A state known at the issue time, by which scores and intervals are told apart: the newest value is above, or below, a value.

    Of the own domain each node's own newest value counts; of another domain the mean of its nodes' newest values.
    """

    domain: Name | None = None
    variable: Name
    title: str = ""


Share = Annotated[float, Field(ge=0, le=1)]


class PromotionRules(Table):
    """When a candidate takes the champion's place for a target.

    Attributes:
        approval: Whether the evidence alone moves the champion, or a person approves it first.
        time_out: How long a proposal waits for a person; then the champion stays.
        alpha: Level of significance at which it must be better than the champion over all targets together.
        margin: Share by which its error may exceed the champion's in any node group and group of leads.
        least: Cells that a group needs to be judged by itself.
        coverage_80, coverage_90: Bounds of the share of observations within its 80 % and 90 % interval; where observations
            equal an end of it, as zeros do, either reading may be within them.
        observed: Least share of the cells that were observed.
        evidence: Whether a walk-forward replay of the candidate's kind, where there is one, says if it is above the baselines,
            calibrated and completely observed, or always its held-out windows.
        replayed_days: Days of issue times from which on a replay has a say.
        every: Of the held-out windows those are judged, and calibrated with, whose newest step is a multiple of it from the
            domain's start; all where the clock's step is as long, or where it is not given.
        stands: Per target (`domain.variable`) a baseline that is published until something is better than it beyond doubt, as
            the random walk of prices; elsewhere a first candidate needs no more than a lower error.
    """

    approval: Literal["automatic", "human"] = "automatic"
    time_out: Duration = timedelta(days=1)
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    margin: Annotated[float, Field(ge=0)] = 0.05
    least: Annotated[int, Field(ge=1)] = 100
    coverage_80: tuple[Share, Share] = (0.7, 0.95)
    coverage_90: tuple[Share, Share] = (0.8, 1.0)
    observed: Share = 0.3
    evidence: Literal["replay", "held-out"] = "replay"
    replayed_days: Annotated[int, Field(ge=1)] = 7
    every: Duration | None = None
    stands: dict[str, Literal["persistence", "historical_average", "ridge"]] = Field(default_factory=dict)
