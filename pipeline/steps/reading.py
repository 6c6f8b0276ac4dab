"""What several steps read in the same way: cubes, a candidate's models, the windows of a candidate."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import DomainCube, TextCube
from pipeline.contracts.forecasts import JOINT
from pipeline.contracts.times import to_seconds
from pipeline.contracts.windows import Scaler, WindowSet
from pipeline.contracts.worlds import World
from pipeline.cube.groups import FUTURE, groups_of
from pipeline.errors import ContractError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.stores.cube_format import TEXTS
from pipeline.stores.registry import Candidate

if TYPE_CHECKING:
    from models.api import Predictor
    from pipeline.windows.blocks import Keep

Read = TypeVar("Read")


@dataclass(frozen=True, kw_only=True)
class Room:
    """A folder for arrays of windows that memory does not hold, and of how many nodes they are made at once."""

    folder: Path
    at_once: int

    def keep(self) -> Keep:
        """Arrays in files of their own, mapped."""
        own = Path(tempfile.mkdtemp(dir=self.folder))

        def keep(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
            return np.memmap(own / name, dtype, "w+", shape=shape) if np.prod(shape) else np.zeros(shape, dtype)

        return keep


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All that windows are made of, from one snapshot as of one instant: cubes and runs of forecasts by domain, texts by stream.

    `since` is the first instant (seconds UTC) at which a live window finds all it needs; None: any. Where memory does not hold
    the windows there is a `room` for them.
    """

    cubes: dict[str, DomainCube]
    runs: dict[str, DomainCube]
    texts: dict[str, TextCube]
    since: int | None = None
    room: Room | None = None


@dataclass(frozen=True, kw_only=True)
class Models:
    """A candidate's joint model and baselines, each for the domains that it forecasts."""

    predictors: Mapping[str, Predictor]
    domains: Mapping[str, frozenset[str]]

    def of(self, domain: str) -> dict[str, Predictor]:
        """The models that forecast a domain, the joint one first."""
        return {name: model for name, model in self.predictors.items() if domain in self.domains[name]}


def snapshot_of(world: World, settings: Settings) -> str:
    """Identity of the cubes' newest state.

    Raises:
        NotYetAvailable: They were never built.
    """
    from pipeline.stores.cubes import CubeStore

    return CubeStore(settings.cubes or settings.store, world.name).snapshot


def open_cubes(
    world: World,
    settings: Settings,
    as_of: datetime,
    *,
    domains: Iterable[str] | None = None,
    start: Mapping[str, int] | None = None,
    until: Mapping[str, int] | None = None,
    absent_is_fine: bool = False,
    at: str | None = None,
) -> dict[str, DomainCube]:
    """Domains (all by default) as of an instant; with `start` and `until` (seconds UTC) that part of a domain's axis only.

    `at` names a snapshot to read instead of the newest.

    Raises:
        NotYetAvailable: A domain was never built, and absence was not declared fine.
    """
    from pipeline.stores.cubes import CubeStore

    store = CubeStore(settings.cubes or settings.store, world.name, at=at)
    found = {}
    for domain in world.domains if domains is None else domains:
        try:
            found[domain] = store.open(as_of, domain, start=(start or {}).get(domain), until=(until or {}).get(domain))
        except NotYetAvailable:
            if not absent_is_fine:
                raise
    return found


def open_inputs(
    world: World,
    settings: Settings,
    as_of: datetime,
    *,
    live: bool = False,
    since: int | None = None,
    at: str | None = None,
    cubes: dict[str, DomainCube] | None = None,
) -> Inputs:
    """What is there of a world as of an instant; `live` as far back as a window issued then, or at `since` (seconds UTC), needs.

    `at` names a snapshot to read instead of the newest; `cubes` are those at hand already.

    Raises:
        StoreError: Storage is broken.
    """
    from pipeline.stores.cubes import CubeStore

    moment = to_seconds(as_of) if since is None else since
    if cubes is None:
        cubes = open_cubes(world, settings, as_of, start=needed_from(world, moment) if live else None, absent_is_fine=True, at=at)
    runs = {name: group.runs for name in cubes if (group := groups_of(world).get(name + FUTURE)) is not None}
    if not cubes or not (runs or world.texts):
        return Inputs(cubes=cubes, runs={}, texts={}, since=moment if live else None)
    store = CubeStore(settings.cubes or settings.store, world.name, at=next(iter(cubes.values())).snapshot)
    back = {name: moment - run.reach for name, run in runs.items() if run is not None and live}
    back |= {TEXTS + name: moment - int(stream.reach.total_seconds()) for name, stream in world.texts.items() if live}
    return Inputs(
        cubes=cubes,
        runs=_there(runs, lambda name: store.open_runs(as_of, name, start=back.get(name))),
        texts=_there(world.texts, lambda name: store.open_texts(as_of, name, since=back.get(TEXTS + name))),
        since=moment if live else None,
    )


def _there(names: Iterable[str], read: Callable[[str], Read]) -> dict[str, Read]:
    """What is there of these, by name."""
    found = {}
    for name in names:
        with contextlib.suppress(NotYetAvailable):
            found[name] = read(name)
    return found


def load_models(candidate: Candidate) -> Models:
    """The joint model and its baselines, as they were trained.

    Raises:
        ContractError: They were made by a version of the code that this one does not read.
        StoreError: A file of them is damaged.
    """
    from models.api import load, load_baselines

    try:
        meta = json.loads(candidate.read("joint.json"))
        joint = load(candidate.read("joint.safetensors"), meta)
        rivals = load_baselines(candidate.read("baselines.safetensors"), json.loads(candidate.read("baselines.json")))
    except (KeyError, TypeError) as error:
        raise ContractError(
            asked=f"model {candidate.model_id}",
            found=f"made by code {candidate.card.get('code_version', 'of another version')}: {error}",
            mend="train again with this version",
        ) from error
    domains = {JOINT: frozenset(meta["leading"]), **{name: frozenset(model.scalers) for name, model in rivals.items()}}
    return Models(predictors={JOINT: joint, **rivals}, domains=domains)


def windows_of(
    world: World, candidate: Candidate, inputs: Inputs, *, as_of: int, live: bool, since: int | None = None, trained_nodes: bool = False
) -> WindowSet:
    """The windows of a world, scaled as the candidate was trained, of its domains only; a live set, or one `since`, also of its nodes only."""
    from pipeline.windows.scaling import load_scalers

    scalers = load_scalers(candidate.read("scalers.safetensors"))
    known = {name: cube for name, cube in inputs.cubes.items() if name in scalers}
    nodes = _nodes_of(candidate) if live or trained_nodes or since is not None else None
    return built(world, replace(inputs, cubes=known), as_of, scalers, live=live, nodes=nodes, since=since)


def built(
    world: World,
    inputs: Inputs,
    as_of: int,
    scalers: Mapping[str, Scaler] | None,
    *,
    live: bool = False,
    nodes: Mapping[str, tuple[str, ...]] | None = None,
    since: int | None = None,
) -> WindowSet:
    """`build_windows` of these inputs, in files where they have room for them."""
    from pipeline.windows.reader import build_windows

    return build_windows(
        world,
        inputs.cubes,
        as_of=as_of,
        scalers=scalers,
        live=live,
        nodes=nodes,
        runs=inputs.runs,
        texts=inputs.texts,
        since=since,
        keep=None if inputs.room is None else inputs.room.keep(),
        at_once=0 if inputs.room is None else inputs.room.at_once,
    )


def windows_between(world: World, candidate: Candidate, inputs: Inputs, windows: WindowSet, since: int, until: int) -> WindowSet:
    """Of windows made for longer than that (seconds UTC) those issued meanwhile, as a set of these alone gives them."""
    from pipeline.windows.reader import as_known

    return as_known(world, windows, inputs.cubes, inputs.texts, as_of=until, since=since, nodes=_nodes_of(candidate))


def scalers_of(windows: WindowSet) -> dict[str, Scaler]:
    """Everything that a model needs to see later windows on the scale of those that it was trained on."""
    futures = {name + FUTURE: view.future.scaler for name, view in windows.domains.items() if view.future is not None}
    return {name: view.scaler for name, view in windows.domains.items()} | futures


def _nodes_of(candidate: Candidate) -> dict[str, tuple[str, ...]]:
    """Per domain the nodes that a candidate was trained on, in their order."""
    if "joint.json" not in candidate.file_names:
        return {}
    return {name: tuple(shape["node_ids"]) for name, shape in json.loads(candidate.read("joint.json"))["domains"].items()}


def needed_from(world: World, as_of: int) -> dict[str, int]:
    """Per domain the instant from which on a live window at `as_of` needs its cube."""
    from pipeline.windows.reader import earliest_needed

    return {domain: earliest_needed(world, domain, as_of) for domain in world.domains}
