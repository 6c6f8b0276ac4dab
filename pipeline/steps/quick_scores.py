"""MAE, RMSE, bias and pinball of everything published, read slab by slab from the arrays, by Dask where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.times import format_instant, from_seconds
from pipeline.contracts.world_files import load_world
from pipeline.errors import NotYetAvailable
from pipeline.parallel import Crew, crew
from pipeline.settings import Settings
from pipeline.steps import reading
from pipeline.stores.forecast_arrays import ForecastArrays
from pipeline.telemetry import Progress
from pipeline.verification.fused import SUMS, engine, fused_figures, fused_sums

_SHARE = 8
"""A slab is at most this part of what a task may use: it is held as read, in order, and beside the cube."""


@dataclass(frozen=True, kw_only=True)
class _Slab:
    """Rows of one domain's published arrays that one task reads, in order of issue time."""

    domain: str
    snapshot: str
    rows: tuple[int, ...]


def quick_scores(
    world_file: str, settings: Settings, first: int, last: int, now: int, progress: Progress, *, bytes_each: int | None = None
) -> dict[str, Any]:
    """Rows per domain, variable and lead (0: all) of what was issued from `first` to `last`, against what is known at `now`.

    No task holds more than its slab of forecasts (`bytes_each`, by default a share of the memory there is) and the part of the
    cube that it speaks of, so arrays and cubes may be larger than memory.

    Raises:
        NotYetAvailable: Nothing was published in that period.
    """
    world = load_world(world_file)
    arrays = ForecastArrays(settings.store, world.name)
    newest = arrays.history()
    with crew(settings) as workers:
        most = bytes_each or workers.memory // (workers.threads * _SHARE)
        slabs = [s for name in world.domains if newest for s in _slabs(arrays, name, newest[0]["snapshot"], first, last, most)]
        if not slabs:
            raise NotYetAvailable(
                asked=f"published forecasts of world {world.name} issued from {format_instant(from_seconds(first))}",
                found="none until then",
                mend=f"cubecast run --world {world.name}, or ask for another period",
            )
        parts = _map(workers, partial(score_slab, world_file, settings, now), slabs, progress)
    return {"world": world.name, "engine": engine(), "slabs": len(slabs), "rows": _rows(slabs, parts)}


def _map(workers: Crew, work: Any, slabs: list[_Slab], progress: Progress) -> list[dict[str, NDArray[np.float64]]]:
    return workers.map(work, slabs, progress, name="slabs")


def _slabs(arrays: ForecastArrays, domain: str, snapshot: str, first: int, last: int, most: int) -> list[_Slab]:
    try:
        dataset = arrays.open(domain, snapshot, decode=False)
    except NotYetAvailable:
        return []
    issue_time = dataset["issue_time"].values
    rows = np.flatnonzero((issue_time >= first) & (issue_time <= last))
    rows = rows[np.argsort(issue_time[rows], kind="stable")]
    sizes = dataset.sizes
    each = 4 * sizes["lead_time"] * sizes["node"] * sizes["quantile"]
    step = max(1, most // each)
    return [_Slab(domain=domain, snapshot=snapshot, rows=tuple(map(int, rows[at : at + step]))) for at in range(0, len(rows), step)]


def score_slab(world_file: str, settings: Settings, now: int, slab: _Slab) -> dict[str, NDArray[np.float64]]:
    """Per variable the sums of a slab by lead (L, S)."""
    world = load_world(world_file)
    dataset = ForecastArrays(settings.store, world.name).open(slab.domain, slab.snapshot, decode=False)
    rows = np.array(slab.rows)
    valid_IL = dataset["valid_time"].values[rows]
    start, until = {slab.domain: int(valid_IL.min())}, {slab.domain: int(valid_IL.max())}
    cube = reading.open_cubes(world, settings, from_seconds(now), domains=[slab.domain], start=start, until=until, absent_is_fine=True).get(
        slab.domain
    )
    names = [name for name in world.domains[slab.domain].variables if name in dataset]
    if cube is None or not len(cube.valid_time):
        return {name: np.zeros((valid_IL.shape[1], len(SUMS))) for name in names}
    step_IL = np.minimum(np.searchsorted(cube.valid_time, valid_IL), len(cube.valid_time) - 1)
    there_IL = (cube.valid_time[step_IL] == valid_IL) & (valid_IL <= now)
    place = {node: n for n, node in enumerate(cube.nodes.ids)}
    node_N = np.array([place.get(str(node), -1) for node in dataset["node"].values])
    found = {}
    for name in names:
        v = cube.variables.index(name)
        good = np.where(cube.flags_TNV[:, :, v] == 0, cube.values_TNV[:, :, v], np.float32(np.nan))
        truth_ILN = np.where(there_IL[..., None] & (node_N >= 0), good[step_IL[..., None], node_N], np.float32(np.nan))
        quantiles_ILNQ = np.stack([dataset[name][row].values for row in slab.rows])
        sums = fused_sums(truth_ILN.reshape(-1, len(node_N)), quantiles_ILNQ.reshape(-1, *quantiles_ILNQ.shape[2:]))
        found[name] = sums.reshape(*valid_IL.shape, -1).sum(axis=0)
    return found


def _rows(slabs: list[_Slab], parts: list[dict[str, NDArray[np.float64]]]) -> list[dict[str, Any]]:
    totals: dict[tuple[str, str], list[NDArray[np.float64]]] = {}
    for slab, part in zip(slabs, parts, strict=True):
        for name, sums_LS in part.items():
            totals.setdefault((slab.domain, name), []).append(sums_LS)
    rows = []
    for (domain, variable), each in totals.items():
        sums_LS = np.sum(each, axis=0)
        about = {"domain": domain, "variable": variable}
        for lead, sums in enumerate([sums_LS.sum(axis=0), *sums_LS]):
            rows.append({**about, "lead": lead, "n": int(sums[0]), **fused_figures(sums)})
    return rows
