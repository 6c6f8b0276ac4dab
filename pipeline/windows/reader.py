"""Cubes become the WindowSet of one cut-off. Shape suffixes: T axis steps, N node, V variable, W window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.alignment.as_of import earlier
from pipeline.alignment.graph import edges
from pipeline.alignment.time_grid import DAY, axis, local_slots, step_seconds, steps_ahead
from pipeline.contracts.cubes import NEVER, DomainCube, TextCube
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import from_seconds, to_seconds
from pipeline.contracts.windows import FOLD_CODES, DomainWindows, Scaler, WindowSet
from pipeline.contracts.worlds import Domain, World
from pipeline.cube.groups import FUTURE, groups_of
from pipeline.errors import ContractError, LookaheadError
from pipeline.windows.blocks import Keep, in_blocks
from pipeline.windows.folds import fold_boundaries, fold_codes
from pipeline.windows.future import build_future
from pipeline.windows.history import (
    Series,
    coarse_means,
    history_names,
    longest_lag,
    past_steps,
    recent_steps,
    season_history,
    season_history_ahead,
)
from pipeline.windows.index import issue_lag, live_window, patches_of, training_windows
from pipeline.windows.near import neighbours
from pipeline.windows.nodes import fit_nodes
from pipeline.windows.scaling import fit_scaler, scale_values
from pipeline.windows.texts import build_texts

_SESSION_DAYS = 2
"""Days that surely hold a session on average, holidays included."""

_PARTS, _FEW_NODES = 32, 16
"""Into how many parts the nodes of windows to learn from are cut, and how many a part has at least."""


def build_windows(
    world: World,
    cubes: Mapping[str, DomainCube],
    *,
    as_of: int,
    scalers: Mapping[str, Scaler] | None,
    live: bool,
    nodes: Mapping[str, tuple[str, ...]] | None = None,
    runs: Mapping[str, DomainCube] | None = None,
    texts: Mapping[str, TextCube] | None = None,
    since: int | None = None,
    keep: Keep | None = None,
    at_once: int = 0,
) -> WindowSet:
    """Everything a model may see as of one cut-off.

    The arrays that a window gathers are the same bits as those of the live window issued at its issue time. A live set
    holds no more steps than its window gathers, and is the same from cubes read as of any later instant.

    Args:
        world: The world.
        cubes: Its domains as read with this `as_of`; one that is not there, or without a node yet, is left out.
        as_of: The cut-off, seconds UTC.
        scalers: Those that the model was trained with; None fits them on the training fold.
        live: Only one window per domain, issued at `as_of`; needs `scalers`.
        nodes: Per domain the nodes that the model was trained on, in their order; without, those heard of by then.
        runs: Per domain what others forecast for it, read as the cubes are.
        texts: Per stream its documents, read as the cubes are.
        since: Windows issued before it (seconds UTC) are not asked for: like a live one, the set holds no more steps than the
            others gather, needs `scalers`, and is the same from cubes read as of any later instant.
        keep: Makes the large arrays of windows to learn from, such as in files; without it they lie in memory.
        at_once: How many nodes' windows to learn from are made at once; 0: a 32nd of them, and 16 at least.

    Raises:
        LookaheadError: A cube was read as of a later instant, and the set is neither live nor since an instant.
        ContractError: A cube is older than the cut-off, off its clock, or of other nodes than its scaler.
    """
    recent = live or since is not None
    if recent and scalers is None:
        raise ContractError(asked="recent windows", found="no scalers", mend="hand over those that the model was trained with")
    for kind, known in (("cube", cubes), ("runs of", runs or {}), ("documents", texts or {})):
        for name, part in known.items():
            if not recent or part.as_of < as_of:
                _check_cut_off(f"{kind} {name}", part.as_of, as_of)
    domains, places, groups = {}, {}, groups_of(world)
    for name in world.domains:
        if name in cubes and _heard(cubes[name], as_of):
            seen = _Seen(cubes[name], as_of, None if nodes is None else nodes.get(name))
            scaler = None if scalers is None else scalers.get(name)
            if recent:
                domains[name] = _domain(world, name, seen, scaler, live, as_of if live else since)
            else:
                domains[name] = _in_parts(world, name, seen, scaler, keep, at_once)
            places[name] = seen.nodes
            group = groups.get(name + FUTURE)
            if group is not None and group.runs is not None and (group.name in scalers if scalers is not None else name in (runs or {})):
                told, fitted_by = None if scalers is None else scalers[group.name], fold_boundaries(world, name, as_of)[0]
                found = build_future(group, group.runs, (runs or {}).get(name), seen.nodes, domains[name], scaler=told, fitted_by=fitted_by)
                domains[name] = replace(domains[name], future=found)
    if not recent:
        domains = {name: replace(view, near=neighbours(places, name)) for name, view in domains.items()}
    return WindowSet(
        world=world.name,
        world_digest=world.digest,
        zone=world.timezone,
        as_of=as_of,
        snapshot=next((c.snapshot for c in cubes.values()), ""),
        domains=domains,
        texts={name: build_texts(stream, (texts or {}).get(name), places, domains, as_of, since) for name, stream in world.texts.items()},
    )


def as_known(
    world: World,
    windows: WindowSet,
    cubes: Mapping[str, DomainCube],
    texts: Mapping[str, TextCube],
    *,
    as_of: int,
    since: int,
    nodes: Mapping[str, tuple[str, ...]],
) -> WindowSet:
    """The windows issued between two instants as a set of these alone gives them, bit for bit: with its domains and its documents.

    What is read of a document is added up over all places that a set's documents speak of, so that the sum's rounding is the set's.
    The arguments are those of `build_windows`, which made `windows` for an earlier `since` and a later `as_of`.
    """
    domains = {name: view for name, view in windows.domains.items() if _heard(cubes[name], as_of)}
    places = {name: _Seen(cubes[name], as_of, nodes.get(name)).nodes for name in domains} if world.texts else {}
    read = {name: build_texts(stream, texts.get(name), places, domains, as_of, since) for name, stream in world.texts.items()}
    return replace(windows, as_of=as_of, domains=domains, texts=read)


def earliest_needed(world: World, domain: str, as_of: int) -> int:
    """The instant (seconds UTC) from which on a cube must be read for a live window at `as_of`."""
    declared = world.domains[domain]
    steps = past_steps(declared, issue_lag(world, domain))
    seconds = step_seconds(declared.clock) * (_SESSION_DAYS if declared.clock.step is None else 1)
    return max(as_of - (steps + 1) * seconds, to_seconds(world.domain_start(domain)))


def _check_cut_off(what: str, read: int, as_of: int) -> None:
    if read == as_of:
        return
    kind = LookaheadError if read > as_of else ContractError
    raise kind(
        asked=f"windows as of {from_seconds(as_of)}",
        found=f"{what} read as of {from_seconds(read)}",
        mend="open the cube with the same as_of",
    )


class _Seen:
    """A cube as it was known at the cut-off, read piece by piece, with the nodes that the model knows."""

    def __init__(self, cube: DomainCube, as_of: int, nodes: tuple[str, ...] | None) -> None:
        self.cube, self.as_of, self._nodes = cube, as_of, nodes

    @property
    def nodes(self) -> NodeSet:
        """The nodes, with the places known of them."""
        return self.steps(len(self.cube.valid_time)).nodes

    def steps(self, first: int, stop: int | None = None) -> DomainCube:
        """The steps from `first` to before `stop`."""
        found = earlier(self.cube, self.as_of, first=first, stop=stop)
        return found if self._nodes is None else fit_nodes(found, self._nodes)


def _heard(cube: DomainCube, as_of: int) -> bool:
    """Whether a domain had a node at an instant."""
    return bool(len(cube.nodes)) if cube.node_known_time_N is None else bool((cube.node_known_time_N <= as_of).any())


def _domain(world: World, name: str, seen: _Seen, scaler: Scaler | None, live: bool, since: int | None) -> DomainWindows:
    domain, lag, as_of = world.domains[name], issue_lag(world, name), seen.as_of
    past_T = _axis(world, name, seen.cube, as_of)
    ahead = steps_ahead(domain.clock, int(past_T[-1]) if len(past_T) else to_seconds(world.domain_start(name)), domain.horizon)
    whole_T, begin = np.concatenate([past_T, ahead]), 0
    if since is not None:
        begin = max(int(np.searchsorted(past_T, since, side="right")) - recent_steps(domain, lag), 0)
    past_T, cube = past_T[begin:], seen.steps(begin)
    boundaries = fold_boundaries(world, name, as_of)
    if scaler is None:
        scaler = fit_scaler(domain, cube.values_TNV[: np.searchsorted(cube.valid_time, boundaries[0], side="right")])
    _check_scaler(name, scaler, cube)
    series = make_series(cube, scaler, whole_T[begin:])
    if since is not None:
        fitted = scaler

        def series_of(first: int, stop: int) -> Series:
            return make_series(seen.steps(first, stop), fitted, whole_T[first:stop])

        history, history_good = season_history_ahead(
            domain, series_of, whole_T, begin, len(cube.nodes), domain.horizon if live else len(whole_T) - begin
        )
    else:
        history, history_good = season_history(domain, series)
    coarse, coarse_good = coarse_means(domain, series, lag)
    issue, end = live_window(past_T, domain.context, as_of) if live else training_windows(past_T, lag, domain.context, as_of)
    fold = np.full(len(issue), FOLD_CODES["live"], np.int8)
    if not live:
        fold = fold_codes(issue, series.valid_time_T[end + domain.horizon], boundaries, as_of)
    patches = patches_of(series)
    np.copyto(series.latency_TNV, NEVER, where=~series.good_TNV)
    return DomainWindows(
        domain=name,
        context=domain.context,
        horizon=domain.horizon,
        scaler=scaler,
        valid_time_T=series.valid_time_T,
        values_TNV=series.values_TNV,
        good_TNV=series.good_TNV,
        latency_TNV=series.latency_TNV,
        history_names=history_names(domain),
        history_TNVK=history,
        history_good_TNVK=history_good,
        coarse_steps=0 if domain.coarse is None else domain.coarse.steps,
        coarse_count=0 if domain.coarse is None else domain.coarse.count,
        coarse_TNV=coarse,
        coarse_good_TNV=coarse_good,
        issue_time_W=issue,
        end_W=end,
        fold_W=fold,
        patch_start_T=patches.start_T,
        patch_step=patches.step,
        patch_node=patches.node,
        patch_variable=patches.variable,
        patch_value=patches.value,
        patch_known_time=patches.known_time,
        patch_gone_time=patches.gone_time,
        **_declared(domain, cube),
        **_calendar(world, domain, series.valid_time_T),
    )


def _check_scaler(name: str, scaler: Scaler, cube: DomainCube) -> None:
    if scaler.center_NV.shape != cube.values_TNV.shape[1:]:
        raise ContractError(
            asked=f"scaled values of {cube.values_TNV.shape[1:]} nodes and variables of {name}",
            found=f"a scaler of {scaler.center_NV.shape}",
            mend="train again: the nodes or variables changed since",
        )


def _in_parts(world: World, name: str, seen: _Seen, scaler: Scaler | None, keep: Keep | None, at_once: int) -> DomainWindows:
    """The same of windows to learn from, a few nodes at a time: what is in between needs twice the room of what is made."""
    domain, cube, as_of = world.domains[name], seen.steps(0), seen.as_of
    at_once = at_once or max(_FEW_NODES, -(-len(cube.nodes) // _PARTS))
    if keep is None and len(cube.nodes) <= at_once:
        return _domain(world, name, seen, scaler, False, None)
    if scaler is None:
        known = np.searchsorted(cube.valid_time, fold_boundaries(world, name, as_of)[0], side="right")
        scaler = fit_scaler(domain, cube.values_TNV[:known])
    _check_scaler(name, scaler, cube)
    whole = scaler

    def part_of(nodes: slice) -> DomainWindows:
        own = Scaler(**{f.name: getattr(whole, f.name)[nodes] for f in fields(Scaler)})
        return _domain(world, name, _Seen(cube, as_of, cube.nodes.ids[nodes]), own, False, None)

    made = in_blocks(part_of, len(cube.nodes), at_once, keep or (lambda _, shape, dtype: np.empty(shape, dtype)))
    return replace(made, scaler=whole, **_declared(domain, cube))


def _declared(domain: Domain, cube: DomainCube) -> dict[str, Any]:
    """What the world says about a domain's nodes and variables."""
    variables = tuple(domain.variables.values())
    edges_2E, edge_weight_E = edges(cube.nodes, domain.graph)
    return {
        "title": domain.title,
        "node_ids": cube.nodes.ids,
        "grid_shape": cube.nodes.shape,
        "variables": cube.variables,
        "units": cube.units,
        "targets": tuple(i for i, v in enumerate(variables) if v.target),
        "weight_V": np.array([v.weight for v in variables], np.float32),
        "lower_V": np.array([-np.inf if v.lower is None else v.lower for v in variables], np.float32),
        "upper_V": np.array([np.inf if v.upper is None else v.upper for v in variables], np.float32),
        "anchor_V": np.array([longest_lag(domain) if v.anchor == "season" else -1 for v in variables], np.int16),
        "edges_2E": edges_2E,
        "edge_weight_E": edge_weight_E,
        "position_N2": _positions(cube.nodes),
    }


def _calendar(world: World, domain: Domain, valid_time_T: NDArray[np.int64]) -> dict[str, Any]:
    """Calendar features of every step, in local time."""
    step = step_seconds(domain.clock)
    time_of_day, day_of_week = local_slots(valid_time_T, world.zone, step, world.holidays)
    return {"step_seconds": step, "slots_per_day": DAY // step, "time_of_day_T": time_of_day, "day_of_week_T": day_of_week}


def make_series(cube: DomainCube, scaler: Scaler, valid_time_T: NDArray[np.int64]) -> Series:
    """The cube's cells and their superseded versions, scaled, on an axis that goes on after the cube's last step."""
    steps, shape = len(cube.valid_time), (len(valid_time_T), *cube.values_TNV.shape[1:])
    values, latency = np.full(shape, np.nan, np.float32), np.full(shape, NEVER, np.int32)
    values[:steps], latency[:steps] = cube.values_TNV, cube.latency_TNV
    good: NDArray[np.bool_] = np.zeros(shape, np.bool_)
    np.isfinite(values, out=good)
    good[:steps] &= cube.flags_TNV == 0
    np.copyto(values, np.float32(np.nan), where=~good)
    old = cube.revisions
    cell = (old.node, old.variable)
    old_good = (old.flag == 0) & np.isfinite(old.value)
    old_value = (np.where(old_good, old.value, np.float32(0)) - scaler.center_NV[cell]) / scaler.scale_NV[cell]
    valid = valid_time_T[old.step]
    return Series(
        valid_time_T=valid_time_T,
        values_TNV=scale_values(values, scaler),
        good_TNV=good,
        latency_TNV=latency,
        old_step=old.step,
        old_node=old.node,
        old_variable=old.variable,
        old_value=np.where(old_good, old_value, np.float32(0)),
        old_good=old_good,
        old_latency=old.available_time - valid,
        old_superseded=old.superseded_time - valid,
    )


def _axis(world: World, name: str, cube: DomainCube, as_of: int) -> NDArray[np.int64]:
    """The domain's steps up to `as_of`, from the cube's first on."""
    domain: Domain = world.domains[name]
    start = int(cube.valid_time[0]) if len(cube.valid_time) else to_seconds(world.domain_start(name))
    past_T = axis(domain.clock, start, as_of)
    if not np.array_equal(past_T[: len(cube.valid_time)], cube.valid_time[: len(past_T)]):
        raise ContractError(
            asked=f"the axis of {name} from {from_seconds(start)}",
            found="the cube's steps are others than the clock's",
            mend="build the cube again with this world",
        )
    return past_T


def _positions(nodes: NodeSet) -> NDArray[np.float32]:
    """(node, 2) latitude and longitude about the middle of all, the wider of the two spans scaled to [-1, 1]; 0 where unknown."""
    places = np.stack([nodes.latitude, nodes.longitude], axis=1)
    known = np.asarray(~np.isnan(places).any(axis=1), np.bool_)
    if not known.any():
        return np.zeros(places.shape, np.float32)
    low, high = places[known].min(axis=0), places[known].max(axis=0)
    half = float((high - low).max()) / 2
    scaled = (places - (low + high) / 2) / (half if half > 0 else 1.0)
    return np.where(known[:, None], scaled, 0.0).astype(np.float32)
