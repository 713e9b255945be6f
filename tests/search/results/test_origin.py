"""Whose a board is, when the folder of its study was moved, copied or renamed."""

import io
import shutil
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from fer_core.errors import FerError
from search.results import board, origin, reading
from search.study.folder import Folder


@pytest.fixture(params=["folder", "s3"])
def boards(request, tmp_path):
    return request.getfixturevalue("bucket") if request.param == "s3" else tmp_path / "boards"


@pytest.fixture
def run(make_result):
    """Run a study for a while, as `search.session` does, and give what was said and its board."""

    def run(folder, record=None):
        lines = []
        own = replace(record or folder.record(), study=folder.name, home=str(folder.path))
        own = origin.sign(folder, own, lines.append)
        folder.write_record(own)
        result = make_result(0)
        folder.write_result(result)
        return lines, board.write(folder, own, [result])

    return run


@pytest.fixture
def original(folder, record, boards, run):
    run(folder, replace(record, leaderboards=str(boards)))
    return folder


@pytest.fixture
def copied(original, tmp_path):
    """A copy of the folder under the same name, as on another machine."""
    copy = Folder(tmp_path / "elsewhere" / original.name)
    shutil.copytree(original.path, copy.path)
    return copy


def test_a_study_replaces_its_own_board_as_often_as_it_is_resumed(original, run):
    for _ in range(3):
        assert run(original)[0] == []


def test_a_folder_that_was_moved_goes_on_and_the_move_is_told(original, run, tmp_path):
    moved = Folder(tmp_path / "elsewhere" / original.name)
    shutil.move(original.path, moved.path)

    (line,), _ = run(moved)

    assert f"this study was last run in {original.path} on " in line
    assert run(moved)[0] == []


def test_of_a_study_and_its_copy_the_one_that_falls_behind_is_refused(original, copied, run):
    run(original)

    with pytest.raises(FerError, match=r"was written by a copy of this study, in .*; rename"):
        run(copied)


def test_a_study_whose_copy_went_on_first_does_not_overwrite_its_board(original, copied, run):
    _, file = run(copied)
    before = file.read_bytes()

    with pytest.raises(FerError, match=f"in {copied.path} on .*rename the folder {original.path}"):
        run(original)

    assert file.read_bytes() == before


def test_a_copy_that_was_renamed_has_a_board_of_its_own(original, copied, run):
    _, theirs = run(original)
    renamed = Folder(copied.path.rename(copied.path.with_name("renamed")))

    _, own = run(renamed)

    assert own != theirs
    assert theirs.exists()


def test_another_study_that_was_given_the_same_name_is_refused(original, record, run, tmp_path):
    other = Folder(tmp_path / "elsewhere" / original.name)
    later = "2026-02-01T10:00:00.000+00:00"
    boards = original.record().leaderboards

    with pytest.raises(FerError, match="is the leaderboard of another study of that name, in "):
        run(other, replace(record, leaderboards=boards, started_at=later))


def test_a_board_that_was_restored_from_a_backup_is_still_its_own(original, run):
    _, file = run(original)
    backup = file.read_bytes()
    run(original)
    file.write_bytes(backup)

    assert run(original)[0] == []


def test_a_damaged_board_is_written_anew(original, run):
    _, file = run(original)
    file.write_bytes(file.read_bytes()[:100])

    run(original)

    assert reading.read_file(file).num_rows


def without_note(file):
    """Make a board as an earlier version wrote it."""
    content = io.BytesIO()
    pq.write_table(reading.read_file(file).replace_schema_metadata(None), content)
    file.write_bytes(content.getvalue())


def test_a_board_of_an_earlier_version_is_taken_over_by_the_study_of_its_rows(original, run):
    _, file = run(original)
    without_note(file)

    assert run(original)[0] == []


def test_a_board_of_an_earlier_version_with_other_trials_is_refused(original, run, make_result):
    _, file = run(original)
    without_note(file)
    original.write_result(make_result(0, started_at="2026-02-01T10:00:00.000+00:00"))

    with pytest.raises(FerError, match="is the leaderboard of another study of that name"):
        run(original)
