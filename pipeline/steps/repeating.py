"""Work done again where another writer came first: upon the other's, so that both land, or nothing is left to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from pipeline.errors import ConflictError
from pipeline.stores.fences import check as check_fence

_MOST = 8
_Result = TypeVar("_Result")


def again_after_conflicts(attempt: Callable[[], _Result], notes: list[str]) -> _Result:
    """What the first attempt gives that no other writer overtakes; `notes` get a line for each that was overtaken.

    Raises:
        ConflictError: Others came first eight times, or a later attempt of the same run has taken our place.
    """
    for _ in range(_MOST - 1):
        try:
            return attempt()
        except ConflictError as error:
            check_fence()
            notes.append(f"{error.asked}: another writer came first ({error.found}); done again upon its work")
    return attempt()
