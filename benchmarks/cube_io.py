"""How fast is a cube written and read, and what does it cost to ask as of an instant?

One variable of 65,536 steps x 1,024 nodes (268 MB of float32), with its flags and latencies as every cube has them. Written by regions as
a build does it, with the digests of chunks, books and a commit; read whole by `open(as_of)`, which proves what it reads. Beside it:
zarr-python on plain folders, with the same three arrays, chunks, codec and crc32c, every byte of which counts for all alike; tensorstore
and zarr-python through zarrs where an interpreter is named that has them; and the bound, a copy of the same bytes in memory. Writes and
reads have rounds of their own, each of which begins with another. The benchmark begins itself anew with an allocator that keeps what was
freed, for all alike: else who allocates first after a large read waits until the kernel, and a virtual machine's host, hand out cleared
memory, which takes up to five times as long as the reading. `python -m benchmarks.cube_io`
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.measure import Cost, Costs, cost_of, setting
from pipeline.contracts.cubes import NEVER, Revisions
from pipeline.contracts.flags import Flag
from pipeline.contracts.nodes import NodeSet
from pipeline.contracts.times import from_seconds
from pipeline.cube.digests import chunk_digest
from pipeline.cube.plan import choose_chunk_steps
from pipeline.stores.cube_books import RegionBook
from pipeline.stores.cube_format import GroupTemplate, VariableTemplate
from pipeline.stores.cube_writer import CubeWriter
from pipeline.stores.cubes import CubeStore

NODES, STEP, LATE = 1024, 300, 7200
KEEPING = "glibc.malloc.arena_max=1:glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=17179869184"
"""No memory goes back to the kernel before the process ends."""
PEERS = """
import json, sys, time
import numpy as np
kind, folder, work = sys.argv[1:4]
names = ("values", "flags", "latency")
def arrays():
    if kind == "tensorstore":
        import tensorstore as ts
        return [ts.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/{n}"}}, open=True).result() for n in names]
    import zarr
    if kind == "zarrs":
        import zarrs
        zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"})
    return [zarr.open_array(f"{folder}/{n}", mode="r+") for n in names]
read = (lambda a: a.read().result()) if kind == "tensorstore" else (lambda a: a[:])
opened = arrays()
given = [np.asarray(read(a)) for a in opened]
began = time.perf_counter()
for a, g in zip(opened, given):
    if work == "read":
        read(a)
    elif kind == "tensorstore":
        a.write(g).result()
    else:
        a[:] = g
print(json.dumps(time.perf_counter() - began))
"""


def made(steps: int) -> dict[str, NDArray[Any]]:
    """Values of a sensor's kind, rounded to a tenth; one in a hundred missing, one in two hundred late."""
    random = np.random.default_rng(1)
    drift = np.cumsum(random.normal(0, 0.3, (steps, 1)), axis=0)
    values = np.round(random.normal(0, 2, (steps, NODES)) + drift + 50, 1).astype(np.float32)
    missing, late = random.random((steps, NODES)) < 0.01, random.random((steps, NODES)) < 0.005
    return {
        "flow": np.where(missing, np.float32(np.nan), values),
        "flow_flag": np.where(missing, np.uint16(Flag.MISSING), np.uint16(0)),
        "flow_latency": np.where(missing, NEVER, np.where(late, np.int32(LATE), np.int32(0))).astype(np.int32),
    }


class Ours:
    """A cube of the arrays."""

    def __init__(self, folder: Path, arrays: dict[str, NDArray[Any]]) -> None:
        self._folder, self.root, self._arrays = folder, folder / "cube", arrays
        steps = len(arrays["flow"])
        self.axis = 1_400_000_000 + STEP * np.arange(1, steps + 1, dtype=np.int64)
        ids = tuple(f"n{i:04d}" for i in range(NODES))
        self.template = GroupTemplate(
            domain="traffic",
            title="Made up",
            axis_T=self.axis,
            even_step=STEP,
            nodes=NodeSet(ids=ids, latitude=np.zeros(NODES), longitude=np.zeros(NODES)),
            variables=(VariableTemplate(name="flow", units="count", aggregate="mean"),),
            chunk_steps=choose_chunk_steps(STEP, NODES),
            chunk_nodes=NODES,
            recipe="made",
        )

    def write(self) -> None:
        """Every region by two threads, books, commit; in a folder of its own."""
        self.root = Path(tempfile.mkdtemp(dir=self._folder))
        writer = CubeWriter(str(self.root), "made")
        writer.prepare(self.template, fresh=True)
        regions, size = writer.regions(isolated=False), self.template.chunk_steps

        def one(chunk: int) -> RegionBook:
            begin = chunk * size
            slab = {name: array[begin : begin + size] for name, array in self._arrays.items()}
            written = regions.write("traffic", begin, slab)
            return RegionBook(
                chunk=chunk,
                digest=chunk_digest(slab.values()),
                proof=written.proofs[0],
                present=np.array([slab["flow"].size]),
                known_time=int(self.axis[begin : begin + size][-1]) + LATE,
                revisions=Revisions.empty(),
            )

        with ThreadPoolExecutor(2) as pool:
            books = list(pool.map(one, range(self.template.chunks)))
        writer.merge([])
        writer.keep_books("traffic", books, {}, np.full(NODES, int(self.axis[0])))
        writer.commit("made", {})

    def read(self, back: int) -> None:
        """All steps as of so many seconds before the end of the axis (negative: after it)."""
        CubeStore(str(self.root), "made").open(from_seconds(int(self.axis[-1]) - back), "traffic")

    def plain(self) -> list[Any]:
        """The same three arrays out of the same repository, without the reader."""
        group = CubeStore(str(self.root), "made")._group("traffic")
        return [group[name][:] for name in self._arrays]


class Plain:
    """zarr-python on plain folders."""

    def __init__(self, folder: Path, arrays: dict[str, NDArray[Any]], chunk_steps: int) -> None:
        self._under, self.folder, self._arrays, self._chunks = folder, folder / "plain", arrays, (chunk_steps, NODES)

    def write(self) -> None:
        """Every array at once; in a folder of its own."""
        import zarr
        from zarr.codecs import BloscCodec, Crc32cCodec

        self.folder = Path(tempfile.mkdtemp(dir=self._under))
        codecs = [BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()]
        for name, values in zip(("values", "flags", "latency"), self._arrays.values(), strict=True):
            array: Any = zarr.create_array(
                str(self.folder / name), shape=values.shape, chunks=self._chunks, dtype=values.dtype, compressors=codecs, fill_value=0
            )
            array[:] = values

    def read(self) -> list[Any]:
        """Every array at once."""
        import zarr

        opened: list[Any] = [zarr.open_array(str(self.folder / name), mode="r") for name in ("values", "flags", "latency")]
        return [array[:] for array in opened]


def rounds(ways: Mapping[str, Callable[[], object]], runs: int) -> dict[str, Costs]:
    """Every way so many times after once for nothing, each round beginning with another."""
    names, found = list(ways), {name: list[Cost]() for name in ways}
    for turn in range(runs + 1):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            cost = cost_of(ways[name])
            found[name] += [cost] if turn else []
    return {name: Costs(runs=tuple(costs)) for name, costs in found.items()}


def peer(python: str, kind: str, folder: Path, work: str) -> float:
    """Seconds of one run by another library in an interpreter of its own, without its start."""
    own = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}  # their threads would wait for each other
    done = subprocess.run([python, "-c", PEERS, kind, str(folder), work], capture_output=True, check=True, env=own)
    return float(json.loads(done.stdout))


def report(found: dict[str, Costs], size: float, beside: dict[str, list[float]]) -> str:
    """The figures as Markdown."""
    lines = ["| what | wall s | from–to | processor s | MB/s |", "|---|---:|---:|---:|---:|"]
    for name, costs in found.items():
        lines.append(f"| {name} | {costs.wall:.2f} | {costs.spread} | {costs.processor:.2f} | {size / costs.wall / 1e6:,.0f} |")
    for name, seconds in beside.items():
        middle = float(np.median(seconds))
        lines.append(f"| {name} | {middle:.2f} | {min(seconds):.2f}–{max(seconds):.2f} | | {size / middle / 1e6:,.0f} |")
    of = {name: costs.wall for name, costs in found.items()}
    copy = of["memory copy"]
    lines += [
        "",
        f"Against zarr-python (at least 0.9): write {of['zarr-python, write'] / of['cube, write']:.2f}, "
        f"read {of['zarr-python, read'] / of['cube, read']:.2f}. Against a copy in memory: write {copy / of['cube, write']:.3f}, "
        f"read {copy / of['cube, read']:.3f}. As of an instant at which late cells of the last steps were not known, against the same arrays without the reader "
        f"(at most 1.3): {of['cube, read as of'] / of['cube, arrays only']:.2f}; against the newest state: "
        f"{of['cube, read as of'] / of['cube, read']:.2f}.",
    ]
    return "\n".join(lines)


def main(
    runs: Annotated[int, typer.Option(help="Turns.")] = 5,
    steps: Annotated[int, typer.Option(help="Steps of the axis.")] = 65_536,
    peers: Annotated[str, typer.Option(help="An interpreter with tensorstore and zarrs.")] = "",
) -> None:
    """Measure, and print the table."""
    if os.environ.get("GLIBC_TUNABLES") != KEEPING:
        command = [sys.executable, "-m", "benchmarks.cube_io", *sys.argv[1:]]
        sys.exit(subprocess.call(command, env={**os.environ, "GLIBC_TUNABLES": KEEPING}))
    arrays, where = made(steps), setting("zarr", "icechunk", "numpy")
    size = float(sum(a.nbytes for a in arrays.values()))
    targets = {name: np.zeros_like(a) for name, a in arrays.items()}

    def copy() -> None:
        for name, a in arrays.items():
            np.copyto(targets[name], a)

    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(Path(folder), arrays)
        plain = Plain(Path(folder), arrays, ours.template.chunk_steps)
        writes = {"cube, write": ours.write, "zarr-python, write": plain.write}
        reads: dict[str, Callable[[], object]] = {
            "cube, read": lambda: ours.read(-LATE),
            "zarr-python, read": plain.read,
            "cube, read as of": lambda: ours.read(STEP),
            "cube, arrays only": ours.plain,
            "memory copy": copy,
        }
        found = rounds(writes, runs) | rounds(reads, runs)
        beside = {
            f"{kind}, {work}": [peer(peers, kind, plain.folder, work) for _ in range(runs)]
            for kind in ("tensorstore", "zarrs")
            for work in ("write", "read")
            if peers
        }
    head = f"{arrays['flow'].nbytes / 1e6:.0f} MB of float32, {size / 1e6:.0f} MB with flags and latencies, all counted; median of {runs}."
    sys.stdout.write(f"## Cubes at rest\n\n`python -m benchmarks.cube_io`: {where}.\n\n{head}\n\n{report(found, size, beside)}\n")


if __name__ == "__main__":
    typer.run(main)
