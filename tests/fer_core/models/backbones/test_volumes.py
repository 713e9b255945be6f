import pytest
import torch
from torchvision.models import video

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError, WeightsError
from fer_core.models.backbones import build
from fer_core.storage.files import file_sha256

NAMES = ("r3d_18", "mc3_18", "r2plus1d_18")
KINETICS_MEAN = (110.2008, 100.63983, 95.99475)  # 255 x torchvision's VideoClassification


def built(name, file=None, **choices):
    common = {"weights": "random", "blocks": 5, "freeze_depth": 0}
    stream = StreamConfig(backbone=name, **common | choices)
    return build(stream, weights_file=file, seed=0)


def clips(side, frames):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, 3, frames, side, side, generator=generator)


def maps(blocks, x):
    for block in blocks:
        x = block(x)
    return x


@pytest.fixture(
    scope="module",
    params=[
        "mc3_18",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("r3d_18", "r2plus1d_18")),
    ],
)
def whole(request):
    """A network with other weights than `built` draws, and with statistics as if trained."""
    with torch.random.fork_rng():
        torch.manual_seed(9)
        network = getattr(video, request.param)(weights=None)
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.data += torch.rand(buffer.shape)
    return request.param, network.eval()


@pytest.fixture(scope="module")
def file(whole, tmp_path_factory):
    path = tmp_path_factory.mktemp("volumes") / "own.pth"
    torch.save(whole[1].state_dict(), path)
    return path


def test_the_blocks_of_a_file_give_torchvisions_own_features_bit_for_bit(whole, file):
    name, network = whole
    x = clips(side=32, frames=5)

    backbone = built(name, file, weights="file")

    with torch.no_grad():
        features = maps(backbone.blocks.eval(), x).mean(dim=(2, 3, 4))
        pooled = network.avgpool(maps(backbone.blocks, x)).flatten(1)
        assert torch.equal(network.fc(pooled), network(x))
    torch.testing.assert_close(features, pooled)
    assert backbone.weights_sha256 == file_sha256(file)
    assert backbone.source == f"file:own.pth, sha256 {file_sha256(file)[:12]}"


def test_a_file_that_does_not_fit_is_refused_by_tensor(whole, tmp_path):
    name, network = whole
    state = network.state_dict() | {"fc.bias": torch.zeros(3), "layer5.weight": torch.zeros(1)}
    del state["layer1.0.conv2.1.weight"]
    torch.save(state, tmp_path / "own.pth")

    faults = (
        r"fc.bias is \(3,\), not \(400,\); layer1.0.conv2.1.weight is missing; layer5.* unknown\."
    )
    with pytest.raises(WeightsError, match=f"does not fit {name}: {faults}"):
        built(name, tmp_path / "own.pth", weights="file", blocks=1)


@pytest.mark.parametrize("name", NAMES)
def test_the_maps_have_the_published_shapes(name):
    backbone = built(name)
    x = torch.empty(1, 3, 16, 112, 112, device="meta")
    blocks = backbone.blocks.to("meta")

    shapes = [tuple(maps(blocks[: i + 1], x).shape[1:]) for i in range(5)]

    frames = {"mc3_18": (16, 16, 16)}.get(name, (8, 4, 2))  # Tran et al. 2018, table 1
    assert shapes == [
        (64, 16, 56, 56),
        (64, 16, 56, 56),
        (128, frames[0], 28, 28),
        (256, frames[1], 14, 14),
        (512, frames[2], 7, 7),
    ]
    assert backbone.crop_pixels == 112


def test_clips_of_any_length_pass():
    blocks = built("mc3_18").blocks.eval()

    for frames in (1, 2, 5):
        assert maps(blocks, clips(side=32, frames=frames)).shape[1:] == (512, frames, 2, 2)


@pytest.mark.parametrize("name", NAMES)
def test_kinetics_mean_is_subtracted(name):
    mean = torch.tensor(KINETICS_MEAN).view(1, 3, 1, 1, 1)

    x = built(name, blocks=1).preprocess(mean.expand(1, 3, 2, 1, 1))

    torch.testing.assert_close(x, torch.zeros_like(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_asked_for_where_there_is_none(name):
    with pytest.raises(ConfigError, match=f"needs --weights {name}=FILE"):
        built(name, weights="file")
