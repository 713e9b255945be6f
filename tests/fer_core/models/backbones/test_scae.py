import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from fer_core.config import PretrainConfig, StreamConfig
from fer_core.models.backbones import build, scae
from tests.fer_core.models.backbones.faces import faces

PEOPLE, STRANGERS = range(1, 7), range(7, 11)
LABELLED = 2  # of the people: 24 clips, 4 of each emotion
SEEDS = range(2)
DRAWS = 6  # of the labelled people


def stream(**choices):
    common = {"backbone": "scae", "weights": "random", "blocks": 4, "freeze_depth": 0}
    return StreamConfig(**common | {"width": 0.5} | choices)


def random_start(seed=0, **choices):
    return build(stream(**choices), weights_file=None, seed=seed)


def features(blocks, maps):
    with torch.no_grad():
        for block in blocks:
            maps = block(maps)
    return maps.flatten(1).numpy()


@pytest.fixture(scope="module")
def shown(rendered):
    return faces(rendered, 32)


def fit(shown, seed, **choices):
    """Fit to all frames of six people, without labels."""
    backbone = random_start(seed)
    images = backbone.preprocess(shown.of(*PEOPLE).pixels)
    return backbone.blocks, scae.fit(backbone.blocks, images, PretrainConfig(**choices), seed)


@pytest.fixture(scope="module")
def fitted(shown):
    """The blocks that few epochs fit, and their curves."""
    return fit(shown, seed=0, epochs=4, lr=3e-3)


def accuracy(blocks, shown, draw):
    """Of a linear classifier of frozen features, of strangers, where few people have labels."""
    few = np.random.default_rng(draw).permutation(PEOPLE)[:LABELLED]
    train, test = shown.of(*few).apexes(), shown.of(*STRANGERS).apexes()
    preprocess = random_start().preprocess
    inputs = [features(blocks, preprocess(part.pixels)) for part in (train, test)]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    return classifier.fit(inputs[0], train.emotions).score(inputs[1], test.emotions)


@pytest.mark.slow
def test_every_layer_lowers_its_reconstruction_error(fitted):
    _, curves = fitted

    assert len(curves) == 4
    for curve in curves:
        assert curve[-1].reconstruction_error < 0.6 * curve[0].reconstruction_error


@pytest.mark.slow
def test_where_labels_are_few_its_start_beats_a_random_one(shown):
    starts = {
        "random": [random_start(seed).blocks for seed in SEEDS],
        "standardised": [fit(shown, seed, epochs=1, lr=1e-9)[0] for seed in SEEDS],  # and random
        "fitted": [fit(shown, seed, epochs=12, lr=3e-3)[0] for seed in SEEDS],
    }

    scores = {
        name: np.mean([accuracy(b, shown, draw) for b in blocks for draw in range(DRAWS)])
        for name, blocks in starts.items()
    }

    assert scores["fitted"] > scores["random"] + 0.05
    assert scores["fitted"] > scores["standardised"] + 0.03


@pytest.mark.slow
def test_a_fitted_block_gives_standardised_maps(fitted, shown):
    blocks, _ = fitted
    maps = random_start().preprocess(shown.of(*PEOPLE).pixels)

    with torch.no_grad():
        for block in blocks:
            maps = block(maps)
            means, deviations = maps.mean(dim=(0, 2, 3)), maps.std(dim=(0, 2, 3))
            assert means.abs().max() < 0.01
            assert (deviations < 1.01).all()  # below 1 where a channel is hardly ever on
            assert deviations.median() > 0.99


@pytest.mark.parametrize("side", [32, 48, 63, 224])
def test_crops_of_every_size_pass_and_each_block_halves_them(side):
    backbone = random_start(width=0.05)
    maps = backbone.preprocess(255 * torch.rand(1, 3, side, side))

    for block in backbone.blocks:
        halved = block(maps)
        assert halved.shape[2:] == (maps.shape[2] // 2, maps.shape[3] // 2)
        maps = halved
