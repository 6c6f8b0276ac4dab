"""Recipes: one function each, returning one whole configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from models.config import ModelConfig


def small() -> ModelConfig:
    """The default on a CPU: minutes on two cores for a city."""
    return ModelConfig(recipe="small", head_hidden=128)


def base() -> ModelConfig:
    """One GPU: wider, longer, in larger steps."""
    return ModelConfig(
        recipe="base",
        hidden=128,
        temporal_hidden=64,
        patches=8,
        blocks=4,
        hubs=32,
        levels=3,
        summary_hidden=64,
        summary_tokens=8,
        text_rows=16384,
        text_width=32,
        dropout=0.05,
        epochs=24,
        rows=28800,
        batch=256,
        steps=600,
        least_steps=60,
        learning_rate=3e-3,
        ema=0.995,
        quantile_share=0.25,
        validation_windows=1024,
    )


def accurate() -> ModelConfig:
    """As accurate as it goes, however long it takes: full attention on up to a thousand nodes, three members."""
    return replace(
        base(),
        recipe="accurate",
        time_attention="full",
        attention="full",
        spatial_transformer=True,
        mix_tokens=True,
        members=3,
        epochs=40,
        patience=12,
        rows=14400,
    )


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
        modality_dropout=0.3,
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


RECIPES: dict[str, Callable[[], ModelConfig]] = {"small": small, "base": base, "accurate": accurate, "tiny": tiny}
