"""The forecast page of a world: one self-contained HTML file, no network."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.contracts.forecasts import JOINT
from pipeline.contracts.scores import Promotion
from pipeline.contracts.times import parse_instant, to_seconds
from pipeline.publishing.page_data import page_data
from pipeline.publishing.page_inputs import PageInputs
from pipeline.publishing.page_pairs import pairs
from pipeline.publishing.page_warnings import warnings
from pipeline.publishing.seen import SEEN, document_rows, reading_rows, run_rows
from pipeline.publishing.words import instant_text, label_text, model_text, reason_text, utc_text

if TYPE_CHECKING:
    from jinja2 import Template

_NOT_ON_PAGE = ("history", "config", "config_digest", "schema", "window_digest", "world", "world_digest", "code_version", "snapshot")
"""Keys of a card that the provenance shows, or that are for programs."""

_MOST_PROMOTIONS = 12

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("tools", "axes", "map", "fan", "earlier", "scores", "calibration", "why", "looked", "holes", "warnings", "choose")
"""The parts of the page's script, in order; they share one scope."""


def render_page(page: PageInputs) -> bytes:
    """The page as HTML bytes, the same for the same inputs; every text from outside is escaped."""
    data = json.dumps(page_data(page), ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    html = _template().render(page=_words(page), data=data, css=_text("page.css"), js=_script())
    return html.encode()


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html.j2")


@cache
def _text(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")


def _script() -> str:
    parts = "\n".join(_text(f"js/{name}.js") for name in _SCRIPTS)
    return f'(() => {{\n"use strict";\n{parts}\n}})();'


def _words(page: PageInputs) -> dict[str, Any]:
    world, issue_time = page.world, page.forecast.issue_time
    verdicts = _verdicts(page)
    joint, told = sum(row["published"] == JOINT for row in verdicts), warnings(page)
    return {
        "world": {"name": world.name, "title": world.title, "description": world.description, "zone": world.timezone},
        "issued": {"local": instant_text(issue_time, world.zone), "utc": utc_text(issue_time)},
        "warnings": told,
        "warned_summary": _warned_summary(told),
        "verdict_summary": f"Joint model for {joint} of {len(verdicts)} targets, a baseline for {len(verdicts) - joint}"
        if verdicts
        else "Nothing promoted yet",
        "verified_summary": _verified_summary(page),
        "verdicts": verdicts,
        "freshness": reading_rows(world, page.forecast),
        "runs": run_rows(world, page.forecast),
        "documents": document_rows(world, page.forecast),
        "absent": [world.domains[d].title for d in page.forecast.provenance.get("absent", []) if d in world.domains],
        "promotions": [_promotion(page, p) for p in page.promotions[::-1][:_MOST_PROMOTIONS]],
        "more_promotions": max(0, len(page.promotions) - _MOST_PROMOTIONS),
        "revision": page.revision,
        "changes": page.changes,
        "card": pairs(page.card, skip=_NOT_ON_PAGE),
        "provenance": pairs({**page.forecast.provenance, "revision": page.revision}, skip=(*SEEN, "explanation")),
        "products": list(page.products.items()),
        "version": page.version,
    }


def _warned_summary(told: list[dict[str, Any]]) -> str:
    named = [f"{entry['title']} at {entry['places']:,} of {entry['of']:,} places" for entry in told if entry["places"]]
    return "; ".join(named) if named else "None" if told else "No event is declared"


def _verified_summary(page: PageInputs) -> str:
    rows = [r for r in page.verified if r.model == "published" and r.lead == 0]
    if not page.verified_issues or not any(r.n for r in rows):
        return "Not verified yet"
    return f"{page.verified_issues} forecast{'s' if page.verified_issues != 1 else ''}, {sum(r.n for r in rows):,} values"


def _variable_text(page: PageInputs, domain: str, variable: str) -> str:
    settings = page.world.domains[domain].variables.get(variable) if domain in page.world.domains else None
    return label_text(variable, settings.long_name if settings else "")


def _verdicts(page: PageInputs) -> list[dict[str, Any]]:
    order = list(page.world.domains)
    found = [v for v in (page.promotion.verdicts if page.promotion else ()) if v.domain in order]
    return [
        {
            "domain": page.world.domains[v.domain].title,
            "variable": _variable_text(page, v.domain, v.variable),
            "published": v.published,
            "model": model_text(v.published),
            "reasons": [
                reason_text(reason, page.forecast.domains[v.domain].units if v.domain in page.forecast.domains else ())
                for reason in v.reasons
            ],
        }
        for v in sorted(found, key=lambda v: order.index(v.domain))
    ]


def _promotion(page: PageInputs, entry: Promotion) -> dict[str, Any]:
    """One entry of the log of champions in words."""
    joint = [v for v in entry.verdicts if v.published == JOINT]
    return {
        "when": instant_text(to_seconds(parse_instant(entry.as_of)), page.world.zone),
        "model": entry.model_id,
        "previous": entry.previous or "none",
        "how": entry.how,
        "joint": f"{len(joint)} of {len(entry.verdicts)}",
        "reason": entry.reason,
    }
