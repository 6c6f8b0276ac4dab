"""What is wrong with single nodes: silent, frozen, in another unit. Shape suffixes: T axis steps, K blocks, N node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import log

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.alerts import Finding, MonitoringRules
from pipeline.contracts.flags import Flag
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.units import Mistake
from pipeline.monitoring.profile import SUSPECTS, Profile, judges_shifts, levels_of, off_center, suspect_shares
from pipeline.monitoring.recent import Recent
from pipeline.monitoring.runs import newest_runs

Deviations = NDArray[np.float64]
_USUALLY_THERE = 0.3
"""Share of a block below which a node is so seldom there that its silence says nothing."""

_LEAST_RUN = 6
_CHANCE = log(1e-4)
"""Of a run as long as that, were the node's steps as often alike as in training: before the number of nodes is counted in."""

_LEAST_SHIFT = 1.5
"""Deviations of a node's values below which its level may lie off however steady it usually is."""

_FLAGGED = 0.5
_ALIKE = 1 / 7
_SHIFTS = ("shifted_unit", "shifted_level")
_BLOCKING = ("frozen_sensor", "shifted_unit", "silent_node")
"""Rules that block where most nodes of a variable are at fault; another level may be how things are now."""

_BY_MEDIAN = 0.25
"""Share of the distance to its center that another unit leaves, where that unit explains a shift."""


def node_findings(recent: Recent, profile: Profile, rules: MonitoringRules, *, step: int, as_of: int) -> list[Finding]:
    """All that is wrong with single nodes of a variable; `step` in seconds."""
    flagged = list(_suspects(recent, profile))
    masked = {finding.subject for finding in flagged}
    silent = [finding for finding in _silent(recent, profile, rules, step, as_of) if finding.subject not in masked]
    found = [*flagged, *silent, *_frozen(recent, profile, rules), *_shifted(recent, profile, rules)]
    return list({finding.key: finding for finding in found}.values())


def _on(
    recent: Recent, profile: Profile, n: int, rule: str, text: str, *, number: float, limit: float, unit: str = "", since: int | None = None
) -> Finding:
    return Finding(
        rule=rule,
        level="warn",
        domain=recent.domain,
        variable=recent.variable,
        subject=profile.nodes[n],
        number=float(number),
        limit=float(limit),
        unit=unit,
        text=text,
        since=since,
    )


def _suspects(recent: Recent, profile: Profile) -> Iterator[Finding]:
    """What the quality rules already flag, in a quarter of the newest block: much of it, and more than it ever was in training."""
    newest = recent.flags_TN[-max(profile.block // 4, 1) :]
    if not len(newest):
        return
    shares = suspect_shares(newest)
    words = {Flag.STUCK: ("frozen_sensor", "flagged as stuck"), Flag.UNIT_SUSPECT: ("shifted_unit", "flagged as in another unit")}
    for f, flag in enumerate(SUSPECTS):
        limit_N = np.maximum(_FLAGGED, profile.flagged_NVF[:, recent.v, f])
        for n in np.flatnonzero(shares[:, f] > limit_N):
            rule, said = words[flag]
            text = f"{shares[n, f]:.0%} of the newest {len(newest)} steps are {said}"
            yield _on(recent, profile, int(n), rule, text, number=shares[n, f], limit=limit_N[n])


def _silent(recent: Recent, profile: Profile, rules: MonitoringRules, step: int, as_of: int) -> Iterator[Finding]:
    """Nodes without a good value for too long, while at least half of the variable's nodes are not."""
    steps, good_TN = max(int(-(-rules.silent_after.total_seconds() // step)), 3), np.isfinite(recent.values_TN)
    limit_N = np.clip(rules.drift * profile.gap_NV[:, recent.v], steps, 3 * steps)
    age_N = np.where(good_TN.any(axis=0), np.argmax(good_TN[::-1], axis=0), len(good_TN)) if len(good_TN) else np.zeros(len(limit_N))
    usual_N = profile.present_NV[:, recent.v] >= _USUALLY_THERE
    if 2 * ((age_N >= steps) & usual_N).sum() > usual_N.sum():
        return
    for n in np.flatnonzero((age_N >= limit_N) & usual_N):
        known = np.flatnonzero(good_TN[:, n])
        since = int(recent.valid_time_T[known[-1]]) if len(known) else int(recent.valid_time_T[0])
        told = format_instant(from_seconds(since))
        text = f"no good value {'since' if len(known) else 'from before'} {told}, though others of its source have them"
        age = as_of - since
        yield _on(recent, profile, int(n), "silent_node", text, number=age, limit=limit_N[n] * step, unit="s", since=since)


def _frozen(recent: Recent, profile: Profile, rules: MonitoringRules) -> Iterator[Finding]:
    """Nodes that show one value for longer than ever, and than chance has it; not a value that is common and that others show too."""
    length_N, value_N, begin_N = newest_runs(recent.values_TN)
    common_N, repeats_N = profile.common_value_NV[:, recent.v], np.clip(profile.repeats_NV[:, recent.v], 1e-6, 1.0)
    limit_N = np.maximum(rules.frozen * profile.longest_NV[:, recent.v], _LEAST_RUN)
    chance_N = length_N * np.log(repeats_N)
    fresh_N = np.isfinite(recent.values_TN[-profile.block :]).any(axis=0)
    odd_N = fresh_N & (length_N > limit_N) & (chance_N < _CHANCE - log(max(len(length_N), 1)))
    for n in np.flatnonzero(odd_N):
        others = np.delete(value_N, n)
        if value_N[n] == common_N[n] and (not len(others) or (others == value_N[n]).mean() >= 0.5):
            continue
        since = int(recent.valid_time_T[begin_N[n]])
        text = (
            f"{value_N[n]:g} {length_N[n]} times in a row since {format_instant(from_seconds(since))}; at most "
            f"{int(profile.longest_NV[n, recent.v])} times in training"
        )
        yield _on(recent, profile, int(n), "frozen_sensor", text, number=length_N[n], limit=limit_N[n], unit="readings", since=since)


def _shifted(recent: Recent, profile: Profile, rules: MonitoringRules) -> Iterator[Finding]:
    """Nodes whose day lies far off their days of training, beyond what all nodes do; named by the unit that would explain it."""
    v, values = recent.v, recent.values_TN
    if not len(values) or not judges_shifts(profile):
        return
    levels = levels_of(values, profile.block, relative=recent.relative)
    if not len(levels):
        return
    center, scale = profile.center_NV[:, v], profile.scale_NV[:, v]
    common, off = off_center(levels[-1:], center, scale)
    limit_N = np.maximum(rules.shift, rules.drift * profile.widest_NV[:, v]) * profile.spread_NV[:, v]
    known_N = np.isfinite(off[0]) & (recent.present_N >= _USUALLY_THERE) & (profile.present_NV[:, v] >= _USUALLY_THERE)
    odd_N = known_N & (np.abs(off[0]) > limit_N) & (np.abs(off[0]) > _LEAST_SHIFT)
    if (
        not recent.relative
        and 2 * odd_N.sum() < known_N.sum() >= 4
        and (unit := _all_shifted(recent, profile, rules, float(common[0]), center, scale))
    ):
        yield unit
        return
    shared = 0.0 if len(center) < 4 else float(np.nan_to_num(common[0]))
    for n in np.flatnonzero(odd_N):
        spread = float(profile.spread_NV[n, v])
        level = levels[-1, n]
        unit_found = (
            _explains(recent, float(level), float(center[n] + shared * scale[n]), float(scale[n]), spread) if scale[n] > 0 else None
        )
        said = "its logarithm against the days before" if recent.relative else "its median"
        about = f"as if in {unit_found.unit}" if unit_found else "another level"
        usual = float(center[n] + shared * scale[n])
        text = f"{about}: {said} of the newest {profile.block} steps is {level:.4g}, where {usual:.4g} would be usual"
        rule, number = "shifted_unit" if unit_found else "shifted_level", abs(float(off[0, n])) / spread
        yield _on(recent, profile, int(n), rule, text, number=number, limit=limit_N[n] / spread, unit="deviations")


def _all_shifted(
    recent: Recent, profile: Profile, rules: MonitoringRules, common: float, center_N: Deviations, scale_N: Deviations
) -> Finding | None:
    """All nodes of a variable off together, as another unit would have them; another level of all is drift."""
    usual = profile.common_KV[:, recent.v]
    usual = usual[np.isfinite(usual)]
    if len(usual) < 2 or not np.isfinite(common):
        return None
    spread = max(1.4826 * float(np.median(np.abs(usual - np.median(usual)))), 0.05)
    limit = max(rules.shift, rules.drift * float(np.abs(usual).max()) / spread)
    if abs(common) / spread <= limit or abs(common) <= _LEAST_SHIFT:
        return None
    levels = levels_of(recent.values_TN, profile.block, relative=False)[-1]
    known = np.isfinite(levels)
    solid = known & (np.abs(center_N) > scale_N / 2)
    for mistake in recent.mistakes:
        if not mistake.offset and 2 * solid.sum() < known.sum():
            continue
        meant = np.median(((levels * mistake.factor + mistake.offset - center_N) / scale_N)[known])
        alike = bool(mistake.offset) or abs(float(np.median(levels[solid] * mistake.factor / center_N[solid])) - 1) <= _ALIKE
        if alike and abs(meant) < _BY_MEDIAN * abs(common) and abs(meant) <= 1.5 * max(float(np.abs(usual).max()), 3 * spread):
            text = f"all nodes as if in {mistake.unit}: their newest {profile.block} steps lie {common:.3g} deviations off, together"
            return Finding(
                rule="shifted_unit",
                level="block",
                domain=recent.domain,
                variable=recent.variable,
                number=abs(common) / spread,
                limit=limit,
                unit="deviations",
                text=text,
            )
    return None


def _explains(recent: Recent, level: float, usual: float, scale: float, spread: float) -> Mistake | None:
    """The unit in which a level would be as usual: of one that only scales also within a seventh of it."""
    meant: list[tuple[float, Mistake]] = []
    for mistake in recent.mistakes:
        if recent.relative and not mistake.offset:
            meant.append((abs(level + log(mistake.factor)) / scale, mistake))
        elif not recent.relative and (mistake.offset or abs(level * mistake.factor - usual) <= _ALIKE * abs(usual)):
            meant.append((abs(level * mistake.factor + mistake.offset - usual) / scale, mistake))
    best = min(meant, key=lambda found: found[0], default=None)
    off = abs(level - (0.0 if recent.relative else usual)) / scale
    return None if best is None or best[0] > min(_BY_MEDIAN * off, max(4 * spread, 0.3)) else best[1]


def gathered(found: Iterable[Finding], nodes: int, rules: MonitoringRules, standing: frozenset[str]) -> list[Finding]:
    """Findings on single nodes of one variable; where many nodes have the same fault one finding on the variable takes their place.

    `standing` are the keys of alerts that are open: they stay apart, so that none closes because others joined it.
    """
    by_rule: dict[str, list[Finding]] = {}
    for finding in found:
        kept = _as_before(finding, standing)
        by_rule.setdefault(kept.rule, []).append(kept)
    out: list[Finding] = []
    for rule, rows in by_rule.items():
        whole = [row for row in rows if not row.subject]
        single = [row for row in rows if row.subject]
        share = len(single) / max(nodes, 1)
        if whole or not single or share < rules.most[0] or len(single) == 1:
            blocks = share >= rules.most[1] and rule in _BLOCKING
            out += whole + [replace(row, level="block") if blocks else row for row in single]
            continue
        out += [row for row in single if row.key in standing]
        names = ", ".join(row.subject for row in single[:5]) + (f" and {len(single) - 5} others" if len(single) > 5 else "")
        known = [row.since for row in single if row.since is not None]
        out.append(
            Finding(
                rule=rule,
                level="block" if share >= rules.most[1] and rule in _BLOCKING else "warn",
                domain=single[0].domain,
                variable=single[0].variable,
                number=share,
                limit=rules.most[0],
                text=f"{len(single)} of {nodes} nodes: {names}; first: {single[0].text}",
                since=min(known) if known else None,
            )
        )
    return out


def _as_before(finding: Finding, standing: frozenset[str]) -> Finding:
    """The same shift stays the alert that it was, though another day another unit explains it, or none."""
    if finding.rule in _SHIFTS and finding.key not in standing:
        for rule in _SHIFTS:
            if replace(finding, rule=rule).key in standing:
                return replace(finding, rule=rule)
    return finding
