"""How much memory a training needs, planned before it starts; what does not fit is refused with the sizes named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from models.config import ModelConfig
from models.inputs import feature_count
from models.joint import JointModel
from models.newest import newest_bytes
from models.shapes import DomainShape, TextShape
from models.training.excerpt import array_bytes
from models.training.folds import folds_of
from models.training.order import step_plan, streaming_layout
from pipeline.contracts.forecasts import QUANTILES
from pipeline.contracts.windows import WindowSet
from pipeline.errors import ConfigError

_GIB = 2**30
_TWINS = 3
_STATES = 6
"""Copies of every parameter: itself, its gradient, two moments, its average, and the best epoch's."""

_PAIRS = 4
"""Numbers per head and pair of nodes that full attention holds at its peak, on the way back."""


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Bytes that a training needs beside what is in memory already, by what for; and what is free."""

    needs: Mapping[str, int]
    free: int | None
    place: str

    @property
    def total(self) -> int:
        """Bytes of all needs."""
        return sum(self.needs.values())

    def as_json(self) -> dict[str, Any]:
        """The plan without what is free, which differs from day to day."""
        return {**self.needs, "place": self.place}

    def check(self, task: str) -> None:
        """Refuse what does not fit.

        Raises:
            ConfigError: Naming every size.
        """
        if self.free is None or self.total <= self.free:
            return
        sizes = ", ".join(f"{name} {_size(bytes_)}" for name, bytes_ in self.needs.items())
        raise ConfigError(
            asked=task,
            found=f"it needs {_size(self.total)} of {self.place} ({sizes}), {_size(self.free)} may be used",
            mend="lower rows, hidden or members, or raise CUBECAST_MEMORY; give memory=streamed for windows mapped from a file; or use a larger machine",
        )


def plan_memory(
    windows: WindowSet,
    shapes: Mapping[str, DomainShape],
    texts: Mapping[str, TextShape],
    leading: tuple[str, ...],
    config: ModelConfig,
    device: torch.device,
    streamed: bool,
    most: int | None = None,
) -> MemoryPlan:
    """What one process needs to train, and what is free for it: at most so many bytes of a processor's memory."""
    with torch.device("meta"):  # sizes without memory
        model = JointModel(shapes, texts, leading, config)
    parameters = sum(p.numel() for p in model.parameters())
    train = {d: folds_of(windows.domains[d]).train for d in leading}
    plans = {d: step_plan(len(train[d]), len(shapes[d].node_ids), config) for d in leading}
    others = {d: [shapes[k] for k in model.others(d)] for d in leading}
    newest = sum(newest_bytes(domain.values_TNV.size) for domain in windows.domains.values())
    if streamed:
        arrays = streaming_layout(windows, train, plans, model.reach(), config).bytes_of(windows)
    else:
        arrays = array_bytes(windows) + newest if device.type == "cuda" else newest
    needs = {
        "arrays": arrays,
        "parameters": 4 * parameters * config.members * _STATES,
        "batches": _TWINS * max(plans[d].size * _window_bytes(shapes[d], others[d], config) for d in leading),
        "activations": config.members * max(plans[d].size * _activation_bytes(shapes[d], others[d], config) for d in leading),
    }
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else min(filter(None, (most, free_memory())), default=None)
    return MemoryPlan(needs=needs, free=free, place="GPU memory" if device.type == "cuda" else "memory")


def is_mapped(windows: WindowSet) -> bool:
    """Whether the largest arrays lie in a file and are read when they are used."""
    return any(isinstance(domain.values_TNV, np.memmap) for domain in windows.domains.values())


def free_memory() -> int | None:
    """Bytes that this process can still use: of the machine, or of the container where that allows less. None: unknown."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except OSError:
        return None
    for most, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            found.append(int(Path(most).read_text(encoding="ascii")) - int(Path(used).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return max(0, min(found)) if found else None


def _size(count: int) -> str:
    return f"{count / _GIB:.2f} GiB" if count >= _GIB else f"{count / 2**20:.1f} MiB"


def _window_bytes(shape: DomainShape, others: Sequence[DomainShape], config: ModelConfig) -> int:
    """A gathered window with what it sees of other domains."""
    v, k = len(shape.variables), shape.history_count
    steps = shape.context * 10 + shape.coarse_count * 5 + shape.horizon * (10 + 5 * k)
    own = len(shape.node_ids) * (v * steps + shape.horizon * 5 * len(shape.future))
    return own + sum(len(o.node_ids) * len(o.variables) * 10 * min(o.context, config.summary_context) for o in others)


def _activation_bytes(shape: DomainShape, others: Sequence[DomainShape], config: ModelConfig) -> int:
    """What one window leaves for the way back, measured on recipes `tiny`, `small` and `accurate`, about."""
    nodes, v, targets = len(shape.node_ids), len(shape.variables), len(shape.targets)
    features = feature_count(shape.context, shape.horizon, v, shape.coarse_count, shape.history_count)
    trunk = config.hidden * (config.blocks * (4 + 4 * config.expansion) + 24)
    series = config.patches * config.temporal_hidden * 12
    heads = shape.horizon * targets * (12 + 4 * len(QUANTILES) * config.quantile_share)
    maps = config.hidden * (12 + 7 * config.levels + 3 * config.spatial_transformer) if shape.grid_shape else 0
    full = config.attention == "full" and shape.grid_shape is None and nodes <= config.full_nodes
    pairs = _PAIRS * config.heads * nodes**2 if full else 0
    near = sum(2 * place_NJ.shape[1] + 2 for place_NJ, _ in shape.near.values()) * config.summary_hidden if config.near else 0
    return int(
        4 * (nodes * (2 * features + trunk + series + heads + maps + near) + pairs + sum(_summary_numbers(o, config) for o in others))
    )


def _summary_numbers(shape: DomainShape, config: ModelConfig) -> int:
    """Numbers that summing up another domain leaves for the way back."""
    steps = min(shape.context, config.summary_context)
    width = config.summary_hidden * (12 if shape.grid_shape and config.grid_tokens else 6) + 3 * config.summary_tokens
    return len(shape.node_ids) * (5 * len(shape.variables) * (2 * steps + 1) + width)
