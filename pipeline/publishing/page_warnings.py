"""Warnings on the page: per declared event the places where its probability reaches `warn_at`, when, and how probable it is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.contracts.forecasts import DomainForecast
from pipeline.contracts.judging import Event
from pipeline.publishing.event_tables import told_of
from pipeline.publishing.page_inputs import PageInputs
from pipeline.publishing.words import instant_text, label_text, percent_text, span_text, unit_text

MOST_PLACES = 5
"""Places of one event that a page lists, the most probable first; the files have all."""


def warnings(page: PageInputs) -> list[dict[str, Any]]:
    """One entry per event of the world that this forecast tells of, those to warn of first."""
    found = [
        _entry(page, d, name, event)
        for domain, settings in page.world.domains.items()
        if (d := page.forecast.domains.get(domain)) is not None
        for name, event in told_of(d, settings.events).items()
    ]
    return sorted(found, key=lambda entry: not entry["places"])


def _entry(page: PageInputs, d: DomainForecast, name: str, event: Event) -> dict[str, Any]:
    probability_LN, settings = d.events[name], page.world.domains[d.domain]
    peak_N = probability_LN.max(axis=0)
    order = np.argsort(-peak_N, kind="stable")
    warned = [int(n) for n in order if peak_N[n] >= np.float32(event.warn_at)]
    unit = unit_text(d.units[d.variables.index(event.variable)])
    label = label_text(event.variable, settings.variables[event.variable].long_name)
    likeliest = _place(page, d, probability_LN, int(order[0]), event)
    return {
        "domain": d.domain,
        "domain_title": settings.title,
        "title": label_text(name, event.title),
        "condition": f"{label} {event.condition} {event.threshold:g}{' ' if unit else ''}{unit}",
        "variable": event.variable,
        "warn_at": f"{100 * event.warn_at:.0f} %",
        "places": len(warned),
        "of": len(d.node_ids),
        "rows": [_place(page, d, probability_LN, n, event) for n in warned[:MOST_PLACES]],
        "more": max(0, len(warned) - MOST_PLACES),
        "likeliest": likeliest,
    }


def _place(page: PageInputs, d: DomainForecast, probability_LN: NDArray[np.float32], n: int, event: Event) -> dict[str, Any]:
    """A place with its peak, and from when to when the probability reaches `warn_at`."""
    probability_L = probability_LN[:, n]
    over, top = np.flatnonzero(probability_L >= np.float32(event.warn_at)), int(probability_L.argmax())
    first, last = (int(over[0]), int(over[-1])) if len(over) else (top, top)
    when = [int(d.valid_time_L[lead]) for lead in (first, last, top)]
    return {
        "node": d.node_ids[n],
        "lead": top,
        "when": span_text(when[0], when[1], page.world.zone),
        "steps": f"{len(over)} of {len(probability_L)}",
        "peak": percent_text(float(probability_L[top])),
        "percent": f"{100 * float(probability_L[top]):.1f}",
        "top": instant_text(when[2], page.world.zone),
    }
