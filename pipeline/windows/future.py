"""What others had forecast, as each window knew it: one run per window, on the domain's own nodes and steps.

A run becomes known in parts where rows of it come late or are corrected: each state of it that a window may have seen
is a run of its own here. Shape suffixes: I run, H step of a run, N node, P place, F variable, W window, E state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.runs import first_steps, run_places
from pipeline.alignment.sampling import place_weights, sampled
from pipeline.alignment.time_grid import step_seconds
from pipeline.contracts.cubes import NEVER, DomainCube, Revisions
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.windows import DomainWindows, Future, Scaler
from pipeline.cube.groups import Group, Runs


def build_future(
    group: Group, runs: Runs, cube: DomainCube | None, nodes: NodeSet, windows: DomainWindows, *, scaler: Scaler | None, fitted_by: int
) -> Future:
    """The runs that windows use, cut to the steps that they forecast.

    What a window finds in its run does not depend on the other windows.

    Args:
        group: The domain's group of runs.
        runs: What its steps are.
        cube: The group, as of the cut-off or later; None where nothing is known of it.
        nodes: The domain's.
        windows: The domain's, still without a future.
        scaler: The one that the model was trained with; None fits it on the runs known by `fitted_by`.
        fitted_by: The end of the training fold, seconds UTC.
    """
    cube = cube or _nothing(group)
    run_E, known_E = _states(cube, windows.issue_time_W, runs.reach)
    state_W = _chosen(cube.valid_time[run_E], known_E, windows.issue_time_W, runs.reach)
    used = np.unique(state_W[state_W >= 0])
    run_W = np.where(state_W >= 0, np.searchsorted(used, state_W), -1).astype(np.int32)
    init_I, known_I = cube.valid_time[run_E[used]], known_E[used]
    base_I = first_steps(runs.clock, runs.start, init_I, int(windows.valid_time_T[0]))
    first_I, steps = _spans(run_W, base_I, runs.count, windows)
    shape = (len(used), steps, len(nodes), len(group.variables))
    values, good = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    place = _Places(nodes, run_places(cube.nodes), runs.neighbours)
    gaps = [v.interpolate // step_seconds(runs.clock) for v in group.variables.values()]
    for i, (run, known) in enumerate(zip(run_E[used].tolist(), known_I.tolist(), strict=True)):
        state, seen = _interpolated(*_state(cube, run, known, runs.count), gaps)
        begin = int(first_I[i] - base_I[i])
        length = min(steps, runs.count - begin)
        values[i, :length], good[i, :length] = place.sample(state, seen, slice(begin, begin + length))
    scaler = scaler or _fitted(values, good, known_I <= fitted_by)
    scaled = (values - scaler.center_NV) / scaler.scale_NV
    return Future(
        variables=tuple(group.variables),
        units=tuple(v.units for v in group.variables.values()),
        init_time_I=init_I,
        available_time_I=known_I,
        first_step_I=first_I.astype(np.int32),
        values_IHNF=np.where(good, scaled, np.float32(0)).astype(np.float32),
        good_IHNF=good,
        run_W=run_W,
        scaler=scaler,
    )


def _nothing(group: Group) -> DomainCube:
    """A cube of no run."""
    none, shape = np.zeros(0), (0, 0, len(group.variables))
    return DomainCube(
        domain=group.name,
        as_of=0,
        snapshot="",
        valid_time=none.astype(np.int64),
        nodes=NodeSet(ids=(), latitude=none, longitude=none),
        variables=tuple(group.variables),
        units=tuple(v.units for v in group.variables.values()),
        values_TNV=np.zeros(shape, np.float32),
        flags_TNV=np.zeros(shape, np.uint16),
        latency_TNV=np.zeros(shape, np.int32),
        revisions=Revisions.empty(),
    )


def _states(cube: DomainCube, issue_time_W: NDArray[np.int64], reach: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every state of the runs that windows may use: which run, and since when known; sorted by that, then by the start of the run."""
    init_T, old = cube.valid_time, cube.revisions
    first, last = issue_time_W.min(initial=np.iinfo(np.int64).max), issue_time_W.max(initial=0)
    used = np.flatnonzero((init_T > first - reach) & (init_T <= last))
    among = np.isin(old.step, used)
    run, known = [old.step[among].astype(np.int64)], [old.available_time[among]]
    for i in used.tolist():
        late = np.unique(cube.latency_TNV[i])
        late = late[late != NEVER]
        run.append(np.full(len(late), i))
        known.append(init_T[i] + late.astype(np.int64))
    pairs = np.unique(np.stack([np.concatenate(known), np.concatenate(run)], axis=1), axis=0)
    return pairs[:, 1], pairs[:, 0]


def _chosen(init_E: NDArray[np.int64], known_E: NDArray[np.int64], issue_time_W: NDArray[np.int64], reach: int) -> NDArray[np.int64]:
    """Per window the newest state of the newest run that was known, -1 where that reaches no further than the issue time."""
    if not len(init_E):
        return np.full(len(issue_time_W), -1, np.int64)
    rank = np.unique(init_E, return_inverse=True)[1].reshape(-1)
    best = np.maximum.accumulate(rank * len(rank) + np.arange(len(rank))) % len(rank)
    last = np.searchsorted(known_E, issue_time_W, side="right") - 1
    state = best[np.maximum(last, 0)]
    return np.where((last >= 0) & (init_E[state] + reach > issue_time_W), state, -1).astype(np.int64)


def _spans(run_W: NDArray[np.int32], base_I: NDArray[np.int64], count: int, windows: DomainWindows) -> tuple[NDArray[np.int64], int]:
    """The first axis step that a window wants of each run, and how many steps are wanted at most."""
    uses = run_W >= 0
    first = np.full(len(base_I), np.iinfo(np.int64).max)
    last = np.full(len(base_I), -1, np.int64)
    np.minimum.at(first, run_W[uses], windows.end_W[uses] + 1)
    np.maximum.at(last, run_W[uses], windows.end_W[uses] + windows.horizon)
    first = np.minimum(first, base_I + count - 1)
    return first, int(np.maximum(np.minimum(last, base_I + count - 1) - first + 1, windows.horizon).max(initial=windows.horizon))


def _state(cube: DomainCube, run: int, known: int, steps: int) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """(H, P, F) values and masks of a run as it was known at an instant."""
    values = cube.values_TNV[run].copy()
    room = known - int(cube.valid_time[run])
    good = np.isfinite(values) & (cube.flags_TNV[run] == 0) & (cube.latency_TNV[run] <= room)
    old = cube.revisions
    low, high = np.searchsorted(old.step, [run, run + 1])
    records = np.arange(low, high)[(old.available_time[low:high] <= known) & (known < old.superseded_time[low:high])]
    cell = (old.node[records], old.variable[records])
    values[cell], good[cell] = old.value[records], (old.flag[records] == 0) & np.isfinite(old.value[records])
    shape = (steps, -1, values.shape[-1])
    return values.reshape(shape), good.reshape(shape)


def _interpolated(
    values_HPF: NDArray[np.float32], good_HPF: NDArray[np.bool_], gaps: list[int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """With straight lines between good steps no more than a variable's gap apart."""
    values, good = values_HPF, good_HPF.copy()
    step = np.arange(len(values))[:, None]
    for v, gap in enumerate(gaps):
        if gap < 2:
            continue
        known = good_HPF[..., v]
        before = np.maximum.accumulate(np.where(known, step, -1), axis=0)
        after = np.minimum.accumulate(np.where(known, step, len(values))[::-1], axis=0)[::-1]
        k, p = np.nonzero(~known & (before >= 0) & (after < len(values)) & (after - before <= gap))
        a, b = before[k, p], after[k, p]
        left, right = (values[x, p, v].astype(np.float64) for x in (a, b))
        values[k, p, v] = left + (right - left) * ((k - a) / (b - a))
        good[k, p, v] = True
    return values, good


class _Places:
    """Brings runs to nodes; the weights are made once for each set of places that a run speaks of."""

    def __init__(self, nodes: NodeSet, places: NodeSet, neighbours: int) -> None:
        self._nodes, self._places, self._neighbours = nodes, places, neighbours
        self._weights: dict[bytes, object] = {}

    def sample(
        self, values_HPF: NDArray[np.float32], good_HPF: NDArray[np.bool_], steps: slice
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """(steps, N, F) of the steps asked for."""
        present: NDArray[np.bool_] = np.asarray(good_HPF.any(axis=(0, 2)))
        key = present.tobytes()
        if key not in self._weights:
            self._weights[key] = place_weights(self._nodes, self._places, present, self._neighbours)
        values, good = values_HPF[steps].transpose(1, 0, 2), good_HPF[steps].transpose(1, 0, 2)
        taken, seen = sampled(self._weights[key], values.reshape(len(values), -1), good.reshape(len(good), -1))
        shape = (-1, *values.shape[1:])
        return taken.reshape(shape).transpose(1, 0, 2), seen.reshape(shape).transpose(1, 0, 2)


def _fitted(values_IHNF: NDArray[np.float32], good_IHNF: NDArray[np.bool_], train_I: NDArray[np.bool_]) -> Scaler:
    """One mean and standard deviation per variable over the runs of the training fold."""
    count = values_IHNF.shape[-1]
    center, scale = np.zeros((1, count)), np.ones((1, count))
    for v in range(count):
        known = values_IHNF[train_I][..., v][good_IHNF[train_I][..., v]].astype(np.float64)
        if len(known):
            center[0, v] = known.mean()
            scale[0, v] = known.std() or 1.0
    return Scaler(center_NV=center.astype(np.float32), scale_NV=scale.astype(np.float32), relative_NV=np.zeros((1, count), np.float32))
