"""Promotion: per target, the joint model is published only where it beats every baseline."""

from __future__ import annotations

from pipeline.contracts.forecasts import BASELINES, JOINT
from pipeline.contracts.scores import Verdict
from pipeline.verification.compare import Difference, mae_difference, skill
from pipeline.verification.metrics import mean_absolute, mean_pinball
from pipeline.verification.statistics import STATISTICS, Statistics

_N = STATISTICS.index("n")


def verdicts(statistics: Statistics) -> tuple[Verdict, ...]:
    """What is published for each target of every domain scored, with the numbers that decided it.

    The joint model must have a lower MAE and a lower pinball loss over all leads than each baseline; otherwise the
    baseline with the lowest MAE is published. Where nothing was observed, the first baseline is, and says so.
    """
    return tuple(
        _verdict(statistics, domain, variable) for domain in sorted(statistics.axes) for variable in statistics.axes[domain].variables
    )


def _verdict(statistics: Statistics, domain: str, variable: str) -> Verdict:
    axis = statistics.axes[domain]
    v = axis.variables.index(variable)
    unit = axis.units[v]
    models = statistics.models(domain)
    rivals = [m for m in (*BASELINES, *sorted(set(models) - {JOINT, *BASELINES})) if m in models]
    sums = {m: statistics.total(domain, m, over_leads=True)[v] for m in models}
    if not any(total[_N] for total in sums.values()):
        reason = "no observation on the held-out fold to judge by"
        return Verdict(domain=domain, variable=variable, published=(rivals or [JOINT])[0], reasons=(reason,))
    mae = {m: mean_absolute(sums[m]) for m in models}
    pinball = {m: mean_pinball(sums[m]) for m in models}
    reasons, beaten = [] if JOINT in models else ["the joint model does not forecast this domain"], JOINT in models
    for rival in rivals if JOINT in models else ():
        better = mae[JOINT] < mae[rival] and pinball[JOINT] < pinball[rival]
        beaten = beaten and better
        sure = mae_difference(statistics, domain, variable, JOINT, rival)
        reasons.append(
            f"joint {'beats' if better else 'does not beat'} {rival.replace('_', ' ')}: MAE {mae[JOINT]:.4g} against {mae[rival]:.4g} {unit}"
            f" ({_percent(skill(mae[JOINT], mae[rival]))}{_interval(sure)}), pinball {pinball[JOINT]:.4g} against {pinball[rival]:.4g}"
        )
    if beaten:
        return Verdict(domain=domain, variable=variable, published=JOINT, reasons=tuple(reasons))
    best = min(rivals, key=lambda m: (mae[m], pinball[m]))
    reasons.append(f"{best.replace('_', ' ')} is the best baseline (MAE {mae[best]:.4g} {unit}) and is published")
    return Verdict(domain=domain, variable=variable, published=best, reasons=tuple(reasons))


def _percent(value: float | None) -> str:
    return "no skill defined" if value is None else f"skill {100 * value:+.1f} %"


def _interval(sure: Difference | None) -> str:
    if sure is None or sure.low is None or sure.high is None:
        return ""
    return f", difference {sure.value:+.3g}, 95 % interval {sure.low:+.3g} to {sure.high:+.3g} over {sure.days} days"
