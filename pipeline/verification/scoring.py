"""Scoring: windows of one model become statistics, told apart by their grounds.

Shape suffixes: W windows, L lead, K group of leads, N node, V target variable, Q quantile, C column of nodes, S statistic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.verification.cells import planes_of, rows_of, rows_within
from pipeline.verification.events import EVENTS, ONSETS, event_probability, event_rows, happened
from pipeline.verification.exact import Limbs, grouped_sum, limbs_of, normal
from pipeline.verification.fields import field_planes, field_rows
from pipeline.verification.grounds import EVERYWHERE, Grounds, hour_label
from pipeline.verification.statistics import STATISTICS, Axis, Key, Statistics, Table, block_columns

_BLOCK_BYTES = 1_500_000
"""Of the planes that a block holds at once: about what a processor's second-level cache takes."""

_CHUNK_NUMBERS = 2_000_000
"""Rows of so many numbers are summed up at once."""

_DAY = 86400
_ONSETS = [EVENTS.index(name) for name in ONSETS]
_PLAIN = Grounds()
Column = tuple[str, str]
"""Kind and label of a set of nodes; the first one is all of them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Batch:
    issue_time_W: NDArray[np.int64]
    truth_WLNV: NDArray[np.float32]
    good_WLNV: NDArray[np.bool_]
    quantiles_WLNVQ: NDArray[np.float32]
    grounds: Grounds

    def part(self, where: slice) -> _Batch:
        """Some of the windows."""
        g = self.grounds
        held: dict[str, Any] = {
            name: None if (array := getattr(g, name)) is None else array[where] for name in ("hour_WL", "origin_WNV", "climate_WLNV")
        }
        regimes = {name: (labels, codes[where]) for name, (labels, codes) in g.regimes.items()}
        events = {
            name: replace(e, probability_WLN=None if e.probability_WLN is None else e.probability_WLN[where])
            for name, e in g.events.items()
        }
        return _Batch(
            issue_time_W=self.issue_time_W[where],
            truth_WLNV=self.truth_WLNV[where],
            good_WLNV=self.good_WLNV[where],
            quantiles_WLNVQ=self.quantiles_WLNVQ[where],
            grounds=replace(g, regimes=regimes, events=events, **held),
        )


Rows = dict[tuple[str, str], NDArray[np.float64]]
"""What some windows are worth, windows first, by sort and event: `whole` (W, L, V, S), `parts` (W, K, V, C, S), `event` (W, L, S),
`warnings` (W, K, C, S), `onsets` (W, L, C, S) and `outcome` (W, K, V, S), where the columns C are all but the first."""


def score_windows(
    *,
    domain: str,
    axis: Axis,
    model: str,
    issue_time_W: NDArray[np.int64],
    truth_WLNV: NDArray[np.float32],
    good_WLNV: NDArray[np.bool_],
    quantiles_WLNVQ: NDArray[np.float32],
    grounds: Grounds = _PLAIN,
) -> Statistics:
    """The statistics of some windows of one model; every cell is counted, the good ones are scored.

    Raises:
        ContractError: A quantile is NaN or infinite.
    """
    batch = _Batch(issue_time_W=issue_time_W, truth_WLNV=truth_WLNV, good_WLNV=good_WLNV, quantiles_WLNVQ=quantiles_WLNVQ, grounds=grounds)
    columns = _columns(grounds)
    leads, nodes, variables, levels = quantiles_WLNVQ.shape[1:]
    block = max(1, min(256, _BLOCK_BYTES // max(1, 8 * leads * nodes * variables * levels)))
    chunk = block * max(1, _CHUNK_NUMBERS // (block * leads * variables * len(columns) * len(STATISTICS)))
    sums: dict[Key, Limbs] = {}
    for start in range(0, len(issue_time_W), chunk):
        part = batch.part(slice(start, start + chunk))
        size = len(part.issue_time_W)
        blocks = [_rows(part.part(slice(at, at + block)), columns, axis) for at in range(0, size, block)]
        rows = {name: np.concatenate([each[name] for each in blocks]) for name in blocks[0]}
        for table, limbs in _tables(rows, part, columns, axis):
            key = (domain, model, table)
            sums[key] = normal(sums[key] + limbs) if key in sums else limbs
    return Statistics(axes={domain: axis}, sums=sums)


def _columns(grounds: Grounds) -> list[Column]:
    regions = [("region", name) for name in grounds.regions]
    return [("", ""), *regions, *((kind, label) for kind, (labels, _) in grounds.regimes.items() for label in labels)]


def _members(batch: _Batch, columns: list[Column]) -> NDArray[np.float64]:
    """(W, N, C): which nodes belong to which column."""
    grounds, (windows, _, nodes) = batch.grounds, batch.good_WLNV.shape[:3]
    found = np.zeros((windows, nodes, len(columns)))
    found[..., 0] = 1
    region_N = np.zeros(nodes, np.int64) if grounds.region_N is None else grounds.region_N
    for c, (kind, label) in enumerate(columns):
        if kind == "region":
            found[..., c] = region_N == grounds.regions.index(label)
        elif kind:
            labels, codes_WN = grounds.regimes[kind]
            found[..., c] = codes_WN == labels.index(label)
    return found


def _rows(batch: _Batch, columns: list[Column], axis: Axis) -> Rows:
    grounds = batch.grounds
    good = np.ascontiguousarray(batch.good_WLNV.transpose(0, 1, 3, 2))
    truth = np.where(good, batch.truth_WLNV.transpose(0, 1, 3, 2), 0).astype(np.float64)
    quantiles = np.ascontiguousarray(batch.quantiles_WLNVQ.transpose(0, 1, 3, 4, 2))
    origin = None if grounds.origin_WNV is None else grounds.origin_WNV.transpose(0, 2, 1).astype(np.float64)
    climate = None if grounds.climate_WLNV is None else grounds.climate_WLNV.transpose(0, 1, 3, 2).astype(np.float64)
    relative = grounds.relative_V
    planes = planes_of(truth, good, quantiles, ratio_V=grounds.ratio_V, relative_V=relative, origin_WVN=origin)
    fields = field_planes(
        planes.short_WLVQN, truth, good, relative_V=relative, origin_WVN=origin, weight_N=grounds.weight_N, climate_WLVN=climate
    )
    members, kinds = _members(batch, columns), list(Counter(kind for kind, _ in columns[1:]).values())
    cells = np.concatenate([rows_of(planes, members), field_rows(fields, members[:, None])], axis=4)
    rows: Rows = {("whole", ""): cells[:, :, :, 0], ("parts", ""): _grouped(cells[:, :, :, 1:], axis)}
    for name, watched in grounds.events.items():
        v, event, given = watched.variable, watched.event, watched.probability_WLN
        told = event_probability(event, np.moveaxis(quantiles[:, :, v], 2, -1)) if given is None else given.astype(np.float64)
        before = None if origin is None else origin[:, v]
        whole, parts = event_rows(event, told, truth[:, :, v], good[:, :, v], before, members[..., 1:], kinds)
        rows["event", name], rows["warnings", name], rows["onsets", name] = whole, _grouped(parts, axis), parts[..., _ONSETS]
        came = happened(event, truth[:, :, v]) & good[:, :, v]
        within = field_rows(fields, came[..., None].astype(np.float64))[:, :, :, 0]
        rows["outcome", name] = _grouped(np.concatenate([rows_within(planes, came), within], axis=3), axis)
    return rows


def _grouped(rows_WL: NDArray[np.float64], axis: Axis) -> NDArray[np.float64]:
    """(W, K, ...) summed over the leads of each group."""
    return np.add.reduceat(rows_WL, [first - 1 for first, _ in axis.lead_groups], axis=1)


def _tables(rows: Rows, batch: _Batch, columns: list[Column], axis: Axis) -> Iterator[tuple[Table, Limbs]]:
    """Exact sums of the rows by table; a part that nothing belongs to is left out."""
    exact = {name: limbs_of(array) for name, array in rows.items()}
    whole, parts = exact["whole", ""], exact["parts", ""]
    yield Table(), np.swapaxes(normal(whole.sum(axis=0)), 0, 1)
    day_W = batch.issue_time_W // _DAY
    for c, (kind, label) in enumerate(columns[1:]):
        part = normal(parts[:, :, :, c].sum(axis=0))
        if kind == "region":
            blocks = np.stack([parts[:, :, :, c, at].sum(axis=3) for at in block_columns()], axis=3)
            for day, block in grouped_sum(blocks, day_W).items():
                yield Table(what="day", label=label, day=day), np.swapaxes(block, 0, 1)
        if label != EVERYWHERE and part.any():
            yield Table(what="part", kind=kind, label=label), np.swapaxes(part, 0, 1)
    if batch.grounds.hour_WL is not None:
        for hour, part in _by_hour(whole, batch.grounds.hour_WL, axis.lead_codes).items():
            yield Table(what="part", kind="hour", label=hour_label(hour)), part
    for name in batch.grounds.events:
        yield Table(what="event", event=name), normal(exact["event", name].sum(axis=0))
        if (outcome := normal(exact["outcome", name].sum(axis=0))).any():
            yield Table(what="part", kind="event", label=name), np.swapaxes(outcome, 0, 1)
        yield from _event_parts(name, exact, batch.grounds.hour_WL, columns, axis)


def _event_parts(
    name: str, exact: Mapping[tuple[str, str], Limbs], hour_WL: NDArray[np.int64] | None, columns: list[Column], axis: Axis
) -> Iterator[tuple[Table, Limbs]]:
    """What came of warnings in each part, by group of leads, and its onsets by lead."""
    if hour_WL is not None:
        event = exact["event", name][:, :, None]
        for hour, part in _by_hour(event, hour_WL, axis.lead_codes).items():
            yield Table(what="event", kind="hour", label=hour_label(hour), event=name), part[0]
        for hour, part in _by_hour(event[:, :, :, _ONSETS], hour_WL, np.arange(len(axis.lead_times))).items():
            yield Table(what="onset", kind="hour", label=hour_label(hour), event=name), part[0]
    warnings, onsets = (normal(exact[sort, name].sum(axis=0)) for sort in ("warnings", "onsets"))
    for c, (kind, label) in enumerate(columns[1:]):
        if label != EVERYWHERE and warnings[:, c].any():
            yield Table(what="event", kind=kind, label=label, event=name), warnings[:, c]
            yield Table(what="onset", kind=kind, label=label, event=name), onsets[:, c]


def _by_hour(limbs_WLVS: Limbs, hour_WL: NDArray[np.int64], code_L: NDArray[np.int64]) -> dict[int, Limbs]:
    """Per slot of the day the sums (V, K, S) of the leads that fall in it, by the codes of the leads."""
    groups = int(code_L[-1]) + 1
    code_M = (hour_WL * groups + code_L).ravel()
    flat = limbs_WLVS.reshape(-1, *limbs_WLVS.shape[2:])
    found: dict[int, Limbs] = {}
    for code, total in grouped_sum(flat, code_M).items():
        held = found.setdefault(code // groups, np.zeros((flat.shape[1], groups, *flat.shape[2:]), np.int64))
        held[:, code % groups] = total
    return found
