"""A profile says of a backbone what the real network shows on real images."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError
from fer_core.features import extraction
from fer_core.models import backbones
from fer_core.models.network import count
from fer_core.models.pooling import pool
from fer_core.models.profile import profile

VGG = StreamConfig(backbone="vgg16", weights="random", blocks=5, freeze_depth=5)
BLOCKS = {
    "c3d": 5,
    "c3d_study": 5,
    "cdbn": 2,
    "dlib_resnet": 6,
    "mc3_18": 5,
    "r2plus1d_18": 5,
    "r3d_18": 5,
    "scae": 4,
    "torchvision:resnet18": 5,
    "torchvision:swin_t": 4,
    "timm:mobilenetv3_small_050": 4,
    "vgg16": 5,
}
FRAMES = 3


def real(stream):
    """Build a backbone, and give what it reads and what leaves each block, in real numbers."""
    backbone = backbones.build(stream.architecture, weights_file=None, seed=0)
    side = extraction.crop_pixels(stream, backbone)
    crops = torch.randint(256, (1, FRAMES, side, side, 3), dtype=torch.uint8)
    maps = extraction.preprocessed(crops, stream, backbone, torch.device("cpu"))
    outputs = [maps if stream.is_volume else maps[:, 0]]
    with torch.inference_mode():
        for block in backbone.blocks.eval():
            outputs.append(block(outputs[-1]))
    return backbone, outputs


@pytest.mark.parametrize("name", BLOCKS)
def test_shapes_bytes_and_parameters_are_those_of_the_real_network(name):
    blocks = BLOCKS[name]
    stream = StreamConfig(backbone=name, weights="random", blocks=blocks, freeze_depth=blocks)

    found = profile(stream, FRAMES)

    backbone, outputs = real(stream)
    assert [found.shape(depth) for depth in range(blocks + 1)] == [o.shape[1:] for o in outputs]
    assert [block.stored_bytes for block in found.blocks] == [o.half().nbytes for o in outputs[1:]]
    assert [block.parameters for block in found.blocks] == [count([b]) for b in backbone.blocks]
    for pooling in ("none", "avg", "max"):
        assert found.features(pooling) == pool(outputs[-1], pooling).shape[-1]


@pytest.mark.parametrize(("width", "pixels"), [(0.25, 64), (1.0, 48)])
def test_width_and_crop_change_a_profile_as_they_change_the_network(width, pixels):
    stream = replace(VGG, width=width, crop_pixels=pixels)

    assert profile(stream, 1).shape(5) == real(stream)[1][-1].shape[1:]


def test_flops_of_vgg16_are_as_published():
    # 15.3 billion multiply-adds (He et al. 2015, section 4.1), two operations each
    assert profile(VGG, 1).flops() == pytest.approx(2 * 15.3e9, rel=0.01)


def test_operations_before_a_depth_and_parameters_after_it_share_out_the_whole_network():
    found = profile(VGG, 1)

    assert found.flops(0) == 0
    assert found.flops(5) == found.flops() == sum(block.flops for block in found.blocks)
    assert found.flops(2) == found.blocks[0].flops + found.blocks[1].flops
    assert found.parameters(0) == sum(block.parameters for block in found.blocks)
    assert found.parameters(4) == found.blocks[4].parameters
    assert found.parameters(5) == 0


def test_streams_that_differ_in_what_follows_the_blocks_share_one_profile():
    other = replace(VGG, freeze_depth=2, pooling="avg", view="crop")

    assert profile(other, 8) is profile(VGG, 5)


def test_a_volume_is_profiled_for_its_number_of_frames():
    volume = replace(VGG, backbone="c3d")

    assert profile(volume, 16).flops() > profile(volume, 8).flops()


def test_what_does_not_get_through_the_blocks_is_refused():
    volume = replace(VGG, backbone="c3d_study")

    with pytest.raises(ConfigError, match="1 frames of 112 pixels do not get through"):
        profile(volume, 1)


def test_a_profile_leaves_the_random_numbers_of_a_trial_alone():
    stream = replace(VGG, crop_pixels=96)
    torch.manual_seed(0)
    expected = torch.rand(3)

    torch.manual_seed(0)
    profile(stream, 1)

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.slow
def test_a_profile_of_a_large_network_takes_no_memory():
    code = (
        "import resource, torch\n"
        "from fer_core.config import StreamConfig\n"
        "from fer_core.models.profile import profile\n"
        "small = StreamConfig(backbone='scae', weights='random', blocks=1, freeze_depth=0)\n"
        "profile(small, 1)\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "wide = StreamConfig(\n"
        "    backbone='vgg16', weights='random', blocks=5, freeze_depth=0, width=4.0\n"
        ")\n"
        "parameters = profile(wide, 1).parameters()\n"
        "print(parameters * 4 / 2**20)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**10)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    weights_mib, taken_mib = map(float, done.stdout.split())
    assert weights_mib > 800
    assert taken_mib < weights_mib / 8
