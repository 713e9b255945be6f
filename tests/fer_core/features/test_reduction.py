from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from fer_core.config import (
    AugmentConfig,
    Config,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.errors import ConfigError
from fer_core.features import reduction as reduction_
from fer_core.storage.stages import Tally
from fer_core.storage.store import Store

RNG = np.random.default_rng(0)
TALL = (RNG.normal(size=(60, 8)) * np.arange(1, 9) + 3).astype(np.float32)
WIDE = RNG.normal(size=(20, 50)).astype(np.float32)


@pytest.fixture
def fold_of(tmp_path):
    def make_fold(lineage="fold 0", tally=None):
        return reduction_.Fold(Store(tmp_path), {"of": lineage}, tally or Tally())

    return make_fold


@pytest.fixture
def fit(fold_of):
    def fitted(train, pca_dim, tally=None):
        if pca_dim is None:
            return reduction_.standard(train)
        count = reduction_.largest(*train.shape, pca_dim)
        full = reduction_.principal(train, fold_of(tally=tally), count=count)
        return reduction_.cut(full, torch.from_numpy(full(train)), pca_dim)

    return fitted


def test_without_pca_training_frames_come_out_standardised(fit):
    standard = fit(TALL, None)(TALL)

    np.testing.assert_allclose(standard.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standard.std(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize("pca_dim", [None, 3])
@pytest.mark.parametrize("variation", [0.0, 1e-4])
def test_a_feature_that_hardly_varies_in_training_is_left_out(fit, pca_dim, variation):
    train, val = TALL.copy(), TALL.copy()
    train[:, 2] = 4 + variation * RNG.normal(size=len(train))
    val[:, 2] = 100
    reduction = fit(train, pca_dim)
    without = np.delete(train, 2, axis=1), np.delete(val, 2, axis=1)

    expected = fit(without[0], pca_dim)(without[1])

    found = reduction(val)
    if pca_dim is None:
        assert not found[:, 2].any()
        found = np.delete(found, 2, axis=1)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-4, atol=1e-5)


def test_a_feature_with_a_large_mean_leaves_no_other_out():
    train = RNG.normal(scale=0.01, size=(60, 8)).astype(np.float32)
    train[:, 0] = RNG.normal(500, 0.1, size=60)

    assert np.isfinite(reduction_.standard(train).scale).all()


def test_of_frames_that_are_all_alike_nothing_is_left():
    assert not reduction_.standard(np.full((9, 4), 3.3, np.float32))(TALL[:, :4]).any()


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


def test_pca_features_are_scaled_by_their_spread_over_the_training_frames(fit):
    for count in (3, 8):
        assert float(fit(WIDE, count)(WIDE).std()) == pytest.approx(1, abs=0.01)


def test_a_basis_of_what_training_frames_span_is_orthonormal_and_loses_nothing(fold_of):
    turned = reduction_.exact(WIDE, fold_of())
    standard = reduction_.standard(WIDE)(WIDE)

    back = turned(WIDE) @ turned.basis

    np.testing.assert_allclose(turned.basis @ turned.basis.T, np.eye(len(turned.basis)), atol=1e-6)
    np.testing.assert_allclose(back, standard, atol=1e-5)
    assert len(turned.basis) == len(WIDE) - 1  # what is standardised sums to nothing


def test_directions_that_no_training_frame_has_are_left_out(fold_of):
    twice = np.concatenate([WIDE, WIDE])

    assert len(reduction_.exact(twice, fold_of()).basis) == len(WIDE) - 1


def losses_of(features, weights, labels, dtype):
    """Train two layers by SGD with momentum and decay, the first with these weights."""
    torch.manual_seed(0)
    x = torch.from_numpy(features).to(dtype)
    second = torch.nn.Linear(len(weights), 3).to(dtype)
    first = torch.nn.Parameter(torch.from_numpy(weights).to(dtype).clone())
    sgd = torch.optim.SGD([first, *second.parameters()], 0.05, momentum=0.9, weight_decay=1e-2)
    losses = []
    for step in range(30):
        rows = np.arange(step, step + 12) % len(x)
        loss = functional.cross_entropy(second(torch.relu(x[rows] @ first.T)), labels[rows])
        sgd.zero_grad()
        loss.backward()
        sgd.step()
        losses.append(float(loss.detach()))
    return losses


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sgd_on_the_basis_learns_what_it_learns_on_whole_features(dtype, fold_of):
    train = RNG.normal(size=(60, 900)).astype(np.float32)
    turned, whole = reduction_.exact(train, fold_of()), reduction_.standard(train)
    weights = RNG.normal(size=(16, 900)).astype(np.float32) / 30
    labels = torch.from_numpy(RNG.integers(0, 3, 60))
    inside = weights @ turned.basis.T

    reduced = losses_of(turned(train), inside, labels, dtype)
    full = losses_of(whole(train), inside @ turned.basis, labels, dtype)

    np.testing.assert_allclose(reduced, full, rtol=0, atol=1e-5)
    assert full[-1] < full[0] / 2


STREAM = StreamConfig(backbone="vgg16", weights="random", blocks=5, freeze_depth=5)
SGD = Config(streams=(STREAM,), optimizer=OptimizerConfig(name="sgd"))


@pytest.mark.parametrize(
    "changes",
    [
        {"streams": (replace(STREAM, pooling="avg"),)},
        {"streams": (replace(STREAM, freeze_depth=4),)},
        {"streams": (replace(STREAM, pca_dim=5),)},
        {"optimizer": OptimizerConfig(name="adam")},
        {"optimizer": OptimizerConfig(name="sgd", mixed_precision=True)},
        {"head": HeadConfig(dropout=0.1)},
        {"augment": AugmentConfig()},
        {"voting": "attention"},
        {"recurrent": RecurrentConfig(cell="convlstm", hidden=4)},
        {"streams": (STREAM, GeometryConfig()), "fusion": FusionConfig(how="sum")},
    ],
    ids=lambda changes: "+".join(changes),
)
def test_what_is_not_exact_on_the_basis_is_trained_on_whole_features(changes):
    config = replace(SGD, **changes)

    assert not reduction_.is_exact(config, config.images[0])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"head": HeadConfig(fc_layers=2)},
        {"recurrent": RecurrentConfig(cell="gru", hidden=4)},
        {"streams": (STREAM, GeometryConfig()), "fusion": FusionConfig()},
    ],
)
def test_a_linear_layer_under_sgd_is_trained_on_the_basis(changes):
    config = replace(SGD, **changes)

    assert reduction_.is_exact(config, config.images[0])
