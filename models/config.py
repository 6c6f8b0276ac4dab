"""ModelConfig: every choice of one training, in one frozen value."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal, get_args, get_origin, get_type_hints

from pipeline.contracts.provenance import digest_json
from pipeline.errors import ConfigError, ContractError

Temporal = Literal["lstm", "gru", "rnn", "linear"]
Precision = Literal["auto", "float32", "bfloat16"]
Device = Literal["auto", "cpu", "cuda"]
Memory = Literal["auto", "resident", "streamed"]
TimeAttention = Literal["newest", "full"]
SpaceAttention = Literal["hubs", "full"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """One whole configuration; recipes make them, options change single values.

    Attributes:
        hidden: Width D of every node's representation.
        temporal: Kind of the temporal branch; `temporal_hidden` its width; one of its inputs is `patch`
            steps, or more where the context would make more than `patches` of them.
        time_attention: `newest` lets the newest state ask all; `full` lets all ask all before.
        attention: Over nodes, through `hubs` tokens or in `full`, each asking each, on at most `full_nodes` nodes.
        heads: Of full attention.
        spatial_transformer: Grids are looked at through a learned affine map.
        mix_tokens: What other domains tell is mixed by self-attention across them before it is read.
        blocks, expansion: Residual blocks of the trunk, and their inner width in units of `hidden`.
        head_hidden: Units of a hidden layer through which y_space is read from the trunk, beside a linear map; 0 leaves the map alone.
        hubs, hops: Hub tokens and diffusion hops of the spatial branch on nodes; grids use `levels` of pooling.
        changes: The own series is read as changes from its newest value, also where it is not relative: for series that drift.
        modalities: False fits the w_k = 0 control, in which no domain sees another.
        blind: Names of modalities that are left out, with commas between: other domains, `future`, `text_STREAM`.
        summary_hidden, summary_tokens, summary_context: Width, tokens and newest steps of a domain's summary for others.
        grid_tokens: Most cells of the coarsest map that a grid's summary adds; 0 adds none.
        near: Whether each node is told of the nodes of another domain that lie nearest to it, beside that domain's summary.
        future_hidden: Width of one lead of what others forecast.
        text_rows, text_width: Size of the table of hashed tokens; larger hash spaces fold onto it.
        text_documents: Documents that a window sees at most, the newest.
        dropout, modality_dropout: Chance to drop a trunk unit, and a whole other domain, while training.
        outage_share: Share of the validation error that chooses the epoch which is measured with one modality switched off.
        epochs: Most epochs; the best one on the validation fold is kept per domain.
        patience: Epochs without gain after which a domain stops training.
        least_gain: Share by which an epoch must beat the anchor on the validation fold to be taken instead of it; less is
            chance, as with prices.
        rows: Node-windows in one step (at least one window); `batch` its most windows.
        steps, least_steps: Most and fewest steps of one domain in one epoch.
        quantile_share: Share of a step's windows on which the spread is trained.
        ema: Decay, per step of a domain with `steps` steps, of the averaged weights that are validated and kept; 0 keeps the raw ones.
        validation_windows: Most windows of a domain in one validation, evenly spread.
        precision: Of training; `auto` takes bfloat16 where the processor has instructions for it. Prediction is float32.
        members: Models of different seeds that are trained as one batched model, and forecast together.
        device: Where to train; `auto` takes a GPU where there is one. Prediction is on the processor.
        memory: `streamed` reads the windows' arrays chunk by chunk while training, `resident` takes them as they are; `auto`
            streams arrays that are mapped from a file and too large to be held.
        stream_chunks, stream_together: In how many chunks time is cut then, and how many are in memory at once.
        graphs: On a GPU, record each domain's step as a CUDA graph; documents, whose number varies, keep a domain from it.
        prefetch: Batches are gathered by a thread while the one before trains.
        threads: Threads of training; part of the result, since sums are split by them. Steps are short: on cores shared with
            other processes two threads are several times slower than one.
    """

    recipe: str
    hidden: int = 64
    temporal: Temporal = "lstm"
    temporal_hidden: int = 32
    patch: int = 3
    patches: int = 4
    time_attention: TimeAttention = "newest"
    attention: SpaceAttention = "hubs"
    full_nodes: int = 1024
    heads: int = 4
    spatial_transformer: bool = False
    mix_tokens: bool = False
    blocks: int = 3
    expansion: int = 2
    head_hidden: int = 0
    hubs: int = 16
    hops: int = 2
    levels: int = 2
    changes: bool = False
    modalities: bool = True
    blind: str = ""
    summary_hidden: int = 32
    summary_tokens: int = 4
    summary_context: int = 12
    grid_tokens: int = 16
    near: bool = False
    future_hidden: int = 8
    text_rows: int = 4096
    text_width: int = 16
    text_documents: int = 512
    dropout: float = 0.0
    modality_dropout: float = 0.2
    outage_share: float = 0.5
    epochs: int = 8
    patience: int = 8
    least_gain: float = 0.005
    rows: int = 3600
    batch: int = 64
    steps: int = 1600
    least_steps: int = 30
    learning_rate: float = 5e-3
    weight_decay: float = 1e-2
    warmup: float = 0.05
    clip: float = 1.0
    ema: float = 0.99825
    quantile_weight: float = 0.5
    quantile_share: float = 0.125
    validation_windows: int = 256
    precision: Precision = "auto"
    members: int = 1
    device: Device = "auto"
    memory: Memory = "auto"
    stream_chunks: int = 64
    stream_together: int = 8
    graphs: bool = True
    prefetch: bool = True
    threads: int = 1

    @cached_property
    def digest(self) -> str:
        """sha256 over every choice."""
        return digest_json(self.as_json())

    @property
    def blinded(self) -> tuple[str, ...]:
        """The names in `blind`."""
        return tuple(name.strip() for name in self.blind.split(",") if name.strip())

    def as_json(self) -> dict[str, Any]:
        """Every choice by name."""
        return asdict(self)


_SHARES = (
    "dropout",
    "modality_dropout",
    "outage_share",
    "ema",
    "warmup",
    "quantile_share",
    "least_gain",
    "weight_decay",
    "quantile_weight",
)


def with_options(config: ModelConfig, options: Mapping[str, object]) -> ModelConfig:
    """The configuration with single values changed; texts are read as the value's own type.

    Raises:
        ConfigError: An option is unknown (the nearest known one is named) or its value is not allowed.
    """
    hints = get_type_hints(ModelConfig)
    known = [f.name for f in fields(ModelConfig) if f.name != "recipe"]
    changes: dict[str, Any] = {}
    for key, value in options.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean '{close[0]}'? " if close else ""
            raise ConfigError(asked=f"model option '{key}'", found="no such option", mend=f"{hint}allowed: {', '.join(known)}")
        changes[key] = _parsed(key, value, hints[key])
    return _consistent(replace(config, **changes))


def config_from(plain: Mapping[str, Any]) -> ModelConfig:
    """The configuration that a model keeps; options that it was made before are as they are by default.

    Raises:
        ContractError: It has an option that this version does not know.
    """
    unknown = sorted(set(plain) - {f.name for f in fields(ModelConfig)})
    if unknown:
        raise ContractError(
            asked="the configuration of a model",
            found=f"options that this version does not know: {', '.join(unknown)}",
            mend="read it with the version of Cubecast that wrote it (its card says which), or train again with this one",
        )
    return ModelConfig(**plain)


def _consistent(config: ModelConfig) -> ModelConfig:
    """Refuse widths that the heads of full attention do not divide."""
    asking = {
        "hidden": config.attention == "full",
        "temporal_hidden": config.time_attention == "full",
        "summary_hidden": config.mix_tokens,
    }
    for name, asked in asking.items():
        width = getattr(config, name)
        if asked and width % config.heads:
            raise ConfigError(
                asked=f"model option {name} = {width} with heads = {config.heads}",
                found="heads that do not divide it",
                mend=f"give a multiple of {config.heads}, such as {-(-width // config.heads) * config.heads}",
            )
    return config


def _parsed(key: str, value: object, kind: Any) -> Any:
    if get_origin(kind) is Literal:
        return _allowed(key, value, value in get_args(kind), f"one of {', '.join(get_args(kind))}")
    text = str(value).strip()
    if kind is str:
        return text
    if kind is bool:
        _allowed(key, value, text.lower() in ("true", "false"), "true or false")
        return text.lower() == "true"
    try:
        number = kind(text)
    except ValueError:
        return _allowed(key, value, False, "a whole number" if kind is int else "a number")
    if key in _SHARES:
        return _allowed(
            key, number, 0 <= number < 1 or (number == 1 and key in ("quantile_share", "quantile_weight")), "at least 0, below 1"
        )
    least = 0 if key in ("epochs", "blocks", "head_hidden", "hops", "hubs", "levels", "grid_tokens") else 1 if kind is int else 0
    most = 1e7 if kind is int else 1e9
    return _allowed(
        key,
        number,
        least <= number < most and (kind is int or number > 0),
        f"{'above' if kind is float else 'at least'} {least}, below {most:g}",
    )


def _allowed(key: str, value: object, good: bool, allowed: str) -> object:
    if not good:
        raise ConfigError(asked=f"model option {key} = {value!r}", found="a value that is not allowed", mend=f"give {allowed}")
    return value
