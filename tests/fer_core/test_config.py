from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core.config import (
    CELLS,
    ClipConfig,
    Config,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
    flat,
    from_json,
)
from fer_core.errors import ConfigError

STREAM = StreamConfig(backbone="dlib_resnet", weights="package", blocks=4, freeze_depth=4)
CONFIG = Config(stream=STREAM)


@given(
    lr=st.floats(1e-6, 1.0),
    pca_dim=st.none() | st.integers(1, 500),
    cell=st.none() | st.sampled_from(CELLS),
)
def test_a_config_survives_json_and_keeps_its_id(lr, pca_dim, cell):
    recurrent = RecurrentConfig(cell=cell, hidden=8) if cell else None
    config = Config(
        stream=STREAM, pca_dim=pca_dim, recurrent=recurrent, optimizer=OptimizerConfig(lr=lr)
    )

    again = from_json(config.to_json())

    assert again == config
    assert again.config_id == config.config_id


def test_two_configs_that_differ_have_two_ids():
    other = replace(CONFIG, head=HeadConfig(fc_layers=1))

    assert other.config_id != CONFIG.config_id


def test_what_is_inactive_is_absent_from_the_json():
    assert "recurrent" not in CONFIG.to_json()
    assert "null" not in CONFIG.to_json()


def test_the_family_is_named_in_the_words_of_the_study():
    lstm = replace(CONFIG, recurrent=RecurrentConfig(cell="lstm", hidden=8))
    volume = StreamConfig(backbone="c3d", weights="random", blocks=5, freeze_depth=0)

    assert (CONFIG.family, lstm.family) == ("cnn", "cnn+lstm")
    assert Config(stream=volume).family == "c3d"


def test_a_misspelt_backbone_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'dlib_resnet'"):
        Config(stream=replace(STREAM, backbone="dlib_resnt"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clip": ClipConfig(start=0.8, end=0.5)}, "clip.start, clip.end is (0.8, 0.5)"),
        ({"head": HeadConfig(fc_layers=4)}, "head.fc_layers is 4; it must be 0 to 3"),
        ({"optimizer": OptimizerConfig(lr=-1)}, "optimizer.lr is -1; it must be above 0"),
        ({"stream": replace(STREAM, freeze_depth=5)}, "stream.freeze_depth is 5"),
        ({"stream": replace(STREAM, width=0.5)}, "stream.width is 0.5; it must be 1 unless"),
        ({"stream": replace(STREAM, freeze_depth=2), "pca_dim": 9}, "pca_dim is 9"),
        ({"pca_dim": 25.3}, "pca_dim is 25.3; it must be of type int or None"),
        ({"optimizer": OptimizerConfig(lr=float("nan"))}, "lr is nan; it must be of type float"),
        ({"recurrent": RecurrentConfig(cell="gru", hidden=0)}, "recurrent.hidden is 0"),
    ],
)
def test_what_cannot_work_is_named_with_its_value_and_what_would_be_right(change, said):
    with pytest.raises(ConfigError) as refusal:
        replace(CONFIG, **change)

    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_json_with_an_unknown_field_is_refused():
    with pytest.raises(ConfigError, match="colour"):
        from_json('{"stream":{"colour":1}}')


def test_every_flat_column_is_a_single_value():
    values = flat(CONFIG).values()

    assert all(v is None or isinstance(v, str | int | float) for v in values)
