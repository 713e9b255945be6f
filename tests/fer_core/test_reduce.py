import numpy as np
import pytest

from fer_core import reduce
from fer_core.errors import ConfigError
from fer_core.stages import Tally
from fer_core.store import Store

RNG = np.random.default_rng(0)
TALL = (RNG.normal(size=(60, 8)) * np.arange(1, 9) + 3).astype(np.float32)
WIDE = RNG.normal(size=(20, 50)).astype(np.float32)


@pytest.fixture
def fit(tmp_path):
    def fitted(train, pca_dim, lineage="fold 0", tally=None):
        return reduce.fit(
            train,
            pca_dim,
            store=Store(tmp_path),
            lineage={"of": lineage},
            tally=tally or Tally(),
        )

    return fitted


def test_without_pca_training_frames_come_out_standardised(fit):
    standard = fit(TALL, None)(TALL)

    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("train", [TALL, WIDE], ids=["more frames", "more features"])
def test_pca_keeps_the_variance_that_the_exact_decomposition_keeps(fit, train):
    reduction = fit(train, 5)
    standard = (train - train.mean(axis=0)) / train.std(axis=0)
    exact = np.linalg.svd(standard, compute_uv=False)[:5]

    kept = np.linalg.norm(reduction(train) * reduction.spread, axis=0)

    np.testing.assert_allclose(np.sort(kept)[::-1], exact, rtol=1e-3)


def test_a_smaller_pca_is_a_cut_of_a_larger_one_and_is_not_made_again(fit):
    tally = Tally()
    large = fit(WIDE, 10, tally=tally)

    small = fit(WIDE, 4, tally=tally)

    np.testing.assert_array_equal(small.basis, large.basis[:4])
    assert tally.work.stages_made == 1


def test_frames_that_are_not_fitted_on_change_nothing(fit):
    first = fit(TALL[:40], 3)(TALL[:40])

    again = fit(TALL[:40], 3)(TALL)[:40]

    np.testing.assert_allclose(first, again, rtol=1e-6)


def test_more_directions_than_the_training_frames_span_are_refused(fit):
    with pytest.raises(ConfigError, match=r"pca_dim is 20; 20 training frames.*at most 19"):
        fit(WIDE, 20)


def test_a_constant_feature_does_no_harm(fit):
    constant = TALL.copy()
    constant[:, 0] = 7

    assert np.isfinite(fit(constant, 3)(constant)).all()
