"""Packs: who trains together, who leaves at a rung, and that no score depends on the others."""

import math
import pickle
import subprocess
import sys
import time
import traceback
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_core.config import (
    AugmentConfig,
    ClipConfig,
    Config,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.models.network import Network
from fer_core.training import checkpoint, loop
from fer_core.training.fits import OneFit
from fer_core.training.stacking import stack
from fer_core.trial import trial_data as trial_data_module
from fer_core.trial.evaluate import cross_validate, score_sealed
from fer_core.trial.pack import train
from fer_core.trial.packing import most_members, pack_key, stackable, stage_key
from fer_core.trial.rungs import rungs

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


def at_the_end(configs, study_data, *, raced=False):
    """Give each config's results, nobody leaving."""
    last = list(train(configs, study_data, raced=raced))[-1]
    return [at_rung.results for at_rung in last]


def test_the_rungs_go_from_a_quarter_of_one_fold_to_all_folds():
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
def test_what_does_not_stack_is_a_pack_of_its_own(config, study_data):
    assert not stackable(config)
    assert most_members(config, study_data) == 1
    assert pack_key(config) != pack_key(with_lr(0.5, config))


def test_only_light_configs_wait_for_others(study_data):
    heavy = replace(POINTS, head=HeadConfig(fc_layers=3, fc_width=4096))

    assert most_members(POINTS, study_data) > 1
    assert most_members(heavy, study_data) == 1


SHORT = replace(
    POINTS,
    head=replace(POINTS.head, dropout=0.0),
    optimizer=OptimizerConfig(lr=3e-4, epochs=12, updates=12, batch_clips=8),
)


def test_folds_that_are_still_improving_train_on_and_the_others_of_the_pack_end(study_data):
    configs = [with_lr(lr, SHORT) for lr in (3e-4, 0.03)]

    slow, fast = at_the_end(configs, study_data)

    assert all(result.extended for result in slow)
    assert {len(result.losses) for result in slow} <= {24, 48}
    assert any(len(result.losses) == 12 for result in fast)
    for own, results in zip(configs, (slow, fast), strict=True):
        for mine, alone in zip(results, cross_validate(own, study_data), strict=True):
            np.testing.assert_allclose(mine.losses, alone.losses, atol=1e-4)
            np.testing.assert_allclose(mine.probabilities, alone.probabilities, atol=1e-3)


def test_where_a_config_fixes_its_epochs_a_fit_only_says_that_it_was_improving(study_data):
    fixed = replace(SHORT, optimizer=replace(SHORT.optimizer, updates=None))

    results = list(cross_validate(fixed, study_data))

    assert {len(result.losses) for result in results} == {12}
    assert all(result.still_improving and not result.extended for result in results)


@pytest.mark.parametrize("config", [POINTS, GRU], ids=["frames", "gru"])
def test_a_config_scores_the_same_in_a_pack_as_alone(config, study_data):
    configs = [with_lr(lr, config) for lr in (1e-3, 1e-2, 3e-2)]

    together = at_the_end(configs, study_data)

    for own, results in zip(configs, together, strict=True):
        alone = list(cross_validate(own, study_data))
        for mine, other in zip(results, alone, strict=True):
            assert mine.clips == other.clips
            np.testing.assert_allclose(mine.losses, other.losses, atol=1e-5)
            np.testing.assert_allclose(mine.probabilities, other.probabilities, atol=1e-4)


def test_a_config_scores_the_same_raced_as_not(study_data):
    raced, whole = (at_the_end([POINTS], study_data, raced=r)[0] for r in (True, False))

    for mine, other in zip(raced, whole, strict=True):
        np.testing.assert_allclose(mine.losses, other.losses, atol=1e-5)


def test_a_pack_repeats_to_the_last_bit(study_data):
    configs = [with_lr(lr) for lr in (1e-3, 1e-2, 3e-2)]

    once, again = (at_the_end(configs, study_data, raced=True) for _ in range(2))

    assert list(map(outcome, once)) == list(map(outcome, again))


def test_a_rung_shows_how_far_a_fold_is(study_data):
    epochs = [
        [len(result.losses) for result in at_rungs[0].results]
        for at_rungs in train([POINTS], study_data, raced=True)
    ]

    assert epochs == [[2], [4], [8], [8, 8], [8, 8, 8, 8, 8]]


def test_those_who_are_sent_leave_and_the_rest_go_on(study_data):
    configs = [with_lr(lr) for lr in (1e-3, 1e-2, 3e-2)]
    training = train(configs, study_data, raced=True)

    next(training)
    second = training.send({0})
    third = training.send(set())
    fourth = training.send({1})
    rest = list(training)

    assert [at_rung.member for at_rung in second] == [1, 2]
    assert [at_rung.member for at_rung in third] == [1, 2]
    assert [at_rung.member for at_rung in fourth] == [2]
    alone = list(cross_validate(configs[2], study_data))
    for mine, other in zip(rest[-1][0].results, alone, strict=True):
        np.testing.assert_allclose(mine.losses, other.losses, atol=1e-5)


def test_when_all_have_left_nothing_more_is_trained(study_data):
    training = train([POINTS], study_data, raced=True)
    next(training)

    with pytest.raises(StopIteration):
        training.send({0})


def test_a_config_that_diverges_leaves_with_its_error_and_the_rest_go_on(study_data):
    sgd = replace(POINTS.optimizer, name="sgd")
    configs = [replace(POINTS, optimizer=replace(sgd, lr=lr)) for lr in (1e-2, 1e30)]

    at_rungs = list(train(configs, study_data, raced=True))

    assert [[s.member for s in each if s.error is None] for each in at_rungs] == [[0]] * 5
    assert "lower optimizer.lr" in str(at_rungs[0][1].error)


def test_a_config_that_cannot_work_on_the_data_leaves_before_it_trains(study_data):
    impossible = replace(POINTS, streams=(replace(FROZEN, pca_dim=500),))

    first = next(train([impossible, POINTS], study_data, raced=True))

    assert "pca_dim is 500" in str(first[0].error)
    assert first[1].error is None


def test_large_networks_train_one_by_one(study_data, monkeypatch):
    monkeypatch.setitem(stack.LARGE, "cpu", 10)

    results = at_the_end([POINTS], study_data)[0]

    alone = list(cross_validate(POINTS, study_data))
    for mine, other in zip(results, alone, strict=True):
        np.testing.assert_allclose(mine.losses, other.losses, atol=1e-5)


@pytest.mark.parametrize("place", ["measured_width", "epoch", "make_ready"])
def test_a_stack_that_breaks_is_trained_one_by_one(place, study_data, monkeypatch):
    def broken(self):
        raise torch.OutOfMemoryError("no room for a stack")

    monkeypatch.setattr(stack.Stack, "measured_width", lambda _: 1)
    monkeypatch.setattr(stack.Stack, place, broken)
    configs = [with_lr(lr) for lr in (1e-3, 1e-2)]

    together = at_the_end(configs, study_data)

    monkeypatch.undo()
    for own, results in zip(configs, together, strict=True):
        alone = list(cross_validate(own, study_data))
        for mine, other in zip(results, alone, strict=True):
            np.testing.assert_allclose(mine.losses, other.losses, atol=1e-5)


def test_what_filled_the_memory_is_gone_before_the_members_of_a_stack_train_again(
    study_data, monkeypatch
):
    filled, still_there = [], []

    def broken(self, *_):
        activation = torch.ones(1000, requires_grad=True) * 2
        filled.extend(map(weakref.ref, (self, activation, *self._optimizer.values.values())))
        raise torch.OutOfMemoryError("no room for a stack")

    def watched(fit):
        still_there.append([each() for each in filled if each() is not None])
        return OneFit(fit)

    monkeypatch.setattr(stack.Stack, "measured_width", lambda _: 1)
    monkeypatch.setattr(stack.Stack, "_step_all", broken)
    monkeypatch.setattr(stack, "OneFit", watched)

    at_the_end([with_lr(lr) for lr in (1e-3, 1e-2)], study_data)

    assert len(filled) > 2
    assert still_there
    assert not any(still_there)


FINE_TUNE = Config(
    streams=(
        StreamConfig(
            backbone="vgg16",
            weights="random",
            blocks=5,
            freeze_depth=1,
            pooling="max",
            width=1 / 32,
            crop_pixels=32,
        ),
    ),
    clip=ClipConfig(frames=2),
    head=HeadConfig(fc_layers=1, fc_width=8, dropout=0.3),
    augment=AugmentConfig(shift=0.1, zoom=0.1),
    optimizer=OptimizerConfig(
        lr=0.003, epochs=4, batch_clips=8, schedule="plateau", patience=3, class_weights=True
    ),
)


class LostError(BaseException):
    """The machine is gone: nothing in the training may catch it."""


@pytest.fixture
def two_folds(study_data):
    protocol = study_data.protocol
    rest = tuple(subject for fold in protocol.folds[2:] for subject in fold)
    return replace(study_data, protocol=replace(protocol, folds=protocol.folds[:2], train=rest))


@pytest.fixture
def preempted(two_folds, tmp_path, monkeypatch):
    """A study whose checkpoints are written after each epoch, however short that was."""
    monkeypatch.setattr(checkpoint, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", math.inf)
    return replace(two_folds, checkpoints=tmp_path / "checkpoints")


def files(study_data):
    return sorted(path.name for path in study_data.checkpoints.glob("*.ckpt"))


def lose_after(writes, patch):
    """Let the machine be lost when so many checkpoints were written."""
    write, left = checkpoint.Checkpoint.write, [writes]

    def counted(self, state):
        write(self, state)
        left[0] -= 1
        if not left[0]:
            raise LostError

    patch.setattr(checkpoint.Checkpoint, "write", counted)


def assert_equal(mine, other):
    assert mine.losses == other.losses
    assert mine.metrics == other.metrics
    np.testing.assert_array_equal(mine.frame_probabilities, other.frame_probabilities)


@pytest.mark.parametrize("raced", [False, True])
@pytest.mark.parametrize(
    "epochs", [1, 5, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 4, 6))]
)
def test_a_trial_that_lost_its_machine_after_any_epoch_comes_out_the_same_at_every_rung(
    epochs, raced, preempted, two_folds
):
    whole = list(train([FINE_TUNE], two_folds, raced=raced))
    with pytest.MonkeyPatch.context() as patch:
        lose_after(epochs, patch)
        with pytest.raises(LostError):
            list(train([FINE_TUNE], preempted, raced=raced))

    again = list(train([FINE_TUNE], preempted, raced=raced))

    for (before,), (after,) in zip(whole, again, strict=True):
        for mine, other in zip(before.results, after.results, strict=True):
            assert_equal(mine, other)
    assert sum(result.epochs_restored for result in again[-1][0].results) == epochs
    assert sum(result.epochs_restored for result in whole[-1][0].results) == 0


def test_a_winner_that_lost_its_machine_opens_the_same(preempted, two_folds, monkeypatch):
    with pytest.MonkeyPatch.context() as patch:
        lose_after(3, patch)
        with pytest.raises(LostError):
            score_sealed(FINE_TUNE, preempted)
    kept, steps, step = files(preempted), [], loop._step
    monkeypatch.setattr(loop, "_step", lambda *args: steps.append(1) or step(*args))

    again = score_sealed(FINE_TUNE, preempted)

    went_on = len(steps)
    np.testing.assert_array_equal(
        again.probabilities, score_sealed(FINE_TUNE, two_folds).probabilities
    )
    assert kept == [f"{FINE_TUNE.config_id}-sealed-0.ckpt"]
    assert files(preempted) == []
    assert went_on < (len(steps) - went_on) / 2


def test_a_pack_that_is_closed_before_its_end_keeps_its_checkpoints(preempted):
    training = train([FINE_TUNE], preempted, raced=True)
    next(training)

    training.close()

    assert files(preempted) == [f"{FINE_TUNE.config_id}-fold0-0.ckpt"]


@pytest.mark.parametrize("how", ["close", "asked for more"])
def test_after_its_last_rung_a_trial_leaves_no_checkpoint(how, preempted):
    training = train([FINE_TUNE], preempted, raced=False)
    next(training)
    there = files(preempted)

    training.close() if how == "close" else list(training)

    assert len(there) == 2
    assert files(preempted) == []


def test_who_leaves_a_pack_leaves_no_checkpoint(preempted):
    other = with_lr(0.001, FINE_TUNE)
    training = train([FINE_TUNE, other], preempted, raced=True)
    next(training)

    training.send({0})

    assert files(preempted) == [f"{other.config_id}-fold0-0.ckpt"]


def test_a_trial_that_fails_leaves_no_checkpoint(preempted, monkeypatch):
    step, left = loop._step, [12]

    def broken(*args):
        left[0] -= 1
        if not left[0]:
            raise torch.OutOfMemoryError("no room")
        return step(*args)

    monkeypatch.setattr(loop, "_step", broken)
    training = train([FINE_TUNE], preempted, raced=True)

    failed = [at_rung for at_rungs in training for at_rung in at_rungs if at_rung.error]

    assert len(failed) == 1
    assert files(preempted) == []


def test_heads_that_stack_write_no_checkpoint(preempted, monkeypatch):
    written = []
    monkeypatch.setattr(checkpoint.Checkpoint, "write", lambda *_: written.append(1))

    list(train([POINTS], preempted, raced=True))
    list(train([FINE_TUNE], preempted, raced=True))

    assert len(written) > 0
    written.clear()
    list(train([POINTS, with_lr(0.1)], preempted, raced=True))
    assert not written


@pytest.mark.parametrize("other", ["seed", "labels", "split"])
def test_a_checkpoint_of_other_data_is_not_gone_on_from(other, preempted):
    next(train([FINE_TUNE], preempted, raced=True))
    (kept,) = preempted.checkpoints.iterdir()
    changed = preempted
    match other:
        case "seed":
            changed = replace(preempted, seed=1)
            kept.rename(kept.with_name(kept.name.replace("-0.ckpt", "-1.ckpt")))
        case "labels":
            swapped = {"happiness": "sadness", "sadness": "happiness"}
            clips = tuple(replace(c, emotion=swapped[c.emotion]) for c in preempted.manifest.clips)
            changed = replace(preempted, manifest=replace(preempted.manifest, clips=clips))
        case "split":
            folds = preempted.protocol.folds[::-1]
            changed = replace(preempted, protocol=replace(preempted.protocol, folds=folds))

    at_rung = next(train([FINE_TUNE], changed, raced=True))[0]

    assert at_rung.error is None
    assert at_rung.results[0].epochs_restored == 0


CHILD = """
import pickle, sys
import torch
from fer_core.trial import pack
from fer_core.training import checkpoint

torch.set_num_threads(1)
checkpoint.LEAST_SECONDS, checkpoint.SHARE = 0.0, float("inf")
config, study_data = pickle.load(open(sys.argv[1], "rb"))
list(pack.train([config], study_data, raced=False))
"""


def test_a_trial_whose_process_was_killed_goes_on_in_another(preempted, two_folds, tmp_path):
    longer = replace(FINE_TUNE.optimizer, epochs=24, patience=None)
    config = replace(FINE_TUNE, optimizer=longer)
    whole = next(train([config], two_folds, raced=False))[0]
    task = tmp_path / "task"
    task.write_bytes(pickle.dumps((config, preempted)))

    child = subprocess.Popen([sys.executable, "-c", CHILD, str(task)])
    until = time.monotonic() + 300
    while not files(preempted) and child.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    child.kill()
    ended = child.wait()
    again = next(train([config], preempted, raced=False))[0]

    assert ended == -9
    for mine, other in zip(whole.results, again.results, strict=True):
        assert_equal(mine, other)
    assert again.results[0].epochs_restored > 0


@pytest.mark.parametrize("where", ["training", "scoring"])
def test_the_error_of_a_trial_that_ran_out_of_memory_holds_no_memory(where, two_folds, monkeypatch):
    made = []

    class Watched(Network):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(weakref.ref(self))

    def broken(network, *_, **__):
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(trial_data_module, "Network", Watched)
    monkeypatch.setattr(loop, {"training": "_step", "scoring": "probabilities"}[where], broken)

    training = train([FINE_TUNE], two_folds, raced=True)
    (at_rung,) = next(training)

    assert isinstance(at_rung.error, torch.OutOfMemoryError)
    assert [each() for each in made] == [None]
    lines = "".join(traceback.format_exception(at_rung.error))
    assert "in broken" in lines
