"""What others published for the sets of `long_horizon`, at the same look-back (96 steps, 36 weeks of illness), and ours beside it.

Only figures that were read in a source. A model that is not here for a set was not published for it at this look-back, or could not be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = tuple[tuple[float, float], ...]
"""MSE and MAE of each horizon."""

PUBLISHED: Mapping[str, Mapping[str, Rows]] = {
    "ETTh1": {
        "DLinear": ((0.386, 0.400), (0.437, 0.432), (0.481, 0.459), (0.519, 0.516)),
        "PatchTST": ((0.414, 0.419), (0.460, 0.445), (0.501, 0.466), (0.500, 0.488)),
        "iTransformer": ((0.386, 0.405), (0.441, 0.436), (0.487, 0.458), (0.503, 0.491)),
        "TimeMixer": ((0.375, 0.400), (0.429, 0.421), (0.484, 0.458), (0.498, 0.482)),
        "TQNet": ((0.371, 0.393), (0.428, 0.426), (0.476, 0.446), (0.487, 0.470)),
    },
    "ETTh2": {
        "DLinear": ((0.333, 0.387), (0.477, 0.476), (0.594, 0.541), (0.831, 0.657)),
        "PatchTST": ((0.302, 0.348), (0.388, 0.400), (0.426, 0.433), (0.431, 0.446)),
        "iTransformer": ((0.297, 0.349), (0.380, 0.400), (0.428, 0.432), (0.427, 0.445)),
        "TimeMixer": ((0.289, 0.341), (0.372, 0.392), (0.386, 0.414), (0.412, 0.434)),
        "TQNet": ((0.295, 0.343), (0.367, 0.393), (0.417, 0.427), (0.433, 0.446)),
    },
    "exchange": {
        "DLinear": ((0.088, 0.218), (0.176, 0.315), (0.313, 0.427), (0.839, 0.695)),
        "PatchTST": ((0.088, 0.205), (0.176, 0.299), (0.301, 0.397), (0.901, 0.714)),
        "iTransformer": ((0.086, 0.206), (0.177, 0.299), (0.331, 0.417), (0.847, 0.691)),
    },
    "illness": {
        "DLinear": ((2.398, 1.040), (2.646, 1.088), (2.614, 1.086), (2.804, 1.146)),
    },
}

SOURCES = (
    "DLinear, PatchTST, iTransformer: appendix of iTransformer (Liu et al., ICLR 2024), as S-Mamba repeats it",
    "TimeMixer on ETT: its Table 13 (Wang et al., ICLR 2024), look-back 96, as two public repositories repeat it",
    "TQNet on ETT: its appendix (Lin et al., ICML 2025), as a public repository repeats it; a public re-run of the authors' code differs by at most 0.009",
    "DLinear on illness: TimesNet (Wu et al., ICLR 2023), look-back 36, as MSDCN repeats it",
    "neither TimeMixer's paper nor TQNet's has exchange rates or illness",
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """What came of one set and horizon, seed by seed: MSE and MAE of the joint model by itself, and of what would be published."""

    dataset: str
    horizon: int
    prices: bool
    alone: NDArray[np.float64]
    out: NDArray[np.float64]
    walk: tuple[float, float]
    stands: tuple[str, ...]
    p: tuple[float | None, ...]
    others: Mapping[str, tuple[float, float]]

    @property
    def shown(self) -> NDArray[np.float64]:
        """The joint model's; of prices what would be published."""
        return self.out if self.prices else self.alone

    def verdict(self, ours: NDArray[np.float64]) -> list[tuple[bool, bool]]:
        """By MSE, and by MAE: at or below the median of the others; at or below all of them."""
        known = np.array(list(self.others.values()))
        mean = ours.mean(0).round(3)
        return [(bool(mean[m] <= np.median(known[:, m])), bool(mean[m] <= known[:, m].min())) for m in range(2)]


def _figures(scores: NDArray[np.float64]) -> str:
    spread = scores.std(0, ddof=1) if len(scores) > 1 else None
    return " ".join(f"{mean:.3f}" + ("" if spread is None else f" ± {spread[m]:.3f}") for m, mean in enumerate(scores.mean(0)))


def tables(rows: Sequence[Row]) -> str:
    """What would be published and why; the same beside what others published; and the counts."""
    lines = [
        "| set, horizon | joint by itself: MSE MAE | random walk | p on validation | published: what | MSE MAE | against the walk, MSE |",
        "|---|---|---|---|---|---|---:|",
    ]
    for row in rows:
        p = ", ".join("too few" if each is None else f"{each:.2g}" for each in row.p)
        lost = row.out[:, 0].mean() / row.walk[0] - 1
        cells = [
            _figures(row.alone),
            f"{row.walk[0]:.3f} {row.walk[1]:.3f}",
            p,
            ", ".join(sorted(set(row.stands))),
            _figures(row.out),
            f"{lost:+.0%}",
        ]
        lines.append(f"| {row.dataset} {row.horizon} | {' | '.join(cells)} |")
    names = list(dict.fromkeys(name for each in PUBLISHED.values() for name in each))
    lines += [
        "",
        f"| set, horizon | joint (of prices: what is published) | {' | '.join(names)} | at or below their median: MSE, MAE | best of all: MSE, MAE |",
        f"|---|---|{'---|' * len(names)}---|---|",
    ]
    for row in rows:
        known = [" ".join(f"{v:.3f}" for v in row.others[name]) if name in row.others else "" for name in names]
        said = [", ".join("yes" if each[k] else "**no**" for each in row.verdict(row.shown)) for k in range(2)]
        lines.append(f"| {row.dataset} {row.horizon} | {' '.join(f'{v:.3f}' for v in row.shown.mean(0))} | {' | '.join((*known, *said))} |")
    lines.append("")
    for title, which in (
        ("joint, and of prices what is published", "shown"),
        ("joint by itself", "alone"),
        ("what would be published", "out"),
    ):
        found = [row.verdict(getattr(row, which)) for row in rows]
        median, best = ([sum(v[m][k] for v in found) for m in range(2)] + [sum(v[0][k] and v[1][k] for v in found)] for k in range(2))
        lines.append(
            f"- {title}: at or below the median of those known in {median[0]} of {len(rows)} rows by MSE, {median[1]} by MAE, {median[2]} by both;"
            f" best in {best[0]}, {best[1]}, {best[2]}"
        )
    return "\n".join([*lines, *(f"- {source}" for source in SOURCES)])
