"""The documents that windows see, as plain tensors of which a program makes what the model reads.

Shape suffixes: B window, D document, K token, P place, W width of a vector, G link.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from models.documents import Documents

MEANING = {
    "tokens": "(D, K) int64, hashed words and sequences of words of each document, -1 behind its last",
    "vector": "(D, W) of each document, by the stream's encoder",
    "place": "(D,) int64, 0 to D - 1: which place each document is about",
    "age": "(B, D) seconds for which the document is known at the issue time, NaN where the window does not see it",
    "links": "(2, G) int64, a node and a place that speaks to it",
    "weight": "(G,) how much, 0 for not at all",
}
"""Of the inputs of one stream; at least two documents, tokens and links each, those that are none filled up."""

_LEAST, _NEVER = 2, 1e30


def document_inputs(seen: Documents | None, windows: int, reach: int, width: int) -> dict[str, Tensor]:
    """What windows see of a stream, by the names of `MEANING`.

    Args:
        seen: What was gathered; None where nothing is known of the stream.
        windows: Their number B.
        reach: Seconds for which a document is seen.
        width: Of the vectors; with 0 there are none.
    """
    documents = 0 if seen is None else int(seen.pair_document_E.max().item()) + 1 if len(seen.pair_document_E) else 0
    size = max(documents, _LEAST)
    place_D, age_BD = torch.zeros(size, dtype=torch.int64), torch.full((windows, size), torch.nan)
    token_DK = torch.full((size, _LEAST), -1, dtype=torch.int64)
    links_2G, weight_G, vector_DW = torch.zeros((2, _LEAST), dtype=torch.int64), torch.zeros(_LEAST), torch.zeros((size, width))
    if seen is not None and documents:
        used, slot_E = torch.unique(seen.pair_place_E, return_inverse=True)
        place_D[seen.pair_document_E] = slot_E
        age_BD[seen.pair_window_E, seen.pair_document_E] = seen.pair_age_E * reach
        count_D = torch.bincount(seen.token_document_K, minlength=documents)
        nth_K = torch.arange(len(seen.token_K)) - (count_D.cumsum(0) - count_D)[seen.token_document_K]
        token_DK = torch.full((size, max(int(count_D.max()), _LEAST)), -1, dtype=torch.int64)
        token_DK[seen.token_document_K, nth_K] = seen.token_K
        vector_DW[:documents] = seen.vector_DW[:documents]
        among_G = torch.isin(seen.place_G, used)
        slot_G = torch.searchsorted(used, seen.place_G[among_G])
        links_2G = torch.cat([torch.stack([seen.node_G[among_G], slot_G]), links_2G], 1)
        weight_G = torch.cat([seen.weight_G[among_G], weight_G])
    found = {"tokens": token_DK, "place": place_D, "age": age_BD, "links": links_2G, "weight": weight_G}
    return found | ({"vector": vector_DW} if width else {})


def documents_from(given: Mapping[str, Tensor], *, reach: int, rows: int, nodes: int) -> Documents:
    """What the model reads of a stream: every window beside every document, those that it does not see without weight.

    Args:
        given: By the names of `MEANING`.
        reach: Seconds for which a document is seen.
        rows: Of the table of tokens.
        nodes: Of the leading domain.
    """
    token_DK, age_BD, place_D = given["tokens"], given["age"], given["place"]
    b, d = age_BD.shape
    window_B, document_D = torch.arange(b), torch.arange(d)
    share_BD = age_BD / reach
    seen_BD = (share_BD >= 0) & (share_BD < 1)
    seen_BDP = seen_BD[:, :, None] & (place_D[:, None] == document_D)
    there_DK = token_DK >= 0
    vector_DW = given.get("vector", torch.zeros((d, 0)))
    return Documents(
        token_K=token_DK.clamp(min=0).remainder(rows).flatten(),
        token_document_K=torch.where(there_DK, document_D[:, None], d).flatten(),  # what is no token is of a document that none sees
        tokens_D=torch.cat([there_DK.sum(1).clamp(min=1).float(), torch.ones(1)]),
        vector_DW=torch.cat([vector_DW, vector_DW.new_zeros(1, vector_DW.shape[1])]),
        pair_window_E=window_B[:, None].expand(b, d).flatten(),
        pair_document_E=document_D.expand(b, d).flatten(),
        pair_place_E=place_D.expand(b, d).flatten(),
        pair_age_E=torch.where(seen_BD, share_BD, _NEVER).flatten(),
        count_BP=seen_BDP.sum(1).float(),
        age_BP=torch.where(seen_BDP, share_BD[:, :, None], 1.0).amin(1),
        nodes=nodes,
        node_G=given["links"][0],
        place_G=given["links"][1],
        weight_G=given["weight"],
    )
