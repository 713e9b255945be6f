from dataclasses import replace

import pytest
import torch
from torch import nn

from fer_core.config import (
    BACKBONES,
    CELLS,
    POOLINGS,
    ClipConfig,
    Config,
    HeadConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.errors import ConfigError
from fer_core.models.backbones import build
from fer_core.models.head import Head
from fer_core.models.network import Network, feature_dim
from fer_core.models.pooling import pool
from fer_core.models.recurrent import Recurrent

CLASSES, FRAMES, CROP_PIXELS = 4, 3, 104
IMAGE_BACKBONES = [name for name in BACKBONES if name != "c3d"]


def config(backbone="vgg16", *, freeze_depth=0, blocks=None, pooling="avg", cell=None):
    blocks = blocks or BACKBONES[backbone]
    return Config(
        stream=StreamConfig(
            backbone=backbone,
            weights="random",
            blocks=blocks,
            freeze_depth=freeze_depth,
            pooling=pooling,
            width=1 / 16,
            crop_pixels=CROP_PIXELS,
        ),
        clip=ClipConfig(frames=FRAMES),
        recurrent=None if cell is None else RecurrentConfig(cell=cell, hidden=6, layers=2),
        head=HeadConfig(fc_layers=1, fc_width=8, dropout=0.5),
    )


def network_and_crops(chosen, clips=2):
    """Build the network of a config whose backbone is wholly trained, and crops to feed it."""
    backbone = build(chosen.stream, weights_file=None, seed=0)
    frames = 255 * torch.rand(clips * FRAMES, 3, CROP_PIXELS, CROP_PIXELS)
    if chosen.family == "c3d":
        volumes = frames.unflatten(0, (clips, FRAMES)).transpose(1, 2)
        stored = backbone.preprocess(volumes)
    else:
        stored = backbone.preprocess(frames).unflatten(0, (clips, FRAMES))
    dim = feature_dim(chosen, backbone.blocks, stored[:1])
    return Network(chosen, backbone.blocks, dim, CLASSES), stored


def features_network(cell):
    chosen = config(freeze_depth=5, cell=cell)
    return Network(chosen, nn.ModuleList(), 16, CLASSES).eval()


ALL = [config(name, cell=cell) for name in IMAGE_BACKBONES for cell in (None, *CELLS)]
ALL.append(config("c3d"))


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


@pytest.mark.parametrize("chosen", ALL, ids=lambda c: f"{c.stream.backbone}-{c.family}")
def test_logits_are_one_row_a_frame_or_one_a_clip(chosen):
    network, stored = network_and_crops(chosen)

    logits = network(stored, torch.full((2,), FRAMES))

    votes = chosen.family == "cnn"
    assert logits.shape == ((2, FRAMES, CLASSES) if votes else (2, CLASSES))


@pytest.mark.parametrize("chosen", ALL, ids=lambda c: f"{c.stream.backbone}-{c.family}")
def test_every_trainable_parameter_gets_a_gradient(chosen):
    network, stored = network_and_crops(chosen, clips=4)

    network.eval()(stored, torch.full((4,), FRAMES)).square().sum().backward()

    dead = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert dead == []


@pytest.mark.parametrize("chosen", ALL, ids=lambda c: f"{c.stream.backbone}-{c.family}")
def test_a_clip_scores_the_same_alone_as_in_a_batch(chosen):
    network, stored = network_and_crops(chosen)
    lengths = torch.full((2,), FRAMES)

    both, alone = (network.eval()(x, lengths[: len(x)]) for x in (stored, stored[:1]))

    torch.testing.assert_close(both[:1], alone)


@pytest.mark.parametrize("cell", CELLS)
def test_what_lies_past_the_end_of_a_clip_changes_nothing(cell):
    network = features_network(cell)
    frames, lengths = torch.randn(2, 10, 16), torch.tensor([10, 4])
    other = frames.clone()
    other[1, 4:] = 99.0

    torch.testing.assert_close(network(frames, lengths), network(other, lengths))


@pytest.mark.parametrize("cell", CELLS)
def test_a_padded_clip_scores_as_without_its_padding(cell):
    network = features_network(cell)
    frames = torch.randn(2, 10, 16)

    padded = network(frames, torch.tensor([10, 4]))[1:]

    torch.testing.assert_close(padded, network(frames[1:, :4], torch.tensor([4])))


@pytest.mark.parametrize("cell", CELLS)
def test_a_recurrent_cell_reads_the_order_of_frames(cell):
    network = features_network(cell)
    frames, lengths = torch.randn(1, 5, 16), torch.tensor([5])

    assert not torch.allclose(network(frames, lengths), network(frames.flip(1), lengths))


@pytest.mark.parametrize("backbone", IMAGE_BACKBONES)
@pytest.mark.parametrize("freeze_depth", [1, 3])
def test_stored_activations_score_as_the_crops_they_came_from(backbone, freeze_depth):
    whole, stored = network_and_crops(config(backbone, cell="gru"))
    chosen = config(backbone, freeze_depth=freeze_depth, cell="gru")
    cut = Network(chosen, whole.suffix[freeze_depth:], whole.recurrent.cell.input_size, CLASSES)
    cut.load_state_dict(whole.state_dict() | cut.state_dict(), strict=False)
    cut.recurrent, cut.head = whole.recurrent, whole.head
    lengths = torch.full((2,), FRAMES)

    maps = stored.flatten(0, 1)
    for block in whole.suffix[:freeze_depth]:
        maps = block(maps)
    maps = maps.unflatten(0, (2, FRAMES))

    torch.testing.assert_close(cut.eval()(maps, lengths), whole.eval()(stored, lengths))


def test_frozen_features_are_counted_as_they_lie():
    chosen = replace(config(freeze_depth=5), pca_dim=7)

    assert feature_dim(chosen, nn.ModuleList(), torch.zeros(1, FRAMES, 7)) == 7


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_sets_the_feature_count(pooling):
    chosen = config("vgg16", pooling=pooling)

    network, _ = network_and_crops(chosen)

    side = CROP_PIXELS // 2**5
    expected = 32 * side * side if pooling == "none" else 32
    assert network.head.layers[1].in_features == expected


@pytest.mark.parametrize("positions", [(4,), (2, 3), (2, 3, 4)])
def test_pooling_is_over_all_positions(positions):
    maps = torch.randn(2, 5, *positions)
    axes = tuple(range(2, maps.ndim))

    torch.testing.assert_close(pool(maps, "avg"), maps.mean(dim=axes))
    torch.testing.assert_close(pool(maps, "max"), maps.amax(dim=axes))
    torch.testing.assert_close(pool(maps, "none"), maps.reshape(2, -1))


def test_an_unknown_pooling_or_cell_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="did you mean 'avg'"):
        pool(torch.zeros(1, 1, 1), "avgg")
    with pytest.raises(ConfigError, match="did you mean 'lstm'"):
        Recurrent(4, cell="lstmm", hidden=2)


@pytest.mark.parametrize("fc_layers", range(4))
def test_a_head_has_its_layers_and_a_dropout_before_each(fc_layers):
    head = Head(16, CLASSES, fc_layers=fc_layers, fc_width=8, dropout=0.5)

    linears = [layer for layer in head.layers if isinstance(layer, nn.Linear)]
    kinds = [type(layer) for layer in head.layers]
    assert [layer.out_features for layer in linears] == [8] * fc_layers + [CLASSES]
    assert kinds == [nn.Dropout, nn.Linear, nn.ReLU] * fc_layers + [nn.Dropout, nn.Linear]
