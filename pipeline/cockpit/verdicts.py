"""Why the newest candidate was taken or kept back, target by target, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pipeline.contracts.scores import Decision, Verdict
from pipeline.contracts.times import parse_instant

_IN_BRACKETS = re.compile(r" \([^()]*(\([^()]*\)[^()]*)*\)")
"""What a sentence can do without: figures in brackets, and what is in brackets within them."""

SAYS = {
    "promoted": "promoted on the evidence",
    "kept": "kept back on the evidence",
    "pending": "awaits a person's approval until {expires}",
    "lapsed": "kept back: nobody answered until {expires}",
    "approved": "approved by a person as of {decided}",
    "rejected": "rejected by a person as of {decided}",
}
"""What became of a candidate, in words."""


def decided(decisions: Iterable[Decision], now: datetime) -> list[dict[str, Any]]:
    """What became of each candidate and instant that was decided by `now`, the newest first; verdicts only of the newest.

    Args:
        decisions: All entries of the log, in its order; of a candidate and instant the last one that was made by `now` counts.
        now: What time it is in the world.
    """
    newest: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        if parse_instant(decision.decided or decision.as_of) <= now:
            newest.pop((decision.as_of, decision.model_id), None)
            newest[decision.as_of, decision.model_id] = decision
    ordered = sorted(newest.values(), key=lambda decision: parse_instant(decision.as_of))[::-1]
    return [_told(decision, now, whole=number == 0) for number, decision in enumerate(ordered)]


def _told(decision: Decision, now: datetime, *, whole: bool) -> dict[str, Any]:
    lapsed = decision.outcome == "pending" and decision.expires is not None and parse_instant(decision.expires) <= now
    outcome = "lapsed" if lapsed else decision.outcome
    told = {
        "as_of": decision.as_of,
        "model_id": decision.model_id,
        "champion": decision.champion,
        "outcome": outcome,
        "says": SAYS[outcome].format(expires=decision.expires, decided=decision.decided),
        "reason": decision.reason,
    }
    return told | {"targets": [_target(verdict, decision) for verdict in decision.verdicts]} if whole else told


def _target(verdict: Verdict, decision: Decision) -> dict[str, Any]:
    """A verdict with what speaks against the candidate, or, where nothing does, all that speaks for it; the first of that in short."""
    against = [check.text for check in verdict.checks if not check.passed]
    why = against or list(verdict.reasons)
    return {
        "domain": verdict.domain,
        "variable": verdict.variable,
        "published": verdict.published,
        "model_id": verdict.model_id or decision.model_id,
        "takes": verdict.model_id in (None, decision.model_id),
        "short": _IN_BRACKETS.sub("", why[0]).partition("; pinball")[0] if why else "no reason given",
        "why": why,
        "reasons": list(verdict.reasons),
    }
