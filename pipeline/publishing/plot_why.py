"""The plot that explains a number: its exact split, and what happens to it when an input is hidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.contracts.forecasts import JOINT, MEDIAN
from pipeline.publishing.page_inputs import PageInputs
from pipeline.publishing.page_looks import looked, part_text, weights
from pipeline.publishing.plot_places import QUIET, issued, titled
from pipeline.publishing.words import duration_text, model_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MORE, _LESS = "#b4531a", "#2f6fb0"


def explanation(page: PageInputs, *, domain: str, variable: str, node: int, lead: int, **_: Any) -> Figure:
    """The split of one place's median at one lead, and, where the model was asked, the effect of each hidden input."""
    from matplotlib.figure import Figure

    d = page.forecast.domains[domain]
    v = d.variables.index(variable)
    titles = {name: settings.title for name, settings in page.world.domains.items()}
    split = d.split_LNVP[lead, node, v]
    parts = [(part_text(part, titles), float(x)) for part, x in zip(d.parts, split, strict=True) if part != "anchor"]
    found = looked(page, d)
    change = next((c for c in (found or {"changes": []})["changes"] if (c["v"], c["n"]) == (v, node)), None)
    figure = Figure(figsize=(10 if change else 7, 1.8 + 0.42 * max(len(parts), len(_hidden(found, change)))), layout="constrained")
    axes: Any = figure.subplots(1, 2 if change else 1, squeeze=False)[0]
    median, anchor = float(d.quantiles_LNVQ[lead, node, v, MEDIAN]), float(split[d.parts.index("anchor")])
    if d.model_V[v] == JOINT:
        _bars(axes[0], parts)
        axes[0].set_title(f"{anchor:.4g} (anchor) … {median:.4g}: {titled(page, domain, variable)}")
    else:
        _whole(axes[0], f"A baseline made this number, {model_text(d.model_V[v]).lower()}:\nthere is nothing to split.")
        axes[0].set_title(f"{median:.4g}: {titled(page, domain, variable)}")
    mixed = weights(page, d) if d.model_V[v] == JOINT else None
    told = [f"made by: {model_text(d.model_V[v]).lower()}"]
    if mixed is not None:
        told.append(f"α {mixed['alpha'][node]:.2f}, β {mixed['beta'][lead * len(d.node_ids) + node]:.2f} (share of its own series)")
    axes[0].set_xlabel(", ".join(told), color=QUIET, fontsize=8)
    if change:
        _bars(axes[1], _hidden(found, change))
        axes[1].set_title(f"How far it moves with that hidden, +{duration_text(int(d.lead_time_L[change['l']]))}")
    figure.suptitle(
        f"{page.world.title}: {d.node_ids[node]}, +{duration_text(int(d.lead_time_L[lead]))}, {issued(page)}", fontsize=11, wrap=True
    )
    return figure


def _hidden(found: dict[str, Any] | None, change: dict[str, Any] | None) -> list[tuple[str, float]]:
    """The effects of hiding parts of the past, other inputs and the region that counts most."""
    if found is None or change is None:
        return []
    ends = [f"{duration_text(a)} to {duration_text(b) if b else 'now'}" for a, b in found["blocks"]]
    rows = list(zip(ends, change["time"], strict=False)) + [(found["names"][k], x) for k, x in change["modality"].items()]
    if change["space"]:
        most = int(np.argmax(np.abs(change["space"])))
        rows.append((f"region {most + 1} of {len(change['space'])}, the strongest", change["space"][most]))
    return rows


def _whole(axes: Any, text: str) -> None:
    axes.set(xticks=[], yticks=[])
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=QUIET)


def _bars(axes: Any, rows: list[tuple[str, float]]) -> None:
    names, values = [name for name, _ in rows], [x for _, x in rows]
    axes.barh(names, values, color=[_MORE if x > 0 else _LESS for x in values], height=0.6)
    axes.axvline(0, color=QUIET, linewidth=1)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    widest = max((abs(x) for x in values), default=1) or 1
    axes.set_xlim(-1.35 * widest, 1.35 * widest)
    for row, x in enumerate(values):
        axes.annotate(
            f"{x:+.3g}",
            (x, row),
            xytext=(4 if x >= 0 else -4, 0),
            textcoords="offset points",
            va="center",
            ha="left" if x >= 0 else "right",
            fontsize=8,
        )
