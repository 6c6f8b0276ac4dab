"""Plots of places: the forecast on the map at several leads, and one place's fan with its past."""

from __future__ import annotations

import importlib
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import MEDIAN, QUANTILES, DomainForecast
from pipeline.contracts.times import from_seconds
from pipeline.publishing.page_inputs import PageInputs
from pipeline.publishing.words import duration_text, instant_text, label_text, unit_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, QUIET, JOINT, CAME, BEFORE = "#16211f", "#5b6966", "#0b6e63", "#c2185b", "#5a55b5"
_MAPS = 4
_NAMED = 12
_LEAST_PLACED = 3
_WIDE = 1.5


def titled(page: PageInputs, domain: str, variable: str) -> str:
    """The variable with its unit."""
    settings, d = page.world.domains[domain].variables[variable], page.forecast.domains[domain]
    unit = unit_text(d.units[d.variables.index(variable)])
    return label_text(variable, settings.long_name) + (f" [{unit}]" if unit else "")


def issued(page: PageInputs) -> str:
    """The issue time, in the zone of the world."""
    return f"issued {instant_text(page.forecast.issue_time, page.world.zone)} ({page.world.timezone})"


def maps(page: PageInputs, *, domain: str, variable: str, **_: Any) -> Figure:
    """The median at leads spread over the horizon, one colour scale for all."""
    from matplotlib.figure import Figure

    d = page.forecast.domains[domain]
    median_LN = d.quantiles_LNVQ[:, :, d.variables.index(variable), MEDIAN]
    leads = sorted({int(x) for x in np.linspace(0, len(median_LN) - 1, min(_MAPS, len(median_LN))).round()})
    low, high = np.percentile(median_LN, [2, 98])
    wide = _width(page, d)
    columns = len(leads) if wide < _WIDE else -(-len(leads) // 2)
    rows, across = -(-len(leads) // columns), 3.6 if wide < _WIDE else 5.4
    figure = Figure(figsize=(across * columns + 0.8, rows * min(3.7, max(1.6, across / wide)) + 0.5 * (1 + rows)), layout="constrained")
    axes: Any = figure.subplots(rows, columns, squeeze=False).ravel()[: len(leads)]
    for place, lead in zip(axes, leads, strict=True):
        drawn = _places(place, page, d, median_LN[lead], float(low), float(max(high, low + 1e-9)))
        place.set_title(f"+{duration_text(int(d.lead_time_L[lead]))}")
    figure.colorbar(drawn, ax=list(axes), shrink=0.8, label=titled(page, domain, variable), extend="both")
    figure.suptitle(f"{page.world.title}: {page.world.domains[domain].title}, forecast median, {issued(page)}", fontsize=11, wrap=True)
    return figure


def _width(page: PageInputs, d: DomainForecast) -> float:
    """How many times as wide as high a domain's map is; 1 where it is tiles."""
    nodes, order = page.cubes[d.domain].nodes, page.order(d)
    placed = np.isfinite(nodes.latitude[order]) & np.isfinite(nodes.longitude[order])
    if placed.sum() < _LEAST_PLACED:
        return 1.0
    latitude, longitude = nodes.latitude[order][placed], nodes.longitude[order][placed]
    return float(np.ptp(longitude) * np.cos(np.radians(latitude.mean())) / max(np.ptp(latitude), 1e-9))


def _places(axes: Any, page: PageInputs, d: DomainForecast, value_N: NDArray[np.float32], low: float, high: float) -> Any:
    """Cells, segments, points, or tiles where no place is known; what a colour bar can be drawn for."""
    from matplotlib.collections import LineCollection

    nodes, order = page.cubes[d.domain].nodes, page.order(d)
    latitude, longitude = nodes.latitude[order], nodes.longitude[order]
    scale: dict[str, Any] = {"cmap": "viridis", "clim": (low, high)}
    axes.grid(visible=False)
    if nodes.shape is not None and len(order) == len(nodes) and np.isfinite(latitude).all():
        grid = [a.reshape(nodes.shape) for a in (longitude, latitude, value_N)]
        drawn: Any = axes.pcolormesh(*grid, shading="nearest", cmap="viridis", vmin=low, vmax=high)
    elif np.isfinite(latitude).sum() < _LEAST_PLACED:
        columns = int(np.ceil(np.sqrt(len(value_N))))
        tiles = np.full(columns * -(-len(value_N) // columns), np.nan)
        tiles[: len(value_N)] = value_N
        drawn = axes.imshow(tiles.reshape(-1, columns), cmap="viridis", vmin=low, vmax=high)
        axes.set(xticks=[], yticks=[])
        axes.set_xlabel("places without a map position", color=QUIET)
        _name_tiles(axes, d.node_ids, value_N, columns, (low + high) / 2)
        return drawn
    elif nodes.ends is not None:
        lines = nodes.ends[order].reshape(-1, 2, 2)[:, :, ::-1]
        drawn = axes.add_collection(LineCollection(list(lines), array=value_N, linewidths=2.4, capstyle="round", **scale))
        axes.autoscale()
    else:
        drawn = axes.scatter(longitude, latitude, c=value_N, s=36, cmap="viridis", vmin=low, vmax=high)
    axes.set_aspect(1 / max(0.05, float(np.cos(np.radians(np.nanmean(latitude))))))
    axes.tick_params(labelsize=7, colors=QUIET)
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(nbins=4)
    return drawn


def _name_tiles(axes: Any, names: tuple[str, ...], value_N: NDArray[np.float32], columns: int, middle: float) -> None:
    """The name and the value of each tile, where there are few."""
    for n, value in enumerate(value_N if len(names) <= _NAMED else ()):
        colour, size = "white" if value < middle else INK, 9 if columns == 1 else 7 if columns < 3 else 6
        axes.text(n % columns, n // columns, f"{names[n]}\n{value:.3g}", color=colour, fontsize=size, ha="center", va="center")


def fan(page: PageInputs, *, domain: str, variable: str, node: int, **_: Any) -> Figure:
    """The past, the bands ahead, the medians issued before, and what came, at one place."""
    from matplotlib.figure import Figure

    d = page.forecast.domains[domain]
    v = d.variables.index(variable)
    cube, q_LQ = page.cubes[domain], d.quantiles_LNVQ[:, node, v]
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    axes: Any = figure.subplots()
    ahead = _instants(d.valid_time_L, page)
    for low, high, alpha in ((0, -1, 0.16), (1, -2, 0.24), (2, -3, 0.36)):
        share = round(100 * (QUANTILES[high] - QUANTILES[low]))
        axes.fill_between(ahead, q_LQ[:, low], q_LQ[:, high], color=JOINT, alpha=alpha, linewidth=0, label=f"{share} % of outcomes")
    shown = slice(-max(20, 2 * len(ahead)), None)
    axes.plot(
        _instants(cube.valid_time[shown], page),
        page.past(d)[shown, node, v],
        color=INK,
        linewidth=1.3,
        marker=".",
        markersize=3,
        label="observed",
    )
    for number, before in enumerate(e.forecast.domains[domain] for e in page.earlier if domain in e.forecast.domains):
        if d.node_ids[node] in before.node_ids and variable in before.variables:
            median = before.quantiles_LNVQ[:, before.node_ids.index(d.node_ids[node]), before.variables.index(variable), MEDIAN]
            label = None if number else "medians issued before"
            axes.plot(_instants(before.valid_time_L, page), median, color=BEFORE, linewidth=1, linestyle="--", label=label)
    axes.plot(ahead, q_LQ[:, MEDIAN], color=JOINT, linewidth=2, label="median")
    if domain in page.came:
        axes.plot(ahead, page.came[domain][:, node, v], "o", color=CAME, markersize=5, markeredgecolor="white", label="what came")
    axes.axvline(_instants(np.array([page.forecast.issue_time]), page)[0], color=QUIET, linewidth=1, linestyle=":")
    dates: Any = importlib.import_module("matplotlib.dates")
    locator = dates.AutoDateLocator(tz=page.world.zone)
    axes.xaxis.set(major_locator=locator, major_formatter=dates.ConciseDateFormatter(locator, tz=page.world.zone))
    figure.suptitle(f"{page.world.title}: {d.node_ids[node]}, {issued(page)}", fontsize=11, wrap=True)
    axes.set_ylabel(titled(page, domain, variable))
    axes.set_xlim(left=_instants(cube.valid_time[shown], page)[0])
    figure.legend(fontsize=8, ncols=4, loc="outside lower center")
    return figure


def _instants(seconds: NDArray[np.int64], page: PageInputs) -> list[datetime]:
    return [from_seconds(s).astimezone(page.world.zone) for s in seconds.tolist()]
