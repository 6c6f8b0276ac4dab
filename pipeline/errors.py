"""Errors, grouped by what whoever catches them should do; each says what was asked, what was found, and the mend."""

from __future__ import annotations

from typing import Any, ClassVar


class CubecastError(Exception):
    """Base of every error that Cubecast raises on purpose.

    Args:
        asked: What was asked for, with the place (file, row, key, time).
        found: What was found instead.
        mend: What the reader can do about it.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, *, asked: str, found: str, mend: str) -> None:
        super().__init__(f"{asked}: {found}. Mend: {mend}")
        self.asked, self.found, self.mend = asked, found, mend

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.asked, self.found, self.mend)


def _again(kind: type[CubecastError], asked: str, found: str, mend: str) -> CubecastError:
    """The error as another process raised it."""
    return kind(asked=asked, found=found, mend=mend)


class NotYetAvailable(CubecastError):
    """What was asked for may exist later: come back."""

    exit_code = 75


class AbsentError(NotYetAvailable):
    """The provider answers, and says that what was asked for is not there."""


class ConflictError(CubecastError):
    """Another writer came first; nothing was written, and repeating is safe."""

    exit_code = 75


class ContractError(CubecastError):
    """Data or code break a contract: stop, and mend one of them."""

    exit_code = 65


class LookaheadError(ContractError):
    """Something later than `as_of` was about to be used."""


class ConfigError(CubecastError):
    """A world file, an option or a variable of the environment is wrong."""

    exit_code = 78


class StoreError(CubecastError):
    """Storage is broken, full or out of reach: wake someone."""

    exit_code = 74


class AlarmError(CubecastError):
    """Everything was done, and what was found should not go on unseen: look before relying on it."""

    exit_code = 80
