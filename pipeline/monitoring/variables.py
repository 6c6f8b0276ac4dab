"""What is wrong with a variable as a whole: incomplete, or drifted off what its champion was trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.contracts.alerts import Finding, MonitoringRules
from pipeline.monitoring.distances import ks, psi
from pipeline.monitoring.profile import Profile, changes_of, judges_drift
from pipeline.monitoring.recent import Recent

_ENOUGH = 100
"""Values of a region that say something about a distribution."""

_HALF = 0.5


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
    """Regions whose newest stretch is distributed otherwise than training, by more than any stretch of the training was."""
    if not judges_drift(profile):
        return
    values = changes_of(recent.values_TN[-profile.stretch - recent.relative :], relative=recent.relative)
    for r, region in enumerate(profile.regions):
        newest = values[:, profile.region_N == r]
        known = newest[np.isfinite(newest)]
        sample = profile.sample_RVQ[r, recent.v]
        if len(known) < _ENOUGH or np.isfinite(sample).sum() < _ENOUGH:
            continue
        far, near = psi(sample, known), ks(sample, known)
        most_far = max(rules.psi, rules.drift * float(profile.psi_RV[r, recent.v]))
        usual = float(profile.ks_RV[r, recent.v])
        most_near = max(rules.ks, min(rules.drift * usual, (1 + usual) / 2))
        if far > most_far and near > most_near:
            middle = float(np.median(known)), float(np.nanmedian(sample))
            text = (
                f"the newest {profile.stretch} steps are distributed otherwise than in training: PSI {far:.2f} (at most {most_far:.2f}), "
                f"KS {near:.2f} (at most {most_near:.2f}); median {middle[0]:.4g}, in training {middle[1]:.4g}"
            )
            yield Finding(
                rule="drifted_input",
                level="block" if near > (1 + most_near) / 2 and near > _HALF else "warn",
                domain=recent.domain,
                variable=recent.variable,
                subject=region,
                number=far,
                limit=most_far,
                unit="PSI",
                text=text,
            )
