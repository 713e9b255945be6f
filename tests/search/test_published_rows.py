"""The real command on published protocols, and on configurations that a paper printed."""

import json

import cv2
import pytest

import search
from fer_core.data.datasets import load
from fer_core.faces import video
from fer_core.synthetic import dataset as dataset_
from search.results import ranking
from spaces import study
from tests.search.command import ROOT, run

ROWS = [point["row"] for point in study.POINTS]
OULU = [row for row in ROWS if row.startswith(("t9-", "t12-"))]  # tables 9 and 12 are of OULU-CASIA

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def jaffe(tmp_path, rendered):
    """Write the last frames of rendered clips under JAFFE's names: ten subjects, two emotions."""
    folder = tmp_path / "jaffe"
    folder.mkdir()
    clips = [c for c in load("synthetic", rendered).clips if c.authenticity == "genuine"]
    for number, clip in enumerate(c for c in clips if c.emotion in ("happiness", "sadness")):
        *_, image = video.frames(clip.path)
        name = f"K{chr(ord('A') + int(clip.subject) - 1)}.{clip.emotion[:2].upper()}1.{number}.tiff"
        cv2.imwrite(str(folder / name), image[..., ::-1])
    return folder


def test_a_published_protocol_is_followed_and_where_it_seals_nobody_nothing_is_opened(
    tmp_path, jaffe
):
    space = str(ROOT / "spaces" / "smoke.py")
    command = ["--space", space, "--dataset", "jaffe", "--data-root", str(jaffe), "--trials", "1"]

    done = run(tmp_path, *command, "--protocol", "loso")

    board = search.read_leaderboard("jaffe", tmp_path / "leaderboards")
    (row,) = ranking.searched(board).to_dict("records")
    assert row["protocol_id"].startswith("loso-")
    assert row["folds"] == 10
    assert row["config.frames"] == 1  # of a photograph, whatever the space drew
    assert row["state"] == "complete"
    assert row["test_uar"] != row["test_uar"]  # not a number: nothing was opened
    assert "this protocol seals no subject" in done.stderr
    assert list(board[board["source"] == "baseline"]["state"]) == ["complete"] * 3


def test_points_are_run_beside_what_was_printed_of_them_and_then_there_is_no_more(
    tmp_path, rendered
):
    space = tmp_path / "two.py"
    space.write_text("from spaces.study import POINTS as ALL, space\nPOINTS = ALL[6:8]\n")

    done = run(tmp_path, "--space", str(space), "--smoke", "--data-root", rendered)

    board = search.read_leaderboard("synthetic", tmp_path / "leaderboards")
    ours = ranking.searched(board).sort_values("trial")
    assert list(ours["state"]) == ["complete"] * 2
    assert list(ours["published_accuracy"]) == [0.4226, 0.4310]
    assert set(ours["task"]) == {"emotion"}  # though the study's is hidden
    assert ours["note"].str.startswith("narrow: 1/8 of the published width").all()
    assert "no --weights vgg16=FILE" in done.stderr
    assert (board["source"] == "published").sum() == 2


@pytest.mark.parametrize(
    ("dataset", "rows"),
    [
        ("sase_fe", ["t6-two-stream", "t7-geometry", "t8-gru-features"]),
        ("oulu_casia", ["t9-frontal", "t12-lstm-features"]),
        pytest.param("sase_fe", sorted({*ROWS} - {*OULU}), marks=pytest.mark.long),
        pytest.param("oulu_casia", OULU, marks=pytest.mark.long),
    ],
)
def test_printed_configurations_of_a_dataset_run_in_its_layout(tmp_path, dataset, rows):
    root = dataset_.ensure(tmp_path / "data", layout=dataset, subjects=10)
    space = tmp_path / "some.py"
    space.write_text(
        f"from spaces.study import space\nPOINTS = tuple({{'row': row}} for row in {rows})\n"
    )
    command = ["--space", str(space), "--dataset", dataset]

    done = run(tmp_path, *command, "--data-root", str(root))

    board = search.read_leaderboard(dataset, tmp_path / "leaderboards")
    ours = ranking.searched(board)
    assert json.loads(done.stdout)["counts"] == {"complete": len(rows), "pruned": 0, "failed": 0}
    assert ours["published_accuracy"].notna().all()
    assert set(board[board["source"] == "baseline"]["state"]) == {"complete"}
