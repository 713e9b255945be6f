"""A row of the leaderboard, run again and taken out of the search; no Ray."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from fer_core.config import (
    ClipConfig,
    Config,
    GeometryConfig,
    HeadConfig,
    OptimizerConfig,
    RecurrentConfig,
    StreamConfig,
)
from fer_core.errors import FerError
from fer_core.predict import model_folder
from fer_core.trial import pack
from fer_core.trial.evaluate import cross_validate
from search import replay
from search.cluster.trial_record import Account
from search.request import data
from search.request.settings import resolve
from search.screen.progress import Progress
from search.study import folder as folders
from search.study.folder import Folder
from search.study.options import Options

CONFIG = Config(
    streams=(
        StreamConfig(
            backbone="dlib_resnet", weights="package", blocks=3, freeze_depth=3, pooling="avg"
        ),
    ),
    clip=ClipConfig(frames=3),
    optimizer=OptimizerConfig(epochs=3),
)
GRU = Config(
    streams=(GeometryConfig(hidden=8),),
    clip=ClipConfig(frames=3),
    recurrent=RecurrentConfig(cell="gru", hidden=8),
    head=HeadConfig(fc_layers=1, fc_width=8, dropout=0.3),
    optimizer=OptimizerConfig(epochs=60, lr=0.02, batch_clips=8),
)


@pytest.fixture(scope="module")
def finished(rendered, tmp_path_factory):
    """A study of one finished trial, as a worker leaves it."""
    root = tmp_path_factory.mktemp("replayed")
    options = Options(
        space=str(Path(__file__).parents[2] / "spaces" / "smoke.py"),
        data_root=str(rendered),
        task="emotion",
        trials=1,
        store=str(root / "store"),
        leaderboards=str(root / "boards"),
        smoke=True,
    )
    settings = resolve(options, studies=str(root / "studies"))
    study_data = data.prepare(settings, Progress(verbosity=0), None)
    folder = folders.create(settings.studies, space=settings.space, dataset="synthetic")
    folder.write_record(record_of(folder, settings, study_data))
    results = list(cross_validate(CONFIG, study_data))
    Account(folder, 0, CONFIG.to_json()).at_rung(results, None, reached=None, last=True)
    at_rungs = [each for (each,) in pack.train([GRU], study_data, raced=True)]
    whole, left = (Account(folder, number, GRU.to_json()) for number in (1, 2))
    for place, at_rung in enumerate(at_rungs):
        last = place == len(at_rungs) - 1
        whole.at_rung(at_rung.results, None, reached="a rung", last=last)
    for at_rung in at_rungs[:2]:
        part = left.at_rung(at_rung.results, None, reached="1/2 of fold 1", last=False)
    folder.write_result(part)
    return folder


def record_of(folder, settings, study_data):
    return folders.Record(
        **asdict(settings.options) | {"landmarks": study_data.landmarks},
        study=folder.name,
        protocol=study_data.protocol.to_json(),
        protocol_id=study_data.protocol.protocol_id,
        data_sha256=study_data.manifest.sha256,
        split_sha256=study_data.protocol.split_sha256,
        started_at="2026-01-15T10:00:00.000+00:00",
    )


def run_again(finished, capsys, *, trial=0, **options):
    replay.main(f"{finished.name}/{trial}", studies=str(finished.path.parent), **options)
    return capsys.readouterr().out


def test_a_row_comes_out_the_same_to_the_last_bit(finished, capsys):
    said = run_again(finished, capsys, export=None)

    assert "the same, all 5 folds to the last bit" in said


@pytest.mark.slow
def test_a_row_of_a_race_is_raced_again(finished, capsys):
    said = run_again(finished, capsys, trial=1, export=None)

    assert "the same, all 5 folds to the last bit" in said


def test_a_pruned_row_is_trained_as_far_as_it_came(finished, capsys):
    said = run_again(finished, capsys, trial=2, export=None)

    assert "pruned at 1/2 of fold 1" in said
    assert said.strip().endswith("now: the same")


def test_a_row_that_differs_is_called_so(finished, capsys, tmp_path):
    import shutil

    altered = Folder(tmp_path / "studies" / finished.name)
    shutil.copytree(finished.path, altered.path)
    other = replace(CONFIG, optimizer=OptimizerConfig(epochs=1))
    altered.write_result(replace(finished.result(0), config_json=other.to_json()))

    assert "NOT the same" in run_again(altered, capsys, export=None)


def test_an_exported_row_comes_with_its_card(finished, capsys, tmp_path):
    said = run_again(finished, capsys, export=tmp_path / "model")

    model = model_folder.load(tmp_path / "model")
    card = (tmp_path / "model" / "README.md").read_text()
    assert "python -m fer_core.predict" in said
    assert model.config == CONFIG
    assert json.loads((tmp_path / "model" / "labels.json").read_text())["task"] == "emotion"
    assert "this row had no sealed test" in card
    assert f"{finished.result(0).val_uar:.3f}" in card
    assert "must not decide over people" in card
    assert "The split is subject-independent." in card


def test_a_row_is_found_by_its_config_too(finished):
    found = replay.find(CONFIG.config_id, finished.path.parent)

    assert (found.folder.name, found.result.number) == (finished.name, 0)


@pytest.mark.parametrize("row", ["nothing", "{}/7", "gone/0"])
def test_a_row_that_is_not_there_is_one_line(row, finished):
    with pytest.raises(FerError) as refused:
        replay.find(row.format(finished.name), finished.path.parent)

    assert "\n" not in str(refused.value)


def test_a_result_that_is_damaged_is_called_so(folder, record):
    folder.write_record(record)
    (folder.path / "parts").mkdir()
    (folder.path / "parts" / "2.json").write_text("{")

    with pytest.raises(FerError, match=r"the result of trial 2 of study .* is damaged"):
        replay.find(f"{folder.name}/2", folder.path.parent)
