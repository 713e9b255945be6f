from benchmarks.rows import made
from benchmarks.small_data import _pooled
from fer_core.config import Config, GeometryConfig, OptimizerConfig, StreamConfig
from fer_core.trial.evaluate import cross_validate

FACES = StreamConfig(
    backbone="dlib_resnet", weights="package", blocks=4, freeze_depth=4, crop_pixels=48
)


def test_made_clips_are_read_from_the_store_alone_and_can_be_learned(tmp_path):
    study_data = made.study_data(made.made(120, seed=0), tmp_path, [FACES], folds=2)
    training = OptimizerConfig(lr=3e-3, updates=100)

    for stream in (FACES, GeometryConfig(hidden=0)):
        found = _pooled([cross_validate(Config(streams=(stream,), optimizer=training), study_data)])

        assert found.uar > 0.4  # chance is 0.25
        assert len(found.labels) > 30
