"""How fast are masked MAE, RMSE and pinball of a large array of forecasts: ours, plain numpy, peers, and reading the memory once?

Makes forecasts (row, node, quantile) and observations with holes, and times one pass of each on one core (processor seconds). `ours` are the two
engines of `pipeline.verification.fused`; `exact` is what evaluation and verification keep: every statistic, in integers. Peers are
taken where they are installed. `python -m benchmarks.scoring --rows 20000`
"""

from __future__ import annotations

import importlib.util
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from pipeline.contracts.forecasts import MEDIAN, QUANTILES
from pipeline.verification.fused import SUMS, fused_sums
from pipeline.verification.scoring import score_windows
from pipeline.verification.statistics import Axis

LEADS = 12
Array = NDArray[Any]
app = typer.Typer(add_completion=False)


def made(rows: int, nodes: int) -> tuple[Array, Array]:
    random = np.random.default_rng(0)
    truth = random.gamma(2, 10, (rows, nodes)).astype(np.float32)
    steps = random.random((rows, nodes, len(QUANTILES)), np.float32)
    quantiles = np.cumsum(steps, axis=-1, dtype=np.float32) * np.float32(5)
    truth[random.random(truth.shape, np.float32) < 0.1] = np.nan
    return truth, quantiles


def plain(truth: Array, quantiles: Array) -> float:
    """As one would write it: the whole array at once, in the precision of the data."""
    short = truth[..., None] - quantiles
    levels = np.array(QUANTILES, np.float32)
    pinball = np.maximum(levels * short, (levels - 1) * short)
    error = quantiles[..., MEDIAN] - truth
    found = [np.nanmean(np.abs(error)), np.sqrt(np.nanmean(error**2)), *np.nanmean(pinball, axis=(0, 1))]
    return float(found[0])


def exact(truth: Array, quantiles: Array) -> float:
    windows, nodes = len(truth) // LEADS, truth.shape[1]
    shape = (windows, LEADS, nodes, 1)
    axis = Axis(variables=("v",), units=("1",), lead_times=tuple(300 * (k + 1) for k in range(LEADS)))
    found = score_windows(
        domain="d",
        axis=axis,
        model="m",
        issue_time_W=np.arange(windows) * 300,
        truth_WLNV=truth[: windows * LEADS].reshape(shape),
        good_WLNV=np.isfinite(truth[: windows * LEADS]).reshape(shape),
        quantiles_WLNVQ=quantiles[: windows * LEADS].reshape(*shape, -1),
    )
    sums = found.total("d", "m", over_leads=True)[0]
    return float(sums[3] / sums[1])


def fused(by: Any) -> Callable[[Array, Array], float]:
    def score(truth: Array, quantiles: Array) -> float:
        sums = fused_sums(truth, quantiles, by=by).sum(axis=0)
        return float(sums[SUMS.index("absolute")] / sums[0])

    return score


def by_scores(truth: Array, quantiles: Array) -> float:
    import xarray as xr
    from scores.continuous import mae, quantile_score, rmse

    y = xr.DataArray(truth, dims=("row", "node"))
    told = [xr.DataArray(quantiles[..., q], dims=("row", "node")) for q in range(len(QUANTILES))]
    rmse(told[MEDIAN], y)
    for level, each in zip(QUANTILES, told, strict=True):
        quantile_score(each, y, alpha=level)
    return float(mae(told[MEDIAN], y))


def by_scoringrules(truth: Array, quantiles: Array) -> float:
    import scoringrules

    for q, level in enumerate(QUANTILES):
        np.nanmean(scoringrules.quantile_score(truth, quantiles[..., q], level))
    error = quantiles[..., MEDIAN] - truth
    np.sqrt(np.nanmean(error**2))
    return float(np.nanmean(np.abs(error)))


def by_xskillscore(truth: Array, quantiles: Array) -> float:
    import xarray as xr
    import xskillscore as xs

    y, told = xr.DataArray(truth, dims=("row", "node")), xr.DataArray(quantiles[..., MEDIAN], dims=("row", "node"))
    xs.rmse(told, y, dim=["row", "node"], skipna=True)
    return float(xs.mae(told, y, dim=["row", "node"], skipna=True))


def read(truth: Array, quantiles: Array) -> float:
    """The bound: every number read once."""
    return float(np.add.reduce(quantiles.ravel().view(np.uint32)) + np.add.reduce(truth.ravel().view(np.uint32)))


@app.command()
def main(
    rows: Annotated[int, typer.Option(help="Issue times x leads.")] = 12_000,
    nodes: Annotated[int, typer.Option(help="Nodes.")] = 500,
    repeat: Annotated[int, typer.Option(help="Times each is run; the best counts.")] = 3,
) -> None:
    truth, quantiles = made(rows, nodes)
    ways: dict[str, Callable[[Array, Array], float]] = {"memory read once (bound)": read, "ours, numpy": fused("numpy")}
    if importlib.util.find_spec("numba"):
        ways["ours, numba"] = fused("numba")
    ways |= {"ours, exact (all statistics)": exact, "plain numpy, float32": plain}
    peers = {"scores": by_scores, "scoringrules": by_scoringrules, "xskillscore": by_xskillscore}
    ways |= {f"{name} {version(name)}": way for name, way in peers.items() if importlib.util.find_spec(name)}
    gigabytes = (truth.nbytes + quantiles.nbytes) / 1e9
    print(
        f"{rows:,} rows x {nodes} nodes x {len(QUANTILES)} quantiles, {gigabytes:.2f} GB; Python {platform.python_version()}, numpy {np.__version__}"
    )
    print("| way | processor s | M forecasts/s | GB/s | MAE |\n|---|---:|---:|---:|---:|")
    for name, way in ways.items():
        way(truth[:LEADS], quantiles[:LEADS])
        best, value = np.inf, 0.0
        for _ in range(repeat):
            began = time.process_time()
            value = way(truth, quantiles)
            best = min(best, time.process_time() - began)
        shown = "" if "bound" in name else f"{value:.12f}"
        print(f"| {name} | {best:.3f} | {truth.size / best / 1e6:,.0f} | {gigabytes / best:.2f} | {shown} |", flush=True)


if __name__ == "__main__":
    app()
