"""The rate, the clipped step, the averages, the end of a training that gains no more, and what is dropped on the way."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models import api
from models.training.learner import Learner
from models.training.optimiser import Optimiser
from pipeline.contracts.windows import WindowSet
from pipeline.telemetry import QUIET

CONFIG = replace(api.resolve_config("tiny", {}), epochs=8, warmup=0.05, learning_rate=0.01, clip=1.0, ema=0.9, steps=40, weight_decay=0.1)


def made(members: int = 1, steps: int = 40, **changes: Any) -> tuple[Optimiser, dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """An optimiser over a matrix and a bias, with their averages."""
    torch.manual_seed(1)
    lead = (members,) if members > 1 else ()
    own = {"matrix": torch.randn(*lead, 3, 4), "bias": torch.randn(*lead, 4)}
    parameters = {name: p.requires_grad_() for name, p in own.items()}
    averaged = {name: p.detach().clone() for name, p in parameters.items()}
    learner: Any = SimpleNamespace(
        parameters=parameters, averaged=averaged, plain_rank={"matrix": 2, "bias": 1}, device=torch.device("cpu")
    )
    return Optimiser(learner, replace(CONFIG, members=members, **changes), {"road": steps}), parameters, averaged


def push(parameters: dict[str, torch.Tensor], size: float) -> None:
    """A gradient of that length."""
    length = torch.cat([torch.ones_like(p).flatten() for p in parameters.values()]).norm()
    for p in parameters.values():
        p.grad = torch.full_like(p, size) / length


def norm(parameters: dict[str, torch.Tensor]) -> float:
    return float(torch.cat([p.grad.flatten() for p in parameters.values() if p.grad is not None]).norm())


@pytest.mark.parametrize(("epoch", "share"), [(0.0, 0.01), (0.2, 0.5), (0.4, 0.51 + 0.49 * 0.98769), (4.0, 0.51), (8.0, 0.02), (9.0, 0.02)])
def test_the_rate_is_warmed_up_and_falls_by_half_a_cosine_to_a_fiftieth(epoch: float, share: float) -> None:
    optimiser, _, _ = made()
    optimiser.set_rate(epoch)
    assert [group["lr"] for group in optimiser.adam.param_groups] == pytest.approx([share * CONFIG.learning_rate] * 2, rel=1e-4)


def test_a_gradient_that_is_too_long_is_cut_to_the_length_allowed_and_a_short_one_is_left() -> None:
    for size, cut in ((50.0, 1.0), (0.5, 0.5)):
        optimiser, parameters, _ = made()
        push(parameters, size)
        optimiser.step("road", list(parameters))
        assert norm(parameters) == pytest.approx(cut, rel=1e-4)


def test_of_several_members_each_gradient_is_cut_by_itself() -> None:
    optimiser, parameters, _ = made(members=2)
    for p in parameters.values():
        p.grad = torch.stack([torch.full_like(p[0], 9.0), torch.full_like(p[1], 0.01)])
    optimiser.step("road", list(parameters))
    for member, length in ((0, 1.0), (1, 0.04)):
        found = torch.cat([p.grad[member].flatten() for p in parameters.values() if p.grad is not None]).norm()
        assert float(found) == pytest.approx(length, rel=1e-4)


@pytest.mark.parametrize(("ema", "steps", "share"), [(0.9, 40, 0.1), (0.9, 20, 0.2), (0.0, 40, 1.0), (0.9, 2, 1.0)])
def test_the_average_moves_by_its_share_of_each_step(ema: float, steps: int, share: float) -> None:
    optimiser, parameters, averaged = made(steps=steps, ema=ema)
    before = {name: p.detach().clone() for name, p in parameters.items()}
    push(parameters, 0.5)
    optimiser.step("road", list(parameters))
    for name, p in parameters.items():
        assert not torch.equal(p, before[name])
        torch.testing.assert_close(averaged[name], before[name] + share * (p.detach() - before[name]))


def test_matrices_decay_and_biases_do_not() -> None:
    optimiser, parameters, _ = made()
    before = {name: p.detach().clone() for name, p in parameters.items()}
    for p in parameters.values():
        p.grad = torch.zeros_like(p)
    optimiser.step("road", list(parameters))
    assert torch.equal(parameters["bias"], before["bias"])
    torch.testing.assert_close(parameters["matrix"].detach(), before["matrix"] * (1 - CONFIG.learning_rate * CONFIG.weight_decay))


def test_a_training_that_gains_no_more_ends_after_its_patience(city: WindowSet) -> None:
    config = api.resolve_config("tiny", {"epochs": 5, "patience": 2, "steps": 4, "least_steps": 4, "least_gain": 0.99})
    fitted = api.fit(city, config, seed=0, progress=QUIET)
    assert fitted.meta["epochs"] == 2
    assert [h["epoch"] for h in fitted.meta["history"]] == [1, 2]
    assert api.fit(city, replace(config, patience=5), seed=0, progress=QUIET).meta["epochs"] == 5


def test_modalities_are_dropped_at_the_share_asked_for(city: WindowSet, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[torch.Tensor] = []
    losses = Learner.losses

    def watched(self: Learner, domain: str, batch: Any, around: Any, keep: dict[str, torch.Tensor], *more: Any) -> torch.Tensor:
        assert set(keep) == set(self.model.modalities(domain))
        drawn.extend(keep.values())
        return losses(self, domain, batch, around, keep, *more)

    monkeypatch.setattr(Learner, "losses", watched)
    config = api.resolve_config("tiny", {"epochs": 1, "steps": 10, "least_steps": 10})
    weights = {}
    for share in (0.0, 0.3):
        drawn.clear()
        weights[share] = api.fit(city, replace(config, modality_dropout=share), seed=0, progress=QUIET).state
        kept = torch.cat(drawn).float()
        assert len(kept) > 1000
        assert 1 - float(kept.mean()) == pytest.approx(share, abs=0.05 if share else 0)
    assert weights[0.0] != weights[0.3]
