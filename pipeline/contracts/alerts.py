"""Alerts: what monitoring may say, at which level, and what a world lets pass. Light: stdlib and pydantic only."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pipeline.contracts.world_types import Duration, Table

Level = Literal["warn", "block"]

RUNBOOKS: dict[str, str] = {
    "late_source": "late-source",
    "silent_node": "late-source",
    "incomplete": "late-source",
    "frozen_sensor": "input-looks-wrong",
    "shifted_unit": "input-looks-wrong",
    "shifted_level": "input-looks-wrong",
    "drifted_input": "input-looks-wrong",
    "drifted_residuals": "forecasts-get-worse",
    "error_grown": "forecasts-get-worse",
    "skill_lost": "forecasts-get-worse",
    "coverage_off": "forecasts-get-worse",
    "slow_step": "nothing-runs",
    "costly": "disk-full",
    "task_failed": "nothing-runs",
    "nothing_runs": "nothing-runs",
    "ingest_absent": "nothing-runs",
    "forecast_absent": "nothing-runs",
    "training_absent": "nothing-runs",
    "monitoring_absent": "nothing-runs",
    "store_unreadable": "restore-from-backup",
}
"""Every rule there is, and the runbook that says what to do when it raises an alert."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one rule found at one instant.

    Attributes:
        subject: A node, a region, a source or a step; empty: all of the variable, the domain or the world.
        number, limit: What was found, and what it was held against, both in `unit`.
        text: The finding in words.
        since: When it began (int64 seconds UTC), where that is known.
    """

    rule: str
    level: Level
    domain: str = ""
    variable: str = ""
    subject: str = ""
    number: float
    limit: float
    unit: str = ""
    text: str
    since: int | None = None

    @property
    def key(self) -> str:
        """What an alert is about: the same key is the same alert."""
        return "/".join((self.rule, self.domain, self.variable, self.subject))


@dataclass(frozen=True, kw_only=True)
class Alert:
    """A finding that stands.

    Attributes:
        since: When what was found began, as far as that is known; else when the alert was raised.
        raised: The look that raised it. Both int64 seconds UTC.
        clean: Looks in a row that found nothing; it closes once there were enough of them.
    """

    finding: Finding
    since: int
    raised: int
    clean: int = 0

    @property
    def key(self) -> str:
        """What it is about."""
        return self.finding.key

    @property
    def mend(self) -> str:
        """The runbook that says what to do."""
        return f"docs/runbooks/{RUNBOOKS[self.finding.rule]}.md"

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON content, the runbook with it."""
        return {**asdict(self.finding), "since": self.since, "raised": self.raised, "clean": self.clean, "mend": self.mend}

    @staticmethod
    def from_json(content: dict[str, Any]) -> Alert:
        """What `to_json` made."""
        found = {name: content[name] for name in Finding.__dataclass_fields__ if name != "since"}
        return Alert(finding=Finding(**found), since=content["since"], raised=content["raised"], clean=content["clean"])


Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Above = Annotated[float, Field(gt=0)]
Pair = tuple[Above, Above]


class MonitoringRules(Table):
    """What a world lets pass before it raises an alert; of a pair the first warns and the second blocks.

    Attributes:
        silent_after: How long a node may give no good value while others of its source do.
        present: Share of what usually comes, below which a variable is incomplete.
        most: Shares of a variable's nodes from which on a fault of nodes is one of the variable.
        frozen: How many times as long as ever in training a sensor may show one value.
        shift: How many of its own usual deviations a node's day may lie off where it stood of late, beyond what all nodes do.
        psi, ks: Distances of the newest values from those of training and from those before, per region, let pass whatever is usual.
        drift: How many times as far off as the oddest stretch of the training time they may be besides, and more where that is short.
        error: How many times its error in the promotion's scorecard a forecast may have.
        skill: The least skill against the best baseline over the same forecasts.
        coverage: How far the share within an interval may lie off that of the scorecard.
        days: Days with outcomes that a judgement of forecasts needs.
        history: How far back forecasts and steps are looked at.
        false_alarms: How often a year residuals that drift nowhere may raise an alert, over all targets and regions together.
        slow: How many times as long as usual a step may take.
        least_seconds: What no step is slow below.
        seconds_a_day, stored_bytes: Budgets of computing and of storage, where there are any.
        heal_after: Looks in a row that find nothing, after which an alert closes.
        absent_after: How long after its time what is due may be absent; of a world without a schedule, how long it may do nothing.
        mute: Alerts that are known, as patterns of `rule/domain/variable/subject`.
    """

    silent_after: Duration = timedelta(days=1)
    present: tuple[Share, Share] = (0.5, 0.1)
    most: tuple[Share, Share] = (0.2, 0.5)
    frozen: Above = 2.0
    shift: Above = 8.0
    psi: Above = 0.25
    ks: Above = 0.15
    drift: Above = 2.0
    error: Pair = (1.5, 3.0)
    skill: float = -0.05
    coverage: Pair = (0.12, 0.3)
    days: Count = 5
    history: Duration = timedelta(days=60)
    false_alarms: Above = 1.0
    slow: Above = 3.0
    least_seconds: Above = 60.0
    seconds_a_day: Above | None = None
    stored_bytes: Count | None = None
    heal_after: Count = 2
    absent_after: Duration | None = None
    mute: tuple[str, ...] = ()

    @field_validator("mute")
    @classmethod
    def _known_rules(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            parts = pattern.split("/")
            if len(parts) != 4 or not any(fnmatchcase(rule, parts[0]) for rule in RUNBOOKS):
                raise ValueError(
                    f"'{pattern}' is no rule/domain/variable/subject, such as 'silent_node/weather/*/rome'; rules: {', '.join(RUNBOOKS)}"
                )
        return patterns

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        for name, (warn, block) in {"most": self.most, "error": self.error, "coverage": self.coverage}.items():
            if warn > block:
                raise ValueError(f"{name} = [{warn:g}, {block:g}]: what blocks must not be less than what warns")
        if self.present[0] < self.present[1]:
            raise ValueError(f"present = {list(self.present)}: what blocks must not be more than what warns")
        if self.history < timedelta(days=2):
            raise ValueError("history: at least 2d")
        return self

    def mutes(self, key: str) -> bool:
        """Whether an alert is known and let pass."""
        return any(fnmatchcase(key, pattern) for pattern in self.mute)
