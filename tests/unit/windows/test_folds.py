import numpy as np

from pipeline.contracts.times import from_seconds
from pipeline.contracts.world_files import parse_world
from pipeline.contracts.worlds import Folds
from pipeline.windows.folds import fold_boundaries, fold_codes
from tests.feeds import START, WORLD


def test_boundaries_are_shares_of_the_time_from_the_start_to_the_cut_off() -> None:
    assert fold_boundaries(parse_world(WORLD, "little"), "traffic", START + 1000) == (START + 700, START + 800)


def test_a_domain_with_folds_of_its_own_counts_from_its_own_start() -> None:
    world = parse_world(WORLD, "little")
    own = world.domains["traffic"].model_copy(
        update={"start": from_seconds(START - 1000), "folds": Folds(train=0.5, validation=0.25, test=0.25)}
    )
    changed = world.model_copy(update={"domains": world.domains | {"traffic": own}})
    assert fold_boundaries(changed, "traffic", START + 1000) == (START, START + 500)
    assert fold_boundaries(changed, "slow", START + 1000) == (START + 700, START + 800)


def test_windows_whose_targets_cross_a_boundary_belong_to_no_fold() -> None:
    issue = np.array([0, 60, 69, 70, 75, 78, 80, 95, 98])
    assert list(fold_codes(issue, issue + 4, (70, 80), 100)) == [0, 0, -1, 1, 1, -1, 2, 2, -1]


def test_a_target_exactly_on_a_boundary_belongs_to_the_fold_before_it() -> None:
    assert list(fold_codes(np.array([66, 76, 96]), np.array([70, 80, 100]), (70, 80), 100)) == [0, 1, 2]
