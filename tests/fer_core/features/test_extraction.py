from dataclasses import replace

import numpy as np
import pytest
import torch

from fer_core.config import ClipConfig, Config, OptimizerConfig, StreamConfig
from fer_core.features import extraction
from fer_core.features.context import TrialContext
from fer_core.models import backbones
from fer_core.storage.stages import Tally, read_or_make
from fer_core.storage.store import Store
from fer_core.trial.evaluate import cross_validate

CPU = torch.device("cpu")
DEEP = StreamConfig(
    backbone="dlib_resnet",
    weights="package",
    blocks=4,
    freeze_depth=4,
    pooling="avg",
    crop_pixels=96,
)
MIDDLE, SHALLOW = replace(DEEP, freeze_depth=3), replace(DEEP, freeze_depth=2)
SMALL_VGG = StreamConfig(
    backbone="vgg16", weights="random", blocks=5, freeze_depth=5, width=1 / 8, crop_pixels=64
)
RNG = np.random.default_rng(0)
CROPS = RNG.integers(0, 256, (4, 3, 64, 64, 3)).astype(np.uint8)
THREE = ClipConfig(frames=3)


def config_of(stream):
    return Config(streams=(stream,), clip=THREE, optimizer=OptimizerConfig(epochs=1))


def backbone_of(stream):
    built = backbones.build(stream, weights_file=None, seed=0)
    return extraction.laid_out(built, stream)


def made(stream, study_data, **changes):
    """Run a trial, and give its work and the content of the features that it left."""
    changed = replace(study_data, **changes)
    work = next(cross_validate(config_of(stream), changed)).work
    paths = (changed.store / "features").glob("*.npy")
    return work, {path.stem: path.read_bytes() for path in paths}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_tap_gives_what_a_pass_for_it_alone_gives(precision):
    how = {"device": CPU, "precision": precision}
    backbone = backbone_of(SMALL_VGG)

    found = extraction.tapped(CROPS, SMALL_VGG, backbone, [2, 4, 5], **how)

    for depth, (maps, _) in found.items():
        stream = replace(SMALL_VGG, freeze_depth=depth)
        alone = extraction.activations(CROPS, stream, backbone, **how)
        np.testing.assert_array_equal(maps, alone)
    assert found[2][1] < found[4][1] < found[5][1]


def test_bfloat16_gives_single_precisions_features_but_for_its_rounding():
    how = {"device": CPU, "precision": "float32"}
    backbone = backbone_of(SMALL_VGG)

    full = extraction.activations(CROPS, SMALL_VGG, backbone, **how)
    fast = extraction.activations(CROPS, SMALL_VGG, backbone, **how | {"precision": "bfloat16"})

    assert full.dtype == fast.dtype == np.float16
    a, b = full.astype(np.float32).ravel(), fast.astype(np.float32).ravel()
    assert (a @ b) / np.linalg.norm(a) / np.linalg.norm(b) > 0.999
    assert (a != b).any()


def test_only_the_clips_that_overflow_are_spared_the_rounding():
    backbone = backbone_of(SMALL_VGG)
    black = CROPS.copy()
    black[1:] = 128
    plain = extraction.activations(black, SMALL_VGG, backbone, device=CPU, precision="float32")
    last = backbone.blocks[4][-3]
    with torch.no_grad():
        last.weight *= 6e4 / float(np.abs(plain[:1]).max()) * 1.01
    most = np.abs(plain.astype(np.float32)).reshape(4, -1).max(axis=1)
    assert most[0] > 1.1 * most[1]

    found = extraction.activations(black, SMALL_VGG, backbone, device=CPU, precision="float32")

    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[1:], found[1:].astype(np.float16))
    assert np.abs(found[0]).max() >= 6e4


def test_one_pass_stores_every_depth_that_the_study_reads(study_data, new_store):
    taps, separately = new_store("taps"), new_store("separately")
    known = {"streams": (MIDDLE, DEEP), "keep": "always"}
    first, stored = made(MIDDLE, study_data, store=taps, **known)

    second, _ = made(DEEP, study_data, store=taps, **known)

    images = 3 * len(study_data.manifest.clips)
    assert (first.backbone_images, second.backbone_images) == (images, 0)
    alone = {}
    for stream in (MIDDLE, DEEP):
        alone |= made(stream, study_data, store=separately, keep="always")[1]
    assert stored == alone


def test_a_pass_goes_no_deeper_than_the_study_reads(fresh):
    _, stored = made(MIDDLE, fresh, streams=(MIDDLE,), keep="always")

    _, two = made(MIDDLE, fresh, streams=(MIDDLE, DEEP), keep="always")

    assert stored == two  # there already


def test_other_views_and_depths_that_do_not_pay_are_not_tapped(study_data, new_store):
    others = (replace(DEEP, view="crop"), replace(DEEP, freeze_depth=1), replace(DEEP, width=0.5))

    _, known = made(DEEP, study_data, store=new_store("a"), streams=(DEEP, *others))

    _, alone = made(DEEP, study_data, store=new_store("b"))
    assert known == alone


def test_a_pass_reaches_blocks_that_the_asking_stream_does_not_use(fresh):
    short, long = replace(DEEP, blocks=3, freeze_depth=3), replace(DEEP, blocks=5, freeze_depth=5)

    first, _ = made(short, fresh, streams=(short, long))
    second, _ = made(long, fresh, streams=(short, long))

    assert first.backbone_images > 0
    assert second.backbone_images == 0


def shards_of(study_data):
    context = TrialContext(config_of(MIDDLE), study_data, CPU)
    return extraction.shards(
        context.views("aligned").pairs,
        MIDDLE,
        backbone_of(MIDDLE),
        device=CPU,
        precision="float32",
        tally=Tally(),
        depths=[3, 4],
    )


def test_of_a_pass_killed_between_two_taps_the_missing_one_is_made_again(fresh):
    shards = shards_of(fresh)
    read_or_make(Store(fresh.store), shards, Tally())
    folder = fresh.store / "features"
    whole = {path.name: path.read_bytes() for path in folder.glob("*.npy")}
    for shard in shards:
        (folder / f"{shard.key}.npy").unlink()
        (folder / f".{shard.key}.npy.0123.tmp").write_bytes(b"half")
    tally = Tally()

    read_or_make(Store(fresh.store), shards, tally)

    assert tally.work.stages_made == len(shards) == len(whole) / 2
    assert {path.name: path.read_bytes() for path in folder.glob("*.npy")} == whole
    assert not list(folder.glob(".*.tmp"))


def test_one_pass_has_one_maker_whatever_tap_is_asked_for(fresh):
    shard = shards_of(fresh)[0]
    store = Store(fresh.store)

    with store.lease("features", shard.make.key) as leased:
        assert leased
        with store.lease("features", shard.make.key, shard.make.keys) as other:
            assert not other


def test_every_features_entry_says_how_long_making_it_takes(fresh):
    entries = read_or_make(Store(fresh.store), shards_of(fresh), Tally())

    assert all(entry.seconds > 0 for entry in entries)


def test_a_backbone_is_built_once_for_all_that_is_drawn_on_it():
    first = extraction.open_backbone(DEEP, {}, 0)

    assert extraction.open_backbone(replace(MIDDLE, pooling="max", view="frontal"), {}, 0) is first
    assert extraction.open_backbone(DEEP, {}, 1) is not first
    assert extraction.open_backbone(replace(DEEP, width=0.5, weights="random"), {}, 0) is not first
