"""HDF5 in memory: sizes are checked before a value is read, and nothing outside the file is opened, though the format can name it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ContractError
from pipeline.sources.columns import require_columns
from pipeline.sources.grids import check_size

MAGIC = b"\x89HDF\r\n\x1a\n"
_MEND = "fetch the file again; a newer delivery of the same name takes its place"
_MOST_OBJECTS = 100_000


@contextmanager
def opened_hdf5(data: bytes, file: str) -> Iterator[Any]:
    """An HDF5 file in memory, as an h5py.File.

    Raises:
        ContractError: It is none, is cut or damaged, names other files, or its arrays are larger than is ever read.
    """
    import h5py

    if data[:8] != MAGIC:
        raise ContractError(asked=f"read {file} ({len(data)} bytes)", found=f"no HDF5: it starts with {data[:8]!r}", mend=_MEND)
    try:
        with h5py.File(io.BytesIO(data), "r") as opened:
            _check_links(opened, file)
            yield opened
    except ContractError:
        raise
    except Exception as error:  # h5py raises many unrelated classes on damaged files
        found = f"no whole HDF5: {type(error).__name__}: {error}"
        raise ContractError(asked=f"read {file} ({len(data)} bytes)", found=found, mend=_MEND) from error


def _check_links(opened: Any, file: str) -> None:
    import h5py

    seen: list[str] = []

    def link(name: str, found: Any) -> tuple[str, str] | None:  # an error raised in here would not come out whole
        seen.append(name)
        if isinstance(found, h5py.ExternalLink):
            return name, f"a link to another file, {found.filename}"
        return (name, f"more than {_MOST_OBJECTS} objects") if len(seen) > _MOST_OBJECTS else None

    def item(name: str, found: Any) -> tuple[str, str] | None:
        elsewhere = isinstance(found, h5py.Dataset) and (found.is_virtual or found.external)
        return (name, "values that lie in another file") if elsewhere else None

    fault = opened.visititems_links(link) or opened.visititems(item)
    if fault is not None:
        raise ContractError(asked=f"'{fault[0]}' of {file}", found=fault[1], mend="deliver one whole file")


def check_coordinates(data: bytes, file: str) -> None:
    """Refuse a file whose arrays of one dimension, which xarray reads at once, or whose chunks are larger than is ever read.

    Raises:
        ContractError: As `opened_hdf5` does, and naming the array.
    """
    import h5py

    with opened_hdf5(data, file) as opened:

        def visit(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                check_size(name, item.chunks or (), file)
                if item.ndim == 1:
                    check_size(name, item.shape, file)

        opened.visititems(visit)


def _found(opened: Any, path: str, file: str) -> Any:
    import h5py

    names: list[str] = []
    opened.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    require_columns(names, [path.strip("/")], file)
    return opened[path]


def attributes(opened: Any, path: str, file: str) -> dict[str, Any]:
    """What the array at a path says of itself, texts as texts; raises as `array_at` does."""
    said = dict(_found(opened, path, file).attrs)
    return {k: v.decode("utf-8", errors="replace") if isinstance(v, bytes) else v for k, v in said.items()}


def dataset_at(opened: Any, path: str, file: str) -> Any:
    """The array at a path, as an h5py.Dataset of which nothing is read yet.

    Raises:
        ContractError: There is none, or its size or that of its chunks is beyond the limit.
    """
    found = _found(opened, path, file)
    check_size(path, found.shape, file)
    check_size(path, found.chunks or (), file)
    return found


def array_at(opened: Any, path: str, file: str) -> NDArray[Any]:
    """All values of the array at a path; raises as `dataset_at` does."""
    return np.asarray(dataset_at(opened, path, file)[()])
