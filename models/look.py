"""What a model looked at to make its forecasts, as plain arrays: attention over time, nodes, hubs and other domains; occlusion.

Shape suffixes: B window, L lead, N node, V target variable, P patch of the context, M hub.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from models.joint import JointModel
from models.layers.spatial import NodeSpace

Array = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Look:
    """What one domain's forecasts rest on, window by window; weights are shares that add up to 1.

    Attributes:
        occlusion: Per modality (B, L, N, V), physical units: how far the median moves when it is switched off
            (without minus with).
        step_seconds_P: How long before the issue step each patch of the context ends, oldest first.
        time_BNP: How much the newest state asks of each patch; None where the series is read by a map over lags.
        hub_write_BMN, hub_read_BNM: How much each hub holds of each node, and each node reads of each hub; None without hubs.
        nodes_BNN: How much each node asks of each; None where nodes meet through hubs, or on a grid.
        others: Per other domain (B, its nodes): how much all nodes together ask of each of its nodes.
    """

    occlusion: Mapping[str, Array]
    step_seconds_P: NDArray[np.int64]
    time_BNP: Array | None = None
    hub_write_BMN: Array | None = None
    hub_read_BNM: Array | None = None
    nodes_BNN: Array | None = None
    others: Mapping[str, Array] = field(default_factory=dict)


@contextmanager
def watching(model: JointModel, domain: str) -> Iterator[dict[str, Any]]:
    """Within it, forward passes of a domain leave their attention weights in the dictionary."""
    found: dict[str, Any] = {}
    net, watched = model.net(domain), ExitStack()

    def watch(module: nn.Module, name: str, weights: Callable[..., Any]) -> None:
        def before(_: nn.Module, given: tuple[Any, ...]) -> None:
            found[name] = weights(*given)

        watched.enter_context(module.register_forward_pre_hook(before))

    temporal, space = net.temporal, net.space
    if temporal.kind != "linear":
        watch(temporal.attention, "time", temporal.attention.weights)
    if isinstance(space, NodeSpace) and space.hub is not None:
        watch(space.hub, "hubs", space.hub.weights)
    if isinstance(space, NodeSpace) and space.full is not None:
        watch(space.full, "nodes", space.full.weights)
    for k in model.others(domain):
        summary: Any = model.summaries[k]
        reader: Any = net.readers[k]
        watch(summary, f"held {k}", summary.held)
        watch(reader, f"asked {k}", reader.weights)
    with watched:
        yield found


def attention(found: Mapping[str, Any], model: JointModel, domain: str, windows: int, nodes: int) -> dict[str, Any]:
    """The weights that `watching` left, as the fields of a `Look`."""
    fields: dict[str, Any] = {}
    if "time" in found:
        fields["time_BNP"] = _array(found["time"].t().reshape(windows, nodes, -1))
    if "hubs" in found:
        fields["hub_write_BMN"], fields["hub_read_BNM"] = _array(found["hubs"][0].transpose(1, 2)), _array(found["hubs"][1])
    if "nodes" in found:
        fields["nodes_BNN"] = _array(found["nodes"])
    told = [k for k in model.others(domain) if f"asked {k}" in found]
    fields["others"] = {k: _array(asked_of(found[f"asked {k}"], found[f"held {k}"])) for k in told}
    return fields


def asked_of(asked_BNM: Tensor, held_BMN: Tensor) -> Tensor:
    """(B, nodes of the other domain): through the tokens, how much all nodes together ask of each of them."""
    return (asked_BNM.mean(1)[:, None] @ held_BMN)[:, 0]


def _array(weights: Tensor) -> Array:
    return weights.float().cpu().numpy()


def patch_ends(model: JointModel, domain: str) -> NDArray[np.int64]:
    """How long before the newest step each patch of the context ends, oldest first, in seconds."""
    temporal, shape = model.net(domain).temporal, model.net(domain).shape
    count = -(-temporal.steps // temporal.patch)
    return (np.arange(count)[::-1] * temporal.patch * shape.step_seconds).astype(np.int64)
