"""A fit whose machine was lost continues from its last epoch, as if nothing had happened."""

import hashlib
import io
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from fer_core.config import OPTIMIZERS, SCHEDULES, Config, HeadConfig, OptimizerConfig, StreamConfig
from fer_core.models.network import Network, StreamInput
from fer_core.training import checkpoint
from fer_core.training.checkpoint import Checkpoint
from fer_core.training.fits import Fit, OneFit

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 24)
IMAGES = torch.from_numpy(RNG.uniform(0, 255, size=(24, 2, 3, 4, 4)).astype("f4"))
ROWS = np.arange(24)
UNFROZEN = StreamConfig(
    backbone="dlib_resnet", weights="random", blocks=2, freeze_depth=1, pooling="avg"
)
EPOCHS = 4


class Noise(nn.Module):
    """A block that draws from torch's own generator in training, as some backbones do."""

    def forward(self, x):
        return nn.functional.dropout(x, 0.2, self.training)


def shaken(rows, generator):
    """Give images; where they train, changed at random."""
    images = IMAGES[torch.from_numpy(rows)]
    if generator is None:
        return [images]
    return [images + torch.from_numpy(generator.normal(size=(len(rows), 1, 1, 1, 1))).float()]


def a_fit(*, dropout=0.3, patience=None, epochs=EPOCHS, name="adamw", schedule="constant"):
    torch.manual_seed(0)
    first = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    second = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), Noise())
    head = HeadConfig(fc_layers=1, fc_width=4, dropout=dropout)
    config = Config(streams=(UNFROZEN,), head=head)
    reads = StreamInput(IMAGES[:1], nn.ModuleList([first, second]), frozen=1)
    return Fit(
        network=Network(config, [reads], ("a", "b")),
        batches=shaken,
        labels=LABELS,
        rows=ROWS[:16],
        config=OptimizerConfig(
            name=name, lr=0.05, epochs=epochs, batch_clips=8, schedule=schedule, patience=patience
        ),
        seed=1,
        order=2,
        data="",
        held_out=None if patience is None and schedule != "plateau" else ROWS[16:],
    )


def kept_at(folder, made_of=None, write_seconds=0.0):
    return Checkpoint(folder / "it.ckpt", made_of or {"clips": 24}, write_seconds=write_seconds)


def trained(group, epochs):
    return [loss for _ in range(epochs) for loss in group.epoch()]


def values(fit):
    return fit.network.state_dict()


@pytest.fixture
def eager(monkeypatch):
    """Write after each epoch, however short it was."""
    hurry(monkeypatch)


def hurry(patch):
    patch.setattr(checkpoint, "LEAST_SECONDS", 0.0)
    patch.setattr(checkpoint, "SHARE", math.inf)


@settings(deadline=None, max_examples=40)
@given(
    choices=st.fixed_dictionaries(
        {
            "name": st.sampled_from(OPTIMIZERS),
            "schedule": st.sampled_from(SCHEDULES),
            "patience": st.sampled_from([None, 1, 2]),
            "dropout": st.sampled_from([0.0, 0.3]),
        }
    ),
    lost=st.lists(st.integers(1, EPOCHS), min_size=1, max_size=3),
)
def test_a_fit_that_goes_on_after_any_epoch_ends_equal_to_the_last_bit(
    choices, lost, tmp_path_factory
):
    folder, whole = tmp_path_factory.mktemp("kept"), a_fit(**choices)
    losses = trained(OneFit(whole), EPOCHS)

    with pytest.MonkeyPatch.context() as patch:
        hurry(patch)
        for epochs in lost:
            trained(OneFit(a_fit(**choices), kept_at(folder)), epochs)
        other = a_fit(**choices)
        torch.manual_seed(99)  # another process has drawn other numbers
        group = OneFit(other, kept_at(folder))
        again = trained(group, EPOCHS)

    # The last one is written only where training took longer than writing, which here is chance.
    assert group.restored >= min(max(lost), len(losses)) - 1
    assert again == losses
    assert all(torch.equal(value, values(other)[key]) for key, value in values(whole).items())


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("lost", [2, 5, 9])  # before the epochs are added, and after
def test_a_fit_that_got_more_epochs_goes_on_equal_to_the_last_bit(schedule, lost, eager, tmp_path):
    def longer(group, epochs):
        losses = trained(group, min(epochs, EPOCHS))
        if epochs > EPOCHS:
            group.extend(6)
            losses += trained(group, epochs - EPOCHS)
        return losses

    whole, other = a_fit(schedule=schedule), a_fit(schedule=schedule)
    losses = longer(OneFit(whole), EPOCHS + 6)

    longer(OneFit(a_fit(schedule=schedule), kept_at(tmp_path)), lost)
    group = OneFit(other, kept_at(tmp_path))
    again = longer(group, EPOCHS + 6)

    assert group.restored == lost
    assert again == losses
    assert all(torch.equal(value, values(other)[key]) for key, value in values(whole).items())


def test_what_a_checkpoint_gives_again_was_not_trained_again(eager, tmp_path):
    seen = []

    def counted(rows, generator):
        seen.append(generator)
        return shaken(rows, generator)

    losses = trained(OneFit(a_fit(), kept_at(tmp_path)), 3)
    group = OneFit(replace(a_fit(), batches=counted), kept_at(tmp_path))

    assert trained(group, 3) == losses
    assert not seen
    assert group.restored == 3
    assert trained(group, 1)
    assert seen


def test_scores_of_an_epoch_that_is_behind_are_those_that_it_had(eager, tmp_path):
    group = OneFit(a_fit(), kept_at(tmp_path))
    group.epoch()
    first = group.scored(lambda: np.ones((2, 1, 2)))
    group.epoch()

    later = OneFit(a_fit(), kept_at(tmp_path))
    later.epoch()

    np.testing.assert_array_equal(later.scored(lambda: np.zeros((2, 1, 2))), first)
    later.epoch()
    assert not later.scored(lambda: np.zeros((2, 1, 2))).any()


@pytest.fixture
def written(eager, tmp_path):
    trained(OneFit(a_fit(), kept_at(tmp_path)), 2)
    return tmp_path / "it.ckpt"


@given(share=st.floats(0, 1, exclude_max=True))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_torn_checkpoint_is_none(share, written):
    whole = written.read_bytes()
    torn = written.with_name("torn")
    torn.mkdir(exist_ok=True)
    (torn / "it.ckpt").write_bytes(whole[: int(share * len(whole))])

    assert kept_at(written.parent).read() is not None
    assert kept_at(torn).read() is None


@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_checkpoint_with_a_wrong_byte_is_none(place, bits, written):
    content = bytearray(written.read_bytes())
    content[int(place * len(content))] ^= bits
    damaged = written.with_name("damaged")
    damaged.mkdir(exist_ok=True)
    (damaged / "it.ckpt").write_bytes(content)

    assert kept_at(damaged).read() is None


def test_a_checkpoint_of_other_data_or_of_another_torch_is_none(written, monkeypatch):
    assert kept_at(written.parent, {"clips": 25}).read() is None

    monkeypatch.setattr(torch, "__version__", "1.0")

    assert kept_at(written.parent).read() is None


def test_where_none_is_there_training_begins_anew(tmp_path):
    assert kept_at(tmp_path / "nowhere").read() is None


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return self.mark.touch, ()


def foreign(tmp_path):
    mark = Bomb(tmp_path / "went off")
    by_torch = io.BytesIO()
    torch.save({"key": "", "state": mark}, by_torch)
    bodies = {"torch": by_torch.getvalue(), "pickle": pickle.dumps(mark)}
    by_torch = io.BytesIO()
    torch.save([1], by_torch)
    return {**bodies, "list": by_torch.getvalue(), "text": b"hello", "nothing": b""}


@pytest.mark.parametrize("kind", ["torch", "pickle", "list", "text", "nothing"])
def test_no_code_of_a_foreign_file_runs(kind, tmp_path):
    body = foreign(tmp_path)[kind]
    (tmp_path / "it.ckpt").write_bytes(hashlib.sha256(body).digest() + body)

    assert kept_at(tmp_path).read() is None
    assert not (tmp_path / "went off").exists()


def test_training_that_takes_less_than_a_second_writes_nothing(tmp_path):
    trained(OneFit(a_fit(), kept_at(tmp_path)), EPOCHS)

    assert not list(tmp_path.iterdir())


def test_the_more_writing_takes_the_rarer_it_is(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "perf_counter", lambda: now[0])
    cheap, dear = kept_at(tmp_path), kept_at(tmp_path, write_seconds=3.0)

    def due():
        return [each.is_due(0.0, last=False) for each in (cheap, dear)]

    assert due() == [False, False]
    now[0] = 101.0
    assert due() == [True, False]
    now[0] = 130.0
    assert due() == [True, True]
    cheap.write({})
    assert due() == [False, True]


def test_what_took_longer_than_writing_is_kept_when_it_ends(tmp_path):
    cheap, dear = kept_at(tmp_path), kept_at(tmp_path, write_seconds=3.0)

    assert not cheap.is_due(0.9, last=True)
    assert cheap.is_due(1.1, last=True)
    assert not dear.is_due(2.9, last=True)
    assert dear.is_due(3.1, last=True)


def test_frozen_values_are_not_written(written):
    kept = kept_at(written.parent).read()["training"]["network"]

    assert "readers.0.blocks.1.0.weight" in kept
    assert "readers.0.blocks.0.0.weight" not in kept


def test_removing_one_that_is_not_there_is_no_error(tmp_path):
    nowhere = kept_at(tmp_path / "nowhere")

    nowhere.remove()

    assert nowhere.read() is None
