from dataclasses import replace
from itertools import islice

import numpy as np
import pytest

from fer_core.config import (
    ClipConfig,
    Config,
    OptimizerConfig,
    PretrainConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.features.speed import MachineSpeed
from fer_core.features.storing_rule import Reads, whether_to_store
from fer_core.storage.shared_store import free_bytes
from fer_core.trial.evaluate import cross_validate
from tests.cases import mostly_slow

VGG = StreamConfig(backbone="vgg16", weights="random", blocks=5, freeze_depth=5)
MACHINE = MachineSpeed(
    precision="bfloat16", flops=4e11, single_flops=2e11, read_bytes=1e9, write_bytes=3e8
)
DEMAND = Reads(clips=500, frames=5, epochs=10, folds=5)
MUCH = 10**12
FOLDS = 2  # that are compared
ROUNDING = 5e-5  # that Adam's first steps enlarge; 1.3e-5 was measured
RESNET = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=4, freeze_depth=4, pooling="avg"
)
SMALL = replace(RESNET, freeze_depth=2, crop_pixels=48)
SCAE = StreamConfig(
    backbone="scae",
    weights="fitted",
    blocks=3,
    freeze_depth=2,
    pooling="avg",
    crop_pixels=32,
    width=0.25,
    pretrain=PretrainConfig(epochs=1),
)
C3D = StreamConfig(
    backbone="c3d", weights="random", blocks=5, freeze_depth=5, width=1 / 16, crop_pixels=32
)
KINDS = {
    "wholly frozen": RESNET,
    "reduced": replace(RESNET, pooling="none", pca_dim=9),
    "frozen in part": SMALL,
    "volume": C3D,
    "volume in part": replace(C3D, freeze_depth=3),
    "fitted": SCAE,
}
QUICK = ("wholly frozen", "frozen in part", "fitted")


def at_each_depth():
    """Choose for each block that VGG-16 may be frozen up to."""
    streams = [replace(VGG, freeze_depth=depth) for depth in range(1, 6)]
    return [whether_to_store(each, DEMAND, MACHINE, free_bytes=MUCH) for each in streams]


def test_pool1_and_pool2_of_vgg16_are_refused_and_what_is_deeper_is_stored():
    choices = at_each_depth()

    assert [choice.store for choice in choices] == [False, False, True, True, True]
    gains = [round(choice.gain, 2) for choice in choices[:-1]]
    assert gains == [1.05, 1.15, 1.52, 4.35]  # performance.md, 3.3
    assert "at most 1.15x as fast, under 1.3x" in choices[1].why


def test_half_precision_bytes_of_vgg16_are_as_published():
    sizes = [choice.bytes // 2500 for choice in at_each_depth()]

    assert sizes == [1_605_632, 802_816, 401_408, 200_704, 50_176]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"machine": replace(MACHINE, read_bytes=2e6)}, "reading an image takes"),
        ({"machine": replace(MACHINE, write_bytes=1e3)}, "save less time than the writing takes"),
        ({"reads": replace(DEMAND, epochs=1, folds=1)}, "0 further reads"),
        ({"free_bytes": 10**9}, "it is too large"),
    ],
)
def test_a_point_is_refused_where_storing_does_not_pay(changed, reason):
    known = {"reads": DEMAND, "machine": MACHINE, "free_bytes": MUCH} | changed
    stream = replace(VGG, freeze_depth=3)

    choice = whether_to_store(
        stream, known["reads"], known["machine"], free_bytes=known["free_bytes"]
    )

    assert not choice.store
    assert reason in choice.why


def test_more_trials_make_storing_pay():
    once = replace(DEMAND, epochs=1, folds=1)

    choice = whether_to_store(
        replace(VGG, freeze_depth=3), replace(once, trials=20), MACHINE, free_bytes=MUCH
    )

    assert choice.store


def test_what_is_frozen_as_a_whole_is_always_stored():
    assert whether_to_store(VGG, replace(DEMAND, epochs=1, folds=1), MACHINE, free_bytes=0).store


def test_a_reason_is_one_line():
    for choice in at_each_depth():
        assert "\n" not in choice.why
        assert choice.why.startswith(f"vgg16 up to block {choice.stream.freeze_depth} of 5 is ")


def config_of(stream, **choices):
    clip, optimizer = ClipConfig(frames=3), OptimizerConfig(epochs=2)
    return Config(streams=(stream,), clip=clip, optimizer=optimizer, **choices)


def assert_same(config, study_data):
    stored, computed = (
        list(islice(cross_validate(config, replace(study_data, keep=keep)), FOLDS))
        for keep in ("always", "never")
    )
    for a, b in zip(stored, computed, strict=True):
        np.testing.assert_allclose(a.losses, b.losses, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(a.probabilities, b.probabilities, rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("stream", mostly_slow(KINDS, QUICK))
def test_scores_are_the_same_with_the_store_on_and_off(stream, fresh):
    assert_same(config_of(stream), fresh)


def test_a_convlstm_reads_the_same_with_the_store_on_and_off(fresh):
    cell = RecurrentConfig(cell="convlstm", hidden=4)

    assert_same(config_of(RESNET, recurrent=cell), fresh)


@pytest.mark.parametrize("depth", [2, 4])
def test_a_trial_that_may_not_store_leaves_no_features_behind(depth, fresh):
    off = replace(fresh, keep="never")

    next(cross_validate(config_of(replace(SMALL, freeze_depth=depth)), off))

    assert not (fresh.store / "features").exists()


def test_a_trial_computes_again_what_the_rule_refuses(fresh):
    shallow = config_of(replace(SMALL, freeze_depth=1))

    next(cross_validate(shallow, fresh))

    assert not (fresh.store / "features").exists()


def test_what_the_store_has_is_read_whatever_the_rule_says(fresh):
    shallow = config_of(replace(SMALL, freeze_depth=1))
    made = next(cross_validate(shallow, replace(fresh, keep="always"))).work

    cached = next(cross_validate(shallow, fresh)).work

    assert cached.stages_held == made.stages_made + made.stages_read


def test_room_is_that_of_the_disk_where_a_store_will_lie(tmp_path):
    assert free_bytes(tmp_path / "not" / "there") > 0
