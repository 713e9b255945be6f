import itertools

import pytest
import torch
from torch import nn
from torch.nn import functional

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError, WeightsError
from fer_core.models.backbones import build
from fer_core.storage.files import file_sha256

SIZES = {
    "conv1": (3, 64),
    "conv2": (64, 128),
    "conv3a": (128, 256),
    "conv3b": (256, 256),
    "conv4a": (256, 512),
    "conv4b": (512, 512),
    "conv5a": (512, 512),
    "conv5b": (512, 512),
}
POOLED = {"conv1", "conv2", "conv3b", "conv4b", "conv5b"}
SPORTS_MEAN = (101.41, 97.66, 90.25)  # RGB


def built(name="c3d", file=None, **choices):
    common = {"weights": "random", "blocks": 5, "freeze_depth": 0}
    stream = StreamConfig(backbone=name, **common | choices)
    return build(stream, weights_file=file, seed=0)


def maps(blocks, x):
    for block in blocks:
        x = block(x)
    return x


def shapes(backbone, frames):
    x = torch.empty(1, 3, frames, backbone.crop_pixels, backbone.crop_pixels, device="meta")
    given = []
    for block in backbone.blocks.to("meta"):
        x = block(x)
        given.append(tuple(x.shape[1:]))
    return given


def published(state, x):
    """The network of Tran et al. 2015, figure 3, up to its last pool: floor, padded in space."""
    for name in SIZES:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        x = functional.relu(functional.conv3d(x, weight, bias, padding=1))
        if name in POOLED:
            kernel = (1, 2, 2) if name == "conv1" else 2
            x = functional.max_pool3d(x, kernel, padding=(0, 1, 1) if name == "conv5b" else 0)
    return x


def names_of(blocks):
    """The convolutions of blocks under the names in a file."""
    convolutions = [m for m in blocks.modules() if isinstance(m, nn.Conv3d)]
    return {
        f"{name}.{kind}": getattr(convolution, kind).detach()
        for name, convolution in zip(SIZES, convolutions, strict=True)
        for kind in ("weight", "bias")
    }


@pytest.fixture(scope="module")
def state():
    generator = torch.Generator().manual_seed(1)
    tensors = {
        f"{name}.weight": torch.randn(out, channels, 3, 3, 3, generator=generator) / 40
        for name, (channels, out) in SIZES.items()
    }
    tensors |= {
        f"{name}.bias": torch.randn(out, generator=generator) for name, (_, out) in SIZES.items()
    }
    fully_connected = {
        f"{name}.{k}": torch.zeros(1) for name in ("fc6", "fc7", "fc8") for k in "wb"
    }
    return tensors | fully_connected


@pytest.fixture(scope="module")
def file(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("c3d") / "c3d.pickle"
    torch.save(state, path)
    return path


def test_sixteen_frames_map_as_in_the_published_network_bit_for_bit():
    blocks = built(width=1 / 16).blocks
    x = torch.randn(1, 3, 16, 112, 112, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        given, expected = maps(blocks, x), published(names_of(blocks), x)

    assert torch.equal(given, expected)


def test_the_maps_have_the_published_shapes():
    assert shapes(built(), frames=16) == [
        (64, 16, 56, 56),
        (128, 8, 28, 28),
        (256, 4, 14, 14),
        (512, 2, 7, 7),
        (512, 1, 4, 4),
    ]


@pytest.mark.parametrize(
    ("classes", "parameters"),
    [(487, 79_991_015), (101, 78_409_573)],  # Sports-1M; UCF101, the 78.4 M that is often quoted
)
def test_with_its_fully_connected_layers_it_has_the_published_parameters(classes, parameters):
    blocks = built().blocks

    convolutional = sum(p.numel() for p in blocks.parameters())
    dims = [512 * 1 * 4 * 4, 4096, 4096, classes]
    connected = sum((a + 1) * b for a, b in itertools.pairwise(dims))

    assert convolutional == 27_655_936
    assert convolutional + connected == parameters


def test_the_studys_five_frames_become_one_and_its_features_12_800():
    given = shapes(built("c3d_study"), frames=5)

    assert [shape[1] for shape in given] == [5, 2, 1, 1, 1]
    assert [shape[2] for shape in given] == [56, 28, 14, 7, 5]
    assert torch.Size(given[-1]).numel() == 12_800


def test_the_studys_last_pools_take_every_second_position_and_zeros_surround_the_last():
    blocks = built("c3d_study", width=1 / 16).blocks
    x = torch.rand(1, 32, 3, 7, 7)

    taken, padded = blocks[3][-1](x), blocks[4][-1](x)

    assert torch.equal(taken, x[:, :, ::2, ::2, ::2])
    assert torch.equal(padded[..., 1:4, 1:4], x[:, :, ::2, 1::2, 1::2])
    assert padded[..., [0, -1], :].eq(0).all()
    assert padded[..., [0, -1]].eq(0).all()


@pytest.mark.parametrize("frames", range(1, 17))
def test_c3d_reads_clips_of_any_length(frames):
    backbone = built(width=1 / 16, crop_pixels=32)

    assert maps(backbone.blocks, torch.rand(1, 3, frames, 32, 32)).shape == (1, 32, 1, 2, 2)


@pytest.mark.parametrize("frames", range(2, 17))
def test_the_studys_reads_clips_of_two_frames_and_more(frames):
    backbone = built("c3d_study", width=1 / 16, crop_pixels=32)

    assert maps(backbone.blocks, torch.rand(1, 3, frames, 32, 32)).shape[1] == 32


def test_a_file_reads_bgr_less_the_mean_of_its_videos(state, file):
    rgb = 255 * torch.rand(1, 3, 16, 32, 32, dtype=torch.float64)

    backbone = built(file=file, weights="file")

    with torch.no_grad():
        given = maps(backbone.blocks.double(), backbone.preprocess(rgb))
        mean = torch.tensor(SPORTS_MEAN).view(3, 1, 1, 1)
        exact = {name: tensor.double() for name, tensor in state.items()}
        expected = published(exact, (rgb - mean).flip(1))
    torch.testing.assert_close(given, expected)
    assert backbone.weights_sha256 == file_sha256(file)
    assert backbone.source == f"file:c3d.pickle, sha256 {file_sha256(file)[:12]}"


def test_fewer_blocks_read_the_same_file(state, file):
    blocks = built(file=file, weights="file", blocks=2).blocks

    assert len(blocks) == 2
    assert torch.equal(blocks[1][0].weight, state["conv2.weight"])


@pytest.mark.parametrize("blocks", [1, 5])
def test_a_file_that_does_not_fit_is_refused_by_tensor(state, blocks, tmp_path):
    changed = state | {"conv6.weight": torch.zeros(1), "conv1.bias": torch.zeros(3)}
    del changed["conv5b.bias"]
    torch.save(changed, tmp_path / "c3d.pth")

    faults = r"conv1.bias is \(3,\), not \(64,\); conv5b.bias is missing; conv6.weight is unknown\."
    with pytest.raises(WeightsError, match=f"does not fit c3d: {faults}"):
        built(file=tmp_path / "c3d.pth", weights="file", blocks=blocks)


def test_a_file_is_asked_for_where_there_is_none():
    with pytest.raises(ConfigError, match="c3d with weights 'file' needs --weights c3d=FILE"):
        built(weights="file")
