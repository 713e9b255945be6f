"""What all command lines share: empty arguments, output that nobody reads, quoted commands."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.main import get_command

from fer_core.errors import FerError, refuse_empty
from fer_core.storage import paths
from search import run
from search.request.settings import Settings
from search.study.options import Options

ROOT = Path(__file__).parents[2]
MODULES = ["search.run", "search.doctor", "search.replay", "search.compare"]
OTHERS = ["fer_core.predict", "fer_core.synthetic"]


def start(*arguments, **options):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


@pytest.mark.parametrize("module", [*MODULES, *OTHERS])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_command_whose_reader_leaves_ends_quietly(module, unbuffered, monkeypatch):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    done = start(module, "--help")
    done.stdout.close()

    assert done.stderr.read() == b""
    done.stderr.close()
    assert done.wait() == 141


def test_a_plan_whose_reader_leaves_ends_quietly():
    done = start("search.run", "--space", "spaces/smoke.py", "--smoke", "--dry-run")
    done.stdout.close()

    lines = done.stderr.read().decode()
    done.stderr.close()
    assert "roken pipe" not in lines
    assert done.wait() == 141


def test_an_error_that_nobody_reads_ends_quietly_too():
    done = start("search.run", "--space", "gone.py")
    done.stderr.close()

    assert done.stdout.read() == b""
    done.stdout.close()
    assert done.wait() == 141


@pytest.mark.parametrize(
    ("module", "arguments", "named"),
    [
        ("search.run", ["--space", "spaces/smoke.py", "--data-root", ""], "--data-root"),
        ("search.run", ["--space", ""], "--space"),
        ("search.run", ["--space", "spaces/smoke.py", "--store="], "--store"),
        ("search.run", ["--resume", " "], "--resume"),
        ("search.doctor", ["--dataset", "folder", "--data-root", ""], "--data-root"),
        ("search.replay", [""], "argument 1"),
        ("search.replay", ["a/1", "--export", ""], "--export"),
        ("search.compare", ["a/1", ""], "argument 2"),
        ("fer_core.predict", ["", "video.mp4"], "argument 1"),
        ("fer_core.synthetic", ["--out", ""], "--out"),
    ],
)
def test_an_empty_argument_is_refused_as_empty(module, arguments, named):
    done = start(module, *arguments)
    text = done.communicate()[1].decode()

    assert text == f"error: {named} is empty; give it a value, or leave it out.\n"
    assert done.returncode == 2


@given(st.lists(st.text(min_size=1).filter(str.strip).filter(lambda text: "=" not in text)))
def test_arguments_that_hold_something_pass(arguments):
    assert refuse_empty(arguments) is None  # it raises otherwise


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_place_is_no_place(text):
    with pytest.raises(FerError, match="a place is empty"):
        paths.parse(text)


def test_a_shell_reads_the_command_that_goes_on_whatever_names_are_in_it(tmp_path):
    places = ["--studies", str(tmp_path / "my studies"), "--cache", "it's $HOME:2"]
    context = get_command(run.app).make_context("search.run", ["--space", "my space.py", *places])
    options = Options(space="my space.py")
    settings = Settings(options=options, space=Path("my space.py"), studies=tmp_path / "my studies")

    printed = run._resume_command(context, settings, "my study")

    assert shlex.split(printed) == ["python", "-m", "search.run", "--resume", "my study", *places]
