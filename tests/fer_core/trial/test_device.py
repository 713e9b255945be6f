"""Trials on a GPU, of which a make-believe one tells where tensors meet and what is copied."""

from dataclasses import replace

import numpy as np
import pytest

from fer_core.storage import memory_cache
from fer_core.trial.pack import train
from tests.device import pretend_cuda
from tests.fer_core.trial.kinds import KINDS


@pytest.fixture
def one_fold(study_data):
    protocol = study_data.protocol
    rest = tuple(subject for fold in protocol.folds[1:] for subject in fold)
    return replace(study_data, protocol=replace(protocol, folds=protocol.folds[:1], train=rest))


def short(config):
    return replace(config, optimizer=replace(config.optimizer, epochs=1, updates=None))


@pytest.mark.parametrize("config", KINDS.values(), ids=KINDS)
def test_every_kind_of_model_trains_on_a_gpu_and_scores_as_on_a_cpu(config, one_fold):
    ((on_cpu,),) = train([short(config)], one_fold, raced=False)

    memory_cache.process.cache_clear()
    with pretend_cuda() as counts:
        ((on_gpu,),) = train([short(config)], one_fold, raced=False)

    memory_cache.process.cache_clear()
    print(counts)
    assert on_gpu.error is None, "".join(on_gpu.error.__notes__)
    assert on_gpu.results[0].device == "Pretend A10G"
    for a, b in zip(on_cpu.results, on_gpu.results, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=2e-3)
