"""What README and docs tell a reader to type works: code runs, and commands run or parse.

A command is run where it needs neither a dataset of others, nor a cluster, nor minutes. All others
are parsed by the program that they name.
"""

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import ray.scripts.scripts
import typer.main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EARLIER = ROOT / "tests" / "fixtures" / "earlier"
APPS = {  # module of a command: what holds its options
    "search.run": ("search.run", "app"),
    "search.doctor": ("search.doctor", "app"),
    "search.replay": ("search.replay", "app"),
    "search.compare": ("search.compare", "app"),
    "fer_core.synthetic": ("fer_core.synthetic.__main__", "main"),
    "fer_core.predict": ("fer_core.predict.__main__", "main"),
}
RUN = {  # commands that are run as they stand, and what they print
    "python -m search.run --space spaces/temporal.py --dry-run": "trials     24: ",
    "python -m search.run --help": "--space",
}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)


def commands():
    """Give each command of the pages' shell blocks, and those that a sentence quotes."""
    found = []
    for page in PAGES:
        lines = "\n".join(blocks(page, "sh")).splitlines()
        quoted = re.findall(r"`((?:python -m|python|make|ray|pytest) [^`]+)`", page.read_text())
        for line in [*lines, *quoted]:
            optional = re.sub(r"[\[\]]", "", line).partition(" #")[0]
            parts = re.split(r"&&|;", optional)
            found += [(page.name, part.strip().rstrip("&").strip()) for part in parts]
    return sorted({(page, command) for page, command in found if command})


def assert_parses(words):
    """Let the program that a command names parse it; fail where it does not know an option."""
    match words:
        case ["python", "-m", module, *arguments]:
            name, attribute = APPS[module]
            app = getattr(importlib.import_module(name), attribute)
            if attribute == "main":
                app = typer.Typer(add_completion=False)
                app.command()(getattr(importlib.import_module(name), attribute))
            if "--help" not in arguments:
                typer.main.get_command(app).make_context(module, list(arguments))
        case ["python" | "bash", script, *_]:
            assert (ROOT / script).is_file()
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["ray", name, *arguments]:
            command = ray.scripts.scripts.cli.commands[name]
            while hasattr(command, "commands"):
                command, arguments = command.commands[arguments[0]], arguments[1:]
            if arguments:  # else a sentence names the command
                command.make_context(name, list(arguments))
        case ["pytest", path, *_]:
            assert (ROOT / path).exists()
        case ["export" | "source" | "pip" | "aws" | "chmod", *_]:
            pass  # the shell's own, or a program that is not ours to parse
        case _:
            raise AssertionError(f"no test knows how to read {shlex.join(words)}")


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """A folder in which the names that the pages use are there."""
    for name in ("spaces", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("cluster.yaml", "cluster.local.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    boards = tmp_path / "leaderboards" / "synthetic"
    shutil.copytree(EARLIER / "leaderboards" / "folder", boards)
    (tmp_path / "vgg_face_dag.pth").touch()
    (tmp_path / "video.mp4").touch()
    for name in ("photos", "SASE", "OULU", "AFEW", "model"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_pages_with_commands_and_code():
    assert len(PAGES) >= 10
    assert len(commands()) > 30
    assert sum(len(blocks(page, "python")) for page in PAGES) >= 6


def test_the_readme_fits_on_three_screens():
    lines = (ROOT / "README.md").read_text().splitlines()

    assert len(lines) <= 150
    assert max(map(len, lines)) <= 130
    assert "trial " in "".join(blocks(ROOT / "README.md", "")), "it shows a real leaderboard"


@pytest.mark.parametrize(("page", "command"), commands())
def test_a_command_of_the_pages_parses(page, command, shown):
    assert_parses(shlex.split(command))


@pytest.mark.parametrize("command", RUN)
def test_a_command_of_the_pages_runs(command, shown):
    assert command in {text for _, text in commands()}

    done = subprocess.run(
        shlex.split(command.replace("python", sys.executable, 1)),
        capture_output=True,
        text=True,
        cwd=shown,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 0, done.stderr
    assert RUN[command] in done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_code_of_a_page_runs(page, shown, capsys):
    for block in blocks(page, "python"):
        namespace = {"__name__": "shown"}

        exec(compile(block, page.name, "exec"), namespace)

        if "space" in namespace:
            study = optuna.create_study()
            assert namespace["space"](study.ask()).config_id


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_the_pages_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", page.read_text()):
        other = page.parent / target if target else page
        headings = re.findall(r"^#+ (.*)$", other.read_text(), re.MULTILINE)
        anchors = {
            re.sub(r"[^\w -]", "", text).strip().lower().replace(" ", "-") for text in headings
        }

        assert not anchor or anchor in anchors, f"{page.name} links to {target}#{anchor}"


@pytest.mark.long
@pytest.mark.ray
def test_the_first_result_beats_the_baselines_and_has_a_sealed_test(tmp_path):
    import pandas as pd

    (line,) = re.findall(r"^run: install\n\t(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    words = shlex.split(line.replace("$(BIN)/python", sys.executable))
    (tmp_path / "spaces").symlink_to(ROOT / "spaces")

    done = subprocess.run(
        [*words, "--address", "local"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )

    assert done.returncode == 0, done.stderr
    board = pd.read_parquet(tmp_path / "leaderboards" / "synthetic")
    trials, baselines = (board[board["source"] == s] for s in ("search", "baseline"))
    images = trials[trials["family"].str.startswith("cnn")]
    assert trials["family"].nunique() > 1
    assert images["val_uar"].max() > baselines["val_uar"].max()
    assert trials["test_uar"].notna().any()
