"""Label maturity: how long after its valid time what came is known, and which models may therefore forecast an instant."""

from __future__ import annotations

from pipeline.contracts.worlds import World
from pipeline.windows.index import issue_lag


def label_maturity(world: World, domain: str | None = None) -> int:
    """Seconds after its valid time at which a label is known: the longest declared latency, of one domain or of all."""
    return max(issue_lag(world, name) for name in ([domain] if domain else world.domains))


def may_forecast(cut_off: int, maturity: int, issue_time: int) -> bool:
    """Whether a model trained as of `cut_off` may be used at an issue time (all in seconds).

    Labels up to the cut-off are whole once their maturity has passed; a model that is used earlier has judged itself
    by labels of which some were still on their way.
    """
    return cut_off + maturity <= issue_time
