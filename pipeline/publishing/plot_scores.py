"""Plots of scores: errors and skill by lead against the baselines, and whether the bands hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.contracts.forecasts import JOINT, QUANTILES
from pipeline.errors import NotYetAvailable
from pipeline.publishing.page_inputs import PageInputs
from pipeline.publishing.page_scores import scores
from pipeline.publishing.plot_places import CAME, QUIET, titled
from pipeline.publishing.words import duration_text, model_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LOOKS: dict[str, tuple[str, Any]] = {
    JOINT: ("#0b6e63", "-"),
    "persistence": ("#b4531a", "--"),
    "historical_average": ("#5a55b5", ":"),
    "ridge": ("#927400", "-."),
    "seasonal_persistence": ("#b4531a", (0, (1, 4))),
    "boosted_trees": ("#927400", (0, (1, 2))),
}


def _known(page: PageInputs, domain: str, variable: str) -> dict[str, Any]:
    """The scores of a target, of its evaluation, or where there is none in replay.

    Raises:
        NotYetAvailable: It was not evaluated, or nothing was observed.
    """
    found = scores(page, page.forecast.domains[domain], variable)
    of = next((s for s, known in found["scores"].items() if any(row["n"] for row in known["all"].values())), None)
    if of is None:
        raise NotYetAvailable(
            asked=f"scores of {domain} {variable}",
            found="the model of this forecast has none on held-out days",
            mend=f"cubecast evaluate --world {page.world.name}",
        )
    return found | {"scores": found["scores"][of], "outcomes": found["calibration"][of]}


def skill(page: PageInputs, *, domain: str, variable: str, **_: Any) -> Figure:
    """The mean error of every model by lead, and the skill of the joint model against each baseline."""
    from matplotlib.figure import Figure

    found = _known(page, domain, variable)["scores"]
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    both: Any = figure.subplots(1, 2)
    errors, skills = both
    leads = np.arange(len(found["lead_times"]))
    for model in found["models"]:
        color, style = LOOKS.get(model, ("#33403d", (0, (1, 3))))
        width = 2.6 if model == JOINT else 1.6
        mae = _figures(found, model, "mae")
        errors.plot(leads, mae, color=color, linestyle=style, linewidth=width, marker=".", label=model_text(model))
        if model != JOINT and JOINT in found["models"]:
            skills.plot(
                leads, 100 * (1 - _figures(found, JOINT, "mae") / mae), color=color, linestyle=style, marker=".", label=model_text(model)
            )
    skills.axhline(0, color=QUIET, linewidth=1)
    errors.set_title(f"Mean error: {titled(page, domain, variable)}")
    errors.set_ylim(bottom=0)
    skills.set_title("Joint model saves, % of each baseline's error")
    for axes in (errors, skills):
        _by_lead(axes, found["lead_times"])
    figure.legend(*errors.get_legend_handles_labels(), loc="outside lower center", ncols=6, fontsize=8)
    figure.suptitle(f"{page.world.title}: {page.world.domains[domain].title}. {found['sentence']}", fontsize=9, wrap=True)
    return figure


def calibration(page: PageInputs, *, domain: str, variable: str, **_: Any) -> Figure:
    """The observed share below each quantile, and the share inside the bands by lead."""
    from matplotlib.figure import Figure

    found = _known(page, domain, variable)
    d = page.forecast.domains[domain]
    model = d.model_V[d.variables.index(variable)]
    model = model if model in found["outcomes"] else JOINT
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    both: Any = figure.subplots(1, 2)
    shares, bands = both
    shares.plot([0, 100], [0, 100], color=QUIET, linewidth=1, linestyle="--", label="as it should be")
    color = LOOKS.get(model, LOOKS[JOINT])[0]
    for row, label, tone in (
        (found["calibration"]["heldout"].get(model), "held-out days", color),
        (found["calibration"]["replay"].get("published"), "in replay", "#5a55b5"),
        (found["calibration"]["since"].get("published"), "since publication", CAME),
    ):
        if row is None or not row["n"]:
            continue
        nominal, observed = (QUANTILES, row["below"]) if row["below"] else ((0.8, 0.9), (row["in_80"], row["in_90"]))
        shares.plot(100 * np.array(nominal), 100 * np.array(observed, float), "o-", color=tone, label=f"{label} (n = {row['n']:,})")
    shares.set(xlabel="foretold share, %", ylabel="observed share, %", xlim=(0, 100), ylim=(0, 100))
    shares.set_title(f"Reliability: {titled(page, domain, variable)}")
    shares.legend(fontsize=8)
    leads = np.arange(len(found["scores"]["lead_times"]))
    for name, aim, tone in (("coverage_90", 90, "#5a55b5"), ("coverage_80", 80, "#0b6e63")):
        bands.axhline(aim, color=tone, linewidth=1, linestyle="--")
        bands.plot(leads, 100 * _figures(found["scores"], model, name), "o-", color=tone, markersize=4, label=f"inside the {aim} % band")
    bands.set_title(f"Coverage by lead, %: {model_text(model).lower()}")
    _by_lead(bands, found["scores"]["lead_times"])
    bands.legend(fontsize=8)
    figure.suptitle(f"{page.world.title}: {page.world.domains[domain].title}", fontsize=9)
    return figure


def _figures(found: dict[str, Any], model: str, name: str) -> Any:
    return np.array([row[name] for row in found["leads"][model]], float)


def _by_lead(axes: Any, lead_times: list[int]) -> None:
    every = max(1, -(-len(lead_times) // 6))
    shown = range(0, len(lead_times), every)
    axes.set_xticks(list(shown), [duration_text(lead_times[i]) for i in shown])
    axes.set_xlabel("ahead")
