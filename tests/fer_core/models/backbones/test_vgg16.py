import math

import pytest
import torch
from torchvision.models import vgg16

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError, WeightsError
from fer_core.models.backbones import build
from fer_core.models.backbones.vgg16 import shapes
from fer_core.storage.files import file_sha256

CONVOLUTIONS = {  # torchvision's features.N, and the VGG-Face file's name for it
    0: "conv1_1", 2: "conv1_2", 5: "conv2_1", 7: "conv2_2", 10: "conv3_1", 12: "conv3_2",
    14: "conv3_3", 17: "conv4_1", 19: "conv4_2", 21: "conv4_3", 24: "conv5_1", 26: "conv5_2",
    28: "conv5_3",
}  # fmt: skip


def stream(weights, blocks=5, mean_order=None):
    return StreamConfig(
        backbone="vgg16",
        weights=weights,
        blocks=blocks,
        freeze_depth=blocks,
        mean_order=mean_order,
    )


@pytest.fixture(scope="module")
def torchvision_net():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return vgg16().features.to(memory_format=torch.channels_last).eval()


@pytest.fixture(scope="module")
def imagenet_state(torchvision_net):
    return {f"features.{name}": t for name, t in torchvision_net.state_dict().items()}


@pytest.fixture(scope="module")
def face_state(torchvision_net):
    return {
        f"{name}.{kind}": getattr(torchvision_net[i], kind).detach()
        for i, name in CONVOLUTIONS.items()
        for kind in ("weight", "bias")
    }


def saved(state, path):
    torch.save(state, path)
    return path


@pytest.mark.parametrize("weights", ["file", "imagenet"])
def test_the_maps_are_torchvisions_bit_for_bit(
    torchvision_net, face_state, imagenet_state, tmp_path, weights
):
    state = {"file": face_state, "imagenet": imagenet_state}[weights]
    path = saved(state, tmp_path / "vgg.pth")
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))

    backbone = build(stream(weights), weights_file=path, seed=0)

    with torch.no_grad():
        expected, maps = torchvision_net(x), x
        for block in backbone.blocks:
            maps = block(maps)
    assert torch.equal(maps, expected)
    assert backbone.weights_sha256 == file_sha256(path)
    face = "file:vgg.pth (dag, rgb), mean rgb 129.19 104.76 93.59"
    name = {"file": face, "imagenet": "imagenet"}[weights]
    assert backbone.source == f"{name}, sha256 {file_sha256(path)[:12]}"


def test_the_network_has_the_published_number_of_parameters():
    with torch.device("meta"):
        imagenet = vgg16()

    assert sum(map(math.prod, shapes(2622).values())) == 145_002_878
    assert [tuple(p.shape) for p in imagenet.parameters()] == list(shapes(1000).values())


def test_fewer_blocks_read_the_same_file(face_state, tmp_path):
    path = saved(face_state, tmp_path / "face.pth")

    backbone = build(stream("file", blocks=2), weights_file=path, seed=0)

    assert torch.equal(backbone.blocks[1][2].weight, face_state["conv2_2.weight"])


@pytest.mark.parametrize(
    ("weights", "order", "mean"),
    [
        ("file", None, (129.1863, 104.7624, 93.594)),
        ("file", "rgb", (129.1863, 104.7624, 93.594)),
        ("file", "bgr", (93.594, 104.7624, 129.1863)),
        ("random", None, (124, 116, 104)),
    ],
)
def test_the_mean_face_is_subtracted_in_the_order_that_is_chosen(
    face_state, tmp_path, weights, order, mean
):
    path = saved(face_state, tmp_path / "face.pth")
    backbone = build(stream(weights, blocks=1, mean_order=order), weights_file=path, seed=0)

    x = backbone.preprocess(torch.tensor(mean).view(1, 3, 1, 1))

    torch.testing.assert_close(x, torch.zeros_like(x), atol=0.02, rtol=0)


def test_the_order_of_the_mean_is_in_the_source_and_in_the_keys_of_what_is_stored(
    face_state, tmp_path
):
    path = saved(face_state, tmp_path / "face.pth")

    unsaid, rgb, bgr = (
        build(stream("file", blocks=1, mean_order=order), weights_file=path, seed=0)
        for order in (None, "rgb", "bgr")
    )

    assert (unsaid.weights_sha256, unsaid.source) == (rgb.weights_sha256, rgb.source)
    assert bgr.weights_sha256 == f"{rgb.weights_sha256}:bgr"
    assert "(dag, rgb), mean bgr 129.19 104.76 93.59, sha256" in bgr.source
    assert torch.equal(bgr.blocks[0][0].weight, rgb.blocks[0][0].weight)


@pytest.mark.parametrize("weights", ["random", "imagenet"])
def test_an_order_of_the_mean_is_for_vgg_face_only(weights):
    with pytest.raises(ConfigError, match=r"mean_order is 'rgb'; it must be None"):
        build(stream(weights, mean_order="rgb"), weights_file=None, seed=0)


def test_each_kind_of_weights_refuses_the_files_of_the_other(face_state, imagenet_state, tmp_path):
    face = saved(face_state, tmp_path / "face.pth")
    imagenet = saved(imagenet_state, tmp_path / "imagenet.pth")

    with pytest.raises(WeightsError, match=r"layers of torchvision, .* use 'imagenet'"):
        build(stream("file"), weights_file=imagenet, seed=0)
    with pytest.raises(WeightsError, match=r"layers of dag, .* 'file' for all others"):
        build(stream("imagenet"), weights_file=face, seed=0)


def test_a_file_is_asked_for_where_there_is_none():
    with pytest.raises(ConfigError, match="vgg16 with weights 'file' needs --weights vgg16=FILE"):
        build(stream("file"), weights_file=None, seed=0)


def test_imagenet_weights_are_not_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    with pytest.raises(WeightsError, match=r"vgg16-397923af\.pth is not in"):
        build(stream("imagenet"), weights_file=None, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv3_2.bias": None}, "conv3_2.bias is missing"),
        ({"conv9_9.weight": torch.zeros(1)}, "conv9_9.weight is unknown"),
        ({"conv1_1.bias": torch.zeros(3)}, r"conv1_1.bias is \(3,\), not \(64,\)"),
        ({"fc6.bias": torch.zeros(3)}, r"fc6.bias is \(3,\), not \(4096,\); fc6.weight is missing"),
    ],
)
@pytest.mark.parametrize("blocks", [1, 5])
def test_a_file_that_does_not_fit_is_refused_by_tensor(
    face_state, tmp_path, change, message, blocks
):
    state = {k: t for k, t in (face_state | change).items() if t is not None}
    path = saved(state, tmp_path / "face.pth")

    with pytest.raises(WeightsError, match=message):
        build(stream("file", blocks), weights_file=path, seed=0)


@pytest.mark.parametrize("content", [b"", b"not a state dict"])
def test_a_file_that_is_no_state_dict_is_refused(tmp_path, content):
    path = tmp_path / "face.pth"
    path.write_bytes(content)

    with pytest.raises(WeightsError, match=r"face\.pth cannot be read"):
        build(stream("file"), weights_file=path, seed=0)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = saved([1, 2], tmp_path / "face.pth")

    with pytest.raises(WeightsError, match="holds no state dict"):
        build(stream("file"), weights_file=path, seed=0)
