from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_core.config import ClipConfig, Config, HeadConfig, OptimizerConfig, StreamConfig
from fer_core.storage import memory_cache
from fer_core.storage.memory_cache import Bytes, MemoryCache, memory_key, size_bytes
from fer_core.trial.evaluate import cross_validate
from fer_core.trial.pack import train

FROZEN = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=4, freeze_depth=4, pooling="avg"
)
CONFIG = Config(
    streams=(FROZEN,), clip=ClipConfig(frames=2), optimizer=OptimizerConfig(lr=0.01, epochs=2)
)
REDUCED = replace(CONFIG, streams=(replace(FROZEN, pooling="none", pca_dim=9),))
KILOBYTE = np.zeros(1000, np.uint8)


def test_what_was_used_least_recently_is_given_up_first():
    kept = MemoryCache(Bytes(2500))
    for key in "ab":
        kept.put(key, KILOBYTE.copy())
    kept.get("a")

    kept.put("c", KILOBYTE.copy())

    assert [key for key in "abc" if kept.get(key) is not None] == ["a", "c"]
    assert kept.used == Bytes(2000)


def test_what_is_larger_than_all_room_is_not_kept_and_drives_nothing_out():
    kept = MemoryCache(Bytes(1500))
    kept.put("a", KILOBYTE.copy())

    kept.put("b", np.zeros(2000, np.uint8))

    assert kept.get("a") is not None
    assert kept.get("b") is None


def test_what_is_in_use_is_shared_though_it_is_not_kept():
    kept, large = MemoryCache(Bytes(1500)), np.zeros(2000, np.uint8)
    kept.put("a", (large, None, 3))

    assert kept.get("a")[0] is large
    assert kept.get("a")[1:] == (None, 3)
    assert kept.used == Bytes(0)

    del large

    assert kept.get("a") is None


def test_what_was_given_up_is_shared_while_it_is_in_use():
    kept, first = MemoryCache(Bytes(1500)), KILOBYTE.copy()
    kept.put("a", first)
    kept.put("b", KILOBYTE.copy())

    assert kept.get("a") is first
    assert kept.used == Bytes(1000)

    kept.drop("a")

    assert kept.get("a") is None


def test_a_value_put_again_counts_once():
    kept = MemoryCache(Bytes(2500))

    for _ in range(3):
        kept.put("a", KILOBYTE.copy())

    assert kept.used == Bytes(1000)


def test_arrays_that_are_held_cannot_be_written_to():
    kept, array = MemoryCache(Bytes(2500)), KILOBYTE.copy()

    kept.put("a", (array, 3))

    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


@pytest.mark.parametrize(
    "value", [np.zeros(10), torch.zeros(20), (np.zeros(5), torch.zeros(10)), torch.nn.Linear(19, 1)]
)
def test_arrays_tensors_and_weights_count_with_their_bytes(value):
    assert size_bytes(value) == Bytes(80)


def works(config, study_data):
    return [result.work for result in cross_validate(config, study_data)]


@pytest.mark.parametrize("config", [CONFIG, REDUCED], ids=["pooled", "pca"])
def test_a_second_trial_in_a_process_reads_nothing_from_the_store(config, fresh):
    first = works(config, fresh)[-1]

    second = works(replace(config, head=HeadConfig(fc_layers=1)), fresh)[-1]

    assert first.stages_made > 0
    assert (second.stages_made, second.stages_read) == (0, 0)
    assert second.stages_held >= first.stages_made
    assert second.seconds_saved > 0


def test_a_smaller_pca_is_cut_from_what_is_held(fresh):
    works(REDUCED, fresh)
    smaller = replace(REDUCED, streams=(replace(REDUCED.streams[0], pca_dim=4),))

    second = works(smaller, fresh)[-1]

    assert (second.stages_made, second.stages_read) == (0, 0)


@pytest.mark.parametrize("config", [CONFIG, REDUCED], ids=["pooled", "pca"])
def test_scores_are_the_same_from_memory_and_from_the_store(config, fresh):
    results = []
    for forget in (True, False, True):
        if forget:
            memory_cache.process.cache_clear()
        results.append(list(cross_validate(config, fresh)))

    for made, kept, read in zip(*results, strict=True):
        np.testing.assert_array_equal(made.frame_probabilities, kept.frame_probabilities)
        np.testing.assert_array_equal(made.frame_probabilities, read.frame_probabilities)
        assert made.losses == kept.losses == read.losses
    assert results[2][-1].work.stages_read > 0


def test_a_stage_that_somebody_removed_is_made_again(fresh):
    works(CONFIG, fresh)
    for path in (fresh.store / "views").glob("*.npy"):
        path.unlink()

    second = works(CONFIG, replace(fresh, keep="never"))[-1]

    assert second.stages_made > 0


SAME = memory_key("crops", of="stage", pixels=64, rows=np.arange(3))


@pytest.mark.parametrize(
    "other",
    [
        memory_key("maps", of="stage", pixels=64, rows=np.arange(3)),
        memory_key("crops", of="other", pixels=64, rows=np.arange(3)),
        memory_key("crops", of="stage", pixels=65, rows=np.arange(3)),
        memory_key("crops", of="stage", side=64, rows=np.arange(3)),
        memory_key("crops", of="stage", pixels=64, rows=np.arange(4)),
        memory_key("crops", of="stage", pixels=64, rows=np.array([0, 2, 1])),
        memory_key("crops", of="stage", pixels=64, rows=np.arange(3, dtype=np.int16)),
        memory_key("crops", of="stage", pixels=64, rows=np.arange(3)[None]),
        memory_key("crops", of="stage", pixels=64),
    ],
)
def test_a_value_made_otherwise_has_another_key(other):
    assert other != SAME


def test_keys_of_equal_content_are_equal_in_any_order_of_their_parameters():
    assert memory_key("crops", rows=np.array([0, 1, 2]), pixels=64, of="stage") == SAME
    window = {"frames": 3, "sampling": "window"}
    turned = dict(reversed(window.items()))
    assert hash(memory_key("views", window=window)) == hash(memory_key("views", window=turned))
    assert memory_key("views", window=window) == memory_key("views", window=turned)


@pytest.mark.slow
def test_the_members_of_a_pack_share_the_features_of_a_fold_though_none_are_kept(
    fresh, monkeypatch
):
    fitted = []

    class NoRoom(MemoryCache):
        def put(self, key, value):
            if getattr(key[-1], "step", "") in ("exact", "standard"):
                fitted.append(key)
            super().put(key, value)

    no_room = NoRoom(Bytes())
    monkeypatch.setattr(memory_cache, "process", lambda: no_room)
    configs = [
        replace(CONFIG, optimizer=replace(CONFIG.optimizer, lr=lr)) for lr in (0.1, 0.01, 0.001)
    ]

    (at_rungs,) = train(configs, fresh, raced=False)

    assert [at_rung.error for at_rung in at_rungs] == [None, None, None]
    assert len(fitted) == len(fresh.protocol.folds)
