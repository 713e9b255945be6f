"""Packs race: who trains together, who leaves, and that no one's score depends on the company."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_core.config import (
    ClipConfig,
    Config,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.packs import most_members, pack_key, rungs, stackable, stage_key
from fer_core.race import run
from fer_core.training import stack
from fer_core.trial import cross_validate

POINTS = Config(
    streams=(GeometryConfig(encoding="procrustes", hidden=8),),
    clip=ClipConfig(frames=3),
    head=HeadConfig(fc_layers=1, fc_width=8, dropout=0.2),
    optimizer=OptimizerConfig(lr=0.01, epochs=8, batch_clips=8),
)
GRU = replace(POINTS, recurrent=RecurrentConfig(cell="gru", hidden=8))
FROZEN = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=4, freeze_depth=4, pooling="avg"
)


def with_lr(lr, config=POINTS):
    return replace(config, optimizer=replace(config.optimizer, lr=lr))


def outcome(results):
    return [(result.fold, result.losses) for result in results]


def at_the_end(configs, experiment, *, raced=False):
    """Give each config's results, nobody leaving."""
    last = list(run(configs, experiment, raced=raced))[-1]
    return [standing.results for standing in last]


def test_a_race_goes_from_a_quarter_of_one_fold_to_all_folds():
    assert [(rung.folds, rung.epochs) for rung in rungs(5, raced=True)] == [
        ((0,), 0.25),
        ((0,), 0.5),
        ((0,), 1.0),
        ((0, 1), 1.0),
        ((0, 1, 2, 3, 4), 1.0),
    ]
    assert [rung.folds for rung in rungs(2, raced=True)] == [(0,), (0,), (0,), (0, 1)]
    assert [rung.folds for rung in rungs(1, raced=True)] == [(0,)] * 3
    assert [rung.folds for rung in rungs(5, raced=False)] == [(0, 1, 2, 3, 4)]


def test_configs_that_differ_in_rate_decay_dropout_and_pooling_may_share_a_pack():
    other = replace(
        POINTS,
        head=replace(POINTS.head, dropout=0.5),
        optimizer=replace(POINTS.optimizer, lr=0.1, weight_decay=0.2, label_smoothing=0.1),
    )
    images = replace(POINTS, streams=(FROZEN,))

    assert pack_key(POINTS) == pack_key(other)
    assert stage_key(POINTS) == stage_key(other)
    assert pack_key(images) == pack_key(replace(images, streams=(replace(FROZEN, pooling="max"),)))


@pytest.mark.parametrize(
    "other",
    [
        GRU,
        replace(POINTS, head=replace(POINTS.head, fc_width=16)),
        replace(POINTS, optimizer=replace(POINTS.optimizer, epochs=9)),
        replace(POINTS, clip=ClipConfig(frames=4)),
    ],
)
def test_configs_of_another_shape_or_length_may_not(other):
    assert pack_key(POINTS) != pack_key(other)


@pytest.mark.parametrize(
    "config",
    [
        replace(POINTS, optimizer=replace(POINTS.optimizer, patience=2)),
        replace(POINTS, streams=(replace(FROZEN, freeze_depth=2),)),
        replace(POINTS, recurrent=RecurrentConfig(cell="gru", hidden=8, layers=2, dropout=0.1)),
    ],
)
def test_what_does_not_stack_is_a_pack_of_its_own(config, experiment):
    assert not stackable(config)
    assert most_members(config, experiment) == 1
    assert pack_key(config) != pack_key(with_lr(0.5, config))


def test_only_light_configs_wait_for_others(experiment):
    heavy = replace(POINTS, head=HeadConfig(fc_layers=3, fc_width=4096))

    assert most_members(POINTS, experiment) > 1
    assert most_members(heavy, experiment) == 1


@pytest.mark.parametrize("config", [POINTS, GRU], ids=["frames", "gru"])
def test_a_config_scores_the_same_in_a_pack_as_alone(config, experiment):
    configs = [with_lr(lr, config) for lr in (1e-3, 1e-2, 3e-2)]

    together = at_the_end(configs, experiment)

    for own, results in zip(configs, together, strict=True):
        alone = list(cross_validate(own, experiment))
        for mine, other in zip(results, alone, strict=True):
            assert mine.clips == other.clips
            np.testing.assert_allclose(mine.losses, other.losses, atol=1e-5)
            np.testing.assert_allclose(mine.probabilities, other.probabilities, atol=1e-4)


def test_a_config_scores_the_same_raced_as_not(experiment):
    raced, whole = (at_the_end([POINTS], experiment, raced=r)[0] for r in (True, False))

    for mine, other in zip(raced, whole, strict=True):
        np.testing.assert_allclose(mine.losses, other.losses, atol=1e-5)


def test_a_race_repeats_to_the_last_bit(experiment):
    configs = [with_lr(lr) for lr in (1e-3, 1e-2, 3e-2)]

    once, again = (at_the_end(configs, experiment, raced=True) for _ in range(2))

    assert list(map(outcome, once)) == list(map(outcome, again))


def test_a_rung_shows_how_far_a_fold_is(experiment):
    epochs = [
        [len(result.losses) for result in standings[0].results]
        for standings in run([POINTS], experiment, raced=True)
    ]

    assert epochs == [[2], [4], [8], [8, 8], [8, 8, 8, 8, 8]]


def test_those_who_are_sent_leave_and_the_rest_go_on(experiment):
    configs = [with_lr(lr) for lr in (1e-3, 1e-2, 3e-2)]
    race_ = run(configs, experiment, raced=True)

    next(race_)
    second = race_.send({0})
    third = race_.send(set())
    fourth = race_.send({1})
    rest = list(race_)

    assert [standing.member for standing in second] == [1, 2]
    assert [standing.member for standing in third] == [1, 2]
    assert [standing.member for standing in fourth] == [2]
    alone = list(cross_validate(configs[2], experiment))
    for mine, other in zip(rest[-1][0].results, alone, strict=True):
        np.testing.assert_allclose(mine.losses, other.losses, atol=1e-5)


def test_when_all_have_left_nothing_more_is_trained(experiment):
    race_ = run([POINTS], experiment, raced=True)
    next(race_)

    with pytest.raises(StopIteration):
        race_.send({0})


def test_a_config_that_diverges_leaves_with_its_error_and_the_rest_go_on(experiment):
    sgd = replace(POINTS.optimizer, name="sgd")
    configs = [replace(POINTS, optimizer=replace(sgd, lr=lr)) for lr in (1e-2, 1e30)]

    standings = list(run(configs, experiment, raced=True))

    assert [[s.member for s in each if s.error is None] for each in standings] == [[0]] * 5
    assert "lower optimizer.lr" in str(standings[0][1].error)


def test_a_config_that_cannot_work_on_the_data_leaves_before_it_trains(experiment):
    impossible = replace(POINTS, streams=(replace(FROZEN, pca_dim=500),))

    first = next(run([impossible, POINTS], experiment, raced=True))

    assert "pca_dim is 500" in str(first[0].error)
    assert first[1].error is None


def test_large_networks_train_one_by_one(experiment, monkeypatch):
    monkeypatch.setitem(stack.LARGE, "cpu", 10)

    results = at_the_end([POINTS], experiment)[0]

    alone = list(cross_validate(POINTS, experiment))
    for mine, other in zip(results, alone, strict=True):
        np.testing.assert_allclose(mine.losses, other.losses, atol=1e-5)


@pytest.mark.parametrize("place", ["settled_width", "epoch", "settle"])
def test_a_stack_that_breaks_is_trained_one_by_one(place, experiment, monkeypatch):
    def broken(self):
        raise torch.OutOfMemoryError("no room for a stack")

    monkeypatch.setattr(stack.Stack, "settled_width", lambda _: 1)
    monkeypatch.setattr(stack.Stack, place, broken)
    configs = [with_lr(lr) for lr in (1e-3, 1e-2)]

    together = at_the_end(configs, experiment)

    monkeypatch.undo()
    for own, results in zip(configs, together, strict=True):
        alone = list(cross_validate(own, experiment))
        for mine, other in zip(results, alone, strict=True):
            np.testing.assert_allclose(mine.losses, other.losses, atol=1e-5)
