"""The command line: what it refuses, before any trial starts, and what its help says."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.core import TyperOption
from typer.main import get_command
from typer.testing import CliRunner

from fer_core.data import datasets, protocol
from search import doctor, replay, run
from search.request.settings import seconds
from search.run import app

ROOT = Path(__file__).parents[2]
OPTIONS = """
    space dataset data-root task trials time-budget seed address cpus-per-trial gpus-per-trial
    leaderboards studies store resume weights landmarks protocol surface max-missing
    dry-run smoke json repeats
    """
SMOKE = ["--space", "spaces/smoke.py"]
FOLDER = [*SMOKE, "--dataset", "folder", "--data-root", "."]
STUDY = ["--space", str(ROOT / "spaces" / "study.py")]


@pytest.fixture
def refused(monkeypatch, tmp_path):
    """Run the command in a folder with a spaces folder, and give its exit code and one line.

    Before that line, it may only print how the dataset was read and who is on which side.
    """
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "smoke.py").symlink_to(ROOT / "spaces" / "smoke.py")
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        before = set(tmp_path.rglob("*"))
        done = CliRunner().invoke(app, list(arguments))
        assert done.stdout == ""
        *before_it, line = done.stderr.splitlines()
        assert all(
            re.match(r"labels: |sealed: |fold \d: |only \d subjects", each) for each in before_it
        )
        assert line.startswith("error: ")
        made = {path.name for path in set(tmp_path.rglob("*")) - before}
        assert not made & {"study.json", "parts", "leaderboards"}, line
        return done.exit_code, line

    return invoke


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "--space names no file"),
        (["--space", "spaces/smok.py"], 3, "did you mean 'spaces/smoke.py'?"),
        ([*SMOKE, "--dataset", "folder"], 2, "say where it is with --data-root"),
        ([*SMOKE, "--dataset", "foldr", "--data-root", "."], 2, "did you mean 'folder'?"),
        ([*SMOKE, "--subject-pattern", r"(\d+)_"], 2, "'synthetic' has its own rule"),
        ([*FOLDER, "--subject-pattern", r"(\d"], 2, "is no regular expression"),
        ([*FOLDER, "--subject-pattern", r"\d+_"], 2, "has no group"),
        ([*SMOKE, "--protocol", "10fold"], 2, "no protocol of synthetic '10fold'"),
        ([*SMOKE, "--surface", "face.obj"], 2, "file face.obj does not exist"),
        ([*SMOKE, "--time-budget", "soon"], 2, "30s, 10m or 2h"),
        ([*SMOKE, "--gpus-per-trial", "2"], 2, "a trial trains on one GPU, and more GPUs run more"),
        ([*SMOKE, "--weights", "vgg17=x"], 2, "did you mean 'vgg16'?"),
        ([*SMOKE, "--weights", "vgg16=no.pth"], 2, "file no.pth does not exist"),
        ([*SMOKE, "--weights", "vgg16"], 2, "it must be NAME=FILE"),
        ([*SMOKE, "--weights", "timm:vit_tiny_patch16_224=no.pth"], 2, "file no.pth does not"),
        ([*STUDY, "--trials", "30"], 2, "--trials 30 is more than"),
        (["--resume", "smoke-synthetic-123456"], 2, "holds no study yet"),
        ([*SMOKE, "--dataset", "folder", "--data-root", "empty"], 4, "empty"),
        ([*SMOKE, "--address", "127.0.0.1:9"], 6, "no Ray cluster answers at 127.0.0.1:9"),
        ([*SMOKE, "--address", "[::1]:9"], 6, "no Ray cluster answers at [::1]:9"),
        ([*SMOKE, "--address", "http://host:8265"], 6, "give host:6379"),
        ([*SMOKE, "--address", ""], 6, "it must be HOST, HOST:PORT or [IPv6]:PORT"),
        (["--space", "spaces"], 3, "spaces is a folder; a space must be a Python file in it"),
        ([*SMOKE, "--store", "file/store"], 2, "--store is 'file/store'; it must be a folder"),
        ([*SMOKE, "--studies", "file"], 2, "--studies is 'file'; it must be a folder"),
        ([*SMOKE, "--leaderboards", "file"], 2, "--leaderboards is 'file'; it must be a folder"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_and_an_exit_code(refused, arguments, code, message):
    Path("empty").mkdir()
    Path("file").touch()

    exit_code, line = refused(*arguments)

    assert message in line
    assert exit_code == code


def test_a_space_that_wants_weights_from_a_file_says_which_option_names_it(refused, write_space):
    path = write_space(
        """
        from fer_core.config import Config, StreamConfig


        def space(trial):
            stream = StreamConfig(backbone="vgg16", weights="file", blocks=5, freeze_depth=5)
            return Config(streams=(stream,))
        """
    )

    exit_code, line = refused("--space", str(path))

    assert "give --weights vgg16=FILE" in line
    assert exit_code == 2


@pytest.fixture
def photographs(tmp_path):
    """A tree that an adapter reads without opening a picture: 12 subjects, two labels."""
    for label in ("neutral", "smiling"):
        (tmp_path / "photographs" / label).mkdir(parents=True)
        for subject in range(12):
            path = tmp_path / "photographs" / label / f"{subject:02d}_a.jpg"
            path.write_text(f"{label} {subject}")
    return tmp_path / "photographs"


def test_vgg_face_weights_with_a_missing_tensor_stop_the_run_before_it_starts(
    refused, photographs, tmp_path
):
    torch.save({"conv1_1.weight": torch.zeros(64, 3, 3, 3)}, tmp_path / "face.pth")
    arguments = ["--dataset", "folder", "--data-root", str(photographs), "--address", "local"]

    exit_code, line = refused(*STUDY, "--weights", "vgg16=face.pth", *arguments)

    assert "face.pth does not fit vgg16" in line
    assert "conv5_3.weight is missing" in line
    assert exit_code == 3


def test_a_sealed_subject_planted_in_a_training_fold_stops_the_run_before_a_trial(
    refused, photographs, folder, record
):
    manifest = datasets.load("folder", photographs)
    subjects, labels = [c.subject for c in manifest.clips], [c.emotion for c in manifest.clips]
    split = protocol.sealed_and_folds(subjects, labels)
    planted = replace(split, folds=((*split.folds[0], split.sealed[0]), *split.folds[1:]))
    folder.space.write_text((ROOT / "spaces" / "smoke.py").read_text())
    study = replace(
        record,
        dataset="folder",
        data_root=str(photographs),
        data_sha256=manifest.sha256,
        protocol=planted.to_json(),
        landmarks="dlib",
    )
    folder.write_record(study)

    exit_code, line = refused("--resume", str(folder.path), "--address", "local")

    assert f"subject '{split.sealed[0]}' is in sealed and in fold 0" in line
    assert exit_code == 4
    assert not list(folder.path.glob("parts/*"))


def test_a_study_that_would_be_resumed_can_be_planned(photographs, folder, record):
    folder.space.write_text((ROOT / "spaces" / "smoke.py").read_text())
    folder.write_record(
        replace(
            record,
            dataset="folder",
            data_root=str(photographs),
            task="emotion",
            landmarks="dlib",
        )
    )

    done = CliRunner().invoke(app, ["--resume", str(folder.path), "--dry-run", "--json"])

    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["clips"] == 24


def test_a_training_recording_planted_among_the_sealed_stops_the_run_before_a_trial(
    refused, photographs
):
    planted = photographs / "smiling" / "03_planted.jpg"
    planted.write_bytes((photographs / "smiling" / "05_a.jpg").read_bytes())
    arguments = ["--dataset", "folder", "--data-root", str(photographs)]

    for option in ("--smoke", "--dry-run"):
        exit_code, line = refused(*SMOKE, *arguments, option)

        assert "smiling/03_planted.jpg" in line
        assert "equal content and different subjects" in line
        assert exit_code == 4


@pytest.mark.slow
def test_more_missing_clips_than_the_study_can_do_without_stop_it_before_a_trial(
    refused, photographs, rendered
):
    """The pictures are text, but for those of one subject in twelve."""
    video = next(iter(sorted(rendered.rglob("*.MP4"))))
    for label in ("neutral", "smiling"):
        shutil.copy(video, photographs / label / "00_a.mp4")
        with (photographs / label / "00_a.mp4").open("ab") as file:
            file.write(label.encode())  # not two clips of equal content
        (photographs / label / "00_a.jpg").unlink()
    arguments = [*SMOKE, "--dataset", "folder", "--data-root", str(photographs)]

    exit_code, line = refused(*arguments, "--max-missing", "0.9", "-q", "--address", "local")

    assert "91.7% of the clips below" in line
    assert "--max-missing is 90.0%" in line
    assert "neutral/01_a.jpg" in line
    assert exit_code == 4


def test_a_pattern_that_does_not_fit_all_files_stops_the_run(refused, photographs):
    arguments = ["--dataset", "folder", "--data-root", str(photographs)]

    for option in ("--smoke", "--dry-run"):
        exit_code, line = refused(*SMOKE, *arguments, option, "--subject-pattern", "g/([0-9]+)_")

        assert "finds no subject in 12 of 24 files" in line
        assert "neutral/00_a.jpg" in line
        assert exit_code == 4


def test_one_class_is_no_task(refused, photographs):
    shutil.rmtree(photographs / "neutral")

    exit_code, line = refused(*SMOKE, "--dataset", "folder", "--data-root", str(photographs))

    assert "all clips are 'smiling'; a task needs two classes" in line
    assert exit_code == 4


def test_a_folder_that_cannot_be_made_is_named(refused, tmp_path):
    (tmp_path / "file").write_text("")

    exit_code, line = refused(*SMOKE, "--store", "file", "--address", "local")

    assert "it must be a folder" in line
    assert "file" in line
    assert exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--spce x", "--space"),
        ("--trials 0", "'--trials'"),
        ("--seed -1", "'--seed'"),
        ("--repeats 0", "'--repeats'"),
        ("--task emotions", "'emotions' is not one of 'emotion', 'authenticity', 'hidden'"),
        ("--landmarks dlibb", "not one of 'auto', 'data', 'dlib', 'face_alignment'"),
    ],
)
def test_a_usage_error_is_one_line_too(arguments, message):
    command = [sys.executable, "-m", "search.run", *arguments.split()]

    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert done.returncode == 2


@pytest.mark.parametrize("text", ["30s", "0.5m"])
def test_a_time_budget_has_a_unit(text):
    assert seconds(text) == 30


def test_help_names_every_option_of_the_issue():
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout

    assert set(OPTIONS.split()) <= set(re.findall(r"--([a-z-]+)", text))


@pytest.mark.parametrize("command", [run, doctor, replay])
def test_help_says_in_sentences_and_in_groups_what_each_argument_is(command):
    arguments = [
        argument
        for argument in get_command(command.app).params
        if argument.name not in ("help", "context")
    ]

    texts = {argument.name: argument.help for argument in arguments}
    groups = {a.rich_help_panel for a in arguments if isinstance(a, TyperOption)}
    assert {name: text for name, text in texts.items() if not text.endswith(".")} == {}
    assert min(len(text.split()) for text in texts.values()) >= 5
    assert groups <= {"Study", "Data", "Budget", "Machines", "Places", "Output"}


@pytest.mark.parametrize(
    "option", ["seed", "repeats", "max-missing", "no-pruning", "dataset", "subject-pattern"]
)
def test_a_resumed_study_keeps_the_options_that_it_began_with(refused, folder, record, option):
    folder.write_record(record)
    values = {"no-pruning": []}.get(option, ["1"])

    exit_code, line = refused("--resume", str(folder.path), f"--{option}", *values)

    assert f"--{option} cannot be given with --resume" in line
    assert exit_code == 2


def test_a_study_of_a_newer_version_is_refused_by_name(refused, folder, record):
    folder.write_record(record)
    file = folder.path / "study.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 6}))

    exit_code, line = refused("--resume", str(folder.path))

    assert line == (
        f"error: {file} has format 6; this version of fer-search reads formats up to 5. "
        "Update fer-search to read it."
    )
    assert exit_code == 2


def test_importing_the_command_loads_neither_torch_nor_ray_nor_pandas():
    code = "import sys, search.run; print({'torch', 'ray', 'pandas', 'optuna'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert done.stdout.strip() == "set()", done.stderr
