"""Which documents each window of a batch may see, gathered from one stream.

Shape suffixes: B window, D document, P place, K token, E pair of a window and a document, G link of a node and a place,
W width of a document's vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline.contracts.windows import Texts


@dataclass(frozen=True, kw_only=True, eq=False)
class Documents:
    """The documents of a batch: the distinct ones with their tokens, and which window sees which.

    Attributes:
        token_K, token_document_K: Rows of the embedding, and the place of each token's document among the distinct ones.
        tokens_D: Tokens of each distinct document, at least 1.
        vector_DW: Its vector by the stream's encoder; W = 0 without one.
        pair_window_E, pair_document_E, pair_place_E: Who sees what, about which place.
        pair_age_E: Time since the document became known, as a share of the reach.
        count_BP, age_BP: Documents seen about each place, and the age of the newest (1 where there is none).
        nodes: Of the leading domain.
        node_G, place_G, weight_G: Which of its nodes each place speaks of, and how much.
    """

    token_K: Tensor
    token_document_K: Tensor
    tokens_D: Tensor
    vector_DW: Tensor
    pair_window_E: Tensor
    pair_document_E: Tensor
    pair_place_E: Tensor
    pair_age_E: Tensor
    count_BP: Tensor
    age_BP: Tensor
    nodes: int
    node_G: Tensor
    place_G: Tensor
    weight_G: Tensor


def spans(start: NDArray[Any], stop: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """For the index ranges [start, stop): whose range each index is in, and the index; in order."""
    count = np.maximum(stop - start, 0).astype(np.int64)
    owner = np.repeat(np.arange(len(count)), count)
    return owner, np.arange(len(owner)) + np.repeat(start - (np.cumsum(count) - count), count)


class DocumentGatherer:
    """One stream's documents.

    Args:
        texts: The stream.
        rows: Rows of the embedding; tokens beyond fold onto them.
        most: Documents that a window sees at most, the newest.
        device: Where the model runs.
        width: Of the vectors that the model reads; 0 where it was trained without.
    """

    def __init__(self, texts: Texts, rows: int, most: int, device: torch.device, width: int = 0) -> None:
        self._texts, self._rows, self._most, self._width, self._device = texts, rows, most, width, device

    def at(self, issue_time_B: NDArray[np.int64], domain: str, nodes: int) -> Documents:
        """The documents with issue time - reach < available time <= issue time, for a leading domain of so many nodes."""
        t, places = self._texts, len(self._texts.place_ids)
        (node_G, place_G), weight_G = t.links.get(domain, (np.zeros((2, 0), np.int32), np.zeros(0, np.float32)))
        known = t.available_time_D
        stop = np.searchsorted(known, issue_time_B, side="right")
        start = np.maximum(np.searchsorted(known, issue_time_B - t.reach, side="right"), stop - self._most)
        window, document = spans(start, stop)
        age = ((issue_time_B[window] - known[document]) / t.reach).astype(np.float32)
        place = t.place_D[document].astype(np.int64)
        slot = window * places + place
        newest = np.ones(len(issue_time_B) * places, np.float32)
        newest[slot] = age
        count = np.bincount(slot, minlength=len(newest)).astype(np.float32)
        distinct, of = np.unique(document, return_inverse=True)
        owner, token = spans(t.token_start_D[distinct], t.token_start_D[distinct + 1])
        return Documents(
            token_K=self._put(t.token[token].astype(np.int64) % self._rows),
            token_document_K=self._put(owner),
            tokens_D=self._put(np.maximum(np.bincount(owner, minlength=len(distinct)), 1).astype(np.float32)),
            vector_DW=self._put(self._vectors(distinct)),
            pair_window_E=self._put(window),
            pair_document_E=self._put(of),
            pair_place_E=self._put(place),
            pair_age_E=self._put(age),
            count_BP=self._put(count.reshape(len(issue_time_B), places)),
            age_BP=self._put(newest.reshape(len(issue_time_B), places)),
            nodes=nodes,
            node_G=self._put(node_G.astype(np.int64)),
            place_G=self._put(place_G.astype(np.int64)),
            weight_G=self._put(weight_G),
        )

    def _vectors(self, document_D: NDArray[np.int64]) -> NDArray[np.float32]:
        if not self._width or not len(document_D):
            return np.zeros((len(document_D), self._width), np.float32)
        return self._texts.vector_DW[document_D].astype(np.float32)

    def _put(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
