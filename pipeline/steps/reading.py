"""What several steps read in the same way: cubes, a candidate's models, the windows of a candidate."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pipeline.contracts.cubes import DomainCube
from pipeline.contracts.forecasts import JOINT
from pipeline.contracts.windows import WindowSet
from pipeline.contracts.worlds import World
from pipeline.errors import ContractError, NotYetAvailable
from pipeline.settings import Settings
from pipeline.stores.registry import Candidate

if TYPE_CHECKING:
    from models.api import Predictor


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
) -> dict[str, DomainCube]:
    """Domains (all by default) as of an instant; with `start` and `until` (seconds UTC) that part of a domain's axis only.

    Raises:
        NotYetAvailable: A domain was never built, and absence was not declared fine.
    """
    from pipeline.stores.cubes import CubeStore

    store = CubeStore(settings.cubes or settings.store, world.name)
    found = {}
    for domain in world.domains if domains is None else domains:
        try:
            found[domain] = store.open(as_of, domain, start=(start or {}).get(domain), until=(until or {}).get(domain))
        except NotYetAvailable:
            if not absent_is_fine:
                raise
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
    world: World, candidate: Candidate, cubes: Mapping[str, DomainCube], *, as_of: int, live: bool, trained_nodes: bool = False
) -> WindowSet:
    """The windows of a world, scaled as the candidate was trained, of its domains only; a live set also of its nodes only."""
    from pipeline.windows.reader import build_windows
    from pipeline.windows.scaling import load_scalers

    scalers = load_scalers(candidate.read("scalers.safetensors"))
    known = {name: cube for name, cube in cubes.items() if name in scalers}
    nodes = _nodes_of(candidate) if live or trained_nodes else None
    return build_windows(world, known, as_of=as_of, scalers=scalers, live=live, nodes=nodes)


def _nodes_of(candidate: Candidate) -> dict[str, tuple[str, ...]]:
    """Per domain the nodes that a candidate was trained on, in their order."""
    if "joint.json" not in candidate.file_names:
        return {}
    return {name: tuple(shape["node_ids"]) for name, shape in json.loads(candidate.read("joint.json"))["domains"].items()}


def needed_from(world: World, as_of: int) -> dict[str, int]:
    """Per domain the instant from which on a live window at `as_of` needs its cube."""
    from pipeline.windows.reader import earliest_needed

    return {domain: earliest_needed(world, domain, as_of) for domain in world.domains}
