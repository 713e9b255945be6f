"""A user's own files from the command line: too few of them, odd tables, whose face is whose."""

import csv
import re
import shutil
import tempfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from search import doctor, replay, run

ROOT = Path(__file__).parents[2]
SPACE = ["--space", str(ROOT / "spaces" / "smoke.py"), "--dataset", "folder"]
LABELS = ("joy", "rage", "fear")


def invoke(app, *arguments):
    """Run a command: its exit code and its lines on stderr. A traceback is passed on."""
    done = CliRunner().invoke(app, [str(each) for each in arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stderr.splitlines(), done.stdout


def photograph(path, number):
    """Write a small picture that equals no other."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(number).integers(0, 255, (8, 8, 3), np.uint8)
    cv2.imwrite(str(path), picture)


TEN = [(subject, LABELS[subject % 2]) for subject in range(10)]  # one photograph each
PEOPLE = st.lists(st.tuples(st.integers(0, 8), st.sampled_from(LABELS)), min_size=1, max_size=14)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@example(TEN)
@example([(0, "joy")])
@example([(0, "joy"), (0, "rage")])
@example([(subject, "joy") for subject in range(12)])
@example([(subject, "joy") for subject in range(12)] + [(0, "rage")])
@given(PEOPLE)
def test_data_that_are_too_few_end_in_one_line_and_a_code_in_every_command(people):
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        for number, (subject, label) in enumerate(people):
            photograph(Path(place) / "data" / label / f"p{subject}_{number}.png", number)
        data = ["--data-root", "data"]

        planned = invoke(run.app, *SPACE, *data, "--dry-run")
        ran = invoke(run.app, *SPACE, *data, "--address", "local")
        checked = invoke(
            doctor.app, "--dataset", "folder", *data, "--quick", "--no-near-copies", "-q"
        )

    for exit_code, lines, _ in (planned, ran):
        assert exit_code == 4
        assert [line for line in lines if line.startswith("error: ")] == [lines[-1]]
    assert ran[1][-1].startswith("error: ")
    assert checked[0] == 4
    verdict = checked[2].splitlines()[-1]
    assert verdict.startswith("a study must not start: ")
    assert ran[1][-1].removeprefix("error: ") in verdict


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Twelve people, two labels, in a table of other columns, separator and encoding."""
    monkeypatch.chdir(tmp_path)
    rows = []
    for number in range(24):
        name = f"é{number}.png"
        photograph(tmp_path / "data" / "bilder" / name, number)
        rows.append([f"bilder\\{name}", f"P{number // 2}", LABELS[number % 2]])
    write_table(tmp_path / "data" / "labels.csv", [["Datei", "Person ID", "Expression"], *rows])
    return tmp_path / "data"


def write_table(path, rows):
    with path.open("w", newline="", encoding="cp1252") as file:
        csv.writer(file, delimiter=";").writerows(rows)


COLUMNS = ["--column", "path=datei", "--column", "subject=person id"]
COLUMNS += ["--column", "emotion=expression"]


def test_a_table_of_other_columns_is_read_as_the_error_says(shop):
    asked = ["--dataset", "folder", "--data-root", shop, "--quick", "--no-near-copies"]

    exit_code, (*_, line), _ = invoke(doctor.app, *asked)
    options = re.search(r"give (--column .*)\.$", line)[1]
    again = invoke(doctor.app, *asked, *COLUMNS)

    assert exit_code == 4
    assert options == (
        "--column path=datei --column 'subject=person id' --column emotion=expression"
    )
    assert again[0] == 0
    assert "labels: joy 12, rage 12 (column 'expression' of labels.csv)" in again[1][0]
    assert again[1][1] == "labels.csv is read with the separator ';' and the encoding Windows-1252"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--column", "subject"], "--column is 'subject'; it must be NAME=THEIRS"),
        (["--column", "subject="], "it must be NAME=THEIRS"),
        (["--column", "subjct=x"], "did you mean 'subject'?"),
        (["--column", "path=a", "--column", "path=b"], "--column names 'path' twice: a and b"),
        (["--subjects", "nowhere.csv"], "--subjects: file nowhere.csv does not exist"),
        (["--subjects", "p.csv", "--subject-pattern", "(a)"], "give one of them"),
    ],
)
def test_a_wrong_rule_of_the_own_files_is_one_line(shop, arguments, message):
    Path("p.csv").touch()

    exit_code, (line,), _ = invoke(run.app, *SPACE, "--data-root", shop, *arguments)

    assert message in line
    assert exit_code == 2


def test_bad_rows_are_grouped_with_three_of_each_kind_and_all_are_in_the_file(shop):
    rows = [[f"bilder\\é{i}.png", f"P{i // 2}", LABELS[i % 2]] for i in range(24)]
    lost = [[f"gone{i}.png", "P1", "joy"] for i in range(9)]
    empty = [[f"bilder\\é{i}.png", "", "joy"] for i in range(2)]
    head = ["Datei", "Person ID", "Expression"]
    write_table(shop / "labels.csv", [head, *lost, *rows, *empty])

    exit_code, lines, _ = invoke(
        run.app, *SPACE, "--data-root", shop, *COLUMNS, "--max-missing", "0.2", "--address", "local"
    )

    assert exit_code == 4
    assert (
        "left out 9 clips: it does not exist: gone0.png (labels.csv, line 2), gone1.png "
        "(labels.csv, line 3), gone2.png (labels.csv, line 4) and 6 more"
    ) in lines
    assert "all that is left out is listed in folder-findings.csv" in lines
    assert lines[-1].startswith("error: ")
    with Path("folder-findings.csv").open(encoding="utf-8") as file:
        listed = list(csv.DictReader(file))
    named = {row["path"]: (row["kind"], row["place"], row["reason"]) for row in listed}
    assert {f"gone{i}.png" for i in range(9)} <= named.keys()
    assert named["gone8.png"] == ("left out", "labels.csv, line 10", "it does not exist")
    assert named["labels.csv, line 35"][2] == "the column 'person id' is empty"


def test_where_all_rows_fail_the_message_names_the_file_with_all(shop):
    shutil.rmtree(shop / "bilder")

    exit_code, (*_, line), _ = invoke(
        doctor.app, "--dataset", "folder", "--data-root", shop, "--quick", *COLUMNS
    )

    assert "all 24 clips are left out; all for one reason; the first is" in line
    assert "All are listed in folder-findings.csv." in line
    assert Path("folder-findings.csv").read_text().count("it does not exist") == 24
    assert exit_code == 4


def test_the_subjects_of_a_second_table_are_those_of_the_split(shop):
    people = [["Clip", "Person"], *([f"é{i}", f"S{i % 12}"] for i in range(23))]
    write_table(Path("people.csv"), people)
    rules = ["--subjects", "people.csv", "--column", "subject=person"]
    labels = ["--column", "path=datei", "--column", "emotion=expression"]

    exit_code, lines, printed = invoke(
        doctor.app,
        *["--dataset", "folder", "--data-root", shop, "--quick", "--no-near-copies"],
        *rules,
        *labels,
    )

    assert "subjects: 12, S0, S1, S10 and 9 more (the table of subjects)" in lines[0]
    assert "clips 23 of 12 subjects" in " ".join(printed.split())
    assert "the table of subjects does not name it" in " ".join(printed.split())
    assert exit_code == 0


def test_the_rules_of_another_dataset_need_one(shop):
    exit_code, (line,), _ = invoke(replay.app, "smoke-folder-123456/0", *COLUMNS)

    assert "are for the dataset of --test-on" in line
    assert exit_code == 2
