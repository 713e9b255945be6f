import pytest
import torch

from fer_core.config import BACKBONES, FITTED, PretrainConfig, StreamConfig
from fer_core.models.backbones import build, cdbn, scae
from fer_core.models.backbones.unsupervised import LocalContrast

FITS = {"scae": scae.fit, "cdbn": cdbn.fit}
PRETRAIN = PretrainConfig(epochs=2)


def built(name):
    common = {"weights": "random", "blocks": BACKBONES[name], "freeze_depth": 0, "width": 0.1}
    return build(StreamConfig(backbone=name, **common), weights_file=None, seed=0)


def noise(images=20, side=36):
    return 255 * torch.rand(images, 3, side, side, generator=torch.Generator().manual_seed(9))


def fitted(name, seed=0):
    backbone = built(name)
    curves = FITS[name](backbone.blocks, backbone.preprocess(noise()), PRETRAIN, seed)
    return backbone.blocks, curves


def test_every_backbone_that_a_config_may_fit_can_be():
    assert set(FITS) == set(FITTED)


@pytest.mark.parametrize("name", FITTED)
def test_a_seed_repeats_bit_for_bit_and_another_gives_other_weights(name):
    (first, curves), (again, same_curves), (other, _) = (fitted(name, seed) for seed in (1, 1, 2))

    states = [blocks.state_dict() for blocks in (first, again, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert curves == same_curves
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


@pytest.mark.parametrize("name", FITTED)
def test_fitting_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()

    fitted(name)

    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", FITTED)
def test_there_is_a_curve_of_every_layer_and_a_figure_of_every_epoch(name):
    _, curves = fitted(name)

    assert [len(curve) for curve in curves] == [PRETRAIN.epochs] * BACKBONES[name]


@pytest.mark.parametrize("name", FITTED)
def test_fitted_blocks_can_be_tuned_like_any_other(name):
    blocks, _ = fitted(name)
    maps = built(name).preprocess(noise())

    assert all(tensor.grad is None for tensor in (*blocks.parameters(), *blocks.buffers()))
    assert not any(buffer.requires_grad for buffer in blocks.buffers())
    for block in blocks:
        maps = block(maps)
    maps.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in blocks.parameters())


@pytest.mark.parametrize("name", FITTED)
def test_fewer_images_than_a_batch_will_do(name):
    backbone = built(name)

    curves = FITS[name](backbone.blocks, backbone.preprocess(noise(images=1)), PRETRAIN, seed=0)

    assert all(torch.isfinite(values).all() for values in backbone.blocks.state_dict().values())
    assert len(curves) == len(backbone.blocks)


def test_local_contrast_heeds_neither_brightness_nor_contrast():
    contrast, images = LocalContrast(), noise()

    torch.testing.assert_close(contrast(images), contrast(images / 2 + 60), atol=1e-3, rtol=0)


def test_a_plain_image_has_no_contrast():
    plain = torch.full((1, 3, 40, 40), 200.0)

    assert LocalContrast()(plain).abs().max() < 1e-3
