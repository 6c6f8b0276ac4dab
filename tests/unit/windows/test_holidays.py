"""A public holiday reaches models as the Sunday that it is, in windows to learn from and live, and nowhere else."""

from __future__ import annotations

import numpy as np

from pipeline.contracts.times import format_instant, from_seconds, to_seconds
from pipeline.contracts.windows import DomainWindows
from pipeline.contracts.world_files import parse_world
from pipeline.contracts.worlds import World
from pipeline.windows.reader import build_windows
from tests.unit.steps.evidence_world import CUTOFF, WORLD, as_known, made_cube

_PLAIN = parse_world(WORLD, "tiny.toml")
_END = to_seconds(CUTOFF)


def _view(world: World, scalers=None) -> DomainWindows:
    known = as_known(made_cube(_PLAIN), _END, None)
    return build_windows(world, {"road": known}, as_of=_END, scalers=scalers, live=scalers is not None).domains["road"]


def _moved(monkeypatch, day: int) -> World:
    monkeypatch.setattr("pipeline.alignment.time_grid.public_holidays", lambda *_: np.array([day]))
    return _PLAIN.model_copy(update={"holidays": "DK"})


def test_only_the_steps_of_that_local_day_have_another_day_of_the_week(monkeypatch) -> None:
    plain = _view(_PLAIN)
    day = int(plain.valid_time_T[len(plain.valid_time_T) // 2]) // 86400
    told = _view(_moved(monkeypatch, day))
    local = np.array([from_seconds(int(t)).astimezone(_PLAIN.zone).toordinal() - 719163 for t in plain.valid_time_T])
    assert np.array_equal(told.day_of_week_T, np.where(local == day, 6, plain.day_of_week_T))
    assert np.array_equal(told.time_of_day_T, plain.time_of_day_T)
    assert np.array_equal(told.values_TNV, plain.values_TNV)


def test_a_live_window_has_the_days_of_the_windows_to_learn_from(monkeypatch) -> None:
    world = _moved(monkeypatch, _END // 86400)
    whole = _view(world)
    live = _view(world, {"road": whole.scaler})
    shared = np.isin(whole.valid_time_T, live.valid_time_T)
    assert shared.any(), format_instant(CUTOFF)
    assert np.array_equal(whole.day_of_week_T[shared], live.day_of_week_T[np.isin(live.valid_time_T, whole.valid_time_T)])
    assert 6 in live.day_of_week_T
