"""TensorBoard logs of a training, one point an epoch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError


class Logs:
    """Curves of a training; a killed training that goes on writes over what it had written of later epochs.

    Args:
        folder: Where the event files go.
        epoch: The epoch from which on this process writes.

    Raises:
        ConfigError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, epoch: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ConfigError(
                asked=f"TensorBoard logs in {folder}",
                found=f"it is not installed: {error}",
                mend='pip install "cubecast[tensorboard]", or unset CUBECAST_TENSORBOARD',
            ) from error
        self._writer: Any = SummaryWriter(str(folder), purge_step=epoch + 1 if epoch else None)

    def epoch(self, record: Mapping[str, Any], weights: Mapping[str, float], windows_per_second: float) -> None:
        """One epoch's losses, errors relative to the anchor, mixing weights and speed."""
        step = record["epoch"]
        curves = {f"loss/{d}": loss for d, loss in record["loss"].items()}
        curves |= {f"relative_to_anchor/{d}": found["relative_to_anchor"] for d, found in record["validation"].items()}
        for name, value in {**curves, **weights, "windows_per_second": windows_per_second}.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        """Nothing more comes."""
        self._writer.close()
