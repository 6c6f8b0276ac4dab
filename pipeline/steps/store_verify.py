"""Whether everything that a store holds for a world is there and as it was written: objects, cubes, published arrays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from pipeline.contracts.worlds import World
from pipeline.settings import Settings
from pipeline.stores.backtests import BacktestStore
from pipeline.stores.cubes import CubeStore
from pipeline.stores.inventory import take_inventory
from pipeline.stores.lanes import LaneStore
from pipeline.stores.objects import ObjectStore
from pipeline.stores.repository_check import check_repository
from pipeline.stores.store_check import check_objects
from pipeline.telemetry import Progress

_LANES = "replays"


@dataclass(frozen=True, kw_only=True)
class StoreCheck:
    """What a look at everything found.

    Attributes:
        parts: Per part of the store what was read, as JSON content.
        faults: One line for each object that is damaged or gone, with its place.
        notes: What is no damage and worth knowing.
    """

    parts: dict[str, dict[str, Any]]
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def verify_store(world: World, settings: Settings, progress: Progress) -> StoreCheck:
    """Read everything that a store holds for a world, the lanes of its replays and the models of its backtests too."""
    parts: dict[str, dict[str, Any]] = {}
    faults: list[str] = []
    notes: list[str] = []
    objects = ObjectStore(settings.store)
    lanes = LaneStore(settings, world.name).lane_ids()
    for root in ("", *(f"{_LANES}/{world.name}/{lane}" for lane in lanes), *BacktestStore(settings, world.name).roots()):
        _check_root(objects.url(root) if root else objects.root, root, world, progress, parts, faults, notes)
    return StoreCheck(parts=parts, faults=tuple(faults), notes=tuple(notes))


def _check_root(
    url: str, root: str, world: World, progress: Progress, parts: dict[str, dict[str, Any]], faults: list[str], notes: list[str]
) -> None:
    inventory = take_inventory(ObjectStore(url), world.name)
    found = check_objects(inventory, progress)
    parts[root or "objects"] = {"objects": found.objects, "bytes": found.bytes}
    faults += [f"{root}/{fault}" if root else fault for fault in found.faults]
    if found.unreferenced:
        notes.append(f"{found.unreferenced} object(s) that nothing refers to: what a kill left; `cubecast retain` collects them")
    for repository in inventory.repositories:
        is_cube = repository == f"cubes/{world.name}"
        place = f"{url}/{repository}"
        if is_cube:
            domains, broken = CubeStore(url, world.name).check(progress)
            if not domains and not broken:
                notes.append(
                    f"{repository}: a repository without a snapshot: no build has finished: cubecast build-cube --world {world.name}"
                )
                continue
            parts[repository] = {name: {"chunks": d.chunks, "bytes": d.bytes, "digest": d.digest} for name, d in domains.items()}
            faults += [fault if fault.startswith(place) else f"{repository}/{fault}" for fault in broken]
        else:
            check = check_repository(place, progress)
            parts[repository] = {name: n for name, n in asdict(check).items() if isinstance(n, int)}
            faults += check.faults
            if check.unfinished:
                notes.append(f"{repository}: {len(check.unfinished)} commit(s) that a kill cut off; `cubecast retain` collects them")
