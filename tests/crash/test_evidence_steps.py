"""A step that dies between any two writes is run again, and the store is as if it had never died."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.api import EvaluateRequest, PredictRequest, PromoteRequest, PublishRequest, Receipt, VerifyRequest
from pipeline.steps import evaluate, predict, promote, publish, verify
from pipeline.stores.forecast_arrays import ForecastArrays
from pipeline.stores.objects import ObjectStore
from pipeline.stores.published import PublishedStore
from pipeline.telemetry import QUIET
from tests.unit.steps.evidence_world import CUTOFF, ISSUE, LATER, Town, make_town


class Killed(BaseException):
    """What kill -9 looks like from inside: nothing catches it."""


STEPS: dict[str, Callable[[Town], Receipt]] = {
    "evaluate": lambda t: evaluate.run(EvaluateRequest(world=t.file, as_of=CUTOFF), t.settings, QUIET),
    "promote": lambda t: promote.run(PromoteRequest(world=t.file, as_of=CUTOFF), t.settings, QUIET),
    "predict": lambda t: predict.run(PredictRequest(world=t.file, as_of=ISSUE), t.settings, QUIET),
    "publish": lambda t: publish.run(PublishRequest(world=t.file, as_of=ISSUE), t.settings, QUIET),
    "verify": lambda t: verify.run(VerifyRequest(world=t.file, as_of=LATER), t.settings, QUIET),
}


def _files(town: Town) -> dict[str, bytes]:
    root = Path(town.settings.store)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def _content(town: Town) -> dict[str, object]:
    """The bytes of all files; of the published arrays, whose files have random names, what a reader finds in them."""
    found: dict[str, object] = {name: data for name, data in _files(town).items() if "/published/zarr" not in name}
    arrays = ForecastArrays(town.settings.store, "tiny")
    if Path(arrays.url).exists() and arrays.history():
        found |= {str(name): variable.values.tolist() for name, variable in arrays.open("road").variables.items()}
    return found


def _dying(patch: pytest.MonkeyPatch, after: int) -> list[int]:
    """Let writes die before write number `after`; counts those that were made."""
    made: list[int] = []

    def guarded(write: Callable) -> Callable:
        def before(self: ObjectStore, key: str, data: bytes):
            if len(made) == after:
                raise Killed
            made.append(1)
            return write(self, key, data)

        return before

    patch.setattr(ObjectStore, "put_if_absent", guarded(ObjectStore.put_if_absent))
    patch.setattr(ObjectStore, "replace", guarded(ObjectStore.replace))
    return made


@pytest.mark.parametrize("step", list(STEPS))
def test_killed_between_any_two_writes_and_run_again_the_state_is_equal(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = list(STEPS)
    (tmp_path / "whole").mkdir()
    town = make_town(tmp_path / "whole", monkeypatch)
    for name in names[: names.index(step)]:
        STEPS[name](town)
    before = _files(town)
    with monkeypatch.context() as patch:
        writes = len(_run_counted(patch, step, town))
    whole = _content(town)
    for after in sorted({round(i * (writes - 1) / 7) for i in range(8)}):
        _restore(town, before)
        with monkeypatch.context() as patch:
            _dying(patch, after)
            with pytest.raises(Killed):
                STEPS[step](town)
        if step == "publish":
            published = PublishedStore(ObjectStore(town.settings.store), "tiny")
            assert len(published.issue_times()) in (0, 1)  # all of it, or nothing yet
        STEPS[step](town)
        assert _content(town) == whole, f"killed before write {after} of {writes}"


def _run_counted(patch: pytest.MonkeyPatch, step: str, town: Town) -> list[int]:
    made = _dying(patch, 10**9)
    STEPS[step](town)
    return made


def _restore(town: Town, files: dict[str, bytes]) -> None:
    root = Path(town.settings.store)
    for path in [p for p in root.rglob("*") if p.is_file()]:
        if str(path.relative_to(root)) not in files:
            path.unlink()
    for name, content in files.items():
        (root / name).write_bytes(content)
