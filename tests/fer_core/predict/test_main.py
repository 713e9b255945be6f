"""The command `python -m fer_core.predict`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from fer_core.predict.__main__ import main


def run(*arguments):
    """Run the command in this process, which has imported what it needs."""
    app = typer.Typer()
    app.command()(main)
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_the_command_prints_and_draws(votes, clip, tmp_path):
    command = [sys.executable, "-m", "fer_core.predict", votes, clip.path, "--json"]
    environment = {"PYTHONPATH": str(Path(__file__).parents[3]), "PATH": ""}

    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False
    )

    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    assert sum(printed["clip"]["emotion"].values()) == pytest.approx(1, abs=1e-5)
    assert len(printed["over_time"]["emotion"]["happiness"]) == len(printed["seconds"])
    assert (tmp_path / f"{clip.path.stem}-timeline.png").stat().st_size > 10_000


@pytest.mark.parametrize("case", ["no video", "no model", "text", "damaged"])
def test_bad_input_is_one_line(case, votes, clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder, path = votes, clip.path
    if case == "no video":
        path = tmp_path / "gone.mp4"
    if case == "text":
        path = tmp_path / "text.mp4"
        path.write_text("no video")
    if case == "no model":
        folder = tmp_path
    if case == "damaged":
        folder = tmp_path / "damaged"
        folder.mkdir()
        for file in votes.iterdir():
            data = file.read_bytes()
            cut = file.name == "weights.safetensors"
            (folder / file.name).write_bytes(data[: len(data) // 2] if cut else data)

    done = run(folder, path)

    assert done.exit_code == 4
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("picture", ["nowhere/x.png", "x.foo"])
def test_a_picture_that_cannot_be_written_is_refused_before_anything_is_read(
    picture, votes, clip, monkeypatch
):
    monkeypatch.chdir(votes.parent)
    done = run(votes, clip.path, "--picture", picture)

    assert done.exit_code == 2
    assert done.stderr.startswith(f"error: --picture is {picture}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["2026-01-01T12:30:05.mp4", "$a_$ %03d.mp4", "-x.mp4"])
def test_any_name_is_that_of_a_file(votes, clip, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(clip.path.read_bytes())

    done = run("--", votes, name)

    assert done.exit_code == 0, done.stderr
    assert (tmp_path / f"{Path(name).stem}-timeline.png").is_file()


def test_the_timeline_is_not_written_over_or_among_what_is_read(votes, tmp_path, monkeypatch):
    frames = tmp_path / "frames"
    frames.mkdir()
    photograph = frames / "1.png"
    Image.new("RGB", (64, 64)).save(photograph)
    before = photograph.read_bytes()
    monkeypatch.chdir(frames)

    over, among = run(votes, photograph, "--picture", photograph), run(votes, ".")

    assert over.exit_code == among.exit_code == 2
    assert "1.png would be written over or among what is read" in over.stderr
    assert "frames-timeline.png would be written over or among" in among.stderr
    assert photograph.read_bytes() == before
    assert list(frames.iterdir()) == [photograph]
