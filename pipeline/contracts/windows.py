"""WindowSet: everything a model may see, as plain arrays, so that it also runs where no storage is at hand.

Shape suffixes: T axis steps, W windows, N node, V variable, K history summary, E edge, I run, H step of a run,
F forecast variable, D document, P place.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Fold = Literal["train", "validation", "test", "live"]
FOLD_CODES: dict[Fold, int] = {"train": 0, "validation": 1, "test": 2, "live": 3}
"""Codes in `fold_W`; -1 marks a window in the gap between two folds, which nothing may use."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaler:
    """Fitted on the training fold only; scaled = (value - center) / scale.

    Variables scaled `relative` have center 0 and scale 1 here; a model divides their change from the window's last
    value by |last value| * relative_NV. For all others relative_NV is 0.
    """

    center_NV: NDArray[np.float32]
    scale_NV: NDArray[np.float32]
    relative_NV: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Future:
    """What others had forecast for a domain's nodes (weather models, timetables): known-future covariates by vintage.

    Run i speaks of the axis steps first_step_I[i] .. first_step_I[i] + H - 1 and was known from available_time_I[i] on;
    steps before the axis or after its end are allowed. A window uses one run, the one with the newest `init_time` among
    those available at its issue time, for all its targets.

    Attributes:
        variables, units: F names and units.
        init_time_I, available_time_I: int64 seconds UTC, sorted by (available_time, init_time).
        first_step_I: int32 index on the domain's axis of the run's first step.
        values_IHNF: float32, scaled by the training fold's mean and spread, 0 where not good.
        good_IHNF: bool.
        run_W: int32 run of each window of the domain, -1 where none was available.
        scaler: That of the F variables, the same for all nodes: center and scale are (1, F).
    """

    variables: tuple[str, ...]
    units: tuple[str, ...]
    init_time_I: NDArray[np.int64]
    available_time_I: NDArray[np.int64]
    first_step_I: NDArray[np.int32]
    values_IHNF: NDArray[np.float32]
    good_IHNF: NDArray[np.bool_]
    run_W: NDArray[np.int32]
    scaler: Scaler


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """Documents in the order in which they became known; a window at t sees those with t - reach < available_time <= t.

    Attributes:
        reach: Seconds for which a document is seen.
        buckets: Size of the hash space of `token`.
        place_ids: P names of what documents are about (a symbol, a venue), or one for all.
        available_time_D, valid_time_D: int64 seconds UTC, sorted by available_time.
        place_D: int32 index in place_ids.
        token_start_D: (D+1,) int64; the tokens of document d are token[token_start_D[d]:token_start_D[d + 1]].
        token: int32 hashed words and n-grams, 0 .. buckets-1.
        vector_DW: (D, W) float16 by the stream's sentence encoder; W = 0 without one.
        links: Per domain the nodes that each place speaks of: int32 (node, place) pairs (2, E), sorted, and float32 weights
            (E,) in (0, 1], each by its own pair alone, so that a place heard of later changes no window; a domain that is not
            named sees the mean of all documents at every node.
    """

    reach: int
    buckets: int
    place_ids: tuple[str, ...]
    available_time_D: NDArray[np.int64]
    valid_time_D: NDArray[np.int64]
    place_D: NDArray[np.int32]
    token_start_D: NDArray[np.int64]
    token: NDArray[np.int32]
    links: dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]] = field(default_factory=dict)
    vector_DW: NDArray[np.float16] = field(default_factory=lambda: np.zeros((0, 0), np.float16))


@dataclass(frozen=True, kw_only=True, eq=False)
class DomainWindows:
    """One domain's arrays and its windows; a window is one issue time.

    Axis steps run from the domain's start to `horizon` steps after the cut-off; those after the cut-off hold no value.
    A window w sees, for its context steps end-context+1 .. end, a cell only where `valid_time + latency` <= its issue
    time; where a cell was revised later, `patch_*` gives what it must see instead, and so for a window of any other domain
    that looks at this one. Its targets are the steps end+1 .. end+horizon. `history_TNVK[s]` and `coarse_TNV[s]` are built so that any window that may gather them
    (history at its target steps, coarse at end - j*coarse_steps) was able to know them.

    Attributes:
        valid_time_T: int64 seconds UTC.
        values_TNV: float32, scaled, latest version as of the cut-off, 0 where not good.
        good_TNV: bool, a value is there and no flag is set: the target mask.
        latency_TNV: int32 seconds, NEVER where not good.
        history_TNVK: float32, scaled; summaries of the same season before step s, 0 where absent.
        history_good_TNVK: bool.
        history_names: K names such as `lag_1d`, `lag_1w`, `mean_1d`, `mean_1w` (mean over several seasons).
        coarse_TNV: float32, scaled; mean over the `coarse_steps` steps that end at s, 0 where absent.
        coarse_good_TNV: bool.
        time_of_day_T, day_of_week_T: int16 slot of the day (0 .. slots_per_day-1) and 0 = Monday, in the world's zone;
            a public holiday of the world's region is a Sunday.
        anchor_V: int16, -1 = last visible value, k >= 0 = history_TNVK[..., k] at the target step.
        edges_2E: int32 (source, target) with edge_weight_E float32: the nearest nodes, no self edges.
        position_N2: float32 latitude and longitude, scaled to about [-1, 1], 0 where unknown.
        issue_time_W, end_W, fold_W: int64 seconds UTC, int32 index of the last step at or before it, int8 FOLD_CODES.
        patch_start_T: (T+1,) int64; patches of step s are [patch_start_T[s], patch_start_T[s+1]).
        patch_step, patch_node, patch_variable, patch_value: Good versions that were revised later: axis step, node, variable,
            scaled value, sorted by them.
        patch_known_time, patch_gone_time: int64 seconds UTC; a window issued at t sees a patch where known <= t < gone.
        future: Forecasts by others, None where the world has none for this domain.
        near: By other domain (N, J): the nodes of it that lie nearest, int32, and their weights, float32, 0 where there is none. Empty
            where no model is to be trained.
    """

    domain: str
    title: str
    context: int
    horizon: int
    step_seconds: int
    slots_per_day: int
    node_ids: tuple[str, ...]
    grid_shape: tuple[int, int] | None
    variables: tuple[str, ...]
    units: tuple[str, ...]
    targets: tuple[int, ...]
    weight_V: NDArray[np.float32]
    lower_V: NDArray[np.float32]
    upper_V: NDArray[np.float32]
    anchor_V: NDArray[np.int16]
    scaler: Scaler
    valid_time_T: NDArray[np.int64]
    values_TNV: NDArray[np.float32]
    good_TNV: NDArray[np.bool_]
    latency_TNV: NDArray[np.int32]
    history_names: tuple[str, ...]
    history_TNVK: NDArray[np.float32]
    history_good_TNVK: NDArray[np.bool_]
    coarse_steps: int
    coarse_count: int
    coarse_TNV: NDArray[np.float32]
    coarse_good_TNV: NDArray[np.bool_]
    time_of_day_T: NDArray[np.int16]
    day_of_week_T: NDArray[np.int16]
    edges_2E: NDArray[np.int32]
    edge_weight_E: NDArray[np.float32]
    position_N2: NDArray[np.float32]
    issue_time_W: NDArray[np.int64]
    end_W: NDArray[np.int32]
    fold_W: NDArray[np.int8]
    patch_start_T: NDArray[np.int64]
    patch_step: NDArray[np.int32]
    patch_node: NDArray[np.int32]
    patch_variable: NDArray[np.int16]
    patch_value: NDArray[np.float32]
    patch_known_time: NDArray[np.int64]
    patch_gone_time: NDArray[np.int64]
    future: Future | None = None
    near: dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]] = field(default_factory=dict)

    def windows_of(self, fold: Fold) -> NDArray[np.int64]:
        """Indices into the W windows that belong to a fold, in time order."""
        return np.flatnonzero(self.fold_W == FOLD_CODES[fold])

    def unscale(self, scaled: NDArray[np.float32]) -> NDArray[np.float32]:
        """Physical values of scaled ones whose last two axes are (node, variable)."""
        return scaled * self.scaler.scale_NV + self.scaler.center_NV


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowSet:
    """All domains of a world as of one cut-off, ready for training, evaluation or prediction.

    A model that forecasts domain A at issue time t takes from every other domain the last steps at or before t, with
    the same rule of what is seen, patches included.

    Attributes:
        as_of: The cut-off, int64 seconds UTC.
        snapshot: Identity of the cube state that was read.
        zone: IANA zone of the calendar features.
        texts: Streams of documents by name, which every domain may see.
    """

    world: str
    world_digest: str
    zone: str
    as_of: int
    snapshot: str
    domains: dict[str, DomainWindows]
    texts: dict[str, Texts] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """sha256 over every array and setting, the identity of what a model was given."""
        state = hashlib.sha256(f"{self.world_digest} {self.as_of}".encode())
        for part in (self.domains, self.texts):
            for name in sorted(part):
                _update(state, part[name])
        return state.hexdigest()


def _update(state: Any, content: object) -> None:
    """Feed a value, and whatever it holds, to a hash."""
    if is_dataclass(content):
        for each in fields(content):
            _update(state, getattr(content, each.name))
    elif isinstance(content, dict):
        for key in sorted(content):
            state.update(repr(key).encode())
            _update(state, content[key])
    elif isinstance(content, tuple) and any(isinstance(inner, np.ndarray) for inner in content):
        for inner in content:
            _update(state, inner)
    else:
        state.update(np.ascontiguousarray(content).data if isinstance(content, np.ndarray) else repr(content).encode())
