from types import SimpleNamespace

import numpy as np

from pipeline.verification.evaluation import truth_of


def test_the_truth_is_what_was_observed_to_the_last_bit_and_steps_after_the_cut_off_are_not_good() -> None:
    observed = np.float32([0, 3, 0.1, 7]).reshape(4, 1, 1)
    good = np.array([True, True, True, True, False]).reshape(5, 1, 1)
    windows = SimpleNamespace(end_W=np.int32([0, 1, 2]), horizon=2, targets=(0,), good_TNV=good)
    truth = truth_of(windows, observed, np.array([0, 2]))
    assert truth.values_WLNV[0].ravel().tolist() == observed[1:3].ravel().tolist()
    assert truth.values_WLNV[1, 0, 0, 0] == 7
    assert truth.good_WLNV.reshape(2, 2).tolist() == [[True, True], [True, False]]
