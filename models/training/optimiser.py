"""One step of the parameters: clipped gradients, AdamW, and the averages that are validated and kept."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.config import ModelConfig
from models.training.learner import Learner


class Optimiser:
    """AdamW over a learner's parameters; `steps_of` are the steps of one epoch per domain."""

    def __init__(self, learner: Learner, config: ModelConfig, steps_of: dict[str, int]) -> None:
        self._learner, self._config, self._steps_of = learner, config, steps_of
        on_gpu = learner.device.type == "cuda"
        rate: Any = torch.tensor(config.learning_rate, device=learner.device) if on_gpu else config.learning_rate
        self.adam = torch.optim.AdamW(_groups(learner, config), lr=rate, fused=True, capturable=on_gpu)

    def set_rate(self, epoch: float) -> None:
        """The learning rate after so many epochs: warmed up, then half a cosine down to a fiftieth."""
        config, done = self._config, epoch / self._config.epochs
        if done < config.warmup:
            rate = config.learning_rate * max(done / config.warmup, 0.01)
        else:
            rate = config.learning_rate * (0.51 + 0.49 * math.cos(math.pi * min(done, 1.0)))
        for group in self.adam.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def step(self, domain: str, names: Sequence[str]) -> None:
        """Move the parameters of these names that have a gradient; the averages follow."""
        own = self._learner.parameters
        used = [name for name in names if own[name].grad is not None]
        moved = [own[name] for name in used]
        if self._config.members == 1:
            torch.nn.utils.clip_grad_norm_(moved, self._config.clip)
        else:
            _clip_members([p.grad for p in moved if p.grad is not None], self._config.clip)
        self.adam.step()
        share = min(1.0, (1 - self._config.ema) * self._config.steps / self._steps_of[domain])
        torch._foreach_lerp_([self._learner.averaged[name] for name in used], [p.detach() for p in moved], share)

    def moments(self) -> list[Tensor]:
        """The tensors that a step changes beside the parameters."""
        return [value for own in self.adam.state.values() for value in own.values() if isinstance(value, Tensor)]

    def tensors(self) -> dict[str, Tensor]:
        """The state as named tensors."""
        state = self.adam.state_dict()["state"]
        return {f"{k}/{name}": value for k, own in state.items() for name, value in own.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The state that `tensors` gave."""
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            key, _, part = name.partition("/")
            state.setdefault(int(key), {})[part] = value
        self.adam.load_state_dict({"state": state, "param_groups": self.adam.state_dict()["param_groups"]})


def _clip_members(gradients: Sequence[Tensor], most: float) -> None:
    """Each member's gradient, of rows m of all, at most so long."""
    square_M = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
    factor_M = (most / (square_M.sqrt() + 1e-6)).clamp(max=1)
    for g in gradients:
        g.mul_(factor_M.view(-1, *[1] * (g.ndim - 1)))


def _groups(learner: Learner, config: ModelConfig) -> list[dict[str, Any]]:
    """Matrices decay; biases, norms and the mixing weights do not."""
    decaying = {name for name, rank in learner.plain_rank.items() if rank > 1 and "fusion" not in name}
    chosen: list[tuple[bool, float]] = [(True, config.weight_decay), (False, 0.0)]
    return [
        {"params": [p for name, p in learner.parameters.items() if (name in decaying) == inside], "weight_decay": decay}
        for inside, decay in chosen
    ]
