"""What trials of one process share in memory, and what they must not share."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import timm
import torch

from fer_core.config import (
    AugmentConfig,
    ClipConfig,
    Config,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    StreamConfig,
)
from fer_core.features import extraction
from fer_core.features.context import TrialContext
from fer_core.features.stream_inputs import open_stream
from fer_core.storage import memory_cache
from tests.fer_core.faces.oddities import retimed

CPU = torch.device("cpu")
FROZEN = StreamConfig(
    backbone="timm:test_resnet", weights="random", blocks=3, freeze_depth=3, pooling="avg"
)
POINTS = GeometryConfig()
THREE = ClipConfig(frames=3)
TRAIN = np.arange(5)


def of(stream, **choices):
    return Config(streams=(stream,), **({"clip": THREE} | choices))


IMAGES, LANDMARKS = of(FROZEN), of(POINTS)
REDUCED = of(replace(FROZEN, pooling="none", pca_dim=4))
SGD = of(replace(FROZEN, pooling="none"), optimizer=OptimizerConfig(name="sgd"))
LIVE = of(replace(FROZEN, freeze_depth=0))


@pytest.fixture
def few(study_data):
    """Eight of the clips, with a memory that no other trial has used."""
    memory_cache.process.cache_clear()
    clips = study_data.manifest.clips[:8]
    return replace(study_data, manifest=replace(study_data.manifest, clips=clips))


@dataclass
class Trial:
    """What a network is given of all clips in a trial's first fold, and the trial's work."""

    batch: torch.Tensor
    work: Any
    weights_source: str | None


def run(config, study_data, *, clips: Callable = tuple, train=TRAIN):
    """Take a trial to its first batch."""
    context = TrialContext(config, study_data, CPU)
    stream = open_stream(config.streams[0], context)
    usable = clips(stream.clips)
    stream.arrange(usable)
    batch = stream.fit(train).batch(np.arange(len(usable)), None).clone()
    return Trial(batch, context.tally.work, stream.weights_source)


def reads_of(config, **changes):
    """Change the only stream of a config."""
    return replace(config, streams=(replace(config.streams[0], **changes),))


# A first trial, and a second that differs in one choice that changes what its network is given.
DIFFERENT = {
    "the window's place": (IMAGES, replace(IMAGES, clip=ClipConfig(frames=3, start=0.2)), {}),
    "the number of frames": (IMAGES, replace(IMAGES, clip=ClipConfig(frames=2)), {}),
    "the sampling": (IMAGES, replace(IMAGES, clip=ClipConfig(frames=3, sampling="last")), {}),
    "the view": (IMAGES, reads_of(IMAGES, view="crop"), {}),
    "the pooling": (IMAGES, reads_of(IMAGES, pooling="max"), {}),
    "no pooling": (IMAGES, reads_of(IMAGES, pooling="none"), {}),
    "the width of a PCA": (REDUCED, reads_of(REDUCED, pca_dim=3), {}),
    "no PCA": (REDUCED, reads_of(REDUCED, pca_dim=None), {}),
    "a projection without loss": (reads_of(REDUCED, pca_dim=None), SGD, {}),
    "the frozen blocks": (IMAGES, reads_of(IMAGES, freeze_depth=2), {}),
    "all blocks": (IMAGES, reads_of(IMAGES, blocks=2, freeze_depth=2), {}),
    "the side of the crops": (LIVE, reads_of(LIVE, crop_pixels=96), {}),
    "the side of stored crops": (IMAGES, reads_of(IMAGES, crop_pixels=96), {}),
    "augmentation": (IMAGES, replace(IMAGES, augment=AugmentConfig()), {}),
    "the rows in another order": (IMAGES, IMAGES, {"clips": lambda c: tuple(reversed(c))}),
    "fewer rows": (IMAGES, IMAGES, {"clips": lambda c: c[1:]}),
    "other rows to train on": (IMAGES, IMAGES, {"train": np.arange(1, 6)}),
    "fewer rows to train on": (REDUCED, REDUCED, {"train": np.arange(4)}),
    "live rows in another order": (LIVE, LIVE, {"clips": lambda c: tuple(reversed(c))}),
    "the window of points": (LANDMARKS, replace(LANDMARKS, clip=ClipConfig(frames=2)), {}),
    "the encoding of points": (LANDMARKS, of(GeometryConfig(encoding="motion")), {}),
    "the rows of points": (LANDMARKS, LANDMARKS, {"clips": lambda c: c[::-1]}),
    "the training rows of points": (LANDMARKS, LANDMARKS, {"train": np.arange(1, 6)}),
}
# A second trial that differs in nothing that its network is given.
ALIKE = {
    "the head": (IMAGES, replace(IMAGES, head=HeadConfig(fc_layers=2))),
    "the optimizer": (IMAGES, replace(IMAGES, optimizer=OptimizerConfig(lr=0.1, epochs=3))),
    "the head over a PCA": (REDUCED, replace(REDUCED, head=HeadConfig(dropout=0.5))),
    "the head over a projection": (SGD, replace(SGD, head=HeadConfig(fc_layers=1))),
    "the head over images": (LIVE, replace(LIVE, head=HeadConfig(fc_layers=1))),
    "the head over points": (LANDMARKS, replace(LANDMARKS, head=HeadConfig(fc_layers=1))),
    "the layer that reads points": (LANDMARKS, of(GeometryConfig(hidden=8))),
    "a choice that the window's sampling ignores": (
        IMAGES,
        replace(IMAGES, clip=replace(THREE, stride=7)),
    ),
}


@pytest.mark.parametrize(("first", "second", "rows"), DIFFERENT.values(), ids=DIFFERENT)
def test_a_trial_after_another_is_given_what_it_is_given_alone(first, second, rows, few):
    alone = run(second, few, **rows).batch
    memory_cache.process.cache_clear()

    before, after = run(first, few).batch, run(second, few, **rows).batch

    assert torch.equal(after, alone)
    assert not torch.equal(before, after)


@pytest.mark.parametrize(("first", "second"), ALIKE.values(), ids=ALIKE)
def test_trials_that_read_the_same_share_all_of_it(first, second, few):
    before = run(first, few)

    after = run(second, few)

    assert torch.equal(after.batch, before.batch)
    assert (after.work.stages_made, after.work.backbone_images) == (0, 0)
    assert after.work.stages_read == 0
    assert after.work.stages_held == before.work.stages_made + before.work.stages_read


@pytest.mark.parametrize("config", [IMAGES, REDUCED, LANDMARKS], ids=["avg", "pca", "points"])
def test_an_equal_manifest_is_known_again(config, few):
    run(config, few)
    copy = replace(few.manifest, clips=tuple(replace(clip) for clip in few.manifest.clips))

    after = run(config, replace(few, manifest=copy))

    assert (after.work.stages_made, after.work.stages_read) == (0, 0)


@pytest.mark.parametrize("config", [IMAGES, LIVE, LANDMARKS], ids=["stored", "live", "points"])
def test_another_manifest_is_not_taken_for_the_first(config, few):
    before = run(config, few)
    fewer = replace(few.manifest, clips=few.manifest.clips[1:])

    after = run(config, replace(few, manifest=fewer))

    assert len(after.batch) == len(before.batch) - 1


def test_another_store_gets_its_own_stages(few, new_store):
    first, second = (replace(few, store=new_store(name)) for name in "ab")
    before = run(REDUCED, first)

    after = run(REDUCED, second)

    assert torch.equal(after.batch, before.batch)
    assert after.work.stages_made == before.work.stages_made > 0
    assert after.work.stages_held == 0


def test_the_landmarks_of_another_engine_are_not_shared(few):
    clips = replace(few.manifest, clips=few.manifest.clips[:2])
    both = {"clips": lambda c: c[:1], "train": np.arange(1)}
    before = run(LANDMARKS, replace(few, manifest=clips), **both).batch

    other = replace(few, manifest=clips, landmarks="dlib")

    assert not torch.equal(run(LANDMARKS, other, **both).batch, before)


def test_another_file_of_weights_is_not_shared_even_under_the_same_name(few, tmp_path):
    path, config = tmp_path / "own.pth", reads_of(IMAGES, weights="file")
    trials = []
    for seed in (0, 1):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            torch.save(timm.create_model("test_resnet").state_dict(), path)
        os.utime(path, (seed, seed))
        trials.append(run(config, replace(few, weights={FROZEN.backbone: str(path)})))

    assert trials[0].weights_source != trials[1].weights_source
    assert not torch.equal(trials[0].batch, trials[1].batch)


def test_other_random_weights_are_not_shared(few):
    assert not torch.equal(run(IMAGES, few).batch, run(IMAGES, replace(few, seed=1)).batch)


def test_a_stage_computed_without_the_store_does_not_stand_in_for_a_stored_one(few, new_store):
    fresh = replace(few, store=new_store("fresh"))
    before = run(IMAGES, replace(fresh, keep="never"))
    assert not (fresh.store / "features").exists()

    after = run(IMAGES, fresh)

    assert (fresh.store / "features").exists()
    assert torch.equal(after.batch, before.batch)


def test_a_stage_has_one_key_in_memory_exactly_where_its_shards_have_the_same_keys(few):
    streams = [
        FROZEN,
        replace(FROZEN, pooling="max"),
        replace(FROZEN, freeze_depth=2),
        replace(FROZEN, width=1.0, blocks=2, freeze_depth=2),
        replace(FROZEN, view="crop"),
        replace(FROZEN, crop_pixels=96),
        replace(FROZEN, backbone="timm:test_vit", blocks=2, freeze_depth=2),
    ]
    found = []
    for stream in streams:
        context = TrialContext(of(stream), few, CPU)
        views = context.views(stream.view)
        for seed in (0, 1):
            backbone = extraction.open_backbone(stream, {}, seed)
            for precision in ("float32", "bfloat16"):
                how = {"device": CPU, "precision": precision}
                pairs = views.pairs
                shards = extraction.shards(pairs, stream, backbone, tally=context.tally, **how)
                key = extraction.stage_key(views.key, stream, backbone, **how)
                found.append((key, tuple(shard.key for shard in shards)))

    assert len(set(found)) == len({key for key, _ in found}) == len({keys for _, keys in found})
    assert 4 < len(set(found)) < len(found)


def test_the_seconds_between_frames_are_those_of_the_frames_own_times(few, tmp_path):
    evenly = replace(few, clip=ClipConfig(start=0.0, end=1.0, frames=5))
    clips = tuple(
        replace(each, path=retimed(each.path, tmp_path / f"{i}.mp4", lambda pts: pts * 3))
        for i, each in enumerate(few.manifest.clips)
    )
    slow = replace(evenly, manifest=replace(few.manifest, clips=clips))
    halves = tuple(
        replace(
            each,
            path=retimed(
                each.path, tmp_path / f"half {i}.mp4", lambda pts: pts if pts < 2000 else 5 * pts
            ),
        )
        for i, each in enumerate(few.manifest.clips)
    )
    uneven = replace(evenly, manifest=replace(few.manifest, clips=halves))

    seconds = TrialContext(LANDMARKS, evenly, CPU).frame_seconds()

    assert TrialContext(LANDMARKS, slow, CPU).frame_seconds() == pytest.approx(3 * seconds)
    assert seconds < TrialContext(LANDMARKS, uneven, CPU).frame_seconds()
