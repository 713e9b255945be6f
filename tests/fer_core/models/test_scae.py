import copy

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from fer_core.config import PretrainConfig, StreamConfig
from fer_core.models.backbones import build, scae
from tests.fer_core.models.faces import faces

STREAM = StreamConfig(
    backbone="scae", weights="random", blocks=3, freeze_depth=0, width=0.5, crop_pixels=48
)
UNLABELLED, OTHERS = range(1, 7), range(7, 11)  # subjects
PRETRAIN = PretrainConfig(epochs=6, lr=2e-3)


def blocks(seed=0):
    return build(STREAM, weights_file=None, seed=seed)


@pytest.fixture(scope="module")
def people(rendered):
    return faces(rendered, 48)


@pytest.fixture(scope="module")
def read(people):
    """What the first block reads of the subjects whose labels nobody knows."""
    return blocks().preprocess(people.of(*UNLABELLED).pixels)


@pytest.fixture(scope="module")
def fitted(read):
    made = blocks()
    return made, scae.fit(made.blocks, read, PRETRAIN, seed=0)


def test_each_layer_gives_back_better_and_better_what_it_reads(fitted):
    _, curves = fitted

    errors = [[epoch.reconstruction_error for epoch in curve] for curve in curves]
    print([f"{curve[0]:.3f} to {curve[-1]:.3f}" for curve in errors])
    assert len(errors) == 3
    for curve in errors:
        assert curve[-1] < 0.8 * curve[0]


def test_a_fitted_layer_leaves_the_images_and_the_global_generator_alone(read):
    before, state = read[:32].clone(), torch.random.get_rng_state()

    scae.fit(blocks().blocks, read[:32], PretrainConfig(epochs=1), seed=0)

    assert torch.equal(read[:32], before)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_seed_repeats_the_fit_and_another_differs(read):
    states = []
    for seed in (0, 0, 1):
        made = blocks().blocks
        scae.fit(made, read[:64], PretrainConfig(epochs=1), seed)
        states.append(torch.cat([p.flatten() for p in made.parameters()]))

    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def accuracy(made, people, labelled):
    """Read emotions off frozen features with the labels of a few; score the others."""
    apexes = people.of(*OTHERS).apexes()
    with torch.inference_mode():
        maps = made.preprocess(apexes.pixels)
        for block in made.blocks:
            maps = block(maps)
    features = maps.flatten(1).numpy()
    train = np.isin(apexes.subjects, [str(s) for s in labelled])
    mean, deviation = features[train].mean(axis=0), features[train].std() + 1e-6
    known, asked = ((features[rows] - mean) / deviation for rows in (train, ~train))
    model = LogisticRegression(C=0.01, max_iter=500).fit(known, apexes.emotions[train])
    return model.score(asked, apexes.emotions[~train])


def test_its_start_beats_a_random_start_where_labels_are_few(people, read):
    """One subject's labels: the mean over which one, and over three starts."""
    scores = {"random": [], "fitted": []}
    for seed in range(3):
        start = blocks(seed)
        trained = copy.deepcopy(start)
        scae.fit(trained.blocks, read[::2], PRETRAIN, seed)
        for subject in OTHERS:
            scores["random"].append(accuracy(start, people, [subject]))
            scores["fitted"].append(accuracy(trained, people, [subject]))

    print({k: f"{np.mean(v):.3f} +- {np.std(v):.3f}" for k, v in scores.items()})
    assert np.mean(scores["fitted"]) > np.mean(scores["random"])
