import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from search.run import app
from search.settings import seconds

ROOT = Path(__file__).parents[2]
OPTIONS = """
    space dataset data-root task trials time-budget seed address cpus-per-trial gpus-per-trial
    leaderboards studies store resume weights dry-run smoke json
    """
SMOKE = ["--space", "spaces/smoke.py"]


@pytest.fixture
def refused(monkeypatch, tmp_path):
    """Run the command in a folder with a spaces folder, and give its exit code and one line."""
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "smoke.py").symlink_to(ROOT / "spaces" / "smoke.py")
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        done = CliRunner().invoke(app, list(arguments))
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert not {path.name for path in tmp_path.iterdir()} & {"studies", "leaderboards"}
        return done.exit_code, line

    return run


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "--space names no file"),
        (["--space", "spaces/smok.py"], 3, "did you mean 'spaces/smoke.py'?"),
        ([*SMOKE, "--dataset", "folder"], 2, "say where it is, --data-root"),
        ([*SMOKE, "--dataset", "foldr", "--data-root", "."], 2, "did you mean 'folder'?"),
        ([*SMOKE, "--task", "emotions"], 2, "did you mean 'emotion'?"),
        ([*SMOKE, "--time-budget", "soon"], 2, "30s, 10m or 2h"),
        ([*SMOKE, "--weights", "vgg17=x"], 2, "did you mean 'vgg16'?"),
        ([*SMOKE, "--weights", "vgg16=no.pth"], 2, "file no.pth does not exist"),
        ([*SMOKE, "--weights", "vgg16"], 2, "it must be NAME=FILE"),
        (["--resume", "smoke-synthetic-123456"], 2, "holds none yet"),
        ([*SMOKE, "--dataset", "folder", "--data-root", "empty"], 4, "empty"),
        ([*SMOKE, "--address", "127.0.0.1:9"], 6, "no Ray cluster answers at 127.0.0.1:9"),
    ],
)
def test_what_a_user_gets_wrong_is_one_line_and_an_exit_code(refused, arguments, code, said):
    Path("empty").mkdir()

    exit_code, line = refused(*arguments)

    assert said in line
    assert exit_code == code


def test_a_space_that_wants_weights_from_a_file_says_which_option_names_it(refused, write_space):
    path = write_space(
        """
        from fer_core.config import Config, StreamConfig


        def space(trial):
            stream = StreamConfig(backbone="vgg16", weights="file", blocks=5, freeze_depth=5)
            return Config(stream=stream)
        """
    )

    exit_code, line = refused("--space", str(path))

    assert "give --weights vgg16=FILE" in line
    assert exit_code == 2


def test_an_unknown_option_is_a_usage_error():
    assert CliRunner().invoke(app, ["--spce", "x"]).exit_code == 2


@pytest.mark.parametrize("text", ["30s", "0.5m"])
def test_a_time_budget_has_a_unit(text):
    assert seconds(text) == 30


def test_help_names_every_option_of_the_issue():
    text = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).stdout

    assert set(OPTIONS.split()) <= set(re.findall(r"--([a-z-]+)", text))


def test_importing_the_command_loads_neither_torch_nor_ray_nor_pandas():
    code = "import sys, search.run; print({'torch', 'ray', 'pandas', 'optuna'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert done.stdout.strip() == "set()", done.stderr
