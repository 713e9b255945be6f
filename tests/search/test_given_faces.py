"""The real command on a table of face crops in FER2013's layout."""

import json

import pandas as pd
import pytest

from tests.search.command import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SPACE = """
from fer_core.config import Config, GeometryConfig, OptimizerConfig, StreamConfig

FIRST = ({"kind": "default"}, {"kind": "crop"}, {"kind": "points"})


def space(trial):
    kind = trial.suggest_categorical("kind", ["default", "crop", "points"])
    lr = trial.suggest_float("lr", 1e-3, 1e-2, log=True)
    face = {"backbone": "dlib_resnet", "weights": "package", "blocks": 3, "freeze_depth": 3}
    streams = {
        "default": StreamConfig(**face, pooling="avg"),
        "crop": StreamConfig(**face, pooling="avg", view="crop"),
        "points": GeometryConfig(hidden=0),
    }
    return Config(streams=(streams[kind],), optimizer=OptimizerConfig(lr=lr, epochs=2))
"""


def test_a_study_of_face_crops_starts_without_a_flag_and_scores_every_crop(face_crops, tmp_path):
    (tmp_path / "toy.py").write_text(SPACE)
    command = ["--space", "toy.py", "--dataset", "fer2013", "--data-root", str(face_crops)]

    done = run(tmp_path, *command, "--protocol", "official", "--trials", "3", "--no-pruning")

    table = pd.read_csv(face_crops / "fer2013.csv")
    board = pd.read_parquet(tmp_path / "leaderboards" / "fer2013")
    rows = board[board["trial"].between(0, 2)].set_index("trial")
    assert done.stderr.count("the faces are given") == 1
    assert "the space also reads crop, points" in done.stderr
    assert list(rows["config.views"].fillna("none")) == ["given", "crop", "none"]
    assert set(rows["val_clips"]) == {(table["Usage"] == "PublicTest").sum()}
    assert rows.loc[0, "fallback_share"] == rows.loc[2, "fallback_share"] == 0
    assert 0 < rows.loc[1, "fallback_share"] < 0.2
    tested = rows["test_clips"].dropna()
    assert set(tested) == {(table["Usage"] == "PrivateTest").sum()}
    record = json.loads(next(tmp_path.glob("studies/*/study.json")).read_text())
    assert (record["faces"], record["missing"]) == ("given", "fallback")
