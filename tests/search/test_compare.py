"""The command, on a study that was really trained; no Ray."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from search import compare as command
from search.compare import compare

ROOT = Path(__file__).parents[2]


def ran(folder, *arguments):
    """Run the command on the studies beside a study; give its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "search.compare", *arguments, "--studies", str(folder.path.parent)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return done.returncode, done.stdout, done.stderr


def test_two_rows_of_a_trained_study_are_compared(finished, capsys):
    rows = [f"cnn={finished.name}/0", f"points={finished.name}/1"]

    command.main(rows, studies=str(finished.path.parent))

    said = capsys.readouterr().out
    (pair,) = compare(rows, studies=finished.path.parent).datasets[0].pairs
    uars = [finished.result(number).val_uar for number in (0, 1)]
    assert pair.difference == pytest.approx(uars[0] - uars[1])
    assert "synthetic, emotion: 8 subjects, 96 clips, 5 folds" in said
    assert f"cnn - points  {pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}]" in said
    assert max(map(len, said.splitlines())) <= 80


def test_json_says_the_same_as_the_function(finished, tmp_path):
    rows = [f"{finished.name}/0", f"{finished.name}/1"]
    file = tmp_path / "errors.csv"

    code, said, _ = ran(finished, *rows, "--json", "--tabarena", str(file))

    assert code == 0
    (pair,) = compare(rows, studies=finished.path.parent).datasets[0].pairs
    assert json.loads(said)["datasets"][0]["pairs"] == [vars(pair)]
    assert len(file.read_text().splitlines()) == 1 + 2 * 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{0}/0"], "a comparison needs two rows or more"),
        (["{0}/0", "{0}/2"], "is pruned: only complete rows have predictions"),
        (["{0}/0", "nothing"], "no row 'nothing'"),
        (["{0}/0", "{0}/1", "--test"], "had no sealed test"),
        (["{0}/0", "{0}/1", "--tabarena", "."], "--tabarena is ., a folder; it must be a file"),
        (["{0}/0", "{0}/1", "--diagram", "no/d.svg"], "does not exist"),
        (["{0}/0", "{0}/1", "--json", "--latex"], "give one of them"),
        (["{0}/0", "{0}/1", "--diagram", "x.svg"], "needs rows of several datasets"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_compared_is_one_line(finished, capsys, arguments, words):
    from search.command import run

    filled = [argument.format(finished.name) for argument in arguments]
    sys.argv = ["search.compare", *filled, "--studies", str(finished.path.parent)]

    code = run(command.app)

    said = capsys.readouterr().err
    assert code == 2
    assert words in said
    assert said.count("\n") == 1


def test_help_is_light():
    code = "import sys, search.compare; print(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.split()

    assert not {"numpy", "scipy", "matplotlib", "torch", "pandas"} & set(loaded)
