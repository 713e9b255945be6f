import functools
import pickle

import pytest
import torch

from fer_core.config import BACKBONES, FITTED, VOLUMES, WEIGHTS, StreamConfig
from fer_core.errors import ConfigError, WeightsError
from fer_core.models.backbones import BUILDERS, build

LIBRARY = {"torchvision:shufflenet_v2_x0_5": 4, "timm:test_vit": 7}  # a CNN, a transformer
TABLE = {**BACKBONES, **LIBRARY}  # name: blocks
ALIKE = ("r3d_18", "r2plus1d_18")  # built as mc3_18 is, and three times as large
EACH = [pytest.param(name, marks=[pytest.mark.slow] * (name in ALIKE)) for name in TABLE]
SCALED = [name for name in BACKBONES if not name.endswith("_18")]  # the rest have one width
SMALL = 1 / 16
SIDES = {"timm:test_vit": 160, "vgg16": 32, **dict.fromkeys(VOLUMES, 32)}  # or the backbone's own
FILED = [name for name in TABLE if name not in ALIKE and "file" in WEIGHTS.get(name, ("file",))]


def stream(backbone, **choices):
    width = SMALL if backbone in SCALED else 1.0
    common = {"weights": "random", "blocks": TABLE.get(backbone, 1), "freeze_depth": 0}
    return StreamConfig(backbone=backbone, **common | {"width": width} | choices)


@functools.cache
def built(name, blocks=None, seed=0, width=None, crop_pixels=None):
    choices = {"blocks": blocks or TABLE[name], "crop_pixels": crop_pixels}
    choices |= {} if width is None else {"width": width}
    return build(stream(name, **choices), weights_file=None, seed=seed)


def pixels(backbone, side, clips=2):
    shape = (clips, 3, 5, side, side) if backbone in VOLUMES else (clips, 3, side, side)
    return 255 * torch.rand(shape, generator=torch.Generator().manual_seed(0))


def maps(backbone, x):
    x = backbone.preprocess(x)
    for block in backbone.blocks.eval():
        x = block(x)
    return x


def small(name):
    """A backbone, and two images or clips of a size that it can read."""
    side = SIDES.get(name)
    backbone = built(name, crop_pixels=side)
    return backbone, pixels(name, side or backbone.crop_pixels)


def test_every_backbone_that_a_config_may_name_is_there():
    assert set(BUILDERS) == set(BACKBONES)


@pytest.mark.parametrize("name", EACH)
def test_a_backbone_has_the_blocks_that_a_config_counts(name):
    assert len(built(name).blocks) == TABLE[name]


@pytest.mark.parametrize("name", EACH)
@pytest.mark.parametrize("blocks", [1, 2])
def test_only_the_blocks_in_use_are_built(name, blocks):
    whole, part = built(name), built(name, blocks=blocks)

    assert len(part.blocks) == blocks
    shapes = [[p.shape for p in b.blocks[:blocks].parameters()] for b in (part, whole)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("dlib_resnet", (16, 2, 2)),
        ("vgg16", (32, 7, 7)),
        ("c3d", (32, 1, 4, 4)),
        ("c3d_study", (32, 1, 5, 5)),
    ],
)
def test_the_last_map_has_the_published_shape_times_the_width(name, shape):
    backbone = built(name)

    assert maps(backbone, pixels(name, backbone.crop_pixels, clips=1))[0].shape == shape


@pytest.mark.parametrize("name", EACH)
def test_a_seed_gives_the_same_weights_and_another_seed_others(name):
    first, other = built(name, seed=1), built(name, seed=2)

    again = build(stream(name), weights_file=None, seed=1)

    assert all(map(torch.equal, first.blocks.parameters(), again.blocks.parameters()))
    weights = [torch.cat([p.flatten() for p in b.blocks.parameters()]) for b in (first, other)]
    assert not torch.equal(*weights)
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256


@pytest.mark.parametrize("name", EACH)
def test_the_random_weights_of_a_block_are_the_same_however_many_follow_it(name):
    few, all_of_them = built(name, blocks=2).blocks, built(name).blocks

    for a, b in zip(few.parameters(), all_of_them.parameters(), strict=False):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.parametrize("name", EACH)
def test_building_leaves_the_global_generator_alone(name):
    before = torch.random.get_rng_state()

    build(stream(name), weights_file=None, seed=0)

    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", SCALED)
def test_a_narrower_backbone_has_fewer_channels(name):
    narrow, wide = (
        sum(weight.numel() for weight in built(name, width=width).blocks.parameters())
        for width in (SMALL, 2 * SMALL)
    )

    assert narrow < wide


@pytest.mark.parametrize("name", SCALED)
def test_random_weights_keep_the_scale_of_their_input(name):
    backbone = built(name, width=0.25)

    out = maps(backbone, pixels(name, backbone.crop_pixels, clips=1))

    assert 0.01 < out.std() < 100


@pytest.mark.parametrize("name", EACH)
def test_an_image_maps_the_same_alone_as_in_a_batch(name):
    backbone, x = small(name)

    with torch.no_grad():
        torch.testing.assert_close(maps(backbone, x)[1:], maps(backbone, x[1:]))


@pytest.mark.parametrize("name", EACH)
def test_mapping_leaves_what_a_block_reads_as_it_was(name):
    backbone, x = small(name)

    with torch.no_grad():
        x = backbone.preprocess(x)
        for block in backbone.blocks.eval():
            before = x.clone()
            out = block(x)
            assert torch.equal(x, before)
            x = out


@pytest.mark.parametrize("name", EACH)
def test_every_parameter_gets_a_gradient(name):
    backbone, x = small(name)
    out = maps(backbone, x)

    torch.manual_seed(0)
    parameters = list(backbone.blocks.parameters())
    gradients = torch.autograd.grad((out * torch.randn_like(out)).sum(), parameters)

    assert all(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("name", EACH)
def test_preprocessing_trains_nothing(name):
    assert not list(built(name).preprocess.parameters())


@pytest.mark.parametrize("name", ["vgg16", *VOLUMES])
def test_the_smallest_crop_of_a_config_passes(name):
    backbone = built(name, crop_pixels=32)

    assert maps(backbone, pixels(name, 32)).numel() > 0


def test_an_unknown_backbone_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match=r"did you mean 'vgg16'.*c3d.*timm:NAME"):
        build(stream("vgg61"), weights_file=None, seed=0)


@pytest.mark.parametrize("name", EACH)
def test_random_weights_say_so(name):
    backbone = built(name)

    assert backbone.source == "random"
    assert backbone.weights_sha256 == f"random:{name}:0:{stream(name).width!r}"


class Harm:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("name", FILED)
def test_a_file_with_code_in_it_is_refused_and_the_code_not_run(name, tmp_path):
    path, harm = tmp_path / "weights.pth", tmp_path / "harm"
    path.write_bytes(pickle.dumps({"conv1.weight": Harm(str(harm))}))

    with pytest.raises(WeightsError, match="cannot be read as tensors alone"):
        build(stream(name, weights="file", width=1.0), weights_file=path, seed=0)

    assert not harm.exists()


def test_the_fitted_backbones_are_those_that_a_config_calls_so():
    assert set(FITTED) <= set(BACKBONES)
