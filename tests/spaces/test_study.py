from optuna.trial import FixedTrial

from fer_core.config import GeometryConfig
from search.results.published import FINAL, ROWS
from spaces import study

CONFIGS = {point["row"]: study.space(FixedTrial(point)) for point in study.POINTS}


def test_it_enumerates_exactly_the_printed_configurations_each_in_its_own_task():
    printed = {key: row.task for key, row in ROWS.items() if row.table != FINAL}

    assert {key: config.task for key, config in CONFIGS.items()} == printed
    assert all(config.stands_for == key for key, config in CONFIGS.items())


def test_all_rows_read_five_frames_of_the_window_and_train_as_the_study_did():
    for config in CONFIGS.values():
        assert (config.clip.start, config.clip.end, config.clip.frames) == (0.5, 0.8, 5)
        assert (config.optimizer.name, config.optimizer.lr) == ("adam", 1e-4)
        assert config.optimizer.epochs == 20


def test_only_what_is_trained_sees_augmented_images():
    for config in CONFIGS.values():
        frozen = all(stream.frozen for stream in config.images)

        assert (config.augment is None) == frozen


def test_each_row_is_made_of_what_was_printed_of_it():
    assert CONFIGS["t4-first-frozen-3fc"].images[0].freeze_depth == 2
    assert CONFIGS["t4-all-frozen-0fc-max"].head.fc_layers == 0
    assert CONFIGS["t4-all-frozen-0fc-max"].images[0].pooling == "max"
    assert CONFIGS["t5-frontal-soft"].images[0].view == "frontal_soft"
    assert CONFIGS["t6-two-stream"].family == "two_stream"
    assert CONFIGS["t9-geometry"].geometry == (GeometryConfig(encoding="centred", hidden=0),)
    assert CONFIGS["t9-geometry"].fusion.point == "conv"
    assert CONFIGS["t8-c3d"].images[0].backbone == "c3d_study"
    assert CONFIGS["t8-gru-features"].images[0].pca_dim == 100
    assert CONFIGS["t8-gru-features"].recurrent.layers == 3
    assert CONFIGS["t12-lstm-images"].images[0].freeze_depth == 0
