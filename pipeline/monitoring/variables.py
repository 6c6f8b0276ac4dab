"""What is wrong with a variable as a whole: incomplete, or drifted off what its champion was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pipeline.contracts.alerts import Finding, MonitoringRules
from pipeline.monitoring.distances import Values, ks, psi
from pipeline.monitoring.profile import LEAST_PAST, PAST, Profile, changes_of, judges_drift, season_of
from pipeline.monitoring.recent import Recent

_ENOUGH = 100
"""Values of a region that say something about a distribution."""

_FEW = 8.0
"""Of eight stretches the oddest may lie half as far off as what is still no fault, of eighty nine tenths: limits widen accordingly."""


def incomplete(recent: Recent, profile: Profile, rules: MonitoringRules) -> Iterator[Finding]:
    """Less of a variable in the newest block than what usually comes."""
    usual = float(profile.present_NV[:, recent.v].mean()) if len(profile.nodes) else 0.0
    if usual <= 0 or not profile.blocks:
        return
    share = float(recent.present_N.mean()) / usual
    if share < rules.present[0]:
        text = f"{share:.0%} of what usually comes in {profile.block} steps, over {len(profile.nodes)} node(s)"
        level, limit = ("block", rules.present[1]) if share < rules.present[1] else ("warn", rules.present[0])
        yield Finding(
            rule="incomplete",
            level="block" if level == "block" else "warn",
            domain=recent.domain,
            variable=recent.variable,
            number=share,
            limit=limit,
            text=text,
        )


def drifted(recent: Recent, profile: Profile, rules: MonitoringRules) -> Iterator[Finding]:
    """Regions whose newest stretch is distributed otherwise than the weeks before it, by more than any of training was.

    A season comes over weeks and is none. Once training holds a year, the same season there must have been otherwise too.
    """
    if not judges_drift(profile) or len(recent.values_TN) < profile.stretch + LEAST_PAST * profile.block:
        return
    relative, v = recent.kind == "change", recent.v
    values = changes_of(recent.values_TN[-profile.stretch - PAST * profile.block - relative :], relative=relative)
    seasons = len(profile.sample_SRVQ)
    season = int(season_of(recent.valid_time_T[-profile.stretch // 2 :][:1], seasons)[0])
    drift = rules.drift * (1 + _FEW / profile.stretches)
    for r, region in enumerate(profile.regions):
        inside = values[:, profile.region_N == r]
        newest, past = _known(inside[-profile.stretch :]), _known(inside[: -profile.stretch])
        if min(len(newest), len(past)) < _ENOUGH:
            continue
        usual = float(profile.past_psi_RV[r, v]), float(profile.past_ks_RV[r, v])
        held = [_held(past, newest, rules, drift, usual, f"the {len(inside) - profile.stretch} steps before")]
        trained = _known(profile.sample_SRVQ[season, r, v]) if seasons else past[:0]
        if len(trained) >= _ENOUGH:
            usual = float(profile.psi_RV[r, v]), float(profile.ks_RV[r, v])
            held.append(_held(trained, newest, rules, drift, usual, "the same season in training"))
        if all(one.odd for one in held):
            text = f"the newest {profile.stretch} steps are distributed otherwise than {'; and than '.join(one.told for one in held)}"
            yield Finding(
                rule="drifted_input",
                level="warn",
                domain=recent.domain,
                variable=recent.variable,
                subject=region,
                number=held[0].far,
                limit=held[0].most_far,
                unit="PSI",
                text=text,
            )


@dataclass(frozen=True, kw_only=True)
class _Held:
    """How far a sample lies from a reference, and how far it may."""

    far: float
    most_far: float
    odd: bool
    told: str


def _held(reference: Values, sample: Values, rules: MonitoringRules, drift: float, oddest: tuple[float, float], name: str) -> _Held:
    """A sample held against a named reference: `drift` times as far off as the oddest stretch of training, by PSI and by KS, it may be."""
    far, near = psi(reference, sample), ks(reference, sample)
    most_far, most_near = max(rules.psi, drift * oddest[0]), max(rules.ks, min(drift * oddest[1], (1 + oddest[1]) / 2))
    told = (
        f"{name}: PSI {far:.2f} (at most {most_far:.2f}), KS {near:.2f} (at most {most_near:.2f}), "
        f"median {np.median(sample):.4g} against {np.median(reference):.4g}"
    )
    return _Held(far=far, most_far=most_far, odd=far > most_far and near > most_near, told=told)


def _known(values: Values) -> Values:
    return values[np.isfinite(values)]
