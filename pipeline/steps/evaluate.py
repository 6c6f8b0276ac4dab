"""evaluate: a candidate and the baselines on the held-out fold that neither has seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.api import EvaluateRequest, Receipt
from pipeline.contracts.forecasts import JOINT
from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.scores import Scorecard, ScoreRow
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ContractError, LookaheadError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Registry
from pipeline.telemetry import Progress
from pipeline.verification.evaluation import Forecaster, evaluate_domain
from pipeline.verification.metrics import score_rows
from pipeline.verification.statistics import Statistics

if TYPE_CHECKING:
    from models.api import Predictor


def run(request: EvaluateRequest, settings: Settings, progress: Progress) -> Receipt:
    """The scorecard of a candidate: every cell of the test fold counted, every good one scored.

    Raises:
        NotYetAvailable: There is no candidate as of the request.
        LookaheadError: The candidate was trained on data later than the request's `as_of`.
        ContractError: The test fold is empty.
    """
    world = load_world(request.world)
    registry = Registry(ObjectStore(settings.store), world.name)
    candidate = registry.candidate(request.model_id or registry.newest_candidate(request.as_of))
    if candidate.as_of > request.as_of:
        raise LookaheadError(
            asked=f"evaluate model {candidate.model_id} as of {format_instant(request.as_of)}",
            found=f"it was trained on data until {format_instant(candidate.as_of)}",
            mend="ask with a later --as-of",
        )
    known = _known(registry, candidate.model_id, reading.snapshot_of(world, settings))
    card, notes = (known, ()) if known else _made(world, settings, registry, candidate, progress)
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="unchanged" if known else "done",
        ids={"model_id": candidate.model_id, "snapshot": card.snapshot},
        counts=_counts(card),
        paths={"scorecard": registry.scorecards_url(candidate.model_id)},
        notes=notes,
        details={"fold": card.fold, "periods": card.periods, "headline": headline(card.rows)},
    )


def _known(registry: Registry, model_id: str, snapshot: str) -> Scorecard | None:
    """The scorecard that was made from this very snapshot."""
    try:
        card = registry.scorecard(model_id)
    except NotYetAvailable:
        return None
    return card if card.snapshot == snapshot else None


def _made(
    world: World, settings: Settings, registry: Registry, candidate: Candidate, progress: Progress
) -> tuple[Scorecard, tuple[str, ...]]:
    cubes = reading.open_cubes(world, settings, candidate.as_of, absent_is_fine=True)
    windows = reading.windows_of(world, candidate, cubes, as_of=to_seconds(candidate.as_of), live=False)
    observed = {name: cubes[name].values_TNV for name in windows.domains}
    del cubes
    models = reading.load_models(candidate)
    statistics = _evaluate(windows, models, observed, progress)
    card = _scorecard(candidate, windows, statistics)
    explanation = models.predictors[JOINT].explain()
    files = {"statistics.json": canonical_json(statistics.to_json()), "explanation.json": canonical_json(explanation)}
    registry.add_scorecard(card, files)
    return card, _notes(candidate, windows, card)


def _evaluate(windows: WindowSet, models: reading.Models, observed: Mapping[str, NDArray[np.float32]], progress: Progress) -> Statistics:
    chosen = {name: view.windows_of("test") for name, view in windows.domains.items()}
    if not any(len(index) for index in chosen.values()):
        raise ContractError(asked="evaluate on the test fold", found="no window in it", mend="train with a later cut-off: more data")
    found = Statistics.zero()
    for name, index_W in chosen.items():
        forecasters = {model: _forecaster(predictor) for model, predictor in models.of(name).items()}
        with progress.stage(f"evaluate {name}", len(index_W), "windows") as stage:
            found = found + evaluate_domain(windows, name, forecasters, observed[name], index_W, stage.advance)
    return found


def _forecaster(model: Predictor) -> Forecaster:
    def forecast(windows: WindowSet, domain: str, index_W: NDArray[np.int64]) -> NDArray[np.float32]:
        return model.predict(windows, domain, index_W, split=False).quantiles_BLNVQ

    return forecast


def _scorecard(candidate: Candidate, windows: WindowSet, statistics: Statistics) -> Scorecard:
    used = {name: view.issue_time_W[view.windows_of("test")] for name, view in windows.domains.items()}
    edges = {name: (int(issue[0]), int(issue[-1])) for name, issue in used.items() if len(issue)}
    return Scorecard(
        world=windows.world,
        model_id=candidate.model_id,
        as_of=format_instant(candidate.as_of),
        fold="test",
        periods={name: (format_instant(from_seconds(a)), format_instant(from_seconds(b))) for name, (a, b) in edges.items()},
        snapshot=windows.snapshot,
        windows={name: len(issue) for name, issue in used.items()},
        rows=score_rows(statistics),
    )


def _notes(candidate: Candidate, windows: WindowSet, card: Scorecard) -> tuple[str, ...]:
    notes = [f"domain {name} has no window in the test fold" for name, n in card.windows.items() if n == 0]
    if candidate.card.get("window_digest") not in (None, windows.digest):
        notes.append("the windows are not those of training: the cube, as of the cut-off, or the code changed since")
    return tuple(notes)


def _counts(card: Scorecard) -> dict[str, int]:
    joint = [row for row in card.rows if row.model == JOINT and row.lead == 0]
    totals = {name: sum(getattr(row, name) for row in joint) for name in ("expected", "n", "missing")}
    return {"windows": sum(card.windows.values()), "expected": totals["expected"], "scored": totals["n"], "missing": totals["missing"]}


def headline(rows: tuple[ScoreRow, ...]) -> list[dict[str, Any]]:
    """Per target over all leads: the joint model's figures, each baseline's MAE, and the leads at which all are beaten."""
    found = []
    for joint in (row for row in rows if row.model == JOINT and row.lead == 0):
        same = [row for row in rows if (row.domain, row.variable) == (joint.domain, joint.variable)]
        mae = {(row.model, row.lead): row.mae for row in same}
        rivals = sorted({row.model for row in same} - {JOINT})
        leads = sorted({row.lead for row in same} - {0})
        found.append(
            {
                "domain": joint.domain,
                "variable": joint.variable,
                "mae": joint.mae,
                "rmse": joint.rmse,
                "pinball": joint.pinball,
                "coverage_80": joint.coverage_80,
                "coverage_90": joint.coverage_90,
                "n": joint.n,
                "missing": joint.missing,
                "baselines": {name: mae[name, 0] for name in rivals},
                "leads": len(leads),
                "leads_won": sum(all(_below(mae[JOINT, lead], mae[name, lead]) for name in rivals) for lead in leads),
                "mae_by_lead": [mae[JOINT, lead] for lead in leads],
            }
        )
    return found


def _below(value: float | None, other: float | None) -> bool:
    return value is not None and other is not None and value < other
