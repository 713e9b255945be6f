from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fer_core.config import PretrainConfig, StreamConfig
from fer_core.models.backbones import build, cdbn
from tests.fer_core.models.backbones.faces import faces

CROP_PIXELS = 48
SPARSITY = 0.04
PRETRAIN = PretrainConfig(epochs=5, lr=2e-3, sparsity=SPARSITY)
ONE_ON = [torch.zeros(2, 2), *torch.eye(4).view(4, 2, 2)]  # all states of a block


def stream(**choices):
    common = {"backbone": "cdbn", "weights": "random", "blocks": 2, "freeze_depth": 0}
    return StreamConfig(**common | {"width": 0.25} | choices)


def machine(*, real, seed=0, channels=2, scale=0.1):
    """An RBM of two filters with random weights and biases, in double precision."""
    generator = torch.Generator().manual_seed(seed)
    rbm = cdbn.RBM(channels, 2, real=real).double()
    with torch.no_grad():
        for values in (*rbm.parameters(), rbm.visible_bias):
            values.copy_(scale * torch.randn(values.shape, generator=generator))
    return rbm


def image(*shape, seed=1, real=True):
    pixels = torch.randn(shape, generator=torch.Generator().manual_seed(seed)).double()
    return pixels if real else pixels.sigmoid()


def states(blocks):
    """All states of the hidden maps (2, 2, 2 * blocks) of two filters."""
    for chosen in product(ONE_ON, repeat=2 * blocks):
        rows = [torch.cat(chosen[i : i + blocks], dim=1) for i in (0, blocks)]
        yield torch.stack(rows).double()


def energy(rbm, visible, hidden):
    """Equation 3 of Lee et al. 2009, hidden unit by hidden unit."""
    total = -(rbm.visible_bias * visible).sum() + (visible.square().sum() / 2 if rbm.real else 0)
    for k, i, j in hidden.nonzero().tolist():
        patch = visible[:, i : i + cdbn.KERNEL, j : j + cdbn.KERNEL]
        total -= (rbm.convolution.weight[k] * patch).sum() + rbm.hidden_bias[k].squeeze()
    return total


@pytest.mark.parametrize("real", [True, False])
def test_the_free_energy_is_that_of_all_hidden_states_together(real):
    rbm, visible = machine(real=real), image(2, 11, 13, real=real)

    all_of_them = torch.stack([energy(rbm, visible, hidden) for hidden in states(2)])

    assert len(all_of_them) == 5**4
    torch.testing.assert_close(rbm.free_energy(visible[None])[0], -(-all_of_them).logsumexp(0))


@pytest.mark.parametrize("real", [True, False])
def test_hidden_probabilities_are_those_of_all_hidden_states_together(real):
    rbm, visible = machine(real=real), image(2, 11, 11, real=real)
    hidden = torch.stack(list(states(1)))  # (25, 2, 2, 2)

    weights = torch.stack([-energy(rbm, visible, state) for state in hidden]).softmax(0)

    expected = torch.einsum("n,nkij->kij", weights, hidden).flatten(1)  # (2, 4)
    torch.testing.assert_close(rbm.hidden(visible[None])[0, :, :, 0, 0], expected)
    torch.testing.assert_close(rbm(visible[None])[0, :, 0, 0], expected.sum(1))


@pytest.mark.parametrize("real", [True, False])
def test_a_reconstruction_is_where_the_energy_has_its_mean(real):
    rbm, hidden = machine(real=real), list(states(2))[137]
    visible = image(2, 11, 13).requires_grad_()

    slope = torch.autograd.grad(energy(rbm, visible, hidden), visible)[0]

    mean = visible - slope if real else (-slope).sigmoid()
    cells = torch.nn.functional.pixel_unshuffle(hidden[None], 2).unflatten(1, (2, 4))
    torch.testing.assert_close(rbm.reconstruct(cells)[0], mean)


@given(seed=st.integers(0, 999), scale=st.floats(0, 100), side=st.integers(11, 20))
@settings(max_examples=50, deadline=None)
def test_the_probabilities_of_a_block_sum_to_at_most_one(seed, scale, side):
    rbm = machine(real=True, seed=seed, channels=1, scale=scale).float()

    hidden = rbm.hidden(10 * image(2, 1, side, side, seed=seed).float())

    assert hidden.min() >= 0
    assert hidden.sum(dim=2).max() <= 1 + 1e-6


def test_of_a_sampled_block_one_unit_at_most_is_on_and_each_as_often_as_it_should():
    probabilities = torch.tensor([0.1, 0.4, 0.0, 0.3]).view(1, 1, 4, 1, 1)
    many = probabilities.expand(100, 10, 4, 5, 5)

    drawn = cdbn.sample(many, torch.Generator().manual_seed(0))

    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.sum(dim=2).max() == 1
    means = drawn.mean(dim=(0, 1, 3, 4))
    torch.testing.assert_close(means, probabilities.flatten(), atol=0.01, rtol=0)


@pytest.mark.parametrize(("side", "shape"), [(32, (1, 1)), (48, (5, 5)), (64, (9, 9))])
def test_crops_of_every_size_come_out_as_pooling_probabilities(side, shape):
    backbone = build(stream(), weights_file=None, seed=0)
    maps = backbone.preprocess(255 * torch.rand(2, 3, side, side))

    for block in backbone.blocks:
        maps = block(maps)

    assert maps.shape == (2, 25, *shape)
    assert (maps > 0).all()
    assert (maps < 1).all()


@pytest.fixture(scope="module")
def crops(rendered):
    """Preprocessed crops of six people, and of four others."""
    preprocess = build(stream(), weights_file=None, seed=0).preprocess
    shown = faces(rendered, CROP_PIXELS)
    people, strangers = shown.of(*range(1, 7)), shown.of(*range(7, 11)).apexes()
    return preprocess(people.pixels[::2]), preprocess(strangers.pixels)


def fitted(images, **choices):
    blocks = build(stream(**choices), weights_file=None, seed=0).blocks
    return blocks, cdbn.fit(blocks, images, PRETRAIN, seed=0)


@pytest.fixture(scope="module")
def learned(crops):
    return fitted(crops[0])


@pytest.mark.slow
def test_every_layer_learns_to_reconstruct_and_to_tell_images_from_shuffled_ones(learned):
    _, curves = learned

    assert len(curves) == 2
    for curve in curves:
        errors = [epoch.reconstruction_error for epoch in curve]
        gaps = [epoch.free_energy_gap for epoch in curve]
        assert all(later < earlier for earlier, later in pairwise(errors))
        assert all(later < earlier for earlier, later in pairwise(gaps))
        assert gaps[-1] < 0  # images have the lower energy


@pytest.mark.slow
def test_hidden_units_come_to_be_on_as_rarely_as_they_are_pushed_to(learned):
    _, curves = learned

    for curve in curves:
        away = [abs(epoch.activation - SPARSITY) for epoch in curve]
        assert away[-1] < max(away)
        assert away[-1] < 0.25 * SPARSITY


@torch.no_grad()
def per_unit(rbm, maps):
    return rbm.free_energy(maps).mean().item() / rbm.seen(maps)[0].numel()


@pytest.mark.slow
@torch.no_grad()
def test_strangers_are_as_likely_as_those_it_was_fitted_to_and_shuffled_images_are_not(
    learned, crops
):
    blocks, _ = learned
    people, strangers = crops
    generator = torch.Generator().manual_seed(0)

    for block in blocks:
        order = torch.randperm(strangers[0, 0].numel(), generator=generator)
        shuffled = strangers.flatten(2)[:, :, order].view_as(strangers)
        to_shuffled = per_unit(block, shuffled) - per_unit(block, strangers)
        to_strangers = per_unit(block, strangers) - per_unit(block, people)
        assert to_shuffled > 0.03
        assert abs(to_strangers) < 0.2 * to_shuffled
        people, strangers = block(people), block(strangers)
