"""What a config leaves out makes no difference, and what makes a difference stays."""

from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fer_core.config import (
    ONE_FRAME,
    AugmentConfig,
    ClipConfig,
    Config,
    ConfigError,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
    canonical,
)
from fer_core.models.network import Network
from fer_core.scoring import vote
from fer_core.training import optimizer
from fer_core.trial.feasibility import stand_in

FACE = StreamConfig(
    backbone="dlib_resnet", weights="random", blocks=2, freeze_depth=2, pooling="avg"
)
CLASSES = ("anger", "fear", "happiness")
STREAMS = (
    (FACE,),
    (replace(FACE, freeze_depth=0),),
    (GeometryConfig(hidden=0, dropout=0.3),),
    (GeometryConfig(hidden=8, dropout=0.3),),
    (FACE, GeometryConfig(hidden=0, dropout=0.3)),
)


def valid(**choices):
    try:
        return Config(**choices)
    except ConfigError:
        assume(False)


@st.composite
def configs(draw):
    streams = draw(st.sampled_from(STREAMS))
    points = st.sampled_from(["conv", "fc1", "logits"])
    cells = st.none() | st.builds(
        RecurrentConfig, cell=st.sampled_from(["gru", "rnn"]), hidden=st.integers(2, 4)
    )
    clips = st.builds(
        ClipConfig,
        start=st.sampled_from([0.0, 0.5]),
        frames=st.sampled_from([1, 3]),
        sampling=st.sampled_from(["window", "uniform", "stride", "last", "middle"]),
        stride=st.integers(1, 3),
    )
    heads = st.builds(
        HeadConfig, fc_layers=st.integers(0, 2), fc_width=st.integers(4, 6), dropout=st.just(0.2)
    )
    rates = st.sampled_from([0.1, 1.0])
    votings = st.sampled_from(["majority", "mean_probability", "mean_logit", "attention"])
    return valid(
        streams=streams,
        clip=draw(clips),
        fusion=FusionConfig(point=draw(points)) if len(streams) > 1 else None,
        recurrent=draw(cells),
        voting=draw(votings),
        head=draw(heads),
        optimizer=draw(st.builds(OptimizerConfig, backbone_lr=rates)),
        augment=draw(st.sampled_from([None, AugmentConfig(flip=False)])),
    )


fixed_frames = st.sampled_from([None, ONE_FRAME, ClipConfig(sampling="last", frames=3)])


def network_of(config, frames):
    inputs = [stand_in(config, stream, frames) for stream in config.streams]
    return Network(config, inputs, CLASSES).eval(), [each.sample.shape[1:] for each in inputs]


def chosen(network, inputs, rule):
    """Return the class of each clip, as the scores of its frames vote, and the gradients."""
    logits = network(inputs, network.lengths(inputs))
    by_frame = logits if logits.ndim == 3 else logits[:, None]
    clips = by_frame.mean(dim=1)
    network.zero_grad()
    torch.nn.functional.cross_entropy(clips, torch.arange(len(clips)) % len(CLASSES)).backward()
    voted = vote(by_frame.softmax(dim=-1).detach().numpy(), rule)
    return voted.argmax(axis=1), {name: p.grad for name, p in network.named_parameters()}


@settings(deadline=None, max_examples=30)
@given(configs(), fixed_frames)
def test_what_is_left_out_is_left_out_once_and_for_all(config, fixed):
    once = canonical(config, fixed)

    assert canonical(once, fixed) == once
    assert canonical(once, fixed).config_id == once.config_id


@settings(deadline=None, max_examples=15)
@given(configs(), fixed_frames, st.integers(0, 99))
def test_both_configs_choose_the_same_classes_and_learn_the_same(config, fixed, seed):
    once, frames = canonical(config, fixed), (fixed or config.clip).frames
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        (network, shapes), (other, other_shapes) = (
            network_of(each, frames) for each in (config, once)
        )
        inputs = [torch.randn(5, *shape) for shape in shapes]
    missing, _ = other.load_state_dict(network.state_dict(), strict=False)

    classes, gradients = chosen(network, inputs, config.rule)
    others, other_gradients = chosen(other, inputs, once.rule)

    assert (missing, other_shapes) == ([], shapes)
    assert classes.tolist() == others.tolist()
    for name, gradient in other_gradients.items():
        torch.testing.assert_close(gradient, gradients[name], rtol=1e-4, atol=1e-6)
    rates, other_rates = (
        {group["lr"] for group in optimizer.build(network, each.optimizer).param_groups}
        for each in (config, once)
    )
    assert rates == other_rates


@settings(deadline=None, max_examples=30)
@given(configs())
def test_the_frames_of_photographs_and_their_votes_are_no_choice(config):
    votes = config.recurrent is None
    rules = ["majority", "mean_logit", "attention"] if votes else ["mean_probability"]

    alike = {
        canonical(replace(config, clip=ClipConfig(frames=frames), voting=rule), ONE_FRAME)
        for frames in (1, 5)
        for rule in rules
    }

    assert alike == {canonical(config, ONE_FRAME)}


@pytest.mark.parametrize(
    "change",
    [
        {"streams": (replace(FACE, pooling="max"),)},
        {"clip": ClipConfig(frames=4)},
        {"clip": ClipConfig(sampling="last", stride=2)},
        {"voting": "majority"},
        {"clip": ClipConfig(frames=2), "voting": "attention"},
        {"head": HeadConfig(fc_layers=1, fc_width=9)},
        {"head": HeadConfig(dropout=0.1)},
        {"recurrent": RecurrentConfig(cell="gru", hidden=4)},
        {"optimizer": OptimizerConfig(lr=0.01)},
        {"augment": AugmentConfig()},
        {"stands_for": "t7-face"},
    ],
)
def test_what_matters_stays(change):
    config = Config(streams=(FACE,))

    assert canonical(replace(config, **change)) == replace(config, **change)
    assert canonical(replace(config, **change)) != canonical(config)


def test_the_rate_of_trained_blocks_stays():
    trained = Config(
        streams=(replace(FACE, freeze_depth=1),), optimizer=OptimizerConfig(backbone_lr=0.1)
    )

    assert canonical(trained) == trained
