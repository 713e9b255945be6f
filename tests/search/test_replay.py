"""A row of the leaderboard, run again and taken out of the search; no Ray."""

import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from fer_core.config import OptimizerConfig
from fer_core.errors import FerError
from fer_core.predict import model_folder
from search import replay
from search.study.folder import Folder
from tests.search.finished_study import CONFIG


def run_again(finished, *, trial=0, export=None):
    arguments = [f"{finished.name}/{trial}", "--studies", str(finished.path.parent)]
    arguments += ["--export", str(export)] if export else []
    done = CliRunner().invoke(replay.app, arguments)
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_row_comes_out_the_same_to_the_last_bit(finished):
    said = run_again(finished)

    assert "the same, all 5 folds to the last bit" in said


@pytest.mark.slow
def test_a_row_of_a_race_is_raced_again(finished):
    said = run_again(finished, trial=1)

    assert "the same, all 5 folds to the last bit" in said


def test_a_pruned_row_is_trained_as_far_as_it_came(finished):
    said = run_again(finished, trial=2)

    assert "pruned at 1/2 of fold 1" in said
    assert said.strip().endswith("now: the same")


def test_a_row_that_differs_is_called_so(finished, tmp_path):
    import shutil

    altered = Folder(tmp_path / "studies" / finished.name)
    shutil.copytree(finished.path, altered.path)
    other = replace(CONFIG, optimizer=OptimizerConfig(epochs=1))
    altered.write_result(replace(finished.result(0), config_json=other.to_json()))

    assert "NOT the same" in run_again(altered)


def test_an_exported_row_comes_with_its_card(finished, tmp_path):
    said = run_again(finished, export=tmp_path / "model")

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
