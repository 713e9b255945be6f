import dataclasses
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fer_core.data import datasets
from search.planning import plan
from search.request import settings
from search.study.options import Options

ROOT = Path(__file__).parents[3]
TWO_DEPTHS = """
    from fer_core.config import Config, RecurrentConfig, StreamConfig


    def space(trial):
        depth = trial.suggest_categorical("depth", [0, 2, 3])
        stream = StreamConfig(
            backbone="dlib_resnet",
            weights="package",
            blocks=3,
            freeze_depth=depth,
            pooling=trial.suggest_categorical("pooling", ["avg", "max"]),
        )
        return Config(streams=(stream,), recurrent=RecurrentConfig(cell="gru", hidden=8))
    """


def resolved(tmp_path, path, **changes):
    named = {"trials": 20, "smoke": True, "store": str(tmp_path / "store")} | changes
    return settings.resolve(Options(space=str(path), **named), studies=str(tmp_path / "studies"))


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    from search.drawing import space

    folder = tmp_path_factory.mktemp("planned")
    path = folder / "toy.py"
    path.write_text(textwrap.dedent(TWO_DEPTHS))
    return plan.make(space.load(path), resolved(folder, path))


def test_trials_that_differ_right_of_the_freeze_point_share_a_prefix(planned):
    assert [prefix.freeze_depth for prefix in planned.features] == [2, 3]
    assert planned.backbone_images == 2 * 120 * 5  # prefixes x clips of ten subjects x frames


def test_a_view_of_a_window_is_made_once_for_all_trials(planned):
    assert len(planned.views) == 1
    assert planned.view_images == 120 * 5


def test_every_trial_is_counted_by_its_family_and_no_config_twice(planned):
    assert planned.families == {"cnn+gru": 6}  # of twenty draws of three depths and two poolings


def test_a_plan_is_json_and_text(planned):
    assert json.loads(json.dumps(dataclasses.asdict(planned)))["trials"] == 6
    assert "6 cnn+gru" in plan.text(planned)


FITTED_AND_POINTS = """
    from fer_core.config import (
        AugmentConfig, Config, FusionConfig, GeometryConfig, PretrainConfig, StreamConfig,
    )

    POINTS = tuple({"augmented": augmented} for augmented in (False, True))


    def space(trial):
        augmented = trial.suggest_categorical("augmented", [False, True])
        frozen = StreamConfig(
            backbone="dlib_resnet", weights="package", blocks=3, freeze_depth=3, view="frontal"
        )
        scae = StreamConfig(
            backbone="scae", weights="fitted", blocks=2, freeze_depth=2, pretrain=PretrainConfig()
        )
        return Config(
            streams=(frozen, scae, GeometryConfig()),
            fusion=FusionConfig(),
            augment=AugmentConfig(flip=False) if augmented else None,
        )
    """


def test_every_stream_of_an_enumerated_space_is_planned_as_it_is_computed(write_space, tmp_path):
    from search.drawing import space

    path = write_space(FITTED_AND_POINTS)
    planned = plan.make(space.load(path), resolved(tmp_path, path, trials=None))

    assert planned.trials == 2
    assert {prefix.view: prefix.trials for prefix in planned.views} == {"aligned": 2, "frontal": 2}
    images = {prefix.backbone: prefix.backbone_images for prefix in planned.features}
    assert images == {"dlib_resnet": 120 * 5, "scae": 5 * 120 * 5}  # scae is another in each fold
    assert {prefix.trials for prefix in planned.features} == {1}  # augmented images are not stored


VGG_AT_EACH_DEPTH = """
    from fer_core.config import Config, StreamConfig

    POINTS = tuple({"depth": depth} for depth in range(1, 6))


    def space(trial):
        depth = trial.suggest_int("depth", 1, 5)
        stream = StreamConfig(
            backbone="vgg16", weights="random", blocks=5, freeze_depth=depth, pooling="avg"
        )
        return Config(streams=(stream,))
    """


def test_a_plan_refuses_to_store_the_first_two_pools_and_says_why(write_space, tmp_path):
    from search.drawing import space

    path = write_space(VGG_AT_EACH_DEPTH)
    planned = plan.make(space.load(path), resolved(tmp_path, path, trials=None))

    stored = {prefix.freeze_depth: prefix.stored for prefix in planned.features}
    whys = [prefix.why for prefix in planned.features[:2]]
    assert (stored[1], stored[2], stored[5]) == (False, False, True)
    assert "a training step gets at most 1.05x as fast" in whys[0]
    assert "a training step gets at most 1.15x as fast" in whys[1]
    assert planned.features[0].backbone_images == 0


def test_a_plan_predicts_the_time_and_its_p90(planned):
    assert 0 < planned.outlook.seconds < planned.outlook.seconds_p90
    assert "in 9 of 10 cases (P90)" in plan.text(planned)


def test_a_dry_run_starts_and_keeps_nothing_and_imports_no_ray(tmp_path):
    code = (
        "import sys\n"
        "from search.run import app\n"
        "app(['--space', 'spaces/smoke.py', '--dry-run', '--json', "
        f"'--store', '{tmp_path}/store', '--studies', '{tmp_path}/studies'], "
        "standalone_mode=False)\n"
        "print({'ray'} & set(sys.modules), file=sys.stderr)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"] == 24
    assert done.stderr.strip() == "set()"
    assert list(tmp_path.iterdir()) == []


def test_a_published_protocol_fixes_the_frames_whatever_the_space_draws(write_space, tmp_path):
    from fer_core.config import ClipConfig
    from search.drawing import space
    from search.request import data

    for subject in range(1, 81):
        for emotion in ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise"):
            folder = tmp_path / "data" / "VL" / "Strong" / f"P{subject:03d}" / emotion
            folder.mkdir(parents=True)
            (folder / "000.jpeg").write_text(f"{subject} {emotion}")
    path = write_space(TWO_DEPTHS)
    chosen = resolved(
        tmp_path,
        path,
        dataset="oulu_casia",
        data_root=str(tmp_path / "data"),
        protocol_name="10fold",
    )

    planned = plan.make(space.load(path), chosen)

    fixed = ClipConfig(sampling="last", frames=3)
    assert {prefix.clip for prefix in planned.views} == {fixed}
    assert planned.view_images == 480 * 3
    assert data.fixed_clip(datasets.load("oulu_casia", tmp_path / "data"), chosen.options) == fixed


def test_a_wider_head_takes_more_memory_and_a_whole_network_is_no_head(tmp_path):
    from fer_core.config import Config, GeometryConfig, HeadConfig, StreamConfig
    from fer_core.trial import timing
    from search.planning import costs

    machine = costs.machine_speed(tmp_path / "none")

    def probed(config):
        return timing.fold(config, ("a", "b"), clips=64, folds=5, machine=machine)

    def head(width):
        streams = (GeometryConfig(),)
        return probed(Config(streams=streams, head=HeadConfig(fc_layers=3, fc_width=width)))

    whole = StreamConfig(
        backbone="vgg16", weights="random", blocks=5, freeze_depth=4, pooling="avg"
    )

    parameters = 2 * 4096**2 * 16 / 2**30  # weights, gradients and two moments
    assert parameters < head(4096).head_gib < 3 * parameters
    assert head(64).head_gib < head(4096).head_gib
    assert probed(Config(streams=(whole,))).head_gib is None
