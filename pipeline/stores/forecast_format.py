"""Published forecasts at rest: the arrays of a domain's group and what CF asks of them. Pure metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import QUANTILES, DomainForecast
from pipeline.contracts.judging import Event
from pipeline.contracts.nodes import NodeSet
from pipeline.stores.exports import cf_units

FORMAT = 1
_ROWS_PER_CHUNK = 1024
_NODES_PER_CHUNK = 4096
_SECONDS = {"units": "seconds since 1970-01-01T00:00:00Z", "calendar": "proleptic_gregorian", "units_metadata": "leap_seconds: none"}
ROW = ("issue_time", "lead_time", "node", "quantile")


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """One array: its metadata, and its values where they are the same for all issue times."""

    path: str
    dtype: str
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    fill: Any
    dims: tuple[str, ...]
    attributes: dict[str, Any]
    values: NDArray[Any] | None = None


@dataclass(frozen=True, kw_only=True)
class DomainForm:
    """What all forecasts in one group share.

    Attributes:
        nominal_leads: Seconds of each lead on an axis without gaps; the exact ones stand in `forecast_period`.
        units: Of each variable.
        labels: Further attributes of each variable, such as `long_name`.
        events: Those whose probability is told, by name.
    """

    domain: str
    title: str
    nominal_leads: tuple[int, ...]
    units: Mapping[str, str]
    labels: Mapping[str, Mapping[str, str]]
    events: Mapping[str, Event] = field(default_factory=dict)

    def fits(self, stored: Mapping[str, Any]) -> bool:
        """Whether a group that says so of itself can take rows of this form; new variables and events it can take."""
        same = {name: unit for name, unit in self.units.items() if name in stored["units"]}
        return (
            stored["format"] == FORMAT
            and tuple(stored["leads"]) == self.nominal_leads
            and tuple(stored["levels"]) == QUANTILES
            and all(stored["units"][name] == unit for name, unit in same.items())
            and all(stored.get("events", {}).get(name, told) == told for name, told in self._events.items())
        )

    @property
    def _events(self) -> dict[str, list[str | float]]:
        return {name: [event.variable, event.condition, event.threshold] for name, event in self.events.items()}

    def attributes(self, world: str, places: NodeSet, before: Mapping[str, Any]) -> dict[str, Any]:
        """Attributes of the group; `before` is what it said of itself, whose variables and events stay."""
        return {
            "Conventions": "CF-1.11",
            "title": f"Forecasts of {self.title}, world {world}",
            "source": "cubecast",
            "history": "a row appended for each forecast; provenance has what each was made from",
            "cubecast": {
                "format": FORMAT,
                "domain": self.domain,
                "leads": list(self.nominal_leads),
                "levels": list(QUANTILES),
                "units": {**before.get("units", {}), **self.units},
                "events": {**before.get("events", {}), **self._events},
                "grid_shape": None if places.shape is None else list(places.shape),
            },
        }


def fixed_lines(form: DomainForm, d: DomainForecast, places: NodeSet) -> list[Line]:
    """Coordinates that are the same for all issue times."""
    at = {node: i for i, node in enumerate(places.ids)}
    order = [at[node] for node in d.node_ids]
    named = {"long_name": "identity of the node", "cf_role": "timeseries_id"}
    latitude = {"standard_name": "latitude", "long_name": "latitude", "units": "degrees_north"}
    longitude = {"standard_name": "longitude", "long_name": "longitude", "units": "degrees_east"}
    nominal = {"long_name": "lead time on an axis without gaps; forecast_period has the exact one", "units": "s"}
    return [
        _fixed("lead_time", "int64", "lead_time", np.array(form.nominal_leads), nominal),
        _fixed("quantile", "float64", "quantile", np.array(QUANTILES), {"long_name": "quantile level", "units": "1"}),
        _fixed("node", "string", "node", np.array(d.node_ids, dtype=object), named),
        _fixed("latitude", "float64", "node", places.latitude[order], latitude),
        _fixed("longitude", "float64", "node", places.longitude[order], longitude),
    ]


def row_lines(form: DomainForm, nodes: int) -> list[Line]:
    """Arrays with a row per issue time, none yet."""
    leads = len(form.nominal_leads)
    reference = {"standard_name": "forecast_reference_time", "long_name": "issue time", **_SECONDS}
    valid = {"standard_name": "time", "long_name": "valid time", **_SECONDS}
    period = {"standard_name": "forecast_period", "long_name": "valid time minus issue time", "units": "s"}
    lines = [
        _row("issue_time", "int64", 0, (), reference),
        _row("valid_time", "int64", 0, (leads,), valid),
        _row("forecast_period", "int64", 0, (leads,), period),
        _row("revision", "int32", 0, (), {"long_name": "revision of the forecast, 0 as first issued"}),
        _row("forecast", "string", "", (), {"long_name": "digest of the forecast"}),
        _row("provenance", "string", "", (), {"long_name": "what the forecast was made from, as JSON"}, each=1),
    ]
    for name, unit in form.units.items():
        labels = {"long_name": name.replace("_", " "), **form.labels.get(name, {})}
        degrees = {"units_metadata": "temperature: on_scale"} if "temperature" in labels.get("standard_name", "") else {}
        told = {**labels, **cf_units(unit), **degrees, "ancillary_variables": f"{name}_model", "coordinates": _COORDINATES}
        sizes = (leads, nodes, len(QUANTILES))
        lines.append(
            Line(
                path=name,
                dtype="float32",
                shape=(0, *sizes),
                chunks=(1, leads, max(1, min(nodes, _NODES_PER_CHUNK)), len(QUANTILES)),
                fill=float("nan"),
                dims=ROW,
                attributes=told,
            )
        )
        lines.append(_row(f"{name}_model", "string", "", (), {"long_name": f"model that was published for {labels['long_name']}"}))
    return [*lines, *(_event_line(form, name, event, nodes) for name, event in form.events.items())]


def probability_name(event: str) -> str:
    """The array of an event's probability."""
    return f"probability_of_{event}"


def _event_line(form: DomainForm, name: str, event: Event, nodes: int) -> Line:
    """Dims (issue_time, lead_time, node), NaN where nothing was forecast."""
    leads, variable = len(form.nominal_leads), form.labels.get(event.variable, {}).get("long_name", event.variable.replace("_", " "))
    return Line(
        path=probability_name(name),
        dtype="float32",
        shape=(0, leads, nodes),
        chunks=(1, leads, max(1, min(nodes, _NODES_PER_CHUNK))),
        fill=float("nan"),
        dims=ROW[:3],
        attributes={
            "long_name": f"probability of {event.title or name}: {variable} {event.condition} {event.threshold:g} {form.units[event.variable]}",
            "units": "1",
            "event": name,
            "variable": event.variable,
            "condition": event.condition,
            "threshold": event.threshold,
            "warn_at": event.warn_at,
            "ancillary_variables": f"{event.variable}_model",
            "coordinates": _COORDINATES,
        },
    )


_COORDINATES = "valid_time forecast_period latitude longitude"


def _fixed(path: str, dtype: str, dim: str, values: NDArray[Any], attributes: dict[str, Any]) -> Line:
    fill: Any = "" if dtype == "string" else 0 if dtype == "int64" else float("nan")
    chunks = (max(1, min(len(values), 1 << 16)),)
    return Line(path=path, dtype=dtype, shape=values.shape, chunks=chunks, fill=fill, dims=(dim,), attributes=attributes, values=values)


def _row(path: str, dtype: str, fill: Any, space: Sequence[int], attributes: dict[str, Any], each: int = _ROWS_PER_CHUNK) -> Line:
    dims = ("issue_time", "lead_time")[: 1 + len(space)]
    return Line(path=path, dtype=dtype, shape=(0, *space), chunks=(each, *space), fill=fill, dims=dims, attributes=attributes)
