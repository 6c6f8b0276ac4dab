"""Where and how exactly training computes: device, precision, determinism."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch

from models.config import ModelConfig
from pipeline.errors import ConfigError


@contextmanager
def reproducible(threads: int) -> Iterator[None]:
    """Torch with deterministic algorithms, this many threads, and random numbers of its own; all put back afterwards."""
    before, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill: bool = torch._C._get_deterministic_fill_uninitialized_memory()
    torch.set_num_threads(threads)
    _deterministic(True)
    torch._C._set_deterministic_fill_uninitialized_memory(False)
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch._C._set_deterministic_fill_uninitialized_memory(fill)
        _deterministic(deterministic)
        torch.set_num_threads(before)


def _deterministic(wanted: bool) -> None:
    """The flag alone: `torch.use_deterministic_algorithms` also imports the compiler, which takes seconds."""
    torch._C._set_deterministic_algorithms(wanted, warn_only=False)


@contextmanager
def computing_on(device: torch.device, threads: int) -> Iterator[None]:
    """Reproducible on a processor; on a GPU as fast as it goes, with float32 products in TF32."""
    if device.type == "cpu":
        with reproducible(threads):
            yield
        return
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with torch.random.fork_rng(devices=[device]):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def training_device(config: ModelConfig, rank: int) -> torch.device:
    """Where to train: a GPU of this machine's where asked for, or where `auto` finds one.

    Args:
        config: Its `device`.
        rank: Of several processes on one machine, each takes a GPU of its own.

    Raises:
        ConfigError: A GPU is asked for and there is none.
    """
    count = torch.cuda.device_count() if config.device != "cpu" else 0
    if config.device == "cuda" and not count:
        raise ConfigError(asked="model option device = 'cuda'", found="no GPU that torch can use", mend="give device=auto or device=cpu")
    return torch.device("cuda", rank % count) if count else torch.device("cpu")


def training_precision(config: ModelConfig, device: torch.device) -> torch.dtype:
    """bfloat16 where asked for, or where `auto` and the device multiplies it faster than float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported()
    else:
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if config.precision == "bfloat16" or (config.precision == "auto" and fast) else torch.float32


def casting(device: torch.device, dtype: torch.dtype) -> AbstractContextManager[None]:
    """Matrix products in that precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=dtype == torch.bfloat16)
