"""Writing streams of documents into a cube: behind those that are there, in the commit of the build."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.cube.documents import Documents
from pipeline.stores.cube_books import write_present
from pipeline.stores.cube_format import PROOFS, TEXTS, ArrayTemplate
from pipeline.stores.cube_texts import DOCUMENT, PLACE, VECTOR, TextState, field, text_state
from pipeline.stores.cube_writer import CubeWriter, create_array
from pipeline.stores.repositories import storage_errors

_DOCUMENT_CHUNK, _TOKEN_CHUNK, _PLACE_CHUNK, _VECTOR_CHUNK = 65536, 1048576, 16384, 4096
_SECONDS = {"units": "seconds since 1970-01-01T00:00:00Z", "calendar": "proleptic_gregorian"}


def add_documents(writer: CubeWriter, stream: str, title: str, documents: Documents, *, recipe: str, consumed: int) -> str:
    """Put documents behind those that are there (under another recipe: in their place); returns the digest of all.

    Raises:
        StoreError: The storage refused.
    """
    import zarr

    path = TEXTS + stream
    with storage_errors(f"write {writer.url}/{path}"):
        store = writer.proved(path)
        root: Any = zarr.open_group(store, mode="a", zarr_format=3)
        held = text_state(root[path]) if path in root else None
        if held is None or held.recipe != recipe:
            group = _created(root, path, documents.vector_DW.shape[1])
            held = TextState(recipe=recipe, consumed=0, documents=0, tokens=0, digest=f"{0:032x}", places="")
        else:
            group = root[path]
        for name in DOCUMENT:
            _appended(group[f"document/{name}"], getattr(documents, field(name)), held.documents)
        _appended(group["token"], documents.token, held.tokens)
        if VECTOR in group:
            _appended(group[VECTOR], documents.vector_DW, held.documents)
        columns = {"id": np.array(documents.places.ids, dtype=object)}
        columns |= {"latitude": documents.places.latitude, "longitude": documents.places.longitude}
        for name, column in columns.items():
            group[f"place/{name}"].resize((len(column),))
            write_present(group[f"place/{name}"], slice(None), column)
        digest = f"{(int(held.digest, 16) + documents.digest) % 2**128:032x}"
        state = {"recipe": recipe, "consumed": consumed, "digest": digest, "places": documents.places.digest}
        state |= {"documents": held.documents + len(documents), "tokens": held.tokens + len(documents.token)}
        group.attrs.update({"title": title, "cubecast": state, PROOFS: store.proofs(path)})
    return digest


def _created(root: Any, path: str, width: int) -> Any:
    group = root.create_group(path, overwrite=True)
    for name, dtype in DOCUMENT.items():
        create_array(group, _line(f"document/{name}", dtype, "document", _DOCUMENT_CHUNK, _SECONDS if "time" in name else {}))
    create_array(group, _line("token", "int32", "token", _TOKEN_CHUNK, {"long_name": "hashed words and sequences of words"}))
    if width:
        create_array(group, _line(VECTOR, "float16", "document", _VECTOR_CHUNK, {"long_name": "sentence vectors"}, ("component", width)))
    for name, dtype in PLACE.items():
        create_array(group, _line(f"place/{name}", dtype, "place", _PLACE_CHUNK, {}))
    return group


def _line(path: str, dtype: str, dim: str, chunk: int, attributes: Mapping[str, Any], *across: tuple[str, int]) -> ArrayTemplate:
    fill: Any = {"string": "", "float64": float("nan")}.get(dtype, 0)
    dims, wide = (dim, *(name for name, _ in across)), tuple(size for _, size in across)
    return ArrayTemplate(path=path, dtype=dtype, shape=(0, *wide), chunks=(chunk, *wide), fill=fill, dims=dims, attributes=dict(attributes))


def _appended(array: Any, values: NDArray[Any], held: int) -> None:
    array.resize((held + len(values), *array.shape[1:]))
    write_present(array, slice(held, None), values)
