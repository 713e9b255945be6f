"""A row's model, tested on another dataset: `search.replay --test-on`; no Ray."""

import json
import re
import shutil
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import search
from fer_core.config import ClipConfig, Config, GeometryConfig, OptimizerConfig
from fer_core.data.datasets import load
from fer_core.data.protocol import Protocol
from fer_core.faces.sampling import pick
from fer_core.trial.evaluate import refit
from search import replay
from search.request import data, settings
from search.results import ledger
from search.results.board import write
from search.screen.progress import Progress
from search.study.folder import Folder, Record
from search.study.parts import TrialResult

CONFIG = Config(
    streams=(GeometryConfig(hidden=8),),
    clip=ClipConfig(frames=3),
    task="emotion",
    optimizer=OptimizerConfig(epochs=20, lr=0.02, batch_clips=8),
)
AT = "2026-01-15T10:00:00.000+00:00"
FACES = Path(__file__).parents[2] / "fixtures" / "earlier" / "faces"
SURPRISE = "*Sur.*"  # files of the synthetic dataset that show it


def subset(rendered, root, subjects, *, without=()):
    """Copy some subjects of the synthetic dataset: a dataset of other people."""
    folder = root / "FakeTrue_DB"
    folder.mkdir(parents=True)
    shutil.copy(rendered / "synthetic.json", root)
    ignored = shutil.ignore_patterns(*without)
    for subject in subjects:
        source = rendered / folder.name / str(subject)
        shutil.copytree(source, folder / str(subject), ignore=ignored)
    return root


@pytest.fixture(scope="module")
def other(rendered, tmp_path_factory):
    """The dataset that the model is tested on: it lacks fear, and has surprise."""
    return subset(rendered, tmp_path_factory.mktemp("other") / "s", (7, 8, 9), without=["*A.*"])


@pytest.fixture(scope="module")
def study(rendered, tmp_path_factory):
    """A study of one finished trial on other people, who do not show surprise."""
    root = tmp_path_factory.mktemp("study")
    own = subset(rendered, root / "data", (1, 2, 3, 4), without=[SURPRISE])
    split = Protocol(name="made", sealed=("4",), folds=(("1",), ("2",), ("3",)))
    folder = Folder(root / "studies" / "toy-synthetic-000000")
    folder.path.mkdir(parents=True)
    for place in ("store", "boards"):
        (root / place).mkdir()
    folder.write_record(
        Record(
            study=folder.name,
            space="spaces/toy.py",
            data_root=str(own),
            task="hidden",
            trials=1,
            store=str(root / "store"),
            leaderboards=str(root / "boards"),
            landmarks="data",
            protocol=split.to_json(),
            protocol_id=split.protocol_id,
            data_sha256=load("synthetic", own).sha256,
            split_sha256=split.split_sha256,
            started_at=AT,
        )
    )
    trained = {"state": "complete", "started_at": AT, "finished_at": AT, "fold_uars": (0.5, 0.7)}
    folder.write_result(TrialResult(number=0, config_json=CONFIG.to_json(), **trained))
    return folder


def run(study, root, *, trial=0, dataset="synthetic"):
    row, studies = f"{study.name}/{trial}", str(study.path.parent)
    arguments = [row, "--test-on", dataset, str(root), "--studies", studies]
    return CliRunner().invoke(replay.app, arguments)


@pytest.fixture(scope="module")
def tested(study, other):
    """What the command prints."""
    return run(study, other)


def board(study):
    return search.read_leaderboard("synthetic", study.record().leaderboards)


def by_hand(study, root):
    """Score the refitted model clip by clip, from the landmark files: class to its hits."""
    record = study.record()
    options = settings.resumed(record, study, trials=None)
    own = data.prepare(options, Progress(verbosity=0), record)
    model = refit(CONFIG, replace(own, task="emotion"))
    hits = defaultdict(list)
    for clip in load("synthetic", root).clips:
        points = np.load(clip.landmarks)
        read = points[pick(points, np.ones(len(points), bool), model.clip)]
        encoded = model.encoders[0](np.concatenate([points[:1], points[:1], read])[None], "cpu")
        scores = model.voted(model.scores([encoded]))[0]
        hits[clip.emotion].append(model.classes[scores.argmax()] == clip.emotion)
    return {emotion: each for emotion, each in hits.items() if emotion in model.classes}


def test_the_score_is_that_of_the_refitted_model_over_the_classes_that_both_know(
    tested, study, other
):
    hits = by_hand(study, other)

    assert tested.exit_code == 0, tested.output
    row = board(study).iloc[-1]
    assert "surprise" not in hits
    assert row["test_uar"] == pytest.approx(np.mean([np.mean(each) for each in hits.values()]))
    assert row["test_clips"] == sum(map(len, hits.values()))


def test_what_was_left_out_is_told(tested):
    assert "left out 6 clips of 'surprise', which the model does not know" in tested.output
    assert "does not show anger" in tested.output
    assert "3 subjects, 24 clips (6 left out)" in tested.output


def test_the_row_names_both_datasets_and_ranks_with_no_trial(tested, study, make_result):
    write(study, study.record(), [make_result(0, uars=(0.1, 0.1), config=CONFIG)])

    trial, row = board(study).to_dict("records")

    assert (trial["source"], row["source"]) == ("search", "cross-dataset")
    assert (row["dataset"], row["trained_on"], row["trial"]) == ("synthetic", "synthetic", 0)
    assert row["data_sha256"] != trial["data_sha256"]
    assert row["opened_before"] == 0
    assert row["test_uar_low"] < row["test_uar"] < row["test_uar_high"]
    assert pd.isna([row["val_uar"], row["val_subjects"]]).all()


def test_a_second_call_shows_the_score_of_the_first_and_trains_nothing(tested, study, other):
    (file,) = (study.path / "cross-dataset").iterdir()
    scores = json.loads(file.read_text())
    file.write_text(json.dumps(scores | {"test_uar": 0.123}))

    again = run(study, other)

    file.write_text(json.dumps(scores))
    assert "test_uar 0.123" in again.output
    assert f"it was scored at {scores['finished_at']}, and only once" in again.output


def test_the_people_of_the_other_dataset_count_as_tested(tested, study, other):
    split = Protocol(name="made", sealed=("7",), folds=(("8",), ("9",)))
    theirs = replace(
        study.record(),
        study="theirs",
        protocol=split.to_json(),
        split_sha256=split.split_sha256,
        data_sha256=load("synthetic", other).sha256,
    )

    assert ledger.read(theirs).opened_before == 1


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ({"dataset": "synthetik"}, "did you mean 'synthetic'"),
        ({"root": "gone"}, "gone is not a folder"),
        ({"root": "own"}, "of the 40 clips below .* are also in the data of the study"),
        ({"root": "surprised"}, "shows surprise: that is 0 shared classes, and 2 are needed"),
        ({"root": FACES, "dataset": "folder"}, "clip '.*jpg' below .* comes without; test a row"),
        ({"trial": 1}, "trial 1 of toy-synthetic-000000 failed: it is broken"),
        ({"trial": -3}, "has no config to replay: it is a baseline"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_one_line(
    case, message, study, other, rendered, tmp_path, make_result
):
    study.write_result(make_result(1, config=CONFIG, state="failed", error="it is broken."))
    study.write_result(make_result(-3, config=None))
    surprised = subset(rendered, tmp_path / "surprised", (9,))
    for file in surprised.glob("FakeTrue_DB/*/*"):
        if "Sur." not in file.name:
            file.unlink()
    roots = {"own": study.record().data_root, "surprised": surprised, "other": other}
    named = case.get("root", "other")

    refused = run(study, **case | {"root": roots.get(named, named)})

    assert refused.exit_code in (2, 4)
    assert refused.stderr.splitlines()[-1].startswith("error: ")
    assert re.search(message, refused.stderr)
