"""The cube at rest: one Zarr v3 group per domain. Pure metadata; what CF asks for, and what as-of reading needs.

Per variable NAME: `NAME` float32, `NAME_flag` uint16, `NAME_latency` int32 over (valid_time, node) or (valid_time, y, x).
Beside the coordinates: `chunks/*`, one entry per time chunk, and `revisions/*`, one entry per superseded version. Those of a time
chunk lie together, in no order of the chunks, so that a late row rewrites those of its own chunk only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.cubes import NEVER
from pipeline.contracts.flags import FLAG_MEANINGS, Flag
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.provenance import canonical_json, digest_bytes
from pipeline.errors import ContractError

TEXTS = "texts."
"""How the name of a group of documents begins; all others are of domains."""

FORMAT = 3
"""Version of the layout; part of every group's recipe, so that a cube of another version is made anew."""

BIG: dict[str, tuple[str, Any]] = {"": ("float32", float("nan")), "_flag": ("uint16", int(Flag.MISSING)), "_latency": ("int32", int(NEVER))}
"""The big arrays of a variable by what follows its name: their types, and what stands where nothing was written."""

CODEC: dict[str, Any] = {"cname": "lz4", "clevel": 5}
"""Of all arrays but strings: Blosc with bits shuffled, and a crc32c behind it."""

CODEC_WORDS = f"blosc {CODEC['cname']} level {CODEC['clevel']} with bits shuffled, then crc32c"
"""The same for people: what a plan states."""

PROOFS = "proofs"
"""The attribute of a group that proves its small objects: key below the group -> sha256 of what is stored there."""

MEND = "restore the store from a backup, or remove the cube and run build-cube to make it anew from the observations"

COORDINATE_CHUNK = 16384
BOOK_CHUNK = 1024
REVISION_CHUNK = 65536
REVISION_TYPES = {
    "step": "int32",
    "node": "int32",
    "variable": "int16",
    "value": "float32",
    "flag": "uint16",
    "available_time": "int64",
    "superseded_time": "int64",
}
_TIME = {"standard_name": "time", "units": "seconds since 1970-01-01T00:00:00Z", "calendar": "proleptic_gregorian"}
_STEP_TIME = _TIME | {"long_name": "end of the step"}
_RUN_TIME = _TIME | {"standard_name": "forecast_reference_time", "long_name": "start of the run"}
_CELL_METHODS = {"mean": "mean", "sum": "sum", "last": "point", "max": "maximum", "min": "minimum"}


@dataclass(frozen=True, kw_only=True)
class VariableTemplate:
    """One variable's metadata; `aggregate` is how readings meet the clock."""

    name: str
    units: str
    aggregate: str
    long_name: str = ""
    standard_name: str | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupTemplate:
    """One domain's group without values.

    Attributes:
        even_step: Seconds between any two labels, or None where they follow a calendar.
        chunk_nodes: Nodes of a chunk: as many as there were when the group was made; those that came later have chunks of their own.
        recipe: The settings under which stored regions stay valid.
        runs: The axis are the starts of runs, and the nodes the steps after each at each place.
    """

    domain: str
    title: str
    axis_T: NDArray[np.int64]
    even_step: int | None
    nodes: NodeSet
    variables: tuple[VariableTemplate, ...]
    chunk_steps: int
    chunk_nodes: int
    recipe: str
    runs: bool = False

    @property
    def axis_name(self) -> str:
        """Name of the coordinate along the axis."""
        return "init_time" if self.runs else "valid_time"

    @property
    def chunks(self) -> int:
        """Count of time chunks."""
        return -(-len(self.axis_T) // self.chunk_steps)

    @property
    def space(self) -> tuple[int, ...]:
        """Shape of one step."""
        return self.nodes.shape or (len(self.nodes),)


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayTemplate:
    """One array without values; `dtype` is a Zarr v3 data type."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    fill: Any
    dims: tuple[str, ...]
    attributes: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class DomainCheck:
    """What a verified group holds: `chunks` at rest that were read, their `bytes` unpacked, the recomputed digest."""

    arrays: int
    chunks: int
    bytes: int
    digest: str


def value_arrays(template: GroupTemplate) -> list[ArrayTemplate]:
    """The big arrays: values, flags and latencies."""
    shape, space = (len(template.axis_T), *template.space), ("y", "x") if template.nodes.shape else ("node",)
    dims = (template.axis_name, *(("step", "place") if template.runs else space))
    across = template.space if template.nodes.shape else (template.chunk_nodes,)
    chunks = tuple(max(n, 1) for n in (template.chunk_steps, *across))
    found = []
    for v in template.variables:
        meanings = (_value_attributes(v, template.runs), _flag_attributes(v), _latency_attributes(v, template.axis_name))
        for (suffix, (dtype, fill)), attributes in zip(BIG.items(), meanings, strict=True):
            found.append(
                ArrayTemplate(
                    path=v.name + suffix,
                    dtype=dtype,
                    shape=shape,
                    chunks=chunks,
                    fill=fill,
                    dims=dims,
                    attributes=attributes | {"coordinates": "latitude longitude"},
                )
            )
    return found


def small_arrays(template: GroupTemplate) -> list[ArrayTemplate]:
    """Coordinates and bookkeeping, all one-dimensional along their first axis."""
    steps, nodes, chunks = len(template.axis_T), len(template.nodes), template.chunks
    degrees = {"latitude": ("degrees_north", nodes), "longitude": ("degrees_east", nodes)}
    arrays = [
        _line(template.axis_name, "int64", steps, 0, template.axis_name, _RUN_TIME if template.runs else _STEP_TIME),
        _line("node_id", "string", nodes, "", "node", {"cf_role": "timeseries_id"}),
        *(_line(k, "float64", n, float("nan"), "node", {"standard_name": k, "units": u}) for k, (u, n) in degrees.items()),
        _line("node_known_time", "int64", nodes, 0, "node", {"units": _TIME["units"], "long_name": "when the node was first heard of"}),
        _line("chunks/known_time", "int64", chunks, 0, "chunk", {"units": _TIME["units"], "long_name": "latest availability in the chunk"}),
        _line("chunks/digest", "uint8", chunks, 0, "chunk", {"long_name": "sha256 of the chunk's values, flags, latencies"}, 32),
        _line("chunks/proof", "uint8", chunks, 0, "chunk", {"long_name": "sha256 of what is stored of the chunk"}, 32),
        _line("chunks/nodes", "int64", chunks, 0, "chunk", {"long_name": "nodes there were when the chunk was written"}),
        _line("chunks/present", "int64", chunks, 0, "chunk", {"long_name": "cells with a good value"}, len(template.variables)),
        _line("chunks/revision_start", "int64", chunks, 0, "chunk", {"long_name": "first revision of the chunk"}),
        _line("chunks/revision_stop", "int64", chunks, 0, "chunk", {"long_name": "end of the chunk's revisions"}),
        _line("chunks/revision_digest", "uint8", chunks, 0, "chunk", {"long_name": "sha256 of the chunk's revisions"}, 32),
    ]
    if template.nodes.ends is not None:
        arrays.append(_line("ends", "float64", nodes, float("nan"), "node", {"long_name": "latitude and longitude of start and end"}, 4))
    if template.nodes.links:
        arrays.append(_line("links", "string", nodes, "", "node", {"long_name": "the nodes that tell about it, and how much, as JSON"}))
    return arrays


def axis_of(group: Any) -> Any:
    """The coordinate along the axis of a group at rest."""
    return group["init_time" if "init_time" in group else "valid_time"]


def revision_arrays(count: int) -> list[ArrayTemplate]:
    """Columns of superseded versions."""
    return [
        ArrayTemplate(
            path=f"revisions/{name}",
            dtype=dtype,
            shape=(count,),
            chunks=(REVISION_CHUNK,),
            fill=float("nan") if dtype == "float32" else 0,
            dims=("revision",),
            attributes={},
        )
        for name, dtype in REVISION_TYPES.items()
    ]


def check_aligned(template: GroupTemplate, start: int, stop: int) -> None:
    """Refuse a region that is not exactly one or more whole time chunks.

    Raises:
        ContractError: With the nearest aligned region.
    """
    step, end = template.chunk_steps, len(template.axis_T)
    if 0 <= start < stop <= end and start % step == 0 and (stop % step == 0 or stop == end):
        return
    low, high = max(start, 0) // step * step, min(-(-max(stop, 1) // step) * step, end)
    raise ContractError(
        asked=f"write steps {start}:{stop} of {template.domain}",
        found=f"chunks of {step} steps on an axis of {end}: the region cuts a chunk or lies outside",
        mend=f"write whole chunks, here {low}:{high}; two writers in one chunk would lose each other's cells",
    )


def content_digest(
    domain: str,
    chunk_steps: int,
    variables: Sequence[Sequence[str]],
    nodes: NodeSet,
    axis: str,
    chunks: NDArray[np.uint8],
    revisions: NDArray[np.uint8],
) -> str:
    """sha256 of a domain's content: coordinates, then the digests of its time chunks and of their revisions, in order of time.

    Args:
        domain: Name of the domain.
        chunk_steps: Steps of a time chunk.
        variables: Name, units and aggregate of each variable.
        nodes: All nodes.
        axis: Digest of the labels of the steps.
        chunks: (chunk, 32) digests of the chunks.
        revisions: (chunk, 32) digests of their revisions.
    """
    state = hashlib.sha256(canonical_json([domain, chunk_steps, variables, nodes.digest, axis]))
    for array in (chunks, revisions):
        state.update(np.ascontiguousarray(array).data)
    return state.hexdigest()


def axis_digest(axis_T: NDArray[np.int64]) -> str:
    """sha256 of an axis' labels."""
    return digest_bytes(np.ascontiguousarray(axis_T, dtype="<i8").tobytes())


def aggregate_of(attributes: Mapping[str, Any]) -> str:
    """How readings met the clock, as the stored attributes of a variable tell it; empty where they do not."""
    method = str(attributes.get("cell_methods", "")).rpartition(": ")[2]
    return next((name for name, word in _CELL_METHODS.items() if word == method), "")


def _line(path: str, dtype: str, size: int, fill: Any, dim: str, attributes: dict[str, Any], width: int | None = None) -> ArrayTemplate:
    length = BOOK_CHUNK if dim == "chunk" else COORDINATE_CHUNK
    return ArrayTemplate(
        path=path,
        dtype=dtype,
        shape=(size,) if width is None else (size, width),
        chunks=(length,) if width is None else (length, width),
        fill=fill,
        dims=(dim,) if width is None else (dim, f"{path.rsplit('/')[-1]}_part"),
        attributes=attributes,
    )


def _value_attributes(variable: VariableTemplate, runs: bool) -> dict[str, Any]:
    names = {"long_name": variable.long_name or variable.name.replace("_", " ")}
    if variable.standard_name:
        names["standard_name"] = variable.standard_name
    method = f"{'step' if runs else 'valid_time'}: {_CELL_METHODS[variable.aggregate]}"
    ancillary = f"{variable.name}_flag {variable.name}_latency"
    return names | {"units": variable.units, "cell_methods": method, "ancillary_variables": ancillary}


def _flag_attributes(variable: VariableTemplate) -> dict[str, Any]:
    return {
        "long_name": f"why {variable.name} must not be used",
        "flag_masks": [int(f) for f in FLAG_MEANINGS],
        "flag_meanings": " ".join(str(f.name).lower() for f in FLAG_MEANINGS),
    }


def _latency_attributes(variable: VariableTemplate, since: str) -> dict[str, Any]:
    # No CF unit of time here: a reader that decodes durations would turn the sentinel into a date.
    return {"long_name": f"seconds from {since} until {variable.name} was available", "never": int(NEVER)}
