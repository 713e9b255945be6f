import numpy as np
import pytest
import torch
from torch import nn

from fer_core.config import Config, OptimizerConfig, RecurrentConfig, StreamConfig
from fer_core.models.network import Network, StreamInput
from fer_core.training import loop, statistics
from fer_core.training.fits import Fit, InTurn, OneFit

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 24)
IMAGES = torch.from_numpy(RNG.normal(5, 3, (24, 2, 3, 8, 8)) + LABELS[:, None, None, None, None])
IMAGES = IMAGES.float()
TRAIN, OTHERS = np.arange(18), np.arange(18, 24)


def batches(rows, _generator):
    return [IMAGES[torch.from_numpy(rows)]]


def block(*, normalised):
    layers = [nn.Conv2d(3, 4, 3), *([nn.BatchNorm2d(4)] if normalised else []), nn.ReLU()]
    return nn.Sequential(*layers)


def network(*, normalised=False, cell=None, frozen=0):
    """A network of two blocks, of which the last is trained, or both."""
    torch.manual_seed(0)
    stream = StreamConfig(
        backbone="dlib_resnet", weights="package", blocks=2, freeze_depth=frozen, pooling="avg"
    )
    recurrent = RecurrentConfig(cell=cell, hidden=3, layers=1) if cell else None
    blocks = nn.ModuleList([block(normalised=normalised), nn.Conv2d(4, 5, 3)])
    given = StreamInput(IMAGES[:1], blocks, frozen=frozen)
    return Network(Config(streams=(stream,), recurrent=recurrent), [given], ("a", "b"))


def fit(net, epochs=2, **choices):
    chosen = OptimizerConfig(name="adam", lr=1e-2, epochs=epochs, batch_clips=6, **choices)
    return Fit(
        network=net,
        batches=batches,
        labels=LABELS,
        rows=TRAIN,
        config=chosen,
        seed=0,
        order=0,
        data="images",
        held_out=OTHERS if choices.get("patience") else None,
    )


def trained(net, group=OneFit, **choices):
    made = fit(net, **choices)
    training = group([made]) if group is InTurn else group(made)
    for _ in range(made.config.epochs):
        training.epoch()
    training.make_ready()
    return net


def standardised(net, rows):
    """What the layer that standardises features gives for clips, in scoring."""
    given = []
    hook = net.readers[0].standardise.register_forward_hook(lambda _l, _x, out: given.append(out))
    loop.predict(net, batches, rows, batch_clips=4)
    hook.remove()
    return torch.cat(given).transpose(0, 1).flatten(1)


@pytest.mark.parametrize("group", [OneFit, InTurn])
@pytest.mark.parametrize("cell", [None, "gru", "convlstm"])
@pytest.mark.parametrize("normalised", [False, True])
def test_features_of_training_clips_are_scored_with_mean_0_and_deviation_1(normalised, cell, group):
    features = standardised(trained(network(normalised=normalised, cell=cell), group), TRAIN)

    assert features.mean(dim=1).abs().max() < 1e-4
    assert (features.std(dim=1) - 1).abs().max() < 1e-3


def test_logits_are_those_of_the_training_clips_own_statistics():
    net = trained(network())
    scored = loop.predict(net, batches, OTHERS, batch_clips=6)

    layer = net.readers[0].standardise
    layer.reset_running_stats()
    layer.momentum = None  # a plain mean over all batches, of which there is one
    net.eval()
    layer.train()
    inputs = batches(TRAIN, None)
    with torch.no_grad():
        net(inputs, net.lengths(inputs))

    expected = loop.predict(net, batches, OTHERS, batch_clips=6)
    np.testing.assert_allclose(scored, expected, atol=1e-4)


def test_clips_that_do_not_train_change_no_statistics(monkeypatch):
    first = trained(network(normalised=True))
    altered = IMAGES.clone()
    altered[18:] += 100
    monkeypatch.setitem(globals(), "IMAGES", altered)

    again = trained(network(normalised=True))

    for ours, theirs in zip(first.buffers(), again.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_scoring_between_two_epochs_leaves_the_training_as_it_was():
    once, between = network(normalised=True), network(normalised=True)

    trained(once, epochs=4)
    training = OneFit(fit(between, epochs=4))
    for _ in range(4):
        training.epoch()
        training.make_ready()

    for ours, theirs in zip(once.parameters(), between.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_frozen_layers_keep_their_statistics():
    net = network(normalised=True, frozen=1)
    frozen = net.readers[0].blocks[0][1]

    before = frozen.running_mean.clone()
    trained(net)

    assert torch.equal(frozen.running_mean, before)
    assert list(statistics.changing(net)) == ["readers.0.standardise"]


def test_early_stopping_watches_scores_by_settled_statistics():
    net = network()
    training = loop.Training(
        net, batches, LABELS, TRAIN, fit(net, patience=5).config, order=0, held_out=OTHERS
    )

    training.epoch()

    kept = [each.clone() for each in net.buffers()]
    training.settle()
    for ours, theirs in zip(kept, net.buffers(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_feature_that_never_varies_in_training_is_left_out():
    net = network()
    with torch.no_grad():
        net.readers[0].blocks[1].weight[2] = 0  # its map is constant: the bias
    training = loop.Training(net, batches, LABELS, TRAIN, fit(net).config, order=0)

    training.settle()

    dead = standardised(net, TRAIN)[2]
    with torch.no_grad():
        net.readers[0].blocks[1].weight[2] = 1
    assert torch.equal(dead, torch.zeros_like(dead))
    assert torch.equal(standardised(net, OTHERS)[2], torch.zeros_like(standardised(net, OTHERS)[2]))


def test_the_statistics_of_several_batches_are_those_of_all_together():
    layer = nn.BatchNorm1d(4)
    values = torch.from_numpy(RNG.normal(10, 1e-1, (50, 4)))
    moments = statistics._Moments(layer)

    for part in values.split([20, 1, 29]):
        moments.add(layer, (part,))
    moments.set(leaves_out=False)

    np.testing.assert_allclose(layer.running_mean, values.mean(dim=0), rtol=1e-6)
    np.testing.assert_allclose(layer.running_var, values.var(dim=0), rtol=1e-4)
