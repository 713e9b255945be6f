import copy
import re
import socket
import sys

import pytest
import timm
import torch
from safetensors.torch import save_file
from torchvision import models

from fer_core.config import StreamConfig
from fer_core.errors import ConfigError, WeightsError
from fer_core.models.backbones import build
from fer_core.models.backbones.libraries import KINDS, renamed
from fer_core.storage.files import file_sha256

# A network of each kind: how many blocks it has, and whose input or output its own maps are.
TORCHVISION = {
    "alexnet": (3, "avgpool", "input"),
    "convnext_tiny": (4, "avgpool", "input"),
    "densenet121": (5, "features", "output"),
    "efficientnet_b0": (5, "avgpool", "input"),
    "maxvit_t": (5, "classifier", "input"),
    "mnasnet0_5": (5, "layers", "output"),
    "mobilenet_v2": (5, "features", "output"),
    "mobilenet_v3_small": (5, "avgpool", "input"),
    "regnet_y_400mf": (5, "avgpool", "input"),
    "resnet18": (5, "avgpool", "input"),
    "shufflenet_v2_x0_5": (4, "conv5", "output"),
    "squeezenet1_1": (4, "features", "output"),
    "swin_t": (4, "avgpool", "input"),
    "swin_v2_t": (4, "avgpool", "input"),
    "vgg11_bn": (5, "avgpool", "input"),
    "vit_b_32": (13, "encoder", "output"),
}
TIMM = {
    "convnext_atto": 4,
    "edgenext_xx_small": 4,
    "efficientnet_b0": 5,
    "mobilenetv3_small_050": 5,
    "mobileone_s0": 5,
    "regnetx_002": 5,
    "resnet18": 5,
    "swin_tiny_patch4_window7_224": 4,
    "test_byobnet": 5,
    "test_coatnet": 5,
    "test_mambaout": 4,
    "test_maxvit": 5,
    "test_nfnet": 5,
    "test_vit3": 10,
    "test_vit_relpos": 10,
    "vgg11": 5,
    "vit_tiny_patch16_224": 13,
}
# One network of each way to cut is tried in every run; all others, which break rarely, where slow
# tests are.
QUICK = (
    "alexnet",
    "mobilenet_v2",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "convnext_atto",
)
QUICK += ("mobilenetv3_small_050", "regnetx_002", "test_byobnet", "test_maxvit", "test_vit3")
SMALLEST = ("torchvision:squeezenet1_1", "timm:test_resnet", "timm:test_vit")


def marked(names):
    return [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in names]


def stream(backbone, **choices):
    common = {"weights": "random", "blocks": 1, "freeze_depth": 0}
    return StreamConfig(backbone=backbone, **common | choices)


def built(backbone, file=None, **choices):
    return build(stream(backbone, **choices), weights_file=file, seed=0)


@pytest.fixture
def made(monkeypatch):
    """The networks that the libraries make for `built`, whole: drawing weights again is slow."""
    networks = []

    def noted(make, whole):
        def call(*args, **choices):
            network = make(*args, **choices)
            networks.append(whole(network))
            return network

        return call

    monkeypatch.setattr(models, "get_model", noted(models.get_model, lambda network: network))
    monkeypatch.setattr(timm, "create_model", noted(timm.create_model, copy.deepcopy))
    return networks


def whole(backbone, seed=9):
    """A network with other weights than `built` draws, and with statistics as if trained."""
    library, _, name = backbone.partition(":")
    make = {"timm": timm.create_model, "torchvision": models.get_model}[library]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = make(name)
        for buffer in network.buffers():
            if buffer.is_floating_point():
                buffer.data += torch.rand(buffer.shape)
    return network


def saved(state, path):
    torch.save(state, path)
    return path


def maps(blocks, x):
    with torch.no_grad():
        for block in blocks:
            x = block(x)
    return x


def image(side):
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def own_maps(net, module, which, x):
    """What a torchvision network makes of an image, before it is pooled."""
    seen = {}
    net.get_submodule(module).register_forward_hook(
        lambda module, inputs, output: seen.update(input=inputs[0].clone(), output=output.clone())
    )
    with torch.no_grad():
        net(x)
    return seen[which]


@pytest.mark.parametrize("name", marked(TORCHVISION))
def test_the_blocks_of_a_torchvision_network_give_its_own_maps_bit_for_bit(name, made):
    count, module, which = TORCHVISION[name]
    backbone = built(f"torchvision:{name}", blocks=count)
    x = image(backbone.crop_pixels)

    given = maps(backbone.blocks.eval(), x)

    expected = own_maps(made[0].eval(), module, which, x)
    if name == "densenet121":
        expected = expected.relu()  # as its `forward` does
    if name == "vit_b_32":
        expected = expected.transpose(1, 2).unsqueeze(3)  # (B, N, D) to (B, D, N, 1)
    assert torch.equal(given, expected)


def test_every_kind_of_torchvision_network_is_tried():
    tried = {models.get_model_builder(name).__module__.split(".")[-1] for name in TORCHVISION}

    assert tried == set(KINDS)


@pytest.mark.parametrize("name", marked(TIMM))
def test_the_blocks_of_a_timm_network_give_its_own_maps_bit_for_bit(name, made):
    backbone = built(f"timm:{name}", blocks=TIMM[name])
    x = image(backbone.crop_pixels)

    given = maps(backbone.blocks.eval(), x)

    with torch.no_grad():
        expected = made[0].eval().forward_features(x)
    if expected.ndim == 3:
        expected = expected.unsqueeze(2)  # (B, N, D) to (B, N, 1, D)
    if given.shape != expected.shape:
        expected = expected.movedim(-1, 1)  # channels were last
    assert torch.equal(given, expected)


@pytest.mark.parametrize(("backbone", "count"), list(zip(SMALLEST, (4, 5, 7), strict=True)))
def test_more_blocks_than_a_network_has_are_refused_with_their_number(backbone, count):
    right = rf"stream.blocks is 14; it must be 1 to {count}, the blocks of {backbone}"

    with pytest.raises(ConfigError, match=right):
        built(backbone, blocks=14)


@pytest.mark.parametrize("backbone", SMALLEST)
def test_blocks_beyond_those_in_use_are_dropped(backbone):
    few, more = built(backbone, blocks=2), built(backbone, blocks=3)

    assert len(few.blocks) == 2
    assert all(map(torch.equal, few.blocks.parameters(), more.blocks.parameters()))


@pytest.mark.parametrize(
    ("backbone", "shapes"),
    [
        ("timm:test_mambaout", [(16, 40, 40), (32, 20, 20), (48, 10, 10), (64, 5, 5)]),
        ("timm:test_vit", [(64, 101, 1)] * 7),
    ],
)
def test_between_blocks_channels_come_first_whatever_a_network_does_within(backbone, shapes):
    backbone = built(backbone, blocks=len(shapes))
    given, x = [], image(backbone.crop_pixels)

    for block in backbone.blocks:
        x = maps([block], x)
        given.append(tuple(x.shape[1:]))

    assert given == shapes


@pytest.mark.parametrize(
    "backbone",
    [
        "timm:vit_tiny_patch16_224",
        pytest.param("torchvision:vit_b_32", marks=pytest.mark.slow),
    ],
)
def test_a_crop_that_a_transformer_cannot_read_is_refused_with_its_own(backbone):
    with pytest.raises(
        ConfigError, match=r"stream.crop_pixels is 96, which does not suit .*own is 224"
    ):
        built(backbone, crop_pixels=96)


def test_a_crop_too_small_for_the_blocks_in_use_is_refused():
    with pytest.raises(
        ConfigError, match=r"stream\.crop_pixels is 32, which does not suit alexnet"
    ):
        built("torchvision:alexnet", blocks=3, crop_pixels=32)


def test_other_networks_read_any_crop():
    backbone = built("torchvision:squeezenet1_1", blocks=4, crop_pixels=64)

    assert backbone.crop_pixels == 64
    assert maps(backbone.blocks, image(64)).shape == (1, 512, 3, 3)


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_a_torchvision_network_whose_parts_branch_is_refused_with_the_kinds_that_do_not(name):
    with pytest.raises(ConfigError, match=rf"torchvision:{name} cannot be cut .*resnet, shuffle"):
        built(f"torchvision:{name}")


@pytest.mark.parametrize("name", ["xcit_nano_12_p16_224", "convit_tiny", "crossvit_tiny_240"])
def test_a_timm_network_that_cannot_be_cut_is_refused_by_name(name):
    with pytest.raises(ConfigError, match=rf"timm:{name} cannot be cut into blocks; .*ResNet"):
        built(f"timm:{name}")


@pytest.mark.parametrize("backbone", ["torchvision:resnet81", "timm:resnet81", "timm:resnet18.x"])
def test_an_unknown_network_is_refused_with_the_nearest_in_one_line(backbone):
    library, _, name = backbone.partition(":")

    with pytest.raises(ConfigError, match=rf"no {library} network '{name}'; did you m") as error:
        built(backbone)

    assert "resnet18" in str(error.value)
    assert len(str(error.value)) < 200


def test_an_unknown_library_is_refused():
    with pytest.raises(ConfigError, match="no backbone 'keras:resnet18'"):
        built("keras:resnet18")


def test_timm_is_asked_for_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)

    with pytest.raises(ConfigError, match="not installed; run pip install timm"):
        built("timm:resnet18")


@pytest.mark.parametrize(
    ("backbone", "mean"),
    [
        ("torchvision:squeezenet1_1", (123.675, 116.28, 103.53)),
        ("timm:vit_tiny_patch16_224", (127.5, 127.5, 127.5)),
        ("timm:resnet18.a1_in1k", (123.675, 116.28, 103.53)),
    ],
)
def test_a_network_reads_the_scale_that_its_library_states(backbone, mean):
    x = built(backbone).preprocess(torch.tensor(mean).view(1, 3, 1, 1))

    torch.testing.assert_close(x, torch.zeros_like(x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("backbone", SMALLEST)
def test_a_file_of_the_whole_network_is_loaded(backbone, suffix, tmp_path):
    network = whole(backbone)
    path = tmp_path / f"own.{suffix}"
    save = {"pth": torch.save, "safetensors": save_file}[suffix]
    save(network.state_dict(), path)

    backbone = built(backbone, path, weights="file", blocks=2)

    state = network.state_dict()
    first = next(iter(state.values()))
    assert any(torch.equal(first, t) for t in backbone.blocks.state_dict().values())
    kept = {t.sum().item() for t in state.values() if t.is_floating_point()}
    assert {t.sum().item() for t in backbone.blocks.parameters()} <= kept
    assert backbone.weights_sha256 == file_sha256(path)
    assert backbone.source == f"file:{path.name}, sha256 {file_sha256(path)[:12]}"


def test_densenets_old_names_of_its_layers_are_read(tmp_path):
    network = whole("torchvision:densenet121")
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): tensor
        for name, tensor in network.state_dict().items()
    }
    assert old.keys() != network.state_dict().keys()

    blocks = built("torchvision:densenet121", saved(old, tmp_path / "d.pth"), weights="file").blocks

    assert torch.equal(blocks[0][0].weight, network.features.conv0.weight)


@pytest.mark.parametrize(("old", "new"), [("linear_1", "0"), ("linear_2", "3")])
def test_vision_transformers_old_names_of_their_layers_are_read(old, new):
    layer, weight = "encoder.layers.encoder_layer_0.mlp", torch.zeros(1)

    assert renamed({f"{layer}.{old}.weight": weight}) == {f"{layer}.{new}.weight": weight}


def test_a_file_that_does_not_fit_is_refused_by_tensor(tmp_path):
    state = whole("timm:test_resnet").state_dict()
    state |= {"fc.bias": torch.zeros(3), "layer9.weight": torch.zeros(1)}
    del state["layer1.0.bn1.running_var"]
    path = saved(state, tmp_path / "own.pth")

    faults = (
        r"fc.bias is \(3,\), not \(1000,\); layer1.0.bn1.running_var is missing; layer9.* unknown"
    )
    with pytest.raises(WeightsError, match=f"does not fit timm:test_resnet: {faults}"):
        built("timm:test_resnet", path, weights="file")


def test_a_file_is_asked_for_where_there_is_none():
    with pytest.raises(ConfigError, match="needs --weights timm:test_resnet=FILE"):
        built("timm:test_resnet", weights="file")


@pytest.mark.parametrize("backbone", SMALLEST)
def test_nothing_is_fetched(backbone, monkeypatch):
    def refuse(*_args, **_choices):
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refuse)

    assert len(built(backbone).blocks) == 1
