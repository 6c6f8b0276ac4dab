"""What a model must know of a domain, or of a stream of documents, before it sees a window; how it is kept and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contracts.windows import DomainWindows, Scaler, Texts
from pipeline.errors import ContractError

_ARRAYS = ("edges_2E", "edge_weight_E", "center_NV", "scale_NV", "relative_NV", "usual_NV", "position_N2", "future_2F")
_LISTS = ("node_ids", "variables", "targets", "history_names", "anchor", "future")
_NEAR = ("near_place_NJ", "near_weight_NJ")
_PLAIN = ("context", "horizon", "step_seconds", "slots_per_day", "coarse_steps", "coarse_count")


@dataclass(frozen=True, kw_only=True, eq=False)
class DomainShape:
    """Sizes, names, scale and graph of one domain.

    `usual_NV` is each node's scaled mean on the training fold; `future` are the variables that others forecast for it, and
    `future_2F` their centers and scales; `near` are the (N, J) nearest nodes of other domains, and their weights.
    """

    domain: str
    context: int
    horizon: int
    step_seconds: int
    slots_per_day: int
    coarse_steps: int
    coarse_count: int
    node_ids: tuple[str, ...]
    variables: tuple[str, ...]
    targets: tuple[int, ...]
    history_names: tuple[str, ...]
    anchor: tuple[int, ...]
    future: tuple[str, ...]
    grid_shape: tuple[int, int] | None
    edges_2E: NDArray[np.int32]
    edge_weight_E: NDArray[np.float32]
    center_NV: NDArray[np.float32]
    scale_NV: NDArray[np.float32]
    relative_NV: NDArray[np.float32]
    usual_NV: NDArray[np.float32]
    position_N2: NDArray[np.float32]
    future_2F: NDArray[np.float32]
    near: Mapping[str, tuple[NDArray[np.int32], NDArray[np.float32]]] = field(default_factory=dict)

    @property
    def scaler(self) -> Scaler:
        """The scale that the model was trained in; windows given to it must carry the same."""
        return Scaler(center_NV=self.center_NV, scale_NV=self.scale_NV, relative_NV=self.relative_NV)

    @property
    def target_places(self) -> slice | list[int]:
        """Index of the targets along V; a slice where all are, so that no copy is made."""
        return slice(None) if self.targets == tuple(range(len(self.variables))) else list(self.targets)

    def limits(self, bounds_2V: Tensor) -> Tensor:
        """(2, N, V): the lower and the upper bound of each target, in scaled units."""
        center_NV, scale_NV = (torch.from_numpy(a[:, list(self.targets)]) for a in (self.center_NV, self.scale_NV))
        return (bounds_2V[:, None] - center_NV) / scale_NV

    @property
    def history_count(self) -> int:
        """K."""
        return len(self.history_names)

    def as_json(self) -> dict[str, Any]:
        """All but the arrays."""
        plain = {name: getattr(self, name) for name in (*_PLAIN, *_LISTS)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()} | {
            "grid_shape": None if self.grid_shape is None else list(self.grid_shape)
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        near = {f"{part}/{k}": array for k, pair in self.near.items() for part, array in zip(_NEAR, pair, strict=True)}
        return {name: getattr(self, name) for name in _ARRAYS} | near


def shape_of(domain: DomainWindows, usual_NV: NDArray[np.float32]) -> DomainShape:
    """The shape of a domain's windows."""
    return DomainShape(
        domain=domain.domain,
        **{name: int(getattr(domain, name)) for name in _PLAIN},
        node_ids=tuple(domain.node_ids),
        variables=tuple(domain.variables),
        targets=tuple(int(v) for v in domain.targets),
        history_names=tuple(domain.history_names),
        anchor=tuple(int(k) for k in domain.anchor_V),
        future=() if domain.future is None else tuple(domain.future.variables),
        grid_shape=domain.grid_shape,
        edges_2E=domain.edges_2E,
        edge_weight_E=domain.edge_weight_E,
        center_NV=domain.scaler.center_NV,
        scale_NV=domain.scaler.scale_NV,
        relative_NV=domain.scaler.relative_NV,
        usual_NV=usual_NV,
        position_N2=domain.position_N2,
        future_2F=np.zeros((2, 0), np.float32) if domain.future is None else _scales(domain.future.scaler),
        near=domain.near,
    )


def _scales(scaler: Scaler) -> NDArray[np.float32]:
    return np.concatenate([scaler.center_NV, scaler.scale_NV]).astype(np.float32)


def shape_from(name: str, plain: dict[str, Any], arrays: dict[str, Any]) -> DomainShape:
    """The shape that was kept as JSON and arrays.

    Raises:
        ContractError: They are not of one model.
    """
    nodes, variables = len(plain["node_ids"]), len(plain["variables"])
    others = sorted({key.partition("/")[2] for key in arrays if "/" in key})
    near = {k: tuple(arrays.get(f"{part}/{k}", np.zeros(0)) for part in _NEAR) for k in others}
    arrays = {key: array for key, array in arrays.items() if "/" not in key}
    sizes_of = dict.fromkeys(("center_NV", "scale_NV", "relative_NV", "usual_NV"), (nodes, variables)) | {
        "position_N2": (nodes, 2),
        "future_2F": (2, len(plain["future"])),
        "edges_2E": (2, len(arrays.get("edge_weight_E", ()))),
    }
    wrong = [key for key, size in sizes_of.items() if key not in arrays or arrays[key].shape != size]
    wrong += [
        f"near/{k}" for k, pair in near.items() if any(a.ndim != 2 or len(a) != nodes for a in pair) or pair[0].shape != pair[1].shape
    ]
    if wrong or set(arrays) != set(_ARRAYS) or arrays["edges_2E"].max(initial=-1) >= nodes or arrays["edges_2E"].min(initial=0) < 0:
        raise ContractError(
            asked=f"model state of domain '{name}' with {nodes} nodes and {variables} variables",
            found=f"arrays of another model: {', '.join(wrong or sorted(set(arrays) ^ set(_ARRAYS)) or ['edges_2E'])}",
            mend="give the state and the meta data of one and the same model",
        )
    grid = plain["grid_shape"]
    sizes: dict[str, Any] = {key: plain[key] for key in _PLAIN}
    lists: dict[str, Any] = {key: tuple(plain[key]) for key in _LISTS}
    return DomainShape(
        domain=name,
        **sizes,
        **lists,
        grid_shape=None if grid is None else (grid[0], grid[1]),
        near={k: (place_NJ, weight_NJ) for k, (place_NJ, weight_NJ) in near.items()},
        **arrays,
    )


def check_same(trained: DomainShape, windows: DomainWindows) -> None:
    """Refuse windows that the model was not trained for; forecasts by others may be absent.

    Raises:
        ContractError: They differ in a size, a name, a node or a scale.
    """
    given = shape_of(windows, trained.usual_NV)
    was, now = trained.as_json(), given.as_json()
    if windows.future is None:
        now["future"] = was["future"]
    for key, value in was.items():
        if now[key] != value:
            found = (
                f"{now[key]}, trained with {value}" if not isinstance(value, list) or len(value) < 9 else "other entries than in training"
            )
            raise ContractError(
                asked=f"forecast of domain '{trained.domain}'",
                found=f"windows with {key} = {found}",
                mend="train again on this world, or give the world that the model was trained on",
            )
    for part in ("center_NV", "scale_NV", "relative_NV", *(("future_2F",) if windows.future is not None else ())):
        if not np.array_equal(getattr(trained, part), getattr(given, part)):
            raise ContractError(
                asked=f"forecast of domain '{trained.domain}'",
                found=f"windows scaled with another {part}",
                mend="build the windows with the scalers of the model (its `scalers`)",
            )


@dataclass(frozen=True, kw_only=True)
class TextShape:
    """What a model knows of a stream of documents; its places may become more. `width` is of a document's vector, 0 without one."""

    reach: int
    buckets: int
    width: int = 0

    def as_json(self) -> dict[str, Any]:
        """The shape by name."""
        return asdict(self)


def text_shape_of(texts: Texts) -> TextShape:
    """The shape of a stream."""
    return TextShape(reach=texts.reach, buckets=texts.buckets, width=texts.vector_DW.shape[1])


def check_same_texts(name: str, trained: TextShape, given: Texts) -> None:
    """Refuse documents that the model was not trained for.

    Raises:
        ContractError: They differ in reach, in hash space or in the width of their vectors.
    """
    found = text_shape_of(given)
    if not (trained.width and len(given.available_time_D)):  # none to be read, or none that the model reads
        found = replace(found, width=trained.width)
    if found != trained:
        raise ContractError(
            asked=f"forecast with the documents of '{name}'",
            found=f"{text_shape_of(given)}, trained with {trained}",
            mend="train again on this world, or give the world that the model was trained on",
        )
