import math

import pytest
import torch
from torch import nn

from fer_core.config import (
    Config,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.errors import ConfigError
from fer_core.models.backbones import build
from fer_core.models.dropout import Dropout
from fer_core.models.head import TwoHeads
from fer_core.models.network import Network, StreamInput, count
from fer_core.models.pooling import pool
from fer_core.models.recurrent import Attention, Recurrent
from fer_core.training import loop
from tests.fer_core.models.parts import CLASSES, FRAMES, MAPS, PARTS, built, of, stored, stream

FRAMEWISE = {n: c for n, c in PARTS.items() if not all(s.is_volume for s in c.streams)}
PADDABLE = {n: c for n, c in FRAMEWISE.items() if not any(s.is_volume for s in c.streams)}


@pytest.fixture(autouse=True)
def _seeded():
    with torch.random.fork_rng():
        yield


def epochs_of(*given, **options):
    """Train, and give the loss of each epoch that is asked for."""
    return iter(loop.Training(*given, **options).epoch, None)


def over(table):
    return pytest.mark.parametrize("config", table.values(), ids=table)


@over(PARTS)
def test_logits_are_one_row_a_frame_where_frames_vote_and_else_one_a_clip(config):
    logits = built(config).logits()

    votes = (2, FRAMES, len(CLASSES))
    assert logits.shape == (votes if config.votes else (2, len(CLASSES)))


@over(PARTS)
def test_a_clip_scores_the_same_alone_as_in_a_batch(config):
    model = built(config)

    alone = model.logits(given=[each[:1] for each in model.given])

    torch.testing.assert_close(model.logits()[:1], alone, rtol=1e-4, atol=1e-5)


@over(PARTS)
def test_every_trainable_parameter_gets_a_gradient_and_no_other(config):
    model = built(config, clips=4)

    logits = model.logits()
    (logits * torch.randn(logits.shape)).sum().backward()

    trained = {n: p for n, p in model.network.named_parameters() if p.requires_grad}
    assert [n for n, p in trained.items() if p.grad is None or not p.grad.any()] == []
    frozen = [p for p in model.network.parameters() if not p.requires_grad]
    assert all(p.grad is None for p in frozen)


@over(PADDABLE)
def test_what_lies_past_the_end_of_a_clip_changes_nothing(config):
    model = built(config)
    other = [each.clone() for each in model.given]
    for each in other:
        each[1, 3:] = 9.0

    scores, padded = model.logits([FRAMES, 3]), model.logits([FRAMES, 3], other)

    if config.votes:
        scores, padded = scores[:, :3], padded[:, :3]
    torch.testing.assert_close(scores, padded)


@over(PADDABLE)
def test_a_padded_clip_scores_as_without_its_padding(config):
    model = built(config)

    padded = model.logits([FRAMES, 3])[1:]

    cut = model.logits([3], [each[1:, :3] for each in model.given])
    torch.testing.assert_close(padded[:, :3] if config.votes else padded, cut, rtol=1e-4, atol=1e-5)


@over(PADDABLE)
def test_padding_changes_no_gradient_and_no_statistic_either(config):
    gradients = []
    for filler in (0.0, 9.0):
        model = built(config)
        for each in model.given:
            each[1, 3:] = filler
        model.network.train()
        torch.manual_seed(1)
        logits = model.logits([FRAMES, 3])
        (logits[:, :3] if config.votes else logits).square().sum().backward()
        parameters = [p for p in model.network.parameters() if p.grad is not None]
        gradients.append([*(p.grad for p in parameters), *model.network.buffers()])

    own = {"BatchNorm2d", "BatchNorm3d"}  # a backbone's own normalisation sees whole batches
    if not own & {type(module).__name__ for module in model.network.modules()}:
        for first, again in zip(*gradients, strict=True):
            torch.testing.assert_close(first, again)


@over(PARTS)
def test_a_seed_repeats_a_network_and_a_step_of_its_training(config):
    states = []
    for _ in range(2):
        model = built(config, clips=4)
        rows = torch.arange(4).numpy()
        epochs = epochs_of(
            model.network,
            lambda rows, _, given=model.given: [each[rows] for each in given],
            rows % len(CLASSES),
            rows,
            OptimizerConfig(epochs=1, batch_clips=4),
            order=0,
        )
        assert math.isfinite(next(epochs))
        states.append(model.network.state_dict())

    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.parametrize("depth", range(4))
@pytest.mark.parametrize("backbone", ["dlib_resnet", "vgg16", "torchvision:resnet18"])
def test_frozen_blocks_are_the_first_ones_and_stay_unchanged_statistics_included(backbone, depth):
    config = of(stream(backbone, blocks=4, freeze_depth=depth))
    model = built(config, clips=4)
    blocks = model.network.readers[0].blocks
    before = [{k: v.clone() for k, v in block.state_dict().items()} for block in blocks]
    rows = torch.arange(4).numpy()

    list(
        epochs_of(
            model.network,
            lambda rows, _: [each[rows] for each in model.given],
            rows % len(CLASSES),
            rows,
            OptimizerConfig(epochs=2, batch_clips=4, lr=0.01),
            order=0,
        )
    )

    changed = [
        any(not torch.equal(v, old[k]) for k, v in block.state_dict().items())
        for block, old in zip(blocks, before, strict=True)
    ]
    assert changed == [False] * depth + [True] * (4 - depth)
    trainable = [any(p.requires_grad for p in block.parameters()) for block in blocks]
    assert trainable == changed


@over({n: c for n, c in PARTS.items() if n.startswith("cell ")})
def test_a_cell_reads_the_order_of_frames(config):
    model = built(config, frames=4)

    flipped = model.logits(given=[each.flip(1) for each in model.given])

    assert not torch.allclose(model.logits(), flipped)


def test_attention_does_not_but_weighs_frames_apart():
    attention = Attention(6)
    frames = torch.randn(1, 4, 6)
    lengths = torch.tensor([4])

    torch.testing.assert_close(attention(frames, lengths), attention(frames.flip(1), lengths))
    assert not torch.allclose(attention(frames, lengths), frames.mean(dim=1))


def test_both_directions_of_a_cell_see_the_whole_clip():
    cell = Recurrent(6, cell="gru", hidden=3, bidirectional=True)
    frames, lengths = torch.randn(1, 5, 6), torch.tensor([5])
    first, last = frames.clone(), frames.clone()
    first[0, 0], last[0, -1] = 9.0, 9.0

    whole, at_start, at_end = (cell(x, lengths) for x in (frames, first, last))

    for other in (at_start, at_end):
        for half in (slice(3), slice(3, 6)):
            assert not torch.allclose(whole[:, half], other[:, half])


@pytest.mark.parametrize("how", ["sum", "product"])
def test_streams_whose_features_differ_in_number_cannot_be_added_at_conv(how):
    config = of(stored(), GeometryConfig(hidden=5), fusion=FusionConfig(point="conv", how=how))

    with pytest.raises(ConfigError, match=f"'{how}' needs .* they have {MAPS[0]}, 5;"):
        built(config)


def test_rules_at_the_logits_are_the_mean_and_the_product_of_probabilities():
    def scores(how):
        config = of(stored(), stored(), fusion=FusionConfig(point="logits", how=how))
        model = built(config)
        each = [
            branch(reader(given, lengths), lengths).softmax(-1)
            for branch, reader, given in zip(
                model.network.branches, model.network.readers, model.given, strict=True
            )
            for lengths in [model.network.lengths(model.given)]
        ]
        return model.logits().softmax(-1), each

    mean, each = scores("sum")
    torch.testing.assert_close(mean, (each[0] + each[1]) / 2)
    product, each = scores("product")
    torch.testing.assert_close(
        product, (each[0] * each[1]) / (each[0] * each[1]).sum(-1)[..., None]
    )


def test_two_heads_are_trained_by_the_sum_of_their_two_losses():
    heads = TwoHeads(6, CLASSES)
    features, target = torch.randn(3, 6), torch.tensor([0, 3, 2])

    joint = nn.functional.cross_entropy(heads(features), target)

    emotion = nn.functional.cross_entropy(heads.emotion(features), torch.tensor([0, 1, 1]))
    kind = torch.tensor([1, 0, 1])  # genuine comes first
    authenticity = nn.functional.cross_entropy(heads.authenticity(features), kind)
    torch.testing.assert_close(joint, emotion + authenticity)


def test_two_heads_are_refused_where_classes_are_no_pairs():
    config = of(stored(), head=HeadConfig(two_heads=True))
    given = [StreamInput(built(of(stored())).given[0][:1], nn.ModuleList())]

    for classes in (("anger", "fear"), ("acted", "genuine")):
        with pytest.raises(ConfigError, match="it must be False but for task 'hidden'"):
            Network(config, given, classes)


@pytest.mark.parametrize("positions", [(4,), (2, 3), (2, 3, 4)])
def test_pooling_is_over_all_positions(positions):
    maps = torch.rand(2, 5, *positions)
    axes = tuple(range(2, maps.ndim))

    torch.testing.assert_close(pool(maps, "avg"), maps.mean(dim=axes))
    torch.testing.assert_close(pool(maps, "max"), maps.amax(dim=axes))
    torch.testing.assert_close(pool(maps, "gem"), maps.pow(3).mean(dim=axes).pow(1 / 3))
    torch.testing.assert_close(pool(maps, "none"), maps.reshape(2, -1))


def test_an_unknown_pooling_or_cell_is_refused_with_those_there_are():
    with pytest.raises(ConfigError, match="did you mean 'avg'"):
        pool(torch.zeros(1, 1, 1), "avgg")
    with pytest.raises(ConfigError, match="did you mean 'lstm'"):
        Recurrent(4, cell="lstmm", hidden=2)


@pytest.mark.parametrize(("own", "point"), [(0, "conv"), (1, "fc1"), (2, "fc2"), (3, "logits")])
def test_streams_have_fc_layers_of_their_own_up_to_where_they_meet(own, point):
    head = HeadConfig(fc_layers=3, fc_width=8, dropout=0.5)
    config = of(stored(), stored(), fusion=FusionConfig(point=point), head=head)

    network = built(config).network

    def linears(part):
        return sum(isinstance(layer, nn.Linear) for layer in part.modules())

    last = point == "logits"
    assert [linears(branch) for branch in network.branches] == [own + last] * 2
    assert linears(network.shared) == 3 - own + 1
    dropouts = sum(isinstance(layer, Dropout) for layer in network.modules())
    assert dropouts == linears(network)


def test_vgg_face_and_c3d_have_as_many_parameters_as_published():
    """VGG-Face: Parkhi et al. 2015; C3D: Tran et al. 2015, with its 487 sports."""
    fc = 4096

    def whole(backbone, features, classes):
        with torch.device("meta"):
            head = [(features, fc), (fc, fc), (fc, classes)]
            linears = [nn.Linear(a, b) for a, b in head]
        full = StreamConfig(backbone=backbone, weights="random", blocks=5, freeze_depth=0)
        blocks = build(full, weights_file=None, seed=0).blocks
        return count([blocks, *linears])

    assert whole("vgg16", 25_088, 2622) == 145_002_878
    assert whole("c3d", 8_192, 487) == 79_991_015


def test_a_config_of_one_cell_and_one_stream_reads_back_its_sizes():
    config = Config(
        streams=(stored(),),
        recurrent=RecurrentConfig(cell="gru", hidden=7, bidirectional=True),
        head=HeadConfig(),
    )

    assert built(config).network.shared.feature_dim == len(CLASSES)
    assert built(config).network.shared.cell.feature_dim == 14
