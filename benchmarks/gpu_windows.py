"""Windows in one file, for a machine that has neither the data nor the pipeline's libraries; reading needs numpy alone.

`python -m benchmarks.gpu_windows --to aarhus.npz --kept FOLDER` (5 minutes; numbers as float16, texts left out), then copy the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.training.excerpt import excerpt
from pipeline.contracts.windows import DomainWindows, Future, Scaler, WindowSet

_NESTED: Mapping[str, type[Any]] = {"scaler": Scaler, "future": Future}
_HALVES = ("values_TNV", "history_TNVK", "coarse_TNV", "values_IHNF")


def write(windows: WindowSet, path: Path) -> int:
    """Put all domains into a file; its bytes. What is scaled is kept as float16, which speed does not mind."""
    arrays: dict[str, NDArray[Any]] = {}
    plain = {name: _flat(domain, name, arrays) for name, domain in windows.domains.items()}
    head = {f.name: getattr(windows, f.name) for f in fields(windows) if f.name not in ("domains", "texts")}
    text = np.frombuffer(json.dumps(head | {"domains": plain}).encode(), np.uint8)
    every: dict[str, Any] = {"_head": text, **arrays}
    np.savez_compressed(path, **every)
    return path.stat().st_size


def read(path: Path) -> WindowSet:
    """The windows of a file."""
    with np.load(path, allow_pickle=False) as held:
        arrays = {name: held[name] for name in held.files}
    head = json.loads(arrays.pop("_head").tobytes())
    domains = {name: _whole(DomainWindows, plain, name, arrays) for name, plain in head.pop("domains").items()}
    return WindowSet(**head, domains=domains)


def newest(windows: WindowSet, days: int) -> WindowSet:
    """The same with the newest days alone; those training windows go that reach before them."""
    return replace(windows, domains={name: _cut(domain, days) for name, domain in windows.domains.items()}, texts={})


def spread(windows: WindowSet, domain: str, nodes: int) -> WindowSet:
    """One domain alone, its nodes again and again until there are so many, each time a little otherwise."""
    d = windows.domains[domain]
    place, chance = np.arange(nodes) % len(d.node_ids), np.random.default_rng(0)
    times = -(-nodes // len(d.node_ids))
    edges = np.concatenate([d.edges_2E + k * len(d.node_ids) for k in range(times)], 1)
    inside = (edges < nodes).all(0)
    changes: dict[str, Any] = {f.name: np.take(getattr(d, f.name), place, axis=1) for f in fields(d) if f.name.endswith(("_TNV", "_TNVK"))}
    changes["values_TNV"] = changes["values_TNV"] + chance.normal(0, 0.05, changes["values_TNV"].shape).astype(np.float32)
    parts = {f.name: getattr(d.scaler, f.name)[place] for f in fields(d.scaler)}
    none = {name: getattr(d, name)[:0] for name in _PATCHES}
    wide = replace(
        d,
        **changes,
        **none,
        patch_start_T=np.zeros_like(d.patch_start_T),
        node_ids=tuple(f"{d.node_ids[n]}-{k}" for k, n in enumerate(place)),
        grid_shape=None,
        scaler=Scaler(**parts),
        position_N2=d.position_N2[place],
        edges_2E=edges[:, inside].astype(np.int32),
        edge_weight_E=np.tile(d.edge_weight_E, times)[inside],
        future=None,
        near={},
    )
    return replace(windows, domains={domain: wide}, texts={})


_PATCHES = ("patch_step", "patch_node", "patch_variable", "patch_value", "patch_known_time", "patch_gone_time")


def _cut(d: DomainWindows, days: int) -> DomainWindows:
    first = int(np.searchsorted(d.valid_time_T, d.valid_time_T[-1] - days * 86400))
    kept = np.flatnonzero(d.end_W >= first + d.context + d.coarse_steps * d.coarse_count)
    return excerpt(d, [(first, len(d.valid_time_T))], kept)


def _flat(content: Any, at: str, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
    """What is no array, by name; arrays go into `arrays` under the path to them."""
    found: dict[str, Any] = {}
    for name in (f.name for f in fields(content)):
        value, path = getattr(content, name), f"{at}/{name}"
        if name == "near":
            found[name] = list(value)
            arrays |= {f"{path}/{k}/{n}": array for k, pair in value.items() for n, array in enumerate(pair)}
        elif isinstance(value, np.ndarray):
            arrays[path] = value.astype(np.float16) if name in _HALVES else value
        else:
            found[name] = _flat(value, path, arrays) if is_dataclass(value) else value
    return found


def _whole(kind: type[Any], plain: Mapping[str, Any], at: str, arrays: Mapping[str, NDArray[Any]]) -> Any:
    given: dict[str, Any] = {}
    for name in (f.name for f in fields(kind)):
        path = f"{at}/{name}"
        if name == "near":
            given[name] = {k: (arrays[f"{path}/{k}/0"], arrays[f"{path}/{k}/1"]) for k in plain[name]}
        elif path in arrays:
            given[name] = arrays[path].astype(np.float32) if arrays[path].dtype == np.float16 else arrays[path]
        elif isinstance(plain.get(name), dict):
            given[name] = _whole(_NESTED[name], plain[name], path, arrays)
        else:
            given[name] = tuple(plain[name]) if isinstance(plain[name], list) else plain[name]
    return kind(**given)


def main() -> None:
    """Write the windows of `aarhus`, or made-up ones for a try."""
    import argparse

    say = argparse.ArgumentParser(description=__doc__)
    say.add_argument("--to", type=Path, required=True, help="The file.")
    say.add_argument("--kept", type=Path, help="A folder for the cube of aarhus; without it made-up windows are written.")
    say.add_argument("--days", type=int, default=0, help="The newest days alone; 0: all.")
    given = say.parse_args()
    if given.kept is None:
        from benchmarks.training_speed import windows

        made = windows(2000, 24, seasons=["1d"], coarse={"steps": 12, "count": 6})
    else:
        from benchmarks.aarhus_traffic import windows as aarhus

        made = aarhus(given.kept)
    size = write(newest(made, given.days) if given.days else replace(made, texts={}), given.to)
    print(f"{given.to}: {size / 2**20:.1f} MiB, {', '.join(f'{k} {d.values_TNV.shape}' for k, d in made.domains.items())}")


if __name__ == "__main__":
    main()
