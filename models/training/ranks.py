"""Several processes that train one model on the same global batches (`torchrun`), or one that is alone.

Every process draws the same random numbers and takes its share of each batch; sums over cells are made global before they
divide, so that loss and gradients are those of one process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from models.config import ModelConfig

A = TypeVar("A", NDArray[Any], Tensor)


class Ranks:
    """This process among all.

    Args:
        index, count: Which of how many.
    """

    def __init__(self, index: int = 0, count: int = 1) -> None:
        self.index, self.count = index, count

    def share(self, batch: A) -> A:
        """This process's part of a batch of windows, given by their indices or by what belongs to each."""
        part: A = batch[self.index :: self.count]
        return part

    def of_first(self, first: int) -> int:
        """How many of the first so many of a batch are in this process's share."""
        return len(range(self.index, first, self.count))

    def total(self, tensor: Tensor) -> Tensor:
        """The sum over all processes."""
        if self.count > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def gradients(self, parameters: Sequence[Tensor]) -> None:
        """Add up the gradients of all processes; one that only some have counts as zero in the others."""
        if self.count == 1:
            return
        has = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32, device=parameters[0].device)
        flat = torch.cat([has, *(torch.zeros_like(p).flatten() if p.grad is None else p.grad.flatten() for p in parameters)])
        torch.distributed.all_reduce(flat)
        used, *sums = torch.split(flat, [len(parameters), *(p.numel() for p in parameters)])
        for p, any_has, total in zip(parameters, used.tolist(), sums, strict=True):
            p.grad = total.view_as(p).clone() if any_has else None

    def same(self, tensors: Sequence[Tensor]) -> None:
        """Let all processes hold what the first one holds."""
        if self.count > 1:
            for tensor in tensors:
                torch.distributed.broadcast(tensor, 0)

    def agree(self, number: int) -> bool:
        """Whether all processes hold this same number."""
        if self.count == 1:
            return True
        both = torch.tensor([number, -number], dtype=torch.float32)
        both = both.to("cuda") if torch.distributed.get_backend() == "nccl" else both
        torch.distributed.all_reduce(both, op=torch.distributed.ReduceOp.MAX)
        return bool(both[0] == -both[1])

    def wait(self) -> None:
        """Until all processes are here."""
        if self.count > 1:
            torch.distributed.barrier()


@contextmanager
def joined_ranks(config: ModelConfig) -> Iterator[Ranks]:
    """This process among those that `torchrun` started; alone where it did not."""
    distributed = torch.distributed
    if not distributed.is_available() or not (distributed.is_initialized() or distributed.is_torchelastic_launched()):
        yield Ranks()
        return
    started = not distributed.is_initialized()
    if started:
        gpu = config.device != "cpu" and torch.cuda.is_available()
        distributed.init_process_group("nccl" if gpu else "gloo")
    try:
        yield Ranks(distributed.get_rank(), distributed.get_world_size())
    finally:
        if started:
            distributed.destroy_process_group()
