"""Recipes: one function each, returning one whole configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from models.config import ModelConfig


def small() -> ModelConfig:
    """The default on a CPU: minutes on two cores for a city."""
    return ModelConfig(recipe="small")


def tiny() -> ModelConfig:
    """For tests and tiny worlds: seconds."""
    return ModelConfig(
        recipe="tiny",
        hidden=16,
        temporal_hidden=16,
        blocks=1,
        hubs=4,
        hops=1,
        levels=1,
        summary_hidden=8,
        summary_tokens=2,
        summary_context=8,
        dropout=0.0,
        modality_dropout=0.1,
        epochs=6,
        patience=6,
        rows=2048,
        batch=64,
        steps=40,
        least_steps=12,
        learning_rate=5e-3,
        ema=0.9,
        validation_windows=64,
        precision="float32",
        threads=1,
    )


def continued(config: ModelConfig) -> ModelConfig:
    """The configuration of a training that goes on from another model's weights: an eighth of the epochs, at smaller steps."""
    epochs = max(1, config.epochs // 8)
    return replace(config, epochs=epochs, patience=epochs, learning_rate=config.learning_rate * 0.3)


RECIPES: dict[str, Callable[[], ModelConfig]] = {"small": small, "tiny": tiny}
