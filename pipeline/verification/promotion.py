"""Promotion: per target, a candidate takes the champion's place only on evidence, and a model is published only above every baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.contracts.forecasts import BASELINES, CHAMPION, JOINT
from pipeline.contracts.judging import PromotionRules
from pipeline.contracts.scores import Check, ScoreRow, Verdict
from pipeline.contracts.units import signed_text
from pipeline.verification.compare import Difference, mae_difference, skill
from pipeline.verification.differences import Adjusted, adjusted
from pipeline.verification.evidence import Ground, Replay, Rows, ground_in, overall
from pipeline.verification.statistics import STATISTICS, Axis, Statistics

Target = tuple[str, str]
_RULES = PromotionRules()


@dataclass(frozen=True, kw_only=True)
class Incumbent:
    """What is published before a decision, scored as `champion` beside the candidate where it could be.

    Attributes:
        model_id: The champion.
        verdicts: What it publishes, per target.
        not_comparable: Per domain why it was not scored on the candidate's windows.
        domains: Those that it was trained on.
    """

    model_id: str
    verdicts: Mapping[Target, Verdict]
    not_comparable: Mapping[str, str] = field(default_factory=dict)
    domains: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """The evidence on one target; `ground` is where it is held against the baselines, `rows` where against the champion.

    `stands` is the baseline that only something better beyond doubt takes the place of, `above` how the joint model differs.
    """

    domain: str
    variable: str
    unit: str
    rows: Mapping[str, ScoreRow]
    rivals: tuple[str, ...]
    ground: Ground
    against: Difference | None = None
    held_before: Verdict | None = None
    stands: str | None = None
    above: Difference | None = None


def verdicts(
    statistics: Statistics,
    rules: PromotionRules = _RULES,
    *,
    candidate: str | None = None,
    incumbent: Incumbent | None = None,
    domains: frozenset[str] = frozenset(),
    replay: Replay | None = None,
) -> tuple[Verdict, ...]:
    """What is published for each target of every domain scored, with the numbers that decided it.

    The candidate's joint model is published where it has a lower MAE and a lower pinball loss than each baseline, is
    calibrated, and was judged on complete inputs; and, where there is a champion, where it is better than what that
    publishes, beyond doubt over all targets together (Diebold-Mariano, Holm), and in no node group and group of leads
    worse by more than the margin. Otherwise the champion's stays, unless the best baseline is better than it beyond
    doubt; without a champion the best baseline is published. Where nothing was observed, the first baseline is. Where the
    rules name a baseline that stands, anything else takes its place only if it is better beyond doubt.

    Args:
        statistics: The candidate's `joint`, its baselines, and `champion` where it was scored on the same windows.
        rules: The world's.
        candidate: The candidate's id, kept in the verdicts.
        incumbent: What was published before.
        domains: Those that the candidate was trained on.
        replay: Where it has enough days of a target, that is held against the baselines, and its intervals, there.
    """
    rows = overall(statistics)
    replayed = overall(replay.statistics) if replay else {}
    judged = [
        _judged(statistics, axis, domain, variable, rows, rules, incumbent, ground_in(replay, replayed, rules, domain, variable))
        for domain, axis in sorted(statistics.axes.items())
        for variable in axis.variables
    ]
    sure, above = adjusted([j.against for j in judged]), adjusted([j.above for j in judged])
    made = [
        _verdict(statistics, j, rules, among, _stands(j, rules, over), candidate, incumbent, domains)
        for j, among, over in zip(judged, sure, above, strict=True)
    ]
    scored = {(v.domain, v.variable) for v in made}
    return tuple(sorted([*made, *_unscored(incumbent, scored)], key=lambda v: (v.domain not in statistics.axes, v.domain)))


def _judged(
    statistics: Statistics,
    axis: Axis,
    domain: str,
    variable: str,
    rows: Rows,
    rules: PromotionRules,
    incumbent: Incumbent | None,
    replayed: Ground | None,
) -> _Judged:
    models = statistics.models(domain)
    against = None
    if JOINT in models and CHAMPION in models:
        against = mae_difference(statistics, domain, variable, JOINT, CHAMPION)
    own = {model: rows[domain, variable, model] for model in models}
    ground = replayed if replayed and JOINT in own else Ground(statistics=statistics, rows=own)
    stands = rules.stands.get(f"{domain}.{variable}")
    stands = stands if stands in ground.rows else None
    return _Judged(
        domain=domain,
        variable=variable,
        unit=axis.units[axis.variables.index(variable)],
        rows=own,
        ground=ground,
        rivals=tuple(m for m in (*BASELINES, *sorted(set(models) - {JOINT, CHAMPION, *BASELINES})) if m in models),
        against=against,
        held_before=incumbent.verdicts.get((domain, variable)) if incumbent else None,
        stands=stands,
        above=mae_difference(ground.statistics, domain, variable, JOINT, stands) if stands and JOINT in ground.rows else None,
    )


def _verdict(
    statistics: Statistics,
    judged: _Judged,
    rules: PromotionRules,
    among: Adjusted,
    standing: list[Check],
    candidate: str | None,
    incumbent: Incumbent | None,
    domains: frozenset[str],
) -> Verdict:
    def verdict(published: str, checks: list[Check], *more: str, model_id: str | None = candidate) -> Verdict:
        reasons = (*(check.text for check in checks), *more)
        return Verdict(
            domain=judged.domain, variable=judged.variable, published=published, reasons=reasons, model_id=model_id, checks=tuple(checks)
        )

    before = judged.held_before
    if not any(row.n for row in judged.rows.values()):
        reason = "no observation on the held-out fold to judge by"
        if before is not None and incumbent is not None:
            return verdict(before.published, [], f"{reason}: the champion stays", model_id=before.model_id or incumbent.model_id)
        return verdict(judged.stands or (judged.rivals or (JOINT,))[0], [], reason)
    if JOINT not in judged.rows:
        checks = [Check(name="forecasts this domain", passed=False, text="the joint model does not forecast this domain")]
    else:
        checks = [*_baselines(judged), *standing, *_calibrated(judged, rules), *_complete(judged, rules, incumbent, domains)]
    checks += _champion(statistics, judged, rules, among, incumbent)
    if all(check.passed for check in checks):
        return verdict(JOINT, checks)
    found = judged.ground.rows
    best = min((m for m in judged.rivals if m in found), key=lambda m: (found[m].mae, found[m].pinball), default=JOINT)
    if judged.stands is not None and not _beyond_doubt(judged, best, judged.stands, rules):
        best = judged.stands
    if before is None or incumbent is None or CHAMPION not in judged.rows:
        why = "stands until something is better beyond doubt" if best == judged.stands else "is the best baseline"
        return verdict(best, checks, f"{_words(best)} {why} (MAE {found[best].mae:.4g} {judged.unit}) and is published")
    lost = None if best == JOINT else mae_difference(statistics, judged.domain, judged.variable, best, CHAMPION)
    if lost is not None and lost.value < 0 and lost.p is not None and lost.p < rules.alpha:
        reason = f"the champion loses to {_words(best)}: MAE {_pair(lost, judged.unit)}, so this baseline is published"
        return verdict(best, checks, reason)
    holder = before.model_id or incumbent.model_id
    return verdict(before.published, checks, f"what champion {holder} publishes stays: {_words(before.published)}", model_id=holder)


def _baselines(judged: _Judged) -> list[Check]:
    statistics, rows = judged.ground.statistics, judged.ground.rows
    ours, found = rows[JOINT], []
    for rival in (m for m in judged.rivals if m in rows):
        theirs = rows[rival]
        better = _less(ours.mae, theirs.mae) and _less(ours.pinball, theirs.pinball)
        sure = mae_difference(statistics, judged.domain, judged.variable, JOINT, rival)
        saved = skill(ours.mae or 0.0, theirs.mae or 0.0)
        text = (
            f"{judged.ground.told}joint {'beats' if better else 'does not beat'} {_words(rival)}: MAE {ours.mae:.4g} against {theirs.mae:.4g} {judged.unit}"
            f" ({_percent(saved)}{_interval(sure)}), pinball {ours.pinball:.4g} against {theirs.pinball:.4g}"
        )
        found.append(Check(name=f"above {_words(rival)}", passed=better, value=ours.mae, bound=theirs.mae, text=text))
    return found


def _stands(judged: _Judged, rules: PromotionRules, among: Adjusted) -> list[Check]:
    """Whether the joint model is better beyond doubt than the baseline that stands; nothing where none does."""
    if judged.stands is None or judged.above is None:
        return []
    above, sure = judged.above, among.p_holm
    better = above.value < 0 and sure is not None and sure < rules.alpha
    doubt = f"{above.days} days are too few to say" if sure is None else f"p = {sure:.3g} over all targets where one stands"
    text = (
        f"{judged.ground.told}joint is {'better' if better else 'not surely better'} than {_words(judged.stands)}, which stands here:"
        f" MAE {_pair(above, judged.unit)}, {doubt}, below {rules.alpha:g} asked"
    )
    return [Check(name=f"better than {_words(judged.stands)}, which stands", passed=better, value=sure, bound=rules.alpha, text=text)]


def _beyond_doubt(judged: _Judged, model: str, rival: str, rules: PromotionRules) -> bool:
    found = mae_difference(judged.ground.statistics, judged.domain, judged.variable, model, rival)
    return found is not None and found.value < 0 and found.p is not None and found.p < rules.alpha


def _calibrated(judged: _Judged, rules: PromotionRules) -> list[Check]:
    """Whether the intervals cover what is asked; where observations equal a quantile, as zeros do, either reading of it counts."""
    statistics = judged.ground.statistics
    at = dict(zip(STATISTICS, statistics.total(judged.domain, JOINT, over_leads=True)[_place(statistics, judged)], strict=True))
    found = []
    for name, (low, high), (lower, upper) in (("80 %", rules.coverage_80, ("10", "90")), ("90 %", rules.coverage_90, ("05", "95"))):
        most = float((at[f"upto_{upper}"] - at[f"below_{lower}"]) / at["n"])
        least = float((at[f"below_{upper}"] - at[f"upto_{lower}"]) / at["n"])
        text = f"{judged.ground.told}{100 * most:.1f} % of the observations lie within the {name} interval (from {100 * low:g} to {100 * high:g} % asked)"
        text += f", {100 * least:.1f} % off its ends" if least <= high < most else ""
        bound = low if most < low else high
        found.append(Check(name=f"calibrated at {name}", passed=most >= low and least <= high, value=most, bound=bound, text=text))
    return found


def _place(statistics: Statistics, judged: _Judged) -> int:
    return statistics.axes[judged.domain].variables.index(judged.variable)


def _complete(judged: _Judged, rules: PromotionRules, incumbent: Incumbent | None, domains: frozenset[str]) -> list[Check]:
    row = judged.ground.rows[JOINT]
    share = row.n / row.expected
    text = (
        f"{judged.ground.told}{row.n:,} of {row.expected:,} cells observed ({100 * share:.1f} %, at least {100 * rules.observed:g} % asked)"
    )
    found = [Check(name="complete observations", passed=share >= rules.observed, value=share, bound=rules.observed, text=text)]
    if incumbent is not None and domains:
        lost = sorted(incumbent.domains - domains)
        text = f"trained without {', '.join(lost)}, which the champion knows" if lost else f"trained on all {len(domains)} domains"
        found.append(Check(name="complete inputs", passed=not lost, value=len(domains), bound=len(incumbent.domains | domains), text=text))
    return found


def _champion(statistics: Statistics, judged: _Judged, rules: PromotionRules, among: Adjusted, incumbent: Incumbent | None) -> list[Check]:
    """Whether the candidate is better than the champion; with nothing to be compared with it is not asked, and said so."""
    if incumbent is None:
        return []
    against = judged.against
    if against is None:
        why = incumbent.not_comparable.get(judged.domain, "it was not scored on these windows")
        return [Check(name="champion", passed=True, text=f"not comparable with champion {incumbent.model_id}: {why}")]
    ours, theirs = judged.rows[JOINT].pinball, judged.rows[CHAMPION].pinball
    sure = among.p_holm
    better = against.value < 0 and sure is not None and sure < rules.alpha and not _less(theirs, ours)
    doubt = f"{against.days} days are too few to say"
    if sure is not None and among.all_low is not None and among.all_high is not None:
        doubt = f"over all targets {signed_text(among.all_low)} to {signed_text(among.all_high)} and p = {sure:.3g}, below {rules.alpha:g} asked"
    text = (
        f"joint is {'better' if better else 'not surely better'} than champion {incumbent.model_id}: MAE {_pair(against, judged.unit)},"
        f" {doubt}; pinball {_figure(ours)} against {_figure(theirs)}"
    )
    return [
        Check(name="better than the champion", passed=better, value=sure, bound=rules.alpha, text=text),
        *_groups(statistics, judged, rules),
    ]


def _groups(statistics: Statistics, judged: _Judged, rules: PromotionRules) -> list[Check]:
    """One check per node group and group of leads that is worse by more than the margin; one for all where none is."""
    worse, worst, most = [], None, -1.0
    for region in statistics.regions(judged.domain, JOINT):
        for group, (first, last) in enumerate(statistics.axes[judged.domain].lead_groups):
            found = mae_difference(statistics, judged.domain, judged.variable, JOINT, CHAMPION, region=region, group=group)
            if found is None or found.n < rules.least or found.second <= 0:
                continue
            more = found.first / found.second - 1
            text = f"{region}, leads {first} to {last}: MAE {_pair(found, judged.unit)}, {100 * more:+.1f} %"
            if more > rules.margin:
                worse.append(Check(name="group within the margin", passed=False, value=more, bound=rules.margin, text=f"worse in {text}"))
            if more > most:
                worst, most = text, more
    if worse or worst is None:
        return worse
    text = f"no group is worse by more than {100 * rules.margin:g} %; the least good is {worst}"
    return [Check(name="groups within the margin", passed=True, value=most, bound=rules.margin, text=text)]


def _unscored(incumbent: Incumbent | None, scored: set[Target]) -> list[Verdict]:
    """What the champion publishes for targets that the candidate was not scored on: it stays."""
    if incumbent is None:
        return []
    reason = ("the candidate was not scored on this target: the champion stays",)
    left = [v for target, v in incumbent.verdicts.items() if target not in scored]
    return [v.model_copy(update={"model_id": v.model_id or incumbent.model_id, "reasons": reason, "checks": ()}) for v in left]


def _less(value: float | None, other: float | None) -> bool:
    return value is not None and other is not None and value < other


def _words(model: str) -> str:
    return model.replace("_", " ")


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _pair(found: Difference, unit: str) -> str:
    return f"{found.first:.4g} against {found.second:.4g} {unit}{_interval(found)}"


def _percent(value: float | None) -> str:
    return "no skill defined" if value is None else f"skill {100 * value:+.1f} %"


def _interval(sure: Difference | None) -> str:
    if sure is None or sure.low is None or sure.high is None or sure.dm_low is None or sure.dm_high is None:
        return ""
    resampled, tested = (f"{signed_text(low)} to {signed_text(high)}" for low, high in ((sure.low, sure.high), (sure.dm_low, sure.dm_high)))
    return f", difference {signed_text(sure.value)}, 95 % interval {resampled} (Diebold-Mariano {tested}) over {sure.days} days"
