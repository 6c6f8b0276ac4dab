"""Streams of documents in a cube: one Zarr group each beside those of the domains; documents are only ever added.

`document/*` has one entry per document, `token` the hashed words of one document after the other, `document/vector` a row per
document where the stream has an encoder, `place/*` one entry per place. The group's digest is a sum over documents, so that it does not depend on how often the cube was built.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import TextCube
from pipeline.contracts.nodes import NodeSet
from pipeline.cube.documents import Documents
from pipeline.errors import StoreError
from pipeline.stores.cube_format import MEND, DomainCheck
from pipeline.telemetry import Stage

DOCUMENT = {"available_time": "int64", "valid_time": "int64", "place": "int32", "key": "uint64", "count": "int32"}
PLACE = {"id": "string", "latitude": "float64", "longitude": "float64"}
"""Arrays of a stream, and their Zarr data types."""

VECTOR = "document/vector"


@dataclass(frozen=True, kw_only=True)
class TextState:
    """What a stream's group holds: how many documents and tokens, from how many observation commits, under which settings.

    `digest` is of the documents, `places` of the places that they may be about.
    """

    recipe: str
    consumed: int
    documents: int
    tokens: int
    digest: str
    places: str


def text_state(group: Any) -> TextState:
    """What the group of a stream says of itself."""
    return TextState(**group.attrs["cubecast"])


def read_documents(group: Any, stream: str, as_of: int, since: int | None, snapshot: str) -> TextCube:
    """The documents with since < available_time <= as_of (seconds UTC), in the order in which they became known.

    Raises:
        StoreError: What is read is not what was written.
    """
    whole = _whole(group, stream)
    known = (whole.available_time_D <= as_of) & (whole.available_time_D > (np.iinfo(np.int64).min if since is None else since))
    rows = np.flatnonzero(known)
    used = np.unique(whole.place_D[rows])
    names = np.array([whole.places.ids[p] for p in used.tolist()], dtype=object)
    by_name = used[np.argsort(names.astype(str), kind="stable")] if len(used) else used
    rank = np.full(len(whole.places), -1, np.int32)
    rank[by_name] = np.arange(len(by_name), dtype=np.int32)
    place = rank[whole.place_D[rows]]
    order = np.lexsort((whole.key_D[rows], place, whole.valid_time_D[rows], whole.available_time_D[rows]))
    rows, place = rows[order], place[order]
    count = whole.count_D[rows].astype(np.int64)
    begin = (np.cumsum(whole.count_D) - whole.count_D)[rows]
    start = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    taken = np.arange(start[-1]) + np.repeat(begin - start[:-1], count)
    return TextCube(
        stream=stream,
        as_of=as_of,
        snapshot=snapshot,
        places=NodeSet(
            ids=tuple(whole.places.ids[p] for p in by_name.tolist()),
            latitude=whole.places.latitude[by_name],
            longitude=whole.places.longitude[by_name],
        ),
        available_time_D=whole.available_time_D[rows],
        valid_time_D=whole.valid_time_D[rows],
        place_D=place,
        token_start_D=start,
        token=whole.token[taken],
        vector_DW=whole.vector_DW[rows],
    )


class TextCheck:
    """The check of one stream; `faults` fills with what is wrong. A chunk that is absent changes the digest."""

    def __init__(self, group: Any, name: str) -> None:
        self.group, self.name, self.size = group, name, 1
        self.faults: list[str] = []
        self.state = text_state(group)

    def run(self, stage: Stage) -> DomainCheck:
        """Read everything and hold it against the digests."""
        arrays: list[NDArray[Any]] = []
        try:
            found = _whole(self.group, self.name)
            arrays = [*(getattr(found, field(name)) for name in DOCUMENT), found.token, found.vector_DW]
            if (f"{found.digest:032x}", found.places.digest) != (self.state.digest, self.state.places):
                self.faults.append(f"{self.name}: the digest over documents or places differs from the one written")
        except Exception as error:  # whatever a damaged object makes a library raise is the finding
            self.faults.append(f"{self.name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}")
        stage.advance(1, self.name)
        paths = [*(f"document/{name}" for name in DOCUMENT), "token", *([VECTOR] if VECTOR in self.group else [])]
        chunks = sum(self.group[path].nchunks for path in paths)
        size = sum(array.nbytes for array in arrays)
        return DomainCheck(arrays=len(paths) + len(PLACE), chunks=chunks, bytes=size, digest=self.state.digest)


def _whole(group: Any, stream: str) -> Documents:
    state = text_state(group)
    columns: dict[str, NDArray[Any]] = {field(name): group[f"document/{name}"][:] for name in DOCUMENT}
    place = {name: group[f"place/{name}"][:] for name in PLACE}
    places = NodeSet(ids=tuple(str(i) for i in place["id"]), latitude=place["latitude"], longitude=place["longitude"])
    vector_DW = group[VECTOR][:] if VECTOR in group else np.zeros((len(columns["key_D"]), 0), np.float16)
    found = Documents(places=places, token=group["token"][:], vector_DW=vector_DW, **columns)
    sizes = (len(found), len(found.token), int(found.count_D.sum()), int(found.place_D.max(initial=-1)))
    whole = sizes[:3] == (state.documents, state.tokens, state.tokens) and len(vector_DW) == len(found)
    if not whole or sizes[3] >= len(places):
        asked = f"{state.documents} documents and {state.tokens} tokens of '{stream}'"
        raise StoreError(asked=asked, found=f"{sizes[0]} and {sizes[1]}, or counts that do not add up", mend=MEND)
    return found


def field(name: str) -> str:
    """The field of `Documents` that an array `document/NAME` holds."""
    return f"{name}_D"
