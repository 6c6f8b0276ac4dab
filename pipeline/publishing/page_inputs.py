"""What a page is made of: gathered by a step, drawn as a page or as plots."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import DomainForecast, Forecast
from pipeline.contracts.replays import Retrain
from pipeline.contracts.scores import Promotion, Scorecard, ScoreRow
from pipeline.contracts.worlds import World


@dataclass(frozen=True, kw_only=True, eq=False)
class Earlier:
    """A forecast issued before, beside what came: per domain (L, N, V), NaN where nothing good was observed."""

    forecast: Forecast
    came: Mapping[str, NDArray[np.float32]]


@dataclass(frozen=True, kw_only=True)
class ReplayCard:
    """What a replay had shown by the issue time: its scorecard, and how its lane was trained."""

    card: Scorecard
    retrain: Retrain


@dataclass(frozen=True, kw_only=True, eq=False)
class PageInputs:
    """All that a page shows; every optional part has an honest empty state.

    Attributes:
        cubes: Per domain the recent past as of the issue time.
        came: Per domain what came at the valid times (L, N, V), NaN where nothing good was observed; absent: not verified.
        earlier: Forecasts issued before, the newest last.
        scorecard: Scores of the champion on its held-out fold.
        replay: Scores of past forecasts as they would have been issued.
        verified: Scores of all published forecasts so far, lead 0 rows are used.
        verified_issues: How many published forecasts those scores come from.
        explanation: Per domain alpha, beta and w of the joint model.
        promotions: The log of champions up to the issue time, the newest last.
        changes: What a re-issue changed, a sentence each.
        products: Name and place of each product, as shown.
        notes: What could not be shown, and why, a sentence each.
    """

    world: World
    forecast: Forecast
    revision: int
    cubes: Mapping[str, DomainCube]
    came: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    earlier: tuple[Earlier, ...] = ()
    scorecard: Scorecard | None = None
    replay: ReplayCard | None = None
    verified: tuple[ScoreRow, ...] = ()
    verified_issues: int = 0
    explanation: Mapping[str, Any] = field(default_factory=dict)
    promotions: tuple[Promotion, ...] = ()
    changes: tuple[str, ...] = ()
    card: Mapping[str, Any] = field(default_factory=dict)
    products: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    version: str = ""

    @property
    def promotion(self) -> Promotion | None:
        """The newest entry of the log of champions."""
        return self.promotions[-1] if self.promotions else None

    def step_seconds(self, domain: str) -> int:
        """A domain's step; a day where its clock is a calendar."""
        step = self.world.domains[domain].clock.step
        return 86400 if step is None else int(step.total_seconds())

    def order(self, d: DomainForecast) -> NDArray[np.int64]:
        """Where the cube has each node of a domain's forecast."""
        at = {node: i for i, node in enumerate(self.cubes[d.domain].nodes.ids)}
        return np.array([at[node] for node in d.node_ids], np.int64)

    def past(self, d: DomainForecast) -> NDArray[np.float32]:
        """Good values of the target variables on the cube's axis, (T, N, V), NaN elsewhere."""
        cube = self.cubes[d.domain]
        good = np.where(cube.flags_TNV == 0, cube.values_TNV, np.nan).astype(np.float32)
        return good[:, self.order(d)][..., [cube.variables.index(variable) for variable in d.variables]]


def numbers(array: NDArray[Any], places: int | None = None) -> list[float | None]:
    """Flat numbers with six significant digits, or so many decimal places; None for NaN."""
    form = ".6g" if places is None else f".{places}f"
    return [float(format(x, form)) if x - x == 0 else None for x in np.asarray(array, float).ravel().tolist()]


def last_good(past_TN: NDArray[np.float32]) -> NDArray[np.float32]:
    """The newest good value of each node (N), NaN where there is none."""
    if not len(past_TN):
        return np.full(past_TN.shape[1], np.nan, np.float32)
    good = np.isfinite(past_TN)
    newest = len(past_TN) - 1 - np.argmax(good[::-1], axis=0)
    last: NDArray[np.float32] = np.where(good.any(axis=0), past_TN[newest, np.arange(past_TN.shape[1])], np.nan)
    return last


def one_per_node(array_LN: NDArray[np.float32], d: DomainForecast, other: DomainForecast) -> NDArray[np.float32]:
    """The columns of another forecast of the domain (L, its N) in the order of this one's nodes, NaN for those it has not."""
    at = {node: i for i, node in enumerate(other.node_ids)}
    found = np.full((len(array_LN), len(d.node_ids)), np.nan, np.float32)
    here = [i for i, node in enumerate(d.node_ids) if node in at]
    found[:, here] = array_LN[:, [at[d.node_ids[i]] for i in here]]
    return found
