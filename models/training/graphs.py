"""Training steps on a GPU as CUDA graphs: recorded once per domain, then replayed without a launch per operation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from models.batch import Around, Batch, mapped
from models.training.learner import Learner
from models.training.optimiser import Optimiser

Body = Callable[[Batch, Around, Mapping[str, Tensor]], Tensor]
"""One whole step on given tensors: losses, gradients, parameters; the loss."""

_WARM = 3


class StepGraphs:
    """The recorded steps of each domain. All batches of a domain have one shape; documents have none and are not recorded.

    Args:
        learner, optimiser: What a step moves.
    """

    def __init__(self, learner: Learner, optimiser: Optimiser) -> None:
        self._learner, self._optimiser = learner, optimiser
        self._recorded: dict[str, tuple[torch.cuda.CUDAGraph, tuple[Any, ...], Tensor]] = {}

    def step(self, domain: str, body: Body, batch: Batch, around: Around, keep: Mapping[str, Tensor]) -> Tensor:
        """Do a step; the first one of a domain is recorded."""
        given = (batch, around, keep)
        if domain not in self._recorded:
            self._recorded[domain] = self._record(body, given)
        graph, held, loss = self._recorded[domain]
        for mine, theirs in zip(tensors_in(held), tensors_in(given), strict=True):
            mine.copy_(theirs, non_blocking=True)
        graph.replay()
        return loss.clone()

    def _record(self, body: Body, given: tuple[Any, ...]) -> tuple[torch.cuda.CUDAGraph, tuple[Any, ...], Tensor]:
        """The graph with its own inputs and output; what the steps to warm up moved is put back."""
        held: tuple[Any, ...] = tuple(mapped(part, torch.clone) for part in given)
        before = {id(t): t.detach().clone() for t in self._moved()}
        make_stream: Any = torch.cuda.Stream
        aside = make_stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM):
                body(*held)
        torch.cuda.current_stream().wait_stream(aside)
        with torch.no_grad():
            for tensor in self._moved():
                known = before.get(id(tensor))
                tensor.zero_() if known is None else tensor.copy_(known)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = body(*held)
        return graph, held, loss

    def _moved(self) -> list[Tensor]:
        """Everything that a step changes in place; moments that a first step makes begin at 0."""
        learner = self._learner
        return [*learner.parameters.values(), *learner.averaged.values(), *self._optimiser.moments()]


def tensors_in(content: Any) -> list[Tensor]:
    """Every tensor of a batch or of what is around it, in a fixed order."""
    if isinstance(content, Tensor):
        return [content]
    if isinstance(content, Mapping):
        return [t for name in sorted(content) for t in tensors_in(content[name])]
    if isinstance(content, tuple):
        return [t for part in content for t in tensors_in(part)]
    return [t for f in fields(content) for t in tensors_in(getattr(content, f.name))] if is_dataclass(content) else []
