"""Statistics: exact additive sums of forecast errors; a monoid, so that no order and no split can change a score.

Shape suffixes: W windows, L lead, K group of leads, N node, V target variable, Q quantile, C column of nodes, S statistic.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.errors import ContractError
from pipeline.verification.cells import CELLS, PINBALLS
from pipeline.verification.events import EVENTS, ONSETS
from pipeline.verification.exact import FINE, Limbs, from_text, normal, rounded, to_text, total
from pipeline.verification.fields import FIELDS

STATISTICS: tuple[str, ...] = (*CELLS, *FIELDS)
"""Names along S of the whole and of its parts."""

BLOCKS: tuple[str, ...] = ("expected", "n", "absolute", "squared", "pinball")
"""Names along S of a day's block, the unit of comparisons; `pinball` is the sum over the quantile levels."""

FORMAT = 4
"""Of statistics as JSON: those of another are scored again."""

_MOST_GROUPS = 3


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The target variables and leads (seconds) that a domain's sums run over."""

    variables: tuple[str, ...]
    units: tuple[str, ...]
    lead_times: tuple[int, ...]

    @cached_property
    def lead_groups(self) -> tuple[tuple[int, int], ...]:
        """First and last lead (from 1) of each group: at most three, near, middle and far."""
        cuts = np.linspace(0, len(self.lead_times), min(_MOST_GROUPS, len(self.lead_times)) + 1).round().astype(int)
        return tuple((int(a) + 1, int(b)) for a, b in itertools.pairwise(cuts))

    @property
    def lead_codes(self) -> NDArray[np.int64]:
        """The group (from 0) of each lead."""
        return np.repeat(np.arange(len(self.lead_groups)), [b - a + 1 for a, b in self.lead_groups])


@dataclass(frozen=True, kw_only=True, order=True)
class Table:
    """What a table of sums is about.

    `whole`: (V, L, S) over all cells. `part`: (V, K, S) over the cells of one `label` of a `kind` (a region, hours of the day,
    a regime, or where an event happened). `event`: (L, S) of one event, of a part (K, S), all of `EVENTS`; `onset`: of a part
    (L, S), those of `ONSETS`. `day`: (V, K, S) of the windows issued on one day (UTC days since 1970) and of one region.
    """

    what: str = "whole"
    kind: str = ""
    label: str = ""
    event: str = ""
    day: int = 0

    def shape(self, axis: Axis) -> tuple[int, ...]:
        """The shape of the numbers in it."""
        v, leads, groups = len(axis.variables), len(axis.lead_times), len(axis.lead_groups)
        if self.what == "event":
            return (groups if self.kind else leads, len(EVENTS))
        if self.what == "onset":
            return (leads, len(ONSETS))
        if self.what == "day":
            return (v, groups, len(BLOCKS))
        return (v, leads if self.what == "whole" else groups, len(STATISTICS))

    def to_json(self) -> dict[str, Any]:
        """The fields that are not empty."""
        return {name: value for name, value in vars(self).items() if value}


WHOLE = Table()
Key = tuple[str, str, Table]
"""Domain, model, table."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """Exact sums per domain, model and table: zero, and +, which is associative and commutative bit for bit.

    The promise: rows of single windows are rounded to 2^-72 of a unit once, and summed as integers; so any order,
    split or merging of windows, on any number of workers, gives equal sums. All nodes of a window must be in one row.

    Attributes:
        axes: Per domain what V and L are.
        sums: Per key the limbs of its numbers (see `exact`), in normal form.
    """

    axes: Mapping[str, Axis]
    sums: Mapping[Key, Limbs]

    @staticmethod
    def zero() -> Statistics:
        """The statistics of nothing: adding it changes nothing."""
        return Statistics(axes={}, sums={})

    @staticmethod
    def added(parts: Iterable[Statistics]) -> Statistics:
        """All of them together.

        Raises:
            ContractError: They run over different variables, units or leads.
        """
        axes: dict[str, Axis] = {}
        sums: dict[Key, list[Limbs]] = {}
        for part in parts:
            for domain, axis in part.axes.items():
                if axes.setdefault(domain, axis) != axis:
                    raise ContractError(
                        asked=f"add statistics of domain {domain}",
                        found=f"{axes[domain]} and {axis}",
                        mend="add scores of one world's settings only",
                    )
            for key, limbs in part.sums.items():
                sums.setdefault(key, []).append(limbs)
        return Statistics(axes=axes, sums={key: total(held) for key, held in sums.items()})

    def __add__(self, other: Statistics) -> Statistics:
        return Statistics.added((self, other))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Statistics) and self.to_json() == other.to_json()

    def models(self, domain: str) -> tuple[str, ...]:
        """The models scored on a domain, sorted."""
        return tuple(sorted({model for d, model, _ in self.sums if d == domain}))

    @cached_property
    def _tables(self) -> dict[tuple[str, str, str], list[Table]]:
        found: dict[tuple[str, str, str], list[Table]] = {}
        for domain, model, table in sorted(self.sums):
            found.setdefault((domain, model, table.what), []).append(table)
        return found

    def tables(self, domain: str, model: str, what: str) -> tuple[Table, ...]:
        """The tables of one sort, sorted."""
        return tuple(self._tables.get((domain, model, what), ()))

    def table(self, domain: str, model: str, table: Table) -> NDArray[np.float64]:
        """The numbers of a table in physical units, each correctly rounded; zeros where it is not there."""
        limbs = self.sums.get((domain, model, table))
        return np.zeros(table.shape(self.axes[domain])) if limbs is None else rounded(limbs)

    def total(self, domain: str, model: str, *, over_leads: bool = False) -> NDArray[np.float64]:
        """The whole, (V, L, S), or (V, S) over all leads too, each correctly rounded from the exact sum."""
        limbs = self.sums.get((domain, model, WHOLE))
        if limbs is None:
            shape = WHOLE.shape(self.axes[domain])
            return np.zeros((shape[0], shape[2]) if over_leads else shape)
        return rounded(normal(limbs.sum(axis=1)) if over_leads else limbs)

    def days(self, domain: str, model: str) -> tuple[int, ...]:
        """The days on which a model was scored, sorted."""
        return tuple(sorted({t.day for t in self.tables(domain, model, "day")}))

    def regions(self, domain: str, model: str) -> tuple[str, ...]:
        """The regions that the days are told apart by, sorted."""
        return tuple(sorted({t.label for t in self.tables(domain, model, "day")}))

    def daily(self, domain: str, model: str, region: str | None = None) -> NDArray[np.float64]:
        """Sums per day (day, V, K, S of `BLOCKS`), of all regions or of one, each correctly rounded from the exact sum."""
        days = self.days(domain, model)
        wanted: dict[int, list[Limbs]] = {day: [] for day in days}
        for table in self.tables(domain, model, "day"):
            if region in (None, table.label):
                wanted[table.day].append(self.sums[domain, model, table])
        shape = Table(what="day").shape(self.axes[domain])
        zero: Limbs = np.zeros((*shape, 4), np.int64)
        return np.array([rounded(normal(sum(wanted[day], zero))) for day in days]).reshape(-1, *shape)

    def without(self, model: str) -> Statistics:
        """The same without one model."""
        return Statistics(axes=self.axes, sums={key: limbs for key, limbs in self.sums.items() if key[1] != model})

    def only(self, domains: frozenset[str]) -> Statistics:
        """The same of some domains."""
        return Statistics(
            axes={d: axis for d, axis in self.axes.items() if d in domains}, sums={k: v for k, v in self.sums.items() if k[0] in domains}
        )

    def to_json(self) -> dict[str, Any]:
        """JSON content, keys sorted; `from_json` gives equal statistics."""
        return {
            "format": FORMAT,
            "unit": f"2^-{FINE}",
            "statistics": {"whole": list(STATISTICS), "event": list(EVENTS), "day": list(BLOCKS)},
            "axes": {
                d: {"variables": list(a.variables), "units": list(a.units), "lead_times": list(a.lead_times)}
                for d, a in sorted(self.axes.items())
            },
            "sums": [
                {"domain": d, "model": m, "table": t.to_json(), "values": to_text(self.sums[d, m, t])} for d, m, t in sorted(self.sums)
            ],
        }

    @staticmethod
    def from_json(content: Mapping[str, Any], *, what: str | None = None) -> Statistics:
        """The statistics that `to_json` wrote, or only its tables of one sort.

        Raises:
            ContractError: They were written in another unit or with other statistics.
        """
        expected = Statistics.zero().to_json()
        if any(content.get(name) != expected[name] for name in ("format", "unit", "statistics")):
            raise ContractError(
                asked="read statistics",
                found=f"format {content.get('format', 1)} with {content.get('statistics')}",
                mend="score again with this version",
            )
        axes = {
            d: Axis(variables=tuple(a["variables"]), units=tuple(a["units"]), lead_times=tuple(a["lead_times"]))
            for d, a in content["axes"].items()
        }
        sums: dict[Key, Limbs] = {}
        for row in content["sums"]:
            if what not in (None, row["table"].get("what", WHOLE.what)):
                continue
            table = Table(**row["table"])
            sums[row["domain"], row["model"], table] = from_text(row["values"], table.shape(axes[row["domain"]]))
        return Statistics(axes=axes, sums=sums)


def block_columns() -> list[list[int]]:
    """Per name of `BLOCKS` the positions in `CELLS` that add up to it."""
    return [[CELLS.index(p) for p in PINBALLS] if name == "pinball" else [CELLS.index(name)] for name in BLOCKS]


def stitched(domain: str, owners: Sequence[Statistics], events: Mapping[str, str]) -> Statistics:
    """One domain's statistics of which each variable comes from its owner; `events` names the variable of each event.

    All owners were scored under the same model names, on the same windows.
    """
    axis = owners[0].axes[domain]
    sums: dict[Key, Limbs] = {}
    for key in sorted({key for owner in owners for key in owner.sums if key[0] == domain}):
        table = key[2]
        zero: Limbs = np.zeros((*table.shape(axis), 4), np.int64)
        if table.event:
            owner = owners[axis.variables.index(events[table.event])]
            if key in owner.sums:
                sums[key] = owner.sums[key]
        else:
            sums[key] = np.stack([owner.sums.get(key, zero)[v] for v, owner in enumerate(owners)])
    return Statistics(axes={domain: axis}, sums=sums)
