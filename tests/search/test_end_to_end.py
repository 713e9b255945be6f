"""The real command on one local CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

import search
from fer_core.datasets import load
from fer_core.faces import video
from search.study.folder import Folder

ROOT = Path(__file__).parents[2]


def run(where, *arguments):
    command = [sys.executable, "-m", "search.run", *arguments, "--json", "--address", "local"]
    path = {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=where, env=os.environ | path, capture_output=True, text=True, check=True
    )


@pytest.mark.ray
def test_one_command_gives_a_leaderboard_and_resuming_extends_the_study(tmp_path, rendered):
    space = str(ROOT / "spaces" / "smoke.py")

    first = run(tmp_path, "--space", space, "--smoke", "--data-root", rendered, "--trials", "2")
    study = json.loads(first.stdout)["study"]
    extended = json.loads(run(tmp_path, "--resume", study, "--trials", "3").stdout)

    board = search.read_leaderboard("synthetic", tmp_path / "leaderboards")
    assert extended["counts"] == {"complete": 3, "pruned": 0, "failed": 0}
    assert sorted(board["trial"]) == [0, 1, 2]
    assert board["test_uar"].notna().any()
    assert "[1/2, best" in first.stderr


@pytest.mark.ray
def test_the_same_command_again_decodes_nothing_and_draws_and_scores_the_same(tmp_path, rendered):
    space = str(ROOT / "spaces" / "smoke.py")
    command = ["--space", space, "--smoke", "--data-root", rendered, "--trials", "2"]
    one_worker = ["--cpus-per-trial", str(len(os.sched_getaffinity(0)))]

    studies = [
        Folder(
            tmp_path / "studies" / json.loads(run(tmp_path, *command, *one_worker).stdout)["study"]
        )
        for _ in range(2)
    ]

    for first, again in zip(
        *([folder.part(n) for n in range(2)] for folder in studies), strict=True
    ):
        assert again.config_json == first.config_json
        assert again.fold_uars == first.fold_uars
        assert again.work["frames_decoded"] == again.work["backbone_images"] == 0
        assert again.work["stages_made"] == 0


@pytest.fixture
def jaffe(tmp_path, rendered):
    """The last frames of rendered clips as JAFFE names them: ten subjects, two expressions."""
    folder = tmp_path / "jaffe"
    folder.mkdir()
    clips = [c for c in load("synthetic", rendered).clips if c.authenticity == "genuine"]
    for number, clip in enumerate(c for c in clips if c.emotion in ("happiness", "sadness")):
        *_, image = video.frames(clip.path)
        name = f"K{chr(ord('A') + int(clip.subject) - 1)}.{clip.emotion[:2].upper()}1.{number}.tiff"
        cv2.imwrite(str(folder / name), image[..., ::-1])
    return folder


@pytest.mark.ray
def test_a_published_protocol_is_followed_and_where_it_seals_nobody_nothing_is_opened(
    tmp_path, jaffe
):
    space = str(ROOT / "spaces" / "smoke.py")
    command = ["--space", space, "--dataset", "jaffe", "--data-root", str(jaffe), "--trials", "1"]

    done = run(tmp_path, *command, "--protocol", "loso")

    (row,) = search.read_leaderboard("jaffe", tmp_path / "leaderboards").to_dict("records")
    assert row["protocol_id"].startswith("loso-")
    assert row["folds"] == 10
    assert row["config.frames"] == 1  # of a photograph, whatever the space drew
    assert row["state"] == "complete"
    assert row["test_uar"] != row["test_uar"]  # not a number: nothing was opened
    assert "this protocol seals no subject" in done.stderr
