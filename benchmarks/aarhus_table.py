"""What is done of Aarhus and its rivals, as tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.aarhus_traffic import LEADS, TARGETS

Key = tuple[str, str, int]
"""Model, target, seed."""

Done = Mapping[Key, Mapping[str, Any]]
SEEDS = 3


def table(done: Done, names: Sequence[str]) -> str:
    """Per target a table of errors and costs, mean and spread over the seeds, and what is to be beaten."""
    lines = []
    for target in TARGETS:
        columns = [f"{5 * lead} min" for lead in LEADS]
        lines += [f"\n| {target} | seeds | " + " | ".join([*columns, "mean", "rounded", "scored", "processor s", "wall s", "load"]) + " |"]
        lines += ["|---|---:|" + "---:|" * (len(columns) + 6)]
        lines += [_row(name, many) for name in names if (many := _seeds(done, name, target))]
        lines += [_verdict(done, names, target)]
    return "\n".join(lines)


def missing(done: Done, names: Sequence[str], once: Collection[str]) -> str:
    """What is not done yet."""
    lacking = []
    for name in names:
        seeds = range(1 if name in once else SEEDS)
        by_target = {target: [str(seed) for seed in seeds if (name, target, seed) not in done] for target in TARGETS}
        said = [f"{target} {' '.join(left)}" for target, left in by_target.items() if left]
        lacking += [f"- {name}: seeds of {', of '.join(said)}"] if said else []
    return "\n".join(["\nNot done yet:" if lacking else "\nAll is done.", *lacking])


def _seeds(done: Done, name: str, target: str) -> list[Mapping[str, Any]]:
    return [record for key, record in sorted(done.items()) if key[:2] == (name, target)]


def _row(name: str, many: list[Mapping[str, Any]]) -> str:
    leads = [[record["test"]["mae"][lead - 1] for record in many] for lead in LEADS]
    leads += [[record["test"][part] for record in many] for part in ("mean", "whole")]
    scored = sorted({record["test"]["scored"] for record in many})
    load = max(max(record["load"]) for record in many)
    cost = [_spread([record[part] for record in many], "{:,.0f}") for part in ("processor", "wall")]
    cells = [str(len(many)), *(_spread(each, "{:.4f}") for each in leads), " ".join(f"{n:,}" for n in scored), *cost, f"{load:.0f}"]
    return f"| {name} | {' | '.join(cells)} |"


def _spread(values: Sequence[float], form: str) -> str:
    mean = form.format(float(np.mean(values)))
    return mean if len(values) < 2 else f"{mean} ± {form.format(float(np.std(values, ddof=1)))}"


def _verdict(done: Done, names: Sequence[str], target: str) -> str:
    """Ours against the best of the others, and how soon ours is as good."""
    means = {name: np.array([r["test"]["mean"] for r in many]) for name in names if (many := _seeds(done, name, target))}
    others = {name: values for name, values in means.items() if not name.startswith("ours")}
    if "ours" not in means or not others:
        return ""
    best = min(others, key=lambda name: float(others[name].mean()))
    gap = float(others[best].mean() - means["ours"].mean())
    spread = float(
        max(means["ours"].std(ddof=1) if len(means["ours"]) > 1 else 0, others[best].std(ddof=1) if len(others[best]) > 1 else 0)
    )
    said = f"\n{target}: the best of the others is {best}; ours is {gap:.4f} {'below' if gap > 0 else 'ABOVE'}, spread of the seeds {spread:.4f}."
    theirs = float(np.mean([r["processor"] for r in _seeds(done, best, target)]))
    for name in sorted((n for n in means if n.startswith("ours")), key=lambda n: _processor(done, n, target)):
        if means[name].mean() <= others[best].mean():
            own = _processor(done, name, target)
            return f"{said} As good in {own:,.0f} processor seconds ({name}, both targets at once), {best} in {theirs:,.0f}: {own / theirs:.2f}."
    return f"{said} No training of ours is as good."


def _processor(done: Done, name: str, target: str) -> float:
    return float(np.mean([record["processor"] for record in _seeds(done, name, target)]))
