import numpy as np
import pytest
import torch
from torch import nn

from fer_core.config import OPTIMIZERS, OptimizerConfig
from fer_core.training import loop

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 40)
FRAMES = torch.from_numpy((RNG.normal(size=(40, 3, 4)) + 2 * LABELS[:, None, None]).astype("f4"))
ROWS = np.arange(40)


class Frames(nn.Linear):
    def __init__(self):
        super().__init__(4, 2)

    def forward(self, frames, lengths):
        return super().forward(frames)


class Whole(Frames):
    def forward(self, frames, lengths):
        return super().forward(frames.mean(dim=1), lengths)


def inputs(rows):
    return FRAMES[torch.from_numpy(rows)]


def network():
    torch.manual_seed(0)
    return Frames()


def config(name="adamw", lr=0.05, epochs=10):
    return OptimizerConfig(name=name, lr=lr, epochs=epochs, batch_clips=8)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_what_can_be_learned(name):
    model = network()

    losses = list(loop.fit(model, inputs, LABELS, ROWS, config(name), seed=0))

    scores = loop.predict(model, inputs, ROWS, batch_clips=16)
    assert losses[-1] < losses[0]
    assert (scores.mean(axis=1).argmax(axis=1) == LABELS).mean() > 0.9


def test_a_seed_repeats_training_to_the_last_bit():
    first, again = network(), network()

    losses = list(loop.fit(first, inputs, LABELS, ROWS, config(), seed=3))

    assert losses == list(loop.fit(again, inputs, LABELS, ROWS, config(), seed=3))
    assert torch.equal(first.weight, again.weight)


def test_clips_that_do_not_train_change_nothing():
    train, altered = ROWS[:30], LABELS.copy()
    altered[30:] = 1 - altered[30:]
    first, again = network(), network()

    list(loop.fit(first, inputs, LABELS, train, config(), seed=0))
    list(loop.fit(again, inputs, altered, train, config(), seed=0))

    assert torch.equal(first.weight, again.weight)


def test_whoever_loops_over_training_may_stop_it():
    epochs = loop.fit(network(), inputs, LABELS, ROWS, config(epochs=1_000_000), seed=0)

    assert len([next(epochs) for _ in range(2)]) == 2


def test_a_loss_that_is_no_number_ends_training_with_advice():
    with pytest.raises(loop.DivergedError, match="lower optimizer"):
        list(loop.fit(network(), inputs, LABELS, ROWS, config("sgd", lr=1e30), seed=0))


def test_probabilities_of_clips_seen_whole_have_one_frame():
    scores = loop.predict(Whole(), inputs, ROWS, batch_clips=16)

    assert scores.shape == (40, 1, 2)
    np.testing.assert_allclose(scores.sum(axis=-1), 1, rtol=1e-5)
