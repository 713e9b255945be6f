import ast
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fer_core import config as door
from fer_core.config import (
    CELLS,
    AugmentConfig,
    ClipConfig,
    Config,
    FusionConfig,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    PretrainConfig,
    RecurrentConfig,
    StreamConfig,
    choices,
    config,
    flat,
    from_json,
)
from fer_core.errors import ConfigError

STREAM = StreamConfig(backbone="dlib_resnet", weights="package", blocks=4, freeze_depth=4)
CONFIG = Config(streams=(STREAM,))
POINTS_TOO = (STREAM, GeometryConfig())
SCAE = StreamConfig(
    backbone="scae", weights="fitted", blocks=4, freeze_depth=4, pretrain=PretrainConfig(epochs=2)
)


@given(
    lr=st.floats(1e-6, 1.0),
    pca_dim=st.none() | st.integers(1, 500),
    cell=st.none() | st.sampled_from([cell for cell in CELLS if cell != "convlstm"]),
    others=st.lists(st.sampled_from([GeometryConfig(encoding="difference"), SCAE]), max_size=2),
    augment=st.none() | st.just(AugmentConfig(flip=False, zoom=0.1)),
)
def test_a_config_survives_json_and_keeps_its_id(lr, pca_dim, cell, others, augment):
    config = Config(
        streams=(replace(STREAM, pca_dim=None if augment else pca_dim), *others),
        fusion=FusionConfig() if others else None,
        recurrent=RecurrentConfig(cell=cell, hidden=8) if cell else None,
        optimizer=OptimizerConfig(lr=lr),
        augment=augment,
        task="hidden",
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


@pytest.mark.parametrize(
    ("streams", "cell", "family"),
    [
        ((STREAM,), None, "cnn"),
        ((STREAM,), "lstm", "cnn+lstm"),
        ((STREAM, replace(STREAM, view="frontal")), None, "two_stream"),
        (POINTS_TOO, None, "cnn+geometry"),
        ((GeometryConfig(),), "gru", "geometry+gru"),
        ((SCAE,), None, "scae"),
        ((StreamConfig(backbone="c3d", weights="random", blocks=5, freeze_depth=0),), None, "c3d"),
    ],
)
def test_the_family_is_named_in_the_words_of_the_study(streams, cell, family):
    config = Config(
        streams=streams,
        fusion=FusionConfig() if len(streams) > 1 else None,
        recurrent=RecurrentConfig(cell=cell, hidden=8) if cell else None,
    )

    assert config.family == family


def test_attention_over_frames_is_a_family_of_its_own():
    assert replace(CONFIG, voting="attention").family == "cnn+attention"


def test_a_misspelt_backbone_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'dlib_resnet'"):
        Config(streams=(replace(STREAM, backbone="dlib_resnt"),))


def _stream(**changes):
    return {"streams": (replace(STREAM, **changes),)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"clip": ClipConfig(start=0.8, end=0.5)}, "clip.start, clip.end is (0.8, 0.5)"),
        ({"head": HeadConfig(fc_layers=4)}, "head.fc_layers is 4; it must be 0 to 3"),
        ({"optimizer": OptimizerConfig(lr=-1)}, "optimizer.lr is -1; it must be above 0"),
        (_stream(freeze_depth=5), "stream.freeze_depth is 5"),
        (_stream(width=0.5), "stream.width is 0.5; it must be 1 unless"),
        (_stream(freeze_depth=2, pca_dim=9), "stream.pca_dim is 9; it must be None unless"),
        (_stream(pca_dim=25.3), "pca_dim is 25.3; it must be of type int or None"),
        (_stream(weights="fitted"), "stream.weights"),
        (_stream(backbone="scae", weights="fitted"), "stream.pretrain is None; it must be a"),
        (_stream(backbone="r3d_18", weights="random", width=0.5), "r3d_18 has one width"),
        (_stream(backbone="torchvision:", weights="random"), "torchvision:NAME"),
        ({"optimizer": OptimizerConfig(lr=float("nan"))}, "lr is nan; it must be of type float"),
        ({"optimizer": OptimizerConfig(schedule="cosin")}, "did you mean 'cosine'"),
        ({"recurrent": RecurrentConfig(cell="gru", hidden=0)}, "recurrent.hidden is 0"),
        (
            {"recurrent": RecurrentConfig(cell="gru", hidden=4, dropout=0.2)},
            "recurrent.dropout is 0.2; it must be 0 with one layer",
        ),
        (
            {"recurrent": RecurrentConfig(cell="gru", hidden=4), "voting": "majority"},
            "voting is 'majority'",
        ),
        ({"streams": ()}, "streams is (); it must be one or more"),
        ({"streams": POINTS_TOO}, "it must be a FusionConfig with 2 streams"),
        ({"fusion": FusionConfig()}, "it must be None with 1 streams"),
        (
            {"streams": POINTS_TOO, "fusion": FusionConfig(point="fc2")},
            "head.fc_layers is 0; it must be at least 2",
        ),
        (
            {
                "streams": POINTS_TOO,
                "fusion": FusionConfig(),
                "recurrent": RecurrentConfig(cell="convlstm", hidden=4),
            },
            "recurrent.cell is 'convlstm'; it must be rnn, lstm or gru",
        ),
        (
            {"streams": POINTS_TOO, "fusion": FusionConfig(), "augment": AugmentConfig()},
            "augment.flip is True; it must be False with geometry",
        ),
        ({**_stream(pca_dim=9), "augment": AugmentConfig()}, "stream.pca_dim is 9"),
        ({"task": "age"}, "task is 'age'; available: authenticity, emotion, hidden."),
    ],
)
def test_what_cannot_work_is_named_with_its_value_and_what_would_be_right(change, said):
    with pytest.raises(ConfigError) as refusal:
        replace(CONFIG, **change)

    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_json_with_an_unknown_field_is_refused():
    with pytest.raises(ConfigError, match="colour"):
        from_json('{"streams":[{"colour":1}]}')


def test_every_flat_column_is_a_single_value():
    streams = (STREAM, replace(STREAM, view="frontal", freeze_depth=2), GeometryConfig())
    values = flat(Config(streams=streams, fusion=FusionConfig())).values()

    assert all(v is None or isinstance(v, str | int | float) for v in values)


ROOT = Path(__file__).parents[3]
BEFORE = {  # what spaces could import from fer_core.config when it was one file
    *{"BACKBONES", "CELLS", "ENCODINGS", "FITTED", "JOININGS", "ONE_FRAME", "OPTIMIZERS", "POINTS"},
    *{"POOLINGS", "SAMPLINGS", "SCHEDULES", "TASKS", "VIEWS", "VOLUMES", "VOTINGS", "WEIGHTS"},
    *{"AugmentConfig", "ClipConfig", "Config", "ConfigError", "FusionConfig", "GeometryConfig"},
    *{"HeadConfig", "OptimizerConfig", "PretrainConfig", "RecurrentConfig", "Stream"},
    *{"StreamConfig", "flat", "from_json", "one_of", "require", "validate"},
}


def defined(module):
    """Name what a module defines at its top and does not hide."""
    found = set()
    for node in ast.parse(Path(module.__file__).read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            found.add(node.target.id)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets}
    return {name for name in found if not name.startswith("_")}


def imported(source):
    """Name all modules, and all names in modules, that a file imports."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_room_exports_all_that_a_space_may_use():
    needed = BEFORE | defined(choices) | defined(config)

    assert needed - set(door.__all__) == set()
    assert all(hasattr(door, name) for name in door.__all__)


def test_nobody_imports_from_inside_the_room():
    inside = {path.stem for path in Path(door.__file__).parent.glob("[a-z]*.py")}
    offenders = []
    for folder in ("search", "fer_core", "spaces", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.parent == Path(door.__file__).parent:
                continue
            names = set(imported(path.read_text()))
            if any(f"fer_core.config.{module}" in names for module in inside):
                offenders.append(str(path.relative_to(ROOT)))

    assert offenders == []
