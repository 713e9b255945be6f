"""One fact, one place: an option is a field of `Options` and a parameter of the command."""

import ast
import inspect
import json
import os
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from search import run
from search.request.settings import Machines
from search.study.folder import Record
from search.study.options import Options

ROOT = Path(__file__).parents[3]
NAMES = {option.name for option in fields(Options)}
# What fer_core takes, which knows no options: the data of a study, and how they are loaded.
HANDED_ON = {"StudyData", "load"}


def copies(tree):
    """Give each call that copies three or more options by name, as in f(seed=x.seed, ...)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            copied = [
                keyword.arg
                for keyword in node.keywords
                if keyword.arg in NAMES
                and isinstance(keyword.value, ast.Attribute | ast.Name)
                and keyword.arg == (getattr(keyword.value, "attr", None) or keyword.value.id)
            ]
            name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
            if len(copied) > 2 and name not in HANDED_ON:
                yield name, copied


def test_the_command_has_a_parameter_for_each_option():
    parameters = set(inspect.signature(run.main).parameters)

    assert parameters >= NAMES
    assert parameters >= {option.name for option in fields(Machines)}


def test_study_json_holds_every_option_under_its_own_name():
    assert issubclass(Record, Options)


def test_no_line_copies_options_by_name():
    files = [
        ROOT / "search" / name
        for name in ("run.py", "session.py", "replay.py", "request", "study", "planning", "cluster")
    ]
    modules = [path for file in files for path in ([file] if file.is_file() else file.glob("*.py"))]

    found = [
        f"{path.relative_to(ROOT)}: {name} copies {', '.join(copied)}"
        for path in modules
        for name, copied in copies(ast.parse(path.read_text()))
    ]

    assert found == []


def test_a_copy_is_found():
    source = "Record(study=folder.name, seed=given.seed, smoke=given.smoke, task=given.task)"

    assert list(copies(ast.parse(source))) == [("Record", ["seed", "smoke", "task"])]


@pytest.fixture
def with_new_option(tmp_path):
    """A copy of the packages with one more option, named in the two places and nowhere else."""
    for package in ("search", "fer_core"):
        shutil.copytree(ROOT / package, tmp_path / package)
    edits = {
        "search/study/options.py": ("    seed: int = 0\n", "    new_option: int = 5\n"),
        "search/run.py": (
            "    seed: args.Seed = Options.seed,\n",
            "    new_option: int = Options.new_option,\n",
        ),
    }
    for name, (before, added) in edits.items():
        text = (tmp_path / name).read_text()
        assert text.count(before) == 1
        (tmp_path / name).write_text(text.replace(before, before + added))
    return tmp_path


@pytest.mark.slow
@pytest.mark.ray
def test_a_new_option_travels_from_the_command_to_study_json_and_back(with_new_option, rendered):
    def run(*arguments):
        command = [sys.executable, "-m", "search.run", *arguments, "-q", "--address", "local"]
        environment = os.environ | {"PYTHONPATH": str(with_new_option)}
        where = with_new_option
        return subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True)

    space = ["--space", str(ROOT / "spaces" / "smoke.py"), "--data-root", str(rendered)]
    begun_with = run(*space, "--smoke", "--trials", "1", "--new-option", "7")
    (file,) = with_new_option.glob("studies/*/study.json")
    written = json.loads(file.read_text())
    refused = run("--resume", file.parent.name, "--new-option", "8")
    resumed = run("--resume", file.parent.name)

    assert (begun_with.returncode, resumed.returncode) == (0, 0), begun_with.stderr
    assert written["new_option"] == 7
    assert "--new-option cannot be given with --resume" in refused.stderr
    assert json.loads(file.read_text())["new_option"] == 7  # written again by the resumed study
