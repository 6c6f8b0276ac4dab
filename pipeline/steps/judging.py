"""What an evaluation and a verification judge by: the grounds of windows, as a world declares them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.provenance import digest_json
from pipeline.contracts.windows import DomainWindows, WindowSet
from pipeline.contracts.worlds import World
from pipeline.verification.evaluation import GroundsOf
from pipeline.verification.grounds import Grounds, grounds_of
from pipeline.windows.folds import judged
from pipeline.windows.regimes import known_at, regimes_at


def judged_windows(world: World, view: DomainWindows) -> NDArray[np.int64]:
    """The windows of a domain's test fold that candidates are judged by, ascending."""
    held_out = view.windows_of("test")
    return held_out[judged(world, view.domain, view.valid_time_T[view.end_W[held_out]].astype(np.int64))]


def judged_by(world: World) -> str:
    """Digest of what scores are of, and told apart by."""
    every = world.promotion.every
    return digest_json(
        {
            name: {
                "events": {key: event.model_dump(mode="json") for key, event in domain.events.items()},
                "regimes": {key: regime.model_dump(mode="json") for key, regime in domain.regimes.items()},
                "groups": domain.groups,
                "every": every and every.total_seconds(),
            }
            for name, domain in world.domains.items()
        }
    )


def grounds_in(world: World, windows: WindowSet, places: Mapping[str, NodeSet], domain: str) -> GroundsOf:
    """How the windows of a domain are told apart, from what each knew at its issue time; `places` are the domains' nodes."""
    view = windows.domains[domain]
    targets = list(view.targets)

    def found(index_W: NDArray[np.int64], climate_WLNV: NDArray[np.float32] | None) -> Grounds:
        known = known_at(view, index_W)
        steps_WL = view.end_W[index_W].astype(np.int64)[:, None] + 1 + np.arange(view.horizon)
        return grounds_of(
            world.domains[domain],
            places[domain],
            variables=tuple(view.variables[v] for v in targets),
            units=tuple(view.units[v] for v in targets),
            valid_time_WL=view.valid_time_T[steps_WL],
            zone=world.zone,
            regimes=regimes_at(world, windows, domain, index_W, known),
            origin_WNV=known.newest_WNV[:, :, targets],
            climate_WLNV=climate_WLNV,
        )

    return found
