"""Trials on a GPU, of which a make-believe one tells where tensors meet and what is copied."""

import inspect
import textwrap
from dataclasses import replace

import numpy as np
import pytest

from fer_core.features.activations import Activations
from fer_core.models.dropout import Dropout
from fer_core.storage import memory_cache
from fer_core.training.loop import _Loss
from fer_core.training.stacking import stack
from fer_core.training.stacking.forward import DropoutMasks
from fer_core.training.stacking.optimizers import LearningRates
from fer_core.training.stacking.targets import Targets
from fer_core.trial.fold_training import FoldGroup
from fer_core.trial.pack import train
from fer_core.trial.trial_data import TrialData
from tests.cases import mostly_slow
from tests.device import pretend_cuda
from tests.fer_core.trial.kinds import KINDS

BATCH = 4  # clips
QUICK = ("pca", "points and frames over time")


@pytest.fixture
def one_fold(study_data):
    protocol = study_data.protocol
    rest = tuple(subject for fold in protocol.folds[1:] for subject in fold)
    return replace(study_data, protocol=replace(protocol, folds=protocol.folds[:1], train=rest))


def short(config):
    return replace(config, optimizer=replace(config.optimizer, epochs=1, updates=None))


@pytest.mark.parametrize("config", mostly_slow(KINDS, QUICK))
def test_every_kind_of_model_trains_on_a_gpu_and_scores_as_on_a_cpu(config, one_fold):
    ((on_cpu,),) = train([short(config)], one_fold, raced=False)

    memory_cache.process.cache_clear()
    with pretend_cuda():
        ((on_gpu,),) = train([short(config)], one_fold, raced=False)

    memory_cache.process.cache_clear()
    assert on_gpu.error is None, "".join(on_gpu.error.__notes__)
    assert on_gpu.results[0].device == "Pretend A10G"
    for a, b in zip(on_cpu.results, on_gpu.results, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=2e-3)


def counted(configs, study_data, monkeypatch):
    """Count the copies to the device and the waits for it in an optimiser step of each fit."""

    def counts_of(epochs):
        memory_cache.process.cache_clear()
        longer = [with_epochs(config, epochs) for config in configs]
        with pretend_cuda() as counts:
            (at_rungs,) = train(longer, study_data, raced=False)
        memory_cache.process.cache_clear()
        assert [each.error for each in at_rungs] == [None] * len(configs)
        return counts

    counts_of(1)  # what the store lacks is made
    few, more = counts_of(1), counts_of(4)
    train_clips = [c for c in study_data.manifest.clips if c.subject in study_data.protocol.train]
    steps = -(-len(train_clips) // BATCH)
    return {
        "copies in a step": (more.to_device.total() - few.to_device.total() - 3) / steps / 3,
        "waits in an epoch": (waits(more) - waits(few)) / 3,
    }


def waits(counts):
    return counts.waits.total() + counts.from_device.total()


def with_epochs(config, epochs):
    optimizer = replace(config.optimizer, epochs=epochs, patience=None, batch_clips=BATCH)
    return replace(config, optimizer=optimizer)


# Of one optimiser step, by its kind: the batch of each stream (its rows, or its crops), the numbers
# that augmentation drew (2), and what each layer of dropout keeps.
MOST_COPIES = {
    "frames that vote": 1,
    "two streams": 2 + 3,
    "points and frames over time": 2 + 3,
    "augmented": 1 + 2 + 2,
    "two heads": 1,
}


@pytest.mark.parametrize("name", mostly_slow(dict(zip(KINDS, KINDS, strict=True)), QUICK[:1]))
def test_a_step_copies_its_batch_and_its_dropout_and_an_epoch_waits_once(
    name, one_fold, monkeypatch
):
    config = replace(KINDS[name], optimizer=replace(KINDS[name].optimizer, schedule="constant"))

    found = counted([config], one_fold, monkeypatch)

    assert found["copies in a step"] <= MOST_COPIES.get(name, 1 + 2)
    assert found["waits in an epoch"] <= 1


def test_a_step_of_a_stack_copies_as_much_as_that_of_one_network(one_fold, monkeypatch):
    monkeypatch.setattr(stack.Stack, "measured_width", lambda self: 2)
    gru = KINDS["gru on features"]
    pair = [replace(gru, optimizer=replace(gru.optimizer, lr=lr)) for lr in (1e-3, 1e-2)]

    found = counted(pair, one_fold, monkeypatch)

    assert found == {"copies in a step": 1 + 2, "waits in an epoch": 1}


def mutated(function, text, other):
    """Give a function's code with a part of its source replaced."""
    source = textwrap.dedent(inspect.getsource(function))
    assert text in source
    tree = compile(source.replace(text, other), inspect.getfile(function), "exec")
    (code,) = (each for each in tree.co_consts if inspect.iscode(each))
    return code


@pytest.mark.parametrize(
    ("function", "text", "other"),
    [
        (TrialData.begin, ".to(self.device)", ""),
        (Activations._fitted, ".to(context.device)", ""),
        (_Loss.targets, ".to(self._device)", ""),
        (LearningRates.__init__, "device=device)  # (M,)", ")"),
        (Dropout.forward, ".to(x.device)", ""),
        (DropoutMasks.for_batch, ".to(x.device)", ""),
        (Targets.__init__, "torch.eye(classes, device=device)", "torch.eye(classes)"),
    ],
    ids=["network", "features", "labels", "rates", "dropout", "stacked dropout", "targets"],
)
def test_a_tensor_that_is_not_moved_to_the_gpu_is_caught(
    function, text, other, one_fold, monkeypatch
):
    gru = with_epochs(KINDS["gru on features"], 1)
    monkeypatch.setattr(stack.Stack, "measured_width", lambda self: 2)
    monkeypatch.setattr(function, "__code__", mutated(function, text, other))
    pair = [replace(gru, optimizer=replace(gru.optimizer, lr=lr)) for lr in (1e-3, 1e-2)]
    errors, train_up_to = [], FoldGroup._train_up_to

    def noted(group, share):
        errors.append(error := train_up_to(group, share))
        return error

    monkeypatch.setattr(FoldGroup, "_train_up_to", noted)
    with pretend_cuda():
        at_rungs = [
            each
            for configs in (pair, pair[:1])
            for each in next(train(configs, one_fold, raced=False))
        ]
    memory_cache.process.cache_clear()

    errors = [error for error in (*errors, *(each.error for each in at_rungs)) if error is not None]
    assert errors
    assert all("on the same device" in str(error) for error in errors)
