"""Random late, duplicate, revised and broken deliveries: every row is counted, and as-of agrees with a naive model."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.api import LandRequest, ObserveRequest
from pipeline.contracts.world_files import load_world
from pipeline.settings import Settings
from pipeline.steps import land, observe
from pipeline.stores.objects import ObjectStore
from pipeline.stores.observations import ObservationStore
from pipeline.telemetry import QUIET

HOUR = 3600
BASE = 1_577_836_800  # 2020-01-01
LATENCY = 600
WORLD = """
name = "w"
title = "W"
start = "2020-01-01T00:00Z"
[sources.s]
adapter = "csv"
locations = ["data://*.csv"]
latency = "10min"
options = { time = "t", time_format = "epoch_s", node_column = "n", published = "p", published_format = "epoch_s" }
[sources.s.variables]
v = { unit = "count", missing = [-9.0] }
[domains.d]
title = "D"
clock = { step = "1h" }
context = 2
horizon = 1
[domains.d.variables]
v = { source = "s" }
"""

Row = tuple[str, int, int | None, int | None]
"""Node, hour, value (None: a broken line), hour published (None: not said)."""
row = st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.one_of(st.none(), st.integers(0, 2)), st.one_of(st.none(), st.integers(0, 6)))
deliveries = st.lists(st.tuples(st.lists(row, min_size=1, max_size=8), st.integers(0, 4)), min_size=1, max_size=4)


def text(rows: list[Row]) -> str:
    lines = ["t,n,v,p"]
    for node, hour, value, published in rows:
        stamp = "" if published is None else str(BASE + published * HOUR)
        lines.append("broken" if value is None else f"{BASE + hour * HOUR},{node},{value},{stamp}")
    return "\n".join(lines) + "\n"


def run(found: list[tuple[list[Row], int]], folder: Path, at_once: bool) -> tuple[dict[str, int], ObservationStore]:
    """Deliver, land and observe; received hours grow with the order of delivery."""
    (folder / "data").mkdir(parents=True)
    world = folder / "w.toml"
    world.write_text(WORLD)
    place = Settings(store=str(folder / "store"), data=folder / "data", dask=None)
    received = 0
    for number, (rows, wait) in enumerate(found):
        received += wait
        (folder / "data" / f"{number}.csv").write_text(text(rows))
        moment = datetime.fromtimestamp(BASE, UTC) + timedelta(hours=received)
        land.run(LandRequest(world=str(world), as_of=moment, received_time=moment), place, QUIET)
        if not at_once:
            observe.run(ObserveRequest(world=str(world), as_of=moment), place, QUIET)
    counts = observe.run(ObserveRequest(world=str(world), as_of=moment), place, QUIET).counts
    return counts, ObservationStore(ObjectStore(place.store), load_world(str(world)), "s")


def naive(found: list[tuple[list[Row], int]]) -> dict[tuple[str, int], list[tuple[int, int, int]]]:
    """Versions (available, order, value) of each node and hour, by plain loops over the rows as they came."""
    known: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    received = first = BASE + found[0][1] * HOUR
    order = 0
    for number, (rows, wait) in enumerate(found):
        received += wait * HOUR if number else 0
        delivery: dict[tuple[str, int], dict[int, tuple[int, bool]]] = {}
        for node, hour, value, published in rows:
            if value is None:
                continue
            due = BASE + hour * HOUR + LATENCY
            lived = max(due, received) if due >= first else due
            available = lived if published is None else BASE + published * HOUR
            delivery.setdefault((node, hour), {})[available] = (value, published is not None)
        for key, versions in delivery.items():
            old = known.setdefault(key, [])
            before, last = list(old), None
            for available, (value, declared) in sorted(versions.items()):
                if value == last:
                    continue
                last = value
                moment = max(available, received) if before and not declared else available
                if (moment, value) in [(a, v) for a, _, v in old] or seen(old, moment) == value:
                    continue
                taken = {a for a, _, _ in old}
                if moment in taken:
                    moment = max(moment, received)
                while moment in taken:
                    moment += 1
                order += 1
                old.append((moment, order, value))
    return known


def mixed(rows: list[Row]) -> bool:
    """Whether one delivery gives a cell with and without a publication time: which of the two corrects the other is anyone's guess."""
    said = {(node, hour, published is not None) for node, hour, value, published in rows if value is not None}
    return len({(node, hour) for node, hour, _ in said}) < len(said)


def seen(versions: list[tuple[int, int, int]], as_of: int) -> int | None:
    visible = [v for v in versions if v[0] <= as_of]
    return max(visible)[2] if visible else None


def versions_of(store: ObservationStore) -> dict[tuple[str, int], list[tuple[int, int, int]]]:
    table = store.read(0, 2**35)
    valid, available = (table[c].cast(pa.int64()).to_pylist() for c in ("valid_time", "available_time"))
    out: dict[tuple[str, int], list[tuple[int, int, int]]] = {}
    for i, node in enumerate(table["node"].to_pylist()):
        out.setdefault((node, (valid[i] - BASE) // HOUR), []).append((available[i], i, int(table["v"][i].as_py())))
    return out


@settings(max_examples=15, deadline=None)
@given(deliveries)
def test_every_row_is_counted_once_and_as_of_agrees_with_the_naive_model(found: list[tuple[list[Row], int]]) -> None:
    assume(not any(mixed(rows) for rows, _ in found))
    model = naive(found)
    for at_once in (True, False):
        with tempfile.TemporaryDirectory() as folder:
            counts, store = run(found, Path(folder), at_once)
            raw = sum(len(rows) for rows, _ in found)
            assert counts["s.raw"] == raw
            assert counts["s.observations"] == store.read(0, 2**35).num_rows
            assert counts["s.rejected"] == sum(r[2] is None for rows, _ in found for r in rows)
            assert counts["s.observations"] + counts["s.duplicates"] + counts["s.rejected"] == raw
            assert store.rejections().num_rows == counts["s.duplicates"] + counts["s.rejected"]
            stored = versions_of(store)
            assert set(stored) == set(model)
            for key, versions in model.items():
                for as_of in sorted({a for a, _, _ in versions + stored[key]}):
                    assert seen(stored[key], as_of) == seen(versions, as_of), (key, as_of)
