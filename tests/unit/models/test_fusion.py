"""Both fusions by hand, and their split."""

from __future__ import annotations

import pytest
import torch

from models.layers.fusion import Fusion, split

B, N, D, L, V = 2, 3, 4, 2, 1
FAR = 200.0
"""A logit whose sigmoid is exactly 1."""


def fusion(modalities: int = 2) -> Fusion:
    torch.manual_seed(0)
    made = Fusion(N, L, modalities)
    with torch.no_grad():
        for weight in made.parameters():
            weight.copy_(torch.randn_like(weight))
    return made


def terms(made: Fusion, kind: str) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What is mixed (series, space, each modality), and the terms of it."""
    shape = (B, N, D) if kind == "x" else (B, L, N, V)
    given = [torch.randn(shape) for _ in range(4)]
    mix = made.terms_x if kind == "x" else made.terms_y
    return given, mix(given[0], given[1], given[2:])


@pytest.mark.parametrize(("kind", "logit"), [("x", "alpha_logit"), ("y", "beta_logit")])
def test_a_weight_of_one_silences_space_and_one_of_zero_the_series(kind: str, logit: str) -> None:
    made = fusion()
    for sign, heard, silent in ((1, 0, 1), (-1, 1, 0)):
        with torch.no_grad():
            getattr(made, logit).fill_(sign * FAR)
        given, found = terms(made, kind)
        assert torch.equal(found[heard], given[heard])
        assert not found[silent].any()


def test_alpha_weighs_each_node_and_beta_each_node_and_lead() -> None:
    made = fusion()
    (seq, space, *mods), found = terms(made, "x")
    for n in range(N):
        alpha = torch.sigmoid(made.alpha_logit[n])
        torch.testing.assert_close(found[0][:, n], alpha * seq[:, n])
        torch.testing.assert_close(found[1][:, n], (1 - alpha) * space[:, n])
    for k, mod in enumerate(mods):
        torch.testing.assert_close(found[2 + k], made.w_x[k] * mod)
    (seq, space, *mods), found = terms(made, "y")
    for lead in range(L):
        for n in range(N):
            beta = torch.sigmoid(made.beta_logit[n, lead])
            torch.testing.assert_close(found[0][:, lead, n], beta * seq[:, lead, n])
            torch.testing.assert_close(found[1][:, lead, n], (1 - beta) * space[:, lead, n])
        for k, mod in enumerate(mods):
            torch.testing.assert_close(found[2 + k][:, lead], made.w_y[k, lead] * mod[:, lead])


def test_both_fusions_begin_even_and_without_modalities() -> None:
    made = Fusion(N, L, 2)
    assert torch.equal(made.alpha, torch.full((N, 1), 0.5))
    assert torch.equal(made.beta, torch.full((L, N, 1), 0.5))
    for kind in ("x", "y"):
        given, found = terms(made, kind)
        torch.testing.assert_close(sum(found[1:], found[0]), (given[0] + given[1]) / 2)


def test_the_split_credits_every_term_with_what_it_changes_and_adds_up() -> None:
    made = fusion(1)
    x = [torch.randn(B, N, D) for _ in range(3)]
    y = made.terms_y(torch.randn(B, L, N, V), torch.zeros(B, L, N, V), [torch.randn(B, L, N, V)])
    read = torch.randn(D, L * V)

    def space_of(x_BND: torch.Tensor) -> torch.Tensor:
        return torch.tanh(x_BND @ read).view(B, N, L, V).transpose(1, 2)

    beta = made.beta
    series, space, modality = split(x, y, beta, space_of)
    torch.testing.assert_close(series, y[0] + (1 - beta) * space_of(x[0]))
    torch.testing.assert_close(space, (1 - beta) * (space_of(x[0] + x[1]) - space_of(x[0])))
    torch.testing.assert_close(modality, y[2] + (1 - beta) * (space_of(x[0] + x[1] + x[2]) - space_of(x[0] + x[1])))
    whole = y[0] + (1 - beta) * space_of(x[0] + x[1] + x[2]) + y[2]
    torch.testing.assert_close(series + space + modality, whole, rtol=1e-5, atol=1e-6)
