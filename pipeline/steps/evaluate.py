"""evaluate: a candidate, its baselines and the champion on the held-out fold that the candidate and its baselines have not seen."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.api import EvaluateRequest, Receipt
from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import CHAMPION, JOINT
from pipeline.contracts.provenance import canonical_json
from pipeline.contracts.scores import Promotion, Scorecard, ScoreRow
from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.world_files import load_world
from pipeline.contracts.worlds import World
from pipeline.errors import ContractError, LookaheadError
from pipeline.settings import Settings
from pipeline.steps import calibrating, large, reading
from pipeline.steps.incumbents import champion_before, score_champion
from pipeline.steps.judging import grounds_in, judged_by, judged_windows
from pipeline.steps.outages import outages
from pipeline.steps.texts import encoder_notes
from pipeline.stores.objects import ObjectStore
from pipeline.stores.registry import Candidate, Evidence, Registry
from pipeline.telemetry import Progress
from pipeline.verification.evaluation import CLIMATE, evaluate_domain
from pipeline.verification.statistics import Statistics
from pipeline.verification.tables import tables_of
from pipeline.windows.folds import expected_windows, fold_boundaries


def run(request: EvaluateRequest, settings: Settings, progress: Progress) -> Receipt:
    """The scorecard of a candidate: every cell of the test fold counted, every good one scored; the champion on the same windows.

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
    with tempfile.TemporaryDirectory(prefix="cubecast-evaluate-") as folder:
        card, created = _Evaluation(world, settings, registry, candidate, progress, Path(folder)).card(request.as_of)
    return Receipt(
        step=request.step,
        world=world.name,
        as_of=request.as_of,
        outcome="done" if created else "unchanged",
        ids={"model_id": candidate.model_id, "snapshot": card.snapshot},
        counts=_counts(card),
        paths={"scorecard": registry.scorecards_url(candidate.model_id)},
        notes=card.notes if created else (),
        details={"fold": card.fold, "periods": card.periods, "champion": card.champion, "headline": headline(card.rows)},
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Made:
    """What evaluating the candidate itself gave."""

    card: Scorecard
    statistics: Statistics
    explanation: bytes
    calibration: bytes


class _Evaluation:
    """One candidate's evaluation; what was scored before is not scored again. Arrays that memory does not hold go to `folder`."""

    def __init__(
        self, world: World, settings: Settings, registry: Registry, candidate: Candidate, progress: Progress, folder: Path
    ) -> None:
        self._world, self._settings, self._registry, self._candidate, self._progress = world, settings, registry, candidate, progress
        self._folder = folder
        self._opened: reading.Inputs | None = None

    def card(self, as_of: datetime) -> tuple[Scorecard, bool]:
        """The scorecard against the champion of an instant, and whether it is new."""
        champion = champion_before(self._registry, as_of, self._candidate.model_id)
        wanted = champion.model_id if champion and champion.model_id != self._candidate.model_id else None
        snapshot = reading.snapshot_of(self._world, self._settings)
        known = [e for e in self._registry.evidences(self._candidate.model_id) if self._alike(e, snapshot)]
        same = [e for e in known if e.scorecard.champion == wanted]
        if same:
            return same[-1].scorecard, False
        made = self._read(known[-1]) if known else self._made(snapshot)
        if champion is None or wanted is None:
            card, statistics = made.card, made.statistics
        else:
            card, statistics = self._against(made, champion)
        files = {
            "statistics.json": canonical_json(statistics.to_json()),
            "explanation.json": made.explanation,
            calibrating.FILE: made.calibration,
        }
        return card, self._registry.add_scorecard(card, files)

    def _alike(self, evidence: Evidence, snapshot: str) -> bool:
        card = evidence.scorecard
        return (card.snapshot, card.judged_by) == (snapshot, judged_by(self._world))

    def _read(self, evidence: Evidence) -> _Made:
        content = evidence.read("statistics.json") or b"{}"
        statistics = Statistics.from_json(json.loads(content)).without(CHAMPION)
        notes = tuple(note for note in evidence.scorecard.notes if not note.startswith(CHAMPION))
        card = _with_rows(evidence.scorecard, statistics, champion=None, notes=notes)
        explanation, calibration = (evidence.read(name) for name in ("explanation.json", calibrating.FILE))
        return _Made(card=card, statistics=statistics, explanation=explanation or b"{}", calibration=calibration or b"")

    def _inputs(self) -> reading.Inputs:
        if self._opened is None:
            self._opened = large.inputs_for(self._folder, self._world, self._settings, self._candidate.as_of)
        return self._opened

    def _made(self, snapshot: str) -> _Made:
        inputs, as_of = self._inputs(), to_seconds(self._candidate.as_of)
        windows = reading.windows_of(self._world, self._candidate, inputs, as_of=as_of, live=False)
        models = reading.load_models(self._candidate)
        used = {name: judged_windows(self._world, view) for name, view in windows.domains.items()}
        if not any(len(index) for index in used.values()):
            raise ContractError(asked="evaluate on the test fold", found="no window in it", mend="train with a later cut-off: more data")
        walked = {
            name: calibrating.Walked(self._world, windows, name, models, inputs.cubes[name], index_W) for name, index_W in used.items()
        }
        statistics = Statistics.added(
            self._scored(windows, name, index_W, models, walked[name], inputs.cubes[name]) for name, index_W in used.items()
        )
        edges = {name: windows.domains[name].issue_time_W[index[[0, -1]]] for name, index in used.items() if len(index)}
        card = Scorecard(
            world=self._world.name,
            model_id=self._candidate.model_id,
            as_of=format_instant(self._candidate.as_of),
            fold="test",
            periods={name: (format_instant(from_seconds(int(a))), format_instant(from_seconds(int(b)))) for name, (a, b) in edges.items()},
            snapshot=snapshot,
            windows={name: len(index) for name, index in used.items()},
            rows=(),
            config_digest=str(self._candidate.card.get("config_digest", "")),
            judged_by=judged_by(self._world),
            notes=_notes(self._world, self._candidate, windows, used),
        )
        explanation = canonical_json(self._explained(windows, models, used, inputs.cubes))
        calibration = calibrating.left_by(walked, as_of)
        return _Made(card=_with_rows(card, statistics), statistics=statistics, explanation=explanation, calibration=calibration)

    def _explained(
        self, windows: WindowSet, models: reading.Models, used: Mapping[str, NDArray[np.int64]], cubes: Mapping[str, DomainCube]
    ) -> dict[str, Any]:
        """How the joint model mixes, and what the outage of each modality costs."""
        joint = models.predictors[JOINT]
        found = joint.explain()
        for own in found.values():
            own["config_digest"] = self._candidate.card.get("config_digest")
        for name in models.domains[JOINT] & used.keys():
            found[name]["outages"] = outages(windows, name, joint, cubes[name].values_TNV, used[name])
        return found

    def _scored(
        self,
        windows: WindowSet,
        name: str,
        index_W: NDArray[np.int64],
        models: reading.Models,
        walked: calibrating.Walked,
        cube: DomainCube,
    ) -> Statistics:
        self._expect(windows, name, len(index_W))
        usual = models.of(name).get(CLIMATE)
        with self._progress.stage(f"evaluate {name}", len(index_W), "windows") as stage:
            return evaluate_domain(
                windows,
                name,
                walked.forecasters(),
                cube.values_TNV,
                index_W,
                stage.advance,
                grounds_of=grounds_in(self._world, windows, {name: cube.nodes}, name),
                climate=None if usual is None else calibrating.quantiles_of(usual),
            )

    def _expect(self, windows: WindowSet, name: str, found: int) -> None:
        """Refuse a test fold with fewer or more windows than the clock says there are."""
        first, since = int(windows.domains[name].valid_time_T[0]), fold_boundaries(self._world, name, windows.as_of)[1]
        expected = expected_windows(self._world, name, first=first, since=since, as_of=windows.as_of, all_of_them=False)
        if expected != found:
            raise ContractError(
                asked=f"score {expected} windows of {name}, by its clock", found=f"{found} in the test fold", mend="report this fault"
            )

    def _against(self, made: _Made, champion: Promotion) -> tuple[Scorecard, Statistics]:
        scored = score_champion(self._world, self._registry, champion, self._candidate.as_of, self._inputs(), self._progress)
        statistics = made.statistics + scored.statistics
        notes = (*made.card.notes, *(f"{CHAMPION} {champion.model_id}, {name}: {why}" for name, why in scored.not_comparable.items()))
        return _with_rows(made.card, statistics, champion=champion.model_id, notes=notes), statistics


def _with_rows(card: Scorecard, statistics: Statistics, **changes: Any) -> Scorecard:
    return card.model_copy(update=tables_of(statistics) | changes)


def _notes(world: World, candidate: Candidate, windows: WindowSet, used: Mapping[str, NDArray[np.int64]]) -> tuple[str, ...]:
    notes = [f"domain {name} has no window in the test fold" for name, index in used.items() if not len(index)]
    if candidate.card.get("window_digest") not in (None, windows.digest):
        notes.append("the windows are not those of training: the cube, as of the cut-off, or the code changed since")
    first = min((int(windows.domains[name].issue_time_W[index[0]]) for name, index in used.items() if len(index)), default=windows.as_of)
    return (*notes, *encoder_notes(world, from_seconds(first)))


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
        rivals = sorted({row.model for row in same} - {JOINT, CHAMPION})
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
                "champion": mae.get((CHAMPION, 0)),
                "leads": len(leads),
                "leads_won": sum(all(_below(mae[JOINT, lead], mae[name, lead]) for name in rivals) for lead in leads),
                "mae_by_lead": [mae[JOINT, lead] for lead in leads],
            }
        )
    return found


def _below(value: float | None, other: float | None) -> bool:
    return value is not None and other is not None and value < other
