"""Feeds: all that a WindowSet holds, gathered for the windows of one leading domain."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from models.batch import Around, Batch
from models.config import ModelConfig
from models.documents import DocumentGatherer
from models.gather import CPU, Gatherer
from models.joint import JointModel
from models.shapes import DomainShape, TextShape
from pipeline.contracts.windows import WindowSet


class Feeds:
    """Gatherers of every domain and stream that a model knows; what is not in the windows is absent.

    Args:
        windows: The arrays.
        shapes, texts: What the model knows.
        config: Sizes of what is gathered.
        device: Where batches are made.
        often: Whether many are asked for, as by a training.
    """

    def __init__(
        self,
        windows: WindowSet,
        shapes: Mapping[str, DomainShape],
        texts: Mapping[str, TextShape],
        config: ModelConfig,
        device: torch.device = CPU,
        *,
        often: bool = False,
    ) -> None:
        self.windows = windows
        self.domains = {d: Gatherer(windows.domains[d], shapes[d].usual_NV, device, often=often) for d in shapes if d in windows.domains}
        self._texts = {
            name: DocumentGatherer(windows.texts[name], min(shape.buckets, config.text_rows), config.text_documents, device, shape.width)
            for name, shape in texts.items()
            if name in windows.texts
        }

    def twin(self) -> Feeds:
        """The same arrays with buffers of their own, so that two batches are valid at once."""
        other = copy.copy(self)
        other.domains = {name: gatherer.twin() for name, gatherer in self.domains.items()}
        return other

    def batch(self, model: JointModel, domain: str, index_W: NDArray[np.int64]) -> tuple[Batch, Around]:
        """Windows of the leading domain, and what they see of all else at their issue times."""
        batch = self.domains[domain].batch(index_W)
        others = [k for k in model.others(domain) if k in self.domains]
        issue_time_B = self.windows.domains[domain].issue_time_W[index_W]
        contexts = {k: self.domains[k].context_at(issue_time_B, model.summary_steps(k)) for k in others}
        nodes = len(self.windows.domains[domain].node_ids)
        documents = {k: self._texts[k].at(issue_time_B, domain, nodes) for k in model.streams(domain) if k in self._texts}
        return batch, Around(contexts=contexts, documents=documents)
