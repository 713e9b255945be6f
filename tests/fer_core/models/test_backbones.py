import pytest
import torch

from fer_core.config import BACKBONES, WEIGHTS, StreamConfig
from fer_core.errors import ConfigError
from fer_core.models.backbones import BUILDERS, build

SMALL = 1 / 16


def stream(backbone, **choices):
    blocks = BACKBONES[backbone]
    common = {"weights": "random", "blocks": blocks, "freeze_depth": 0, "width": SMALL}
    return StreamConfig(backbone=backbone, **common | choices)


def pixels(backbone, side, clips=2):
    shape = (clips, 3, 5, side, side) if backbone == "c3d" else (clips, 3, side, side)
    return 255 * torch.rand(shape, generator=torch.Generator().manual_seed(0))


def maps(backbone, x):
    x = backbone.preprocess(x)
    for block in backbone.blocks:
        x = block(x)
    return x


def test_every_backbone_that_a_config_may_name_is_there():
    assert set(BUILDERS) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_has_the_blocks_that_a_config_counts(name):
    assert len(build(stream(name), weights_file=None, seed=0).blocks) == BACKBONES[name]


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("blocks", [1, 3])
def test_only_the_blocks_in_use_are_built(name, blocks):
    whole = build(stream(name), weights_file=None, seed=0)

    part = build(stream(name, blocks=blocks), weights_file=None, seed=0)

    assert len(part.blocks) == blocks
    shapes = [[p.shape for p in b.blocks[:blocks].parameters()] for b in (part, whole)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("name", "shape"),
    [("dlib_resnet", (16, 2, 2)), ("vgg16", (32, 7, 7)), ("c3d", (32, 1, 4, 4))],
)
def test_the_last_map_has_the_published_shape_times_the_width(name, shape):
    backbone = build(stream(name), weights_file=None, seed=0)

    assert maps(backbone, pixels(name, backbone.crop_pixels, clips=1))[0].shape == shape


@pytest.mark.parametrize("name", BACKBONES)
def test_a_seed_gives_the_same_weights_and_another_seed_others(name):
    first, again, other = (build(stream(name), weights_file=None, seed=s) for s in (1, 1, 2))

    assert all(map(torch.equal, first.blocks.parameters(), again.blocks.parameters()))
    weights = next(first.blocks.parameters()), next(other.blocks.parameters())
    assert not torch.equal(*weights)
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256


@pytest.mark.parametrize("name", BACKBONES)
def test_the_random_weights_of_a_block_are_the_same_however_many_follow_it(name):
    few = build(stream(name, blocks=2), weights_file=None, seed=0).blocks

    all_of_them = build(stream(name), weights_file=None, seed=0).blocks

    for a, b in zip(few.parameters(), all_of_them.parameters(), strict=False):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("name", BACKBONES)
def test_building_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()

    build(stream(name), weights_file=None, seed=0)

    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", BACKBONES)
def test_random_weights_keep_the_scale_of_their_input(name):
    backbone = build(stream(name, width=0.25), weights_file=None, seed=0)

    out = maps(backbone, pixels(name, backbone.crop_pixels, clips=1))

    assert 0.01 < out.std() < 100


@pytest.mark.parametrize("name", BACKBONES)
def test_an_image_maps_the_same_alone_as_in_a_batch(name):
    backbone = build(stream(name), weights_file=None, seed=0)
    x = pixels(name, backbone.crop_pixels)

    torch.testing.assert_close(maps(backbone, x)[1:], maps(backbone, x[1:]))


@pytest.mark.parametrize("name", BACKBONES)
def test_every_parameter_gets_a_gradient(name):
    backbone = build(stream(name), weights_file=None, seed=0)

    maps(backbone, pixels(name, backbone.crop_pixels)).sum().backward()

    gradients = [p.grad for p in backbone.blocks.parameters()]
    assert all(g is not None and g.abs().sum() > 0 for g in gradients)


@pytest.mark.parametrize("name", BACKBONES)
def test_preprocessing_trains_nothing(name):
    assert not list(build(stream(name), weights_file=None, seed=0).preprocess.parameters())


@pytest.mark.parametrize("name", ["vgg16", "c3d"])
def test_the_smallest_crop_of_a_config_passes(name):
    backbone = build(stream(name, crop_pixels=32), weights_file=None, seed=0)

    assert maps(backbone, pixels(name, 32)).numel() > 0


@pytest.mark.parametrize("frames", range(1, 17))
def test_c3d_reads_clips_of_any_length(frames):
    backbone = build(stream("c3d", crop_pixels=32), weights_file=None, seed=0)

    assert maps(backbone, torch.rand(1, 3, frames, 32, 32)).shape == (1, 32, 1, 1, 1)


def test_an_unknown_backbone_is_refused_with_those_there_are():
    choices = StreamConfig(backbone="vgg61", weights="random", blocks=1, freeze_depth=0)

    with pytest.raises(ConfigError, match="did you mean 'vgg16'"):
        build(choices, weights_file=None, seed=0)


@pytest.mark.parametrize("name", [n for n, weights in WEIGHTS.items() if "random" in weights])
def test_random_weights_say_so(name):
    backbone = build(stream(name), weights_file=None, seed=3)

    assert backbone.source == "random"
    assert backbone.weights_sha256 == f"random:{name}:3:{SMALL!r}"
