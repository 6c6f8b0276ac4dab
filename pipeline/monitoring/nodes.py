"""What is wrong with single nodes: silent, frozen, in another unit. Shape suffixes: T axis steps, K blocks, N node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from math import exp, log

import numpy as np

from pipeline.contracts.alerts import Finding, MonitoringRules
from pipeline.contracts.flags import Flag
from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.units import Mistake
from pipeline.monitoring.levels import Kind, Levels, leaps_of, levels_of, of_late, off_center, spread_of, spread_within
from pipeline.monitoring.profile import LEAST_BLOCKS, SUSPECTS, Profile, judges_shifts, suspect_shares
from pipeline.monitoring.recent import Recent
from pipeline.monitoring.runs import newest_runs

_USUALLY_THERE = 0.3
"""Share of a block below which a node is so seldom there that its silence says nothing."""

_LEAST_RUN = 6
_CHANCE = log(1e-4)
"""Of a run as long as that, were the node's steps as often alike as in training: before the number of nodes is counted in."""

_LEAST_SHIFT = 1.5
"""Deviations of a node's values below which its level may lie off however steady it usually is."""

_BY_UNIT = 0.5
"""Share of the shift and of the distance beyond the oddest day that is enough where a unit with an offset explains it: no weather does that, but storms do
what kilometres an hour would."""

_FLAGGED = 0.5
_ALIKE = 1 / 7
_SHIFTS = ("shifted_unit", "shifted_level")
_BLOCKING = ("frozen_sensor", "shifted_unit", "silent_node")
"""Rules that block where most nodes of a variable are at fault; another level may be how things are now."""

_WHOLE_DAY = 0.75
"""Share of what is usually there of a block without which its median is one of the hours that are there."""

_AS_WIDE = 1.5
"""How many times as wide as usual a day may be where a factor explains its level: road works slow some cars down, a unit all."""

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
    """Nodes whose day lies far off where they stood of late, beyond what all nodes do; named by the unit that would explain it."""
    v = recent.v
    if not len(recent.values_TN) or not judges_shifts(profile):
        return
    levels = levels_of(recent.values_TN, profile.block, recent.kind)
    if not len(levels):
        return
    center, scale = profile.center_NV[:, v], profile.scale_NV[:, v]
    common, off = off_center(levels, center, scale)
    before, spread, most = _usual_of_late(recent, profile, off)
    apart = np.abs(off[-1] - before)
    usually = profile.present_NV[:, v]
    present = (recent.present_N >= np.maximum(_USUALLY_THERE, _WHOLE_DAY * usually)) & (usually >= _USUALLY_THERE)
    known = np.isfinite(apart) & present & (profile.days_NV[:, v] >= LEAST_BLOCKS)
    limit = np.maximum(np.maximum(rules.shift * spread, _LEAST_SHIFT), rules.drift * most)
    by_unit = np.maximum(np.maximum(_BY_UNIT * rules.shift * spread, _LEAST_SHIFT), max(_BY_UNIT * rules.drift, 1.0) * most)
    unit_of_all = _all_shifted(recent, profile, rules, levels[-1], common) if known.sum() >= 4 else None
    if unit_of_all:
        yield unit_of_all
        return
    shared = 0.0 if len(center) < 4 else float(np.nan_to_num(common[-1]))
    usual, within = center + (shared + before) * scale, spread_within(recent.values_TN, profile.block, recent.kind)
    for n in np.flatnonzero(known & (apart > by_unit)):
        steady = _Steady(usual=float(usual[n]), scale=float(scale[n]), spread=float(spread[n]))
        unit = _explains(recent, float(levels[-1, n]), float(within[n]), steady) if scale[n] > 0 else None
        least = by_unit[n] if unit and unit.offset else limit[n]
        if apart[n] <= least:
            continue
        text = f"{f'as if in {unit.unit}' if unit else 'another level'}: {_told(recent.kind, levels[-1, n], usual[n], profile.block)}"
        rule = "shifted_unit" if unit else "shifted_level"
        yield _on(recent, profile, int(n), rule, text, number=apart[n] / spread[n], limit=least / spread[n], unit="deviations")


def _usual_of_late(recent: Recent, profile: Profile, off_KN: Levels) -> tuple[Levels, Levels, Levels]:
    """(N,) where nodes stood of late, the usual and the greatest distance from that; where that is not known the center and off it."""
    spread, widest = profile.spread_NV[:, recent.v], profile.widest_NV[:, recent.v]
    before = np.full(len(spread), np.nan) if recent.kind == "change" else of_late(off_KN, widest)
    known = np.isfinite(before)
    stride, leap = profile.stride_NV[:, recent.v], profile.leap_NV[:, recent.v]
    return np.where(known, before, 0.0), np.where(known, stride, spread), np.where(known, leap, widest)


def _told(kind: Kind, level: float, usual: float, block: int) -> str:
    if kind == "change":
        return f"its logarithm against the days before of the newest {block} steps is {level:.4g}, where {usual:.4g} would be usual"
    shown = (level, usual) if kind == "value" else (exp(level), exp(usual))
    return f"its median of the newest {block} steps is {shown[0]:.4g}, where {shown[1]:.4g} would be usual"


def _all_shifted(recent: Recent, profile: Profile, rules: MonitoringRules, level_N: Levels, common_K: Levels) -> Finding | None:
    """All nodes of a variable off together, as another unit would have them; another level of all is drift."""
    trained = profile.common_KV[:, recent.v][:, None]
    if recent.kind == "change" or np.isfinite(trained).sum() < LEAST_BLOCKS or not np.isfinite(common_K[-1]):
        return None
    before = float(of_late(common_K[:, None], np.array([np.inf]))[0])  # a season takes all nodes beyond a short training
    moves = leaps_of(trained) if np.isfinite(before) else trained
    usual, most = (float(found[0]) for found in spread_of(moves))
    lasting = before if np.isfinite(before) else 0.0
    apart = abs(float(common_K[-1]) - lasting)
    limit = max(rules.shift * usual, rules.drift * most, _LEAST_SHIFT)
    if not apart > limit:
        return None
    center, scale = profile.center_NV[:, recent.v], profile.scale_NV[:, recent.v]
    for mistake in recent.confusions:
        meant_N = _in_unit(recent.kind, level_N, center + lasting * scale, mistake)
        known = np.isfinite(meant_N)
        if 2 * known.sum() < np.isfinite(level_N).sum():
            continue
        meant = abs(float(np.median(((meant_N - center) / scale)[known]) - lasting))
        if meant < _BY_MEDIAN * apart and meant <= max(most, 3 * usual):
            text = f"all nodes as if in {mistake.unit}: their newest {profile.block} steps lie {apart:.3g} deviations off, together"
            return Finding(
                rule="shifted_unit",
                level="block",
                domain=recent.domain,
                variable=recent.variable,
                number=apart / usual,
                limit=limit / usual,
                unit="deviations",
                text=text,
            )
    return None


def _in_unit(kind: Kind, level: Levels, usual: Levels, mistake: Mistake) -> Levels:
    """What levels would be in another unit; NaN where that cannot be told: a unit that only scales must bring a value within a seventh."""
    if kind == "value":
        meant = level * mistake.factor + mistake.offset
        return meant if mistake.offset else np.where(np.abs(meant - usual) <= _ALIKE * np.abs(usual), meant, np.nan)
    meant = level + log(mistake.factor)
    return np.where((np.abs(meant - usual) <= _ALIKE) & (mistake.offset == 0), meant, np.nan)


@dataclass(frozen=True, kw_only=True)
class _Steady:
    """What is usual of a node: its level, the deviation of its values, and in these that of its days."""

    usual: float
    scale: float
    spread: float


def _explains(recent: Recent, level: float, within: float, steady: _Steady) -> Mistake | None:
    """The unit in which a level, and of a unit that only scales how wide its day is too, would be as usual."""
    left = [
        (abs(float(_in_unit(recent.kind, np.array(level), np.array(steady.usual), m)) - steady.usual) / steady.scale, m)
        for m in recent.confusions
        if m.offset or within * (m.factor if recent.kind == "value" else 1) <= _AS_WIDE * steady.scale
    ]
    best = min((found for found in left if np.isfinite(found[0])), key=lambda found: found[0], default=None)
    most = min(_BY_MEDIAN * abs(level - steady.usual) / steady.scale, max(4 * steady.spread, 0.3))
    return best[1] if best is not None and best[0] <= most else None


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
